"""Tasks of the Therapeutics Data Commons, in TxGemma's prompts."""

from typing import TYPE_CHECKING

from rl4bio.registry import handed_on

if TYPE_CHECKING:
    from rl4bio.data.therapeutics.corpus import TherapeuticsCorpus

__all__ = ["TherapeuticsCorpus"]

__getattr__ = handed_on(__name__, TherapeuticsCorpus="corpus")
