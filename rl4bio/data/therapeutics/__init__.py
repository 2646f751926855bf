"""Tasks of the Therapeutics Data Commons, in TxGemma's prompts."""

from rl4bio.data.therapeutics.corpus import TherapeuticsCorpus

__all__ = ["TherapeuticsCorpus"]
