"""Corpora that are made, not read: trial abstracts and series of analogues."""

from typing import TYPE_CHECKING

from rl4bio.registry import handed_on

if TYPE_CHECKING:
    from rl4bio.data.synthetic.trials import TrialsCorpus

__all__ = ["TrialsCorpus"]

__getattr__ = handed_on(__name__, TrialsCorpus="trials")
