"""Answers that take their label back, by hand."""

from __future__ import annotations

import pytest

from rl4bio.rewards.meaning.denial import denies_label
from rl4bio.rewards.verdict import VerdictReward
from rl4bio.types import Sample

THOUGHT = "<thought>Forty of ninety patients recovered.</thought>"
STROKE = "Does aspirin lower the risk of stroke?"
SAFE = "Is laparoscopic surgery safe?"
SEXES = "Is there a difference between men and women?"


@pytest.mark.parametrize(
    ("question", "label", "answer"),
    [
        (STROKE, "yes", "yes. It does not lower the risk."),
        (STROKE, "yes", "Yes, aspirin does not lower the risk of stroke"),
        (STROKE, "yes", "**Yes** - it doesn't."),
        (STROKE, "yes", "yes. Aspirin failed to lower the risk of stroke."),
        (STROKE, "yes", "Answer: yes. The study found that aspirin does not lower the risk."),
        (STROKE, "no", "no, it does"),
        (STROKE, "no", "No. It does lower the risk."),
        (SAFE, "yes", "Yes. It is not safe."),
        (SAFE, "yes", "Yes, it is unsafe."),
        (SEXES, "yes", "yes, no difference was found"),
        (SEXES, "no", "no, there is a difference"),
        ("Can we predict stroke?", "no", "no. We can predict stroke"),
    ],
)
def test_denied(question: str, label: str, answer: str) -> None:
    assert denies_label(answer, label, question)
    sample = Sample(uid="1", prompt="", target=label, question=question)
    lenient = VerdictReward(wrong_credit=0.2)
    assert lenient.score(f"{THOUGHT}<answer>{label}</answer>", sample) == 1.0
    assert lenient.score(f"{THOUGHT}<answer>{answer}</answer>", sample) == 0.0


@pytest.mark.parametrize(
    ("question", "label", "answer"),
    [
        (STROKE, "yes", "yes"),
        (STROKE, "yes", "yes, it does"),
        (STROKE, "yes", "Yes, but not in women."),
        (STROKE, "yes", "Yes. However, it does not lower the risk in women."),
        (STROKE, "yes", "yes: the risk of stroke was lower"),
        (STROKE, "no", "No. It does not lower the risk."),
        (STROKE, "maybe", "maybe. It does not."),
        (SAFE, "yes", "Yes. It does not increase complications."),
        (SEXES, "no", "no. No difference was found."),
        ("Is aspirin not effective?", "yes", "yes, it is not effective"),
    ],
)
def test_kept(question: str, label: str, answer: str) -> None:
    assert not denies_label(answer, label, question)
    sample = Sample(uid="1", prompt="", target=label, question=question)
    assert VerdictReward().score(f"{THOUGHT}<answer>{answer}</answer>", sample) == 1.0
