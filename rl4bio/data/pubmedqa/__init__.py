"""PubMedQA (Jin et al., 2019): research questions answered from abstracts."""

from rl4bio.data.pubmedqa.corpus import PubMedQACorpus

__all__ = ["PubMedQACorpus"]
