"""SMILES corpora for molecule models."""

from typing import TYPE_CHECKING

from rl4bio.registry import handed_on

if TYPE_CHECKING:
    from rl4bio.data.smiles.corpus import SmilesCorpus

__all__ = ["SmilesCorpus"]

__getattr__ = handed_on(__name__, SmilesCorpus="corpus")
