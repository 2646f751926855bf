"""The mixes that docs/therapeutics_rewards.md recommends, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl4bio.answers.kinds import asks_for_molecule
from rl4bio.rewards import REWARDS
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

TEXT = (Path(__file__).parents[2] / "docs/therapeutics_rewards.md").read_text(encoding="utf-8")
MIXES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]


def build(mix: dict[str, Any]) -> WeightedRewards:
    """The mix; a predictor, which is a file, is replaced by drug-likeness."""
    configs = [RewardConfig(**entry) for entry in mix["rewards"]]
    for config in configs:
        for part in config.options.get("parts", []):
            if part["name"] == "affinity":
                assert part.pop("options") == {"predictor": "rl4bio:affinity-egfr"}
                part["name"] = "qed"
    return WeightedRewards.from_config(configs)


def test_two_mixes_and_the_rewards_of_the_table() -> None:
    assert len(MIXES) == 2
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {"option", "bin", "reactants", "combined"} <= names & set(REWARDS.names())


def test_every_mix_scores_what_it_is_for() -> None:
    tagged = "<reasoning>By its rings.</reasoning><answer>{}</answer>"
    options = {"options": {"A": "no", "B": "yes"}, "class_share": {"A": 0.24, "B": 0.76}}
    cases: list[tuple[str, str, str | None, dict[str, Any]]] = [
        ("option", "(A)", "A", options),
        ("bin", "645", "645", {"constant": {"bin": 645, "mae": 159.0}}),
        ("reactants", "CO.CN", "CN.CO", {}),
    ]
    questions, design = (build(mix) for mix in MIXES)
    for kind, answer, target, more in cases:
        extra = {"kind": kind, "answer_form": "tags", "input": "", **more}
        sample = Sample(uid="1", prompt="", target=target, extra=extra)
        table = questions([tagged.format(answer), answer], [sample] * 2)
        nothing = -1 if kind == "bin" else 0
        assert table.total == [pytest.approx(1.2), nothing], kind
        assert not asks_for_molecule(sample)
    given = "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC"
    extra = {"kind": "design", "answer_form": "tags", "input": given}
    sample = Sample(uid="1", prompt="", extra=extra)
    analogue = "COCCOc1cc2ncnc(Nc3cccc(C#N)c3)c2cc1OC"
    table = design([tagged.format(analogue), tagged.format(given), "C"], [sample] * 3)
    assert table.total[0] > 0.8
    assert table.total[1:] == [0.2, 0]
