"""Medical questions with reasoning, open or of several options."""

from rl4bio.data.medical.corpus import MedicalReasoningCorpus

__all__ = ["MedicalReasoningCorpus"]
