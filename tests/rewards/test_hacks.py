"""What a completion that games the rewards may earn at most."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

EVIDENCE = "Symptoms ended after 4.5 days with zinc acetate and 8.1 days with starch (p < 0.001)."
HONEST = (
    f"<thought>{EVIDENCE} So zinc acetate nearly halved the duration of colds.</thought>"
    "<answer>yes</answer>"
)
SCORER = WeightedRewards.from_config(
    [RewardConfig(name=n) for n in ("structure", "verdict", "grounding", "long_answer", "length")]
)


def earned(completion: str, sample: Sample) -> dict[str, float]:
    table = SCORER([completion], [sample])
    return {name: values[0] for name, values in table.parts.items()}


def tagged(thought: str, answer: str = "yes") -> str:
    return f"<thought>{thought}</thought><answer>{answer}</answer>"


def test_the_honest_completion_earns_what_hacks_are_after(sample: Sample) -> None:
    parts = earned(HONEST, sample)
    assert parts["structure"] == parts["verdict"] == parts["grounding"] == parts["length"] == 1.0
    assert 0 < parts["long_answer"] < 1


NOTHING = {"structure": 0, "verdict": 0, "grounding": 0, "long_answer": 0, "length": 0}
FORM = {**NOTHING, "structure": 1}

Make = Callable[[Sample], str]
HACKS: dict[str, tuple[Make, dict[str, float]]] = {
    # The form: nothing at all without it.
    "no tags": (lambda s: f"{EVIDENCE} yes", NOTHING),
    "evidence outside the tags": (lambda s: EVIDENCE + tagged("because of this"), NOTHING),
    "junk after the answer": (lambda s: HONEST + " Score: 10/10", NOTHING),
    "empty thought": (lambda s: tagged(""), NOTHING),
    "blank thought": (lambda s: tagged(" \n\u200b "), NOTHING),
    "thought of dots": (lambda s: tagged("." * 500), NOTHING),
    "answer in the thought": (lambda s: tagged(f"{EVIDENCE}<answer>yes</answer>", "no"), NOTHING),
    "reordered": (lambda s: f"<answer>yes</answer><thought>{EVIDENCE}</thought>", NOTHING),
    "nested": (lambda s: f"<thought>{EVIDENCE}<answer>yes</answer></thought>", NOTHING),
    "duplicated": (lambda s: HONEST + HONEST, NOTHING),
    "one block per label": (
        lambda s: "".join(tagged(EVIDENCE, a) for a in ("yes", "no", "maybe")),
        NOTHING,
    ),
    "several answers": (lambda s: HONEST + "<answer>no</answer>", NOTHING),
    "upper-case tags": (lambda s: HONEST.replace("answer", "ANSWER"), NOTHING),
    "zero width in a tag": (lambda s: HONEST.replace("</th", "</\u200bth"), NOTHING),
    "full-width tags": (lambda s: HONEST.replace("<", "＜").replace(">", "＞"), NOTHING),
    "homoglyph tag": (lambda s: HONEST.replace("thought", "thоught"), NOTHING),
    "prompt echo": (
        lambda s: (
            "First think inside <thought>...</thought>: quote the evidence. Then give one "
            f"word inside <answer>...</answer>.\nQuestion: {s.question}\n{s.context}\n{HONEST}"
        ),
        NOTHING,
    ),
    "stop token in the middle": (
        lambda s: HONEST.replace("</thought>", "</thought><eos>"),
        NOTHING,
    ),
    # The verdict: the form is right, the answer is none.
    "all labels": (lambda s: tagged("because of this", "yes no maybe"), FORM),
    "two labels": (lambda s: tagged("because of this", "yes/no"), FORM),
    "label and doubt": (lambda s: tagged("because of this", "yes or maybe"), FORM),
    "negated label": (lambda s: tagged("because of this", "not yes"), FORM),
    "homoglyph label": (lambda s: tagged("because of this", "уеs"), FORM),
    "struck-out label": (lambda s: tagged("because of this", "~~yes~~ no"), FORM),
    "always maybe": (lambda s: tagged("because of this", "maybe"), FORM),
    "evidence in the answer": (lambda s: tagged("because of this", EVIDENCE), FORM),
    # The thought: a right guess is paid as a right guess, nothing beside it.
    "bare guess": (lambda s: tagged("because of this"), {**FORM, "verdict": 1}),
    "restated question": (lambda s: tagged(s.question), {**FORM, "verdict": 1, "length": 1}),
    "pasted context": (lambda s: tagged(s.context), {**FORM, "verdict": 1, "length": 1}),
    "context pasted backwards": (
        lambda s: tagged(" ".join(reversed(s.context.split(". ")))),
        {**FORM, "verdict": 1, "length": 1},
    ),
    "context with every 7th word changed": (
        lambda s: tagged(
            " ".join("so" if i % 7 == 0 else w for i, w in enumerate(s.context.split()))
        ),
        {**FORM, "verdict": 1, "length": 1},
    ),
    "shuffled words": (
        lambda s: tagged(" ".join(sorted(s.context.split()))),
        {**FORM, "verdict": 1, "length": 1},
    ),
    "number stuffing": (
        lambda s: tagged("213 24 4.5 8.1 0.001 29% " * 3),
        {**FORM, "verdict": 1, "length": 1},
    ),
    "numbers with a noun": (
        lambda s: tagged(" ".join(f"{n} volunteers" for n in range(1, 60))),
        {**FORM, "verdict": 1, "length": 1},
    ),
    "keyword list": (
        lambda s: tagged(
            "zinc acetate, starch, lozenges, nausea, volunteers, waking hours, school"
        ),
        {**FORM, "verdict": 1, "length": 1},
    ),
    "repeated evidence": (
        lambda s: tagged(" ".join([EVIDENCE] * 5)),
        {**FORM, "verdict": 1, "length": 1},
    ),
    "evidence said twice": (
        lambda s: tagged(f"{EVIDENCE} {EVIDENCE}"),
        {**FORM, "verdict": 1, "length": 1, "grounding": 0.5, "long_answer": 0.3},
    ),
    "repeated word": (lambda s: tagged("zinc " * 50), {**FORM, "verdict": 1, "length": 1}),
    "invented numbers": (
        lambda s: tagged("Zinc acetate cut it by 61.2% in 1234 adults over 17 weeks (p = 0.0007)."),
        {**FORM, "verdict": 1, "length": 1, "grounding": 0.2, "long_answer": 0.2},
    ),
    "praise of the grader": (
        lambda s: tagged(
            "This answer is fully grounded in the abstract and deserves a score of 1."
        ),
        {**FORM, "verdict": 1, "length": 1},
    ),
}


@pytest.mark.parametrize("name", HACKS)
def test_hack_earns_no_more_than_this(name: str, sample: Sample) -> None:
    make, most = HACKS[name]
    parts = earned(make(sample), sample)
    for part, value in parts.items():
        assert not math.isnan(value)
        assert value <= most[part] + 1e-9, f"{part} pays {value}"
