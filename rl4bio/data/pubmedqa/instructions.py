"""The instructions of yes/no/maybe questions over an abstract, shared by all such corpora.

No text shows an example answer with a verdict in it: an example raises the rate of that verdict,
and a parser that sees the prompt would match it.
"""

from __future__ import annotations

TAGS_SYSTEM = (
    "Answer the question from the abstract. "
    "First think inside <thought>...</thought>: quote the evidence. "
    "Then give one word, yes, no or maybe, inside <answer>...</answer>."
)
"""Think first, then answer, each inside its tags; short, because every prompt repeats it."""

DIRECT_SYSTEM = "Answer the question from the abstract. Reply with one word only: yes, no or maybe."
"""The verdict alone: the baseline without reasoning."""


def qa_user(question: str, abstract: str) -> str:
    """The user turn: the question, then the abstract."""
    return f"Question: {question}\nAbstract: {abstract}"
