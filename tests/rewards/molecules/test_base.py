"""Tests of what molecule rewards have in common: limits, answers in tags, other tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from rl4bio.answers.kinds import asks_for_molecule
from rl4bio.chem.reading import Molecule
from rl4bio.errors import ConfigError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.rewards.molecules.base import BatchMoleculeReward, input_molecule
from rl4bio.types import Sample

OPTIONS: dict[str, dict[str, Any]] = {
    "logp": {"low": 1, "high": 3},
    "tpsa": {"low": 40, "high": 90},
    "molecular_weight": {"low": 250, "high": 450},
    "similarity": {"reference": "CCO"},
    "novelty": {"smiles": ["CCO"]},
    "smarts": {"present": ["C"]},
    "combined": {"parts": [{"name": "qed"}]},
}
"""Of the rewards that need some."""
OUTSIDE = {"affinity", "external"}
"""They need a predictor or an engine."""
READERS = [n for n in REWARDS.names() if n not in OUTSIDE and REWARDS.get(n).reads_molecules]


def sample(**extra: Any) -> Sample:
    return Sample(uid="7", prompt="", extra=extra)


def tagged(answer: str) -> str:
    return f"<reasoning>A ring less.</reasoning>\n<answer>{answer}</answer><end_of_turn>"


def test_samples_that_ask_for_molecules() -> None:
    kinds = ("design", "option", "bin", "reactants")
    assert [kind for kind in kinds if asks_for_molecule(sample(kind=kind))] == ["design"]
    assert asks_for_molecule(sample(prefix="C"))


@pytest.mark.parametrize("name", READERS)
def test_rows_of_other_tasks_have_no_score_and_change_no_other_row(
    name: str, build: Callable[..., Reward]
) -> None:
    reward = build(name, **OPTIONS.get(name, {}))
    design, other = sample(kind="design", answer_form="plain"), sample(kind="reactants")
    smiles = ["CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1O"]
    alone = reward(smiles, [design] * 2)
    # Between them the same molecules, as answers to a question about reactants, and a letter.
    texts = [smiles[0], smiles[0], "(A)", smiles[1]]
    samples = [design, other, sample(kind="option"), design]
    mixed = reward(texts, samples)
    assert [mixed[0], mixed[3]] == pytest.approx(alone)
    assert math.isnan(mixed[1])
    assert math.isnan(mixed[2])
    for suffix, raws in reward.raw_values(texts, samples).items():
        expected = [math.nan] * 2
        assert raws[1:3] == pytest.approx(expected, nan_ok=True), suffix


def test_answers_in_tags_are_read(build: Callable[..., Reward]) -> None:
    qed = build("qed")
    aspirin = "CC(=O)Oc1ccccc1C(=O)O"
    in_tags = sample(kind="design", answer_form="tags")
    (plain,) = qed([aspirin], [sample(kind="design", answer_form="plain")])
    assert qed([tagged(aspirin), aspirin, tagged(aspirin) * 2], [in_tags] * 3) == [plain, 0, 0]


def test_fewer_atoms_than_the_least_are_no_molecule(build: Callable[..., Reward]) -> None:
    reward: Any = build("validity", min_heavy_atoms=4, max_heavy_atoms=5)
    smiles = ["CCC", "CCCC", "CCCCC", "CCCCCC", "[H]C([H])C", "C("]
    samples = [sample()] * len(smiles)
    assert reward(smiles, samples) == [0, 1, 1, 0, 0, 0]
    assert [m.reason for m in reward.molecules(smiles, samples)] == [
        "too few atoms", "", "", "too many atoms", "too few atoms", "syntax",
    ]  # fmt: skip
    # The limit reaches the parts of a combination, however deep.
    inner = {"name": "combined", "options": {"parts": [{"name": "validity", "label": "v"}]}}
    combined = build("combined", parts=[inner], min_heavy_atoms=4)
    assert combined(["CCC", "CCCC"], [sample()] * 2) == [0, 1]
    assert combined.raw_values(["CCC"], [sample()])[".combined_score"] == [0]
    with pytest.raises(ConfigError, match="min_heavy_atoms: got 0, needs at least 1"):
        build("validity", min_heavy_atoms=0)


def test_a_raw_value_that_is_unknown_is_no_score_in_a_batch_either() -> None:
    @dataclass(kw_only=True)
    class Unknown(BatchMoleculeReward):
        def raws(self, molecules: Sequence[Molecule], samples: Sequence[Sample]) -> list[float]:
            return [math.nan if m.valid and "N" in m.canonical else 0.5 for m in molecules]

        def value(self, raw: float) -> float:
            assert not math.isnan(raw)
            return raw

    found = Unknown()(["CCO", "CCN", "C("], [sample()] * 3)
    assert found == pytest.approx([0.5, math.nan, 0], nan_ok=True)


def test_the_input_of_a_sample() -> None:
    found = input_molecule(sample(input="OCC"))
    assert found is not None
    assert found.canonical == "CCO"
    assert input_molecule(sample(input="")) is None
    with pytest.raises(ValueError, match=r"sample 7: input 'C\(\(' is no SMILES \(syntax\)"):
        input_molecule(sample(input="C(("))
    with pytest.raises(ValueError, match="sample 7: this corpus has no input molecules"):
        input_molecule(sample(prefix="C"))
