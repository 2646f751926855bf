"""Tests of the 50/40/10 mix, and of the mixes that the documentation shows."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl4bio.errors import ConfigError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.medical_mix import MedicalMixReward
from rl4bio.rewards.structure import StructureReward
from rl4bio.types import Sample

GUIDE = Path(__file__).resolve().parents[2] / "docs/medical_rewards.md"
FORMED = "<reasoning>because of it</reasoning><answer>Zinc made colds shorter.</answer>"


@dataclasses.dataclass
class Constant(Reward):
    value: float

    def score(self, completion: str, sample: Sample) -> float:
        return self.value

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        return {"_detail": [7.0] * len(completions)}


def made(semantic: float, perplexity: float, **options: Any) -> MedicalMixReward:
    mix = MedicalMixReward(**options)
    mix._parts |= {"semantic": Constant(semantic), "perplexity": Constant(perplexity)}
    return mix


def test_half_four_tenths_and_one_tenth(sample: Sample) -> None:
    # 0.5 * 0.8 + 0.4 * 0.25 + 0.1 * 1 = 0.6
    assert made(0.8, 0.25)([FORMED], [sample]) == pytest.approx([0.6])
    assert made(1.0, 1.0)([FORMED], [sample]) == pytest.approx([1.0])
    assert made(0.0, 0.0)([FORMED], [sample]) == pytest.approx([0.1])
    mix = made(0.8, 0.25, semantic_share=0.2, perplexity_share=0.3, tags_share=0.5)
    assert mix([FORMED], [sample]) == pytest.approx([0.735])


NO_ANSWER = {
    "empty": "",
    "no tags": "Zinc made colds shorter.",
    "unclosed": "<reasoning>because of it</reasoning><answer>Zinc made colds shorter.",
    "empty answer": "<reasoning>because of it</reasoning><answer> </answer>",
    "other order": "<answer>Zinc made colds shorter.</answer><reasoning>because</reasoning>",
    "pages behind the answer": FORMED + " And so on." * 100,
    "two answers": FORMED + "<answer>Zinc made colds longer.</answer>",
}


@pytest.mark.parametrize("name", NO_ANSWER)
def test_minus_one_without_an_answer(name: str, sample: Sample) -> None:
    assert made(1.0, 1.0)([NO_ANSWER[name], FORMED], [sample] * 2) == pytest.approx([-1.0, 1.0])


def test_not_scored_without_a_reference(sample: Sample) -> None:
    assert math.isnan(made(math.nan, 1.0)([FORMED], [sample])[0])


def test_raw_values_are_the_parts_and_theirs(sample: Sample) -> None:
    raw = made(0.8, 0.25).raw_values([FORMED], [sample])
    assert raw == {
        ".semantic_score": [0.8],
        ".perplexity_score": [0.25],
        ".tags_score": [1.0],
        ".semantic_detail": [7.0],
        ".perplexity_detail": [7.0],
    }


def test_options_reach_the_parts(sample: Sample, tiny_policy_folder: Path) -> None:
    options = {
        "tags": ["think", "answer"],
        "semantic": {"kind": "cross_encoder", "model": "some/model"},
        "perplexity": {"model": str(tiny_policy_folder), "device": "cpu", "good": 1, "bad": 1e20},
    }
    mix = REWARDS.build("medical_mix", options, where="rewards[0]")
    assert isinstance(mix, MedicalMixReward)
    assert [getattr(p, "tags", None) for p in mix._parts.values()] == [["think", "answer"]] * 3
    mix._parts["semantic"] = Constant(1.0)
    text = "<think>because of it</think><answer>Zinc acetate lozenges made colds shorter.</answer>"
    (value,) = mix([text], [sample])
    assert 0.6 < value < 1.0  # 0.5 + 0.1 + 0.4 * the tiny model's


def test_what_is_refused() -> None:
    for options, message in (
        ({"tags_share": 0.2}, r"rewards\[0\].options: semantic_share, .* add up to 1"),
        ({"tags_share": -0.4, "semantic_share": 1.0}, "at least 0"),
        ({"semantic": {"modle": "x"}}, r"rewards\[0\].options.semantic.modle: unknown option"),
        ({"perplexity": {"good": 9, "bad": 3}}, r"rewards\[0\].options.perplexity: good, bad"),
        ({"tags": ["one"]}, "tags: got"),
    ):
        with pytest.raises(ConfigError, match=message):
            REWARDS.build("medical_mix", options, where="rewards[0]")


def test_tags_is_the_structure_reward(sample: Sample) -> None:
    reward = REWARDS.build("tags", {"tags": ["reasoning", "answer"], "graded": True})
    assert isinstance(reward, StructureReward)
    assert reward([FORMED, FORMED[:-9]], [sample] * 2) == pytest.approx([1.0, 0.6])


def blocks() -> list[Any]:
    return [
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.S)
    ]


def test_the_mixes_of_the_guide_build() -> None:
    found = blocks()
    assert len(found) == 4
    for block in found:
        for index, entry in enumerate(block["rewards"]):
            where = f"rewards[{index}]"
            REWARDS.build(entry["name"], entry.get("options", {}), where=where)


def test_the_advised_mix_pays_a_right_verdict_more_than_any_wrong_one(sample: Sample) -> None:
    entries = blocks()[1]["rewards"]
    weights = {entry["name"]: entry["weight"] for entry in entries}
    assert weights["verdict"] > sum(
        w for n, w in weights.items() if n in ("grounding", "structure")
    )
    rewards = {e["name"]: REWARDS.build(e["name"], e.get("options", {})) for e in entries}
    rewards["semantic"]._similarity = lambda pairs: [  # type: ignore[attr-defined]
        0.5 if text == sample.question else 1.0 for text, _ in pairs
    ]
    mix = WeightedRewards(rewards=rewards, weights=weights)
    evidence = "Symptoms ended after 4.5 days with zinc acetate and 8.1 days with starch."
    right = "<thought>So it seems to me.</thought><answer>yes</answer>"
    wrong = f"<thought>{evidence} {sample.reference}</thought><answer>no</answer>"
    low, high = mix([wrong, right], [sample] * 2).total
    assert low < high
