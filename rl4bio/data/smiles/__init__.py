"""SMILES corpora for molecule models."""

from rl4bio.data.smiles.corpus import SmilesCorpus

__all__ = ["SmilesCorpus"]
