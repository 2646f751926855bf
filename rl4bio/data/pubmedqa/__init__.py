"""PubMedQA (Jin et al., 2019): research questions answered from abstracts."""

from typing import TYPE_CHECKING

from rl4bio.registry import handed_on

if TYPE_CHECKING:
    from rl4bio.data.pubmedqa.corpus import PubMedQACorpus

__all__ = ["PubMedQACorpus"]

__getattr__ = handed_on(__name__, PubMedQACorpus="corpus")
