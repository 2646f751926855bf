"""Medical questions with reasoning, open or of several options."""

from typing import TYPE_CHECKING

from rl4bio.registry import handed_on

if TYPE_CHECKING:
    from rl4bio.data.medical.corpus import MedicalReasoningCorpus

__all__ = ["MedicalReasoningCorpus"]

__getattr__ = handed_on(__name__, MedicalReasoningCorpus="corpus")
