"""Corpora that are made, not read: trial abstracts and series of analogues."""

from rl4bio.data.synthetic.trials import TrialsCorpus

__all__ = ["TrialsCorpus"]
