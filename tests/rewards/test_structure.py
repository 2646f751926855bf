"""Tests of the structure reward."""

from __future__ import annotations

import pytest

from rl4bio.errors import ConfigError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.structure import StructureReward
from rl4bio.types import Sample

GOOD = "<thought>Colds were shorter.</thought><answer>yes</answer>"


def test_only_the_strict_form_pays(sample: Sample) -> None:
    reward = StructureReward()
    assert reward.score(GOOD, sample) == 1.0
    assert reward.score(GOOD + " and more", sample) == 0.0
    assert reward.score(GOOD.replace("</thought>", ""), sample) == 0.0


@pytest.mark.parametrize(
    ("completion", "credit"),
    [
        (GOOD, 1.0),
        ("Colds were shorter: yes", 0.0),
        ("<thought>Colds were", 0.2),
        ("<thought>Colds were shorter.</thought>", 0.4),
        ("<thought>Colds were shorter.</thought><answer>yes", 0.6),
        ("<thought>Colds were shorter. <answer>yes", 0.4),
        (GOOD + " Hope this helps.", 0.8),  # four right tags, not the strict form
        ("<thought></thought><answer></answer>", 0.4),  # empty blocks do not close for credit
        ("<answer>yes</answer><thought>Colds.</thought>", 0.0),  # 2 in order, 2 too many
        (GOOD + GOOD, 0.0),  # 4 in order, 4 too many
        ("<answer>yes</answer>" + GOOD, 0.4),  # 4 in order, 2 too many
        ("<thought>" * 4, 0.0),
        ("<thought>" * 5000, 0.0),
    ],
)
def test_graded_credit(completion: str, credit: float, sample: Sample) -> None:
    assert StructureReward(graded=True).score(completion, sample) == pytest.approx(credit)


def test_graded_credit_stays_below_the_strict_form(sample: Sample) -> None:
    graded, strict = StructureReward(graded=True), StructureReward()
    tags = ["<thought>", "</thought>", "<answer>", "</answer>"]
    for a in tags:
        for b in tags:
            for c in tags:
                for d in tags:
                    text = f"{a} so it is {b} then {c} yes {d}"
                    if strict.score(text, sample) == 0:
                        assert graded.score(text, sample) <= 0.8


def test_names_of_the_tags_are_an_option(sample: Sample) -> None:
    text = "<reasoning>Colds were shorter.</reasoning><answer>yes</answer>"
    assert StructureReward(tags=["reasoning", "answer"]).score(text, sample) == 1.0
    with pytest.raises(ConfigError, match=r"rewards\[0\].options.tags: .*two different names"):
        REWARDS.build("structure", {"tags": ["a", "a"]}, where="rewards[0]")
