"""Tests of the combination of rewards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from rl4bio.chem.properties import heavy_atoms
from rl4bio.chem.reading import Molecule
from rl4bio.errors import ConfigError, RewardError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.molecules.base import (
    BatchMoleculeReward,
    MoleculeReward,
    TransformedReward,
)
from rl4bio.rewards.molecules.combined import CombinedReward
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

LETTERS = {"CCO": 0.25, "CCN": 1.0, "CCF": 0.0, "CCl": math.nan}
SAMPLE = Sample(uid="1", prompt="")
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@dataclass(kw_only=True)
class Table(MoleculeReward):
    """A score looked up, so that means can be worked out by hand."""

    swapped: bool = False

    def raw(self, molecule: Molecule) -> float:
        raw = LETTERS[molecule.canonical]
        return 1 - raw if self.swapped else raw


@pytest.fixture
def combined(build: Callable[..., Reward], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A combination, which may name the table above as test_table."""
    monkeypatch.setitem(REWARDS._registered, "test_table", Table)

    def combined(**options: Any) -> CombinedReward:
        made = build("combined", **options)
        assert isinstance(made, CombinedReward)
        return made

    return combined


def two(mode: str, weights: Sequence[float] = (3, 1)) -> dict[str, Any]:
    """validity, which is 1, and the table."""
    parts = [
        {"name": "validity", "weight": weights[1]},
        {"name": "test_table", "weight": weights[0]},
    ]
    return {"mode": mode, "parts": parts}


def test_means_by_hand(combined: Callable[..., CombinedReward]) -> None:
    smiles = ["CCO", "CCN", "CCF", "CCl", "C("]
    samples = [SAMPLE] * 5
    # (3 * 0.25 + 1) / 4; the chloride has no score, so validity stands alone.
    assert combined(**two("arithmetic"))(smiles, samples) == [0.4375, 1, 0.25, 1, 0]
    # 0.25^(3/4) * 1^(1/4); a score of 0 counts as 1e-8: 1e-8^(3/4) = 1e-6.
    geometric = combined(**two("geometric"))(smiles, samples)
    assert geometric == pytest.approx([0.25**0.75, 1, 1e-6, 1, 0])
    assert combined(parts=[{"name": "test_table"}])(["CCl"], [SAMPLE]) == [
        pytest.approx(math.nan, nan_ok=True)
    ]


def test_weights_of_any_scale_and_none(combined: Callable[..., CombinedReward]) -> None:
    for mode in ("arithmetic", "geometric"):
        small = combined(**two(mode))(["CCO"], [SAMPLE])
        large = combined(**two(mode, (300, 100)))(["CCO"], [SAMPLE])
        assert small == pytest.approx(large)
    plain = combined(parts=[{"name": "validity"}, {"name": "test_table"}])
    assert plain(["CCO"], [SAMPLE]) == [0.625]


def test_filters_multiply(combined: Callable[..., CombinedReward]) -> None:
    smarts = {"name": "smarts", "options": {"absent": ["O"]}}
    lipinski = {"name": "test_table", "label": "half"}
    parts = [{"name": "validity"}]
    assert combined(parts=parts, filters=[smarts])(["CCO", "CCN"], [SAMPLE] * 2) == [0, 1]
    both = combined(parts=parts, filters=[smarts, lipinski])
    assert both(["CCN", "CCF", "CCO"], [SAMPLE] * 3) == [1, 0, 0]
    (unknown,) = both(["CCl"], [SAMPLE])
    assert math.isnan(unknown)


def test_raw_values_show_every_component() -> None:
    parts = [
        {"name": "qed", "weight": 2.0},
        {"name": "sa"},
        {"name": "sa", "label": "easy", "options": {"transform": {"kind": "left_step", "low": 3}}},
    ]
    options = {"parts": parts, "filters": [{"name": "pains"}]}
    scorer = WeightedRewards.from_config([RewardConfig(name="combined", options=options)])
    table = scorer([ASPIRIN, "C("], [SAMPLE] * 2)
    assert list(table.raw) == [
        f"combined.{name}"
        for key in ("qed", "sa", "easy", "pains")
        for name in (key, f"{key}_score")
    ]
    shown = {name.removeprefix("combined."): values[0] for name, values in table.raw.items()}
    assert shown["qed"] == shown["qed_score"] == pytest.approx(0.55, abs=0.01)
    assert shown["sa"] == shown["easy"] == pytest.approx(1.58, abs=0.01)
    assert shown["sa_score"] == pytest.approx((10 - shown["sa"]) / 9)
    assert (shown["easy_score"], shown["pains"], shown["pains_score"]) == (1, 0, 1)
    mean = (2 * shown["qed"] + shown["sa_score"] + 1) / 4
    assert table.parts["combined"] == [pytest.approx(mean), 0]
    assert math.isnan(table.raw["combined.sa"][1])
    assert table.raw["combined.sa_score"][1] == 0


def test_combinations_nest_and_read_the_batch(combined: Callable[..., CombinedReward]) -> None:
    inner = {"name": "combined", "options": {"parts": [{"name": "diversity"}]}}
    made = combined(parts=[inner, {"name": "validity"}])
    assert made(["CCO", "OCC"], [SAMPLE] * 2) == [0.5, 0.5]
    assert set(made.raw_values(["CCO"], [SAMPLE])) == {
        ".combined.diversity",
        ".combined.diversity_score",
        ".combined_score",
        ".validity",
        ".validity_score",
    }


def test_limits_hold_for_the_parts(combined: Callable[..., CombinedReward]) -> None:
    made = combined(parts=[{"name": "qed"}], max_heavy_atoms=4, max_fragments=1)
    assert made(["CCCCC", "C.C"], [SAMPLE] * 2) == [0, 0]
    assert made.raw_values(["CCCCC"], [SAMPLE])[".qed_score"] == [0]


def test_files_of_parts_are_read_first(combined: Callable[..., CombinedReward]) -> None:
    made = combined(parts=[{"name": "novelty", "options": {"file": "nowhere.smi"}}])
    with pytest.raises(Exception, match=r"nowhere.smi: cannot be read"):
        made.prepare()


@dataclass(kw_only=True)
class Engine(BatchMoleculeReward, TransformedReward):
    """Like a predictor with a domain, or an engine: asked for a batch, with columns of its own."""

    broken: bool = False

    def raws(self, molecules: Sequence[Molecule], samples: Sequence[Sample]) -> list[float]:
        if self.broken:
            raise RuntimeError("no licence")
        assert len(molecules) == len(samples)
        return [heavy_atoms(m) + 4.0 if m.valid else math.nan for m in molecules]

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        inside = [float(m.valid) for m in self.molecules(completions, samples)]
        return {**super().raw_values(completions, samples), "_domain": inside}


ENGINE = {
    "name": "test_engine",
    "options": {"transform": {"kind": "linear", "low": 5, "high": 8}},
}


def test_rewards_of_a_batch_in_tags(
    combined: Callable[..., CombinedReward], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REWARDS._registered, "test_engine", Engine)
    extra = {"kind": "design", "answer_form": "tags", "input": "CC"}
    design, question = (
        Sample(uid="1", prompt="", extra={**extra, "kind": kind}) for kind in ("design", "option")
    )
    novel = {"name": "novelty", "options": {"input": True}}
    made = combined(mode="geometric", parts=[{"name": "validity"}, ENGINE], filters=[novel])
    answers = ["CCO", "C", "CC", "C((", "CCO"]
    texts = [f"<reasoning>Why not.</reasoning><answer>{answer}</answer>" for answer in answers]
    samples = [design] * 4 + [question]
    # 3, 1 and 2 atoms give 7, 5 and 6: 2/3, 0 and 1/3 on the scale; ethane is the input.
    expected = [(2 / 3) ** 0.5, (1e-8) ** 0.5, 0, 0, math.nan]
    assert made(texts, samples) == pytest.approx(expected, nan_ok=True)
    assert made(["CCO"], [design]) == [0]  # not in its block
    raw = made.raw_values(texts, samples)
    assert raw[".test_engine"] == pytest.approx([7, 5, 6, math.nan, math.nan], nan_ok=True)
    assert raw[".test_engine_domain"] == [1, 1, 1, 0, 0]
    shares = [2 / 3, 0, 1 / 3, 0, math.nan]
    assert raw[".test_engine_score"] == pytest.approx(shares, nan_ok=True)


def test_an_error_names_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS._registered, "test_engine", Engine)
    options = {"parts": [{"name": "test_engine", "label": "docking", "options": {"broken": True}}]}
    scorer = WeightedRewards.from_config([RewardConfig(name="combined", options=options)])
    with pytest.raises(RewardError, match=r"'combined'.*'docking' raised .*no licence"):
        scorer(["CCO"], [SAMPLE])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "parts: this option is required"),
        ({"parts": []}, "parts: is empty"),
        ({"parts": [{"weight": 1}]}, r"parts\[0\].name: this option is required"),
        ({"parts": [{"name": "qde"}]}, r"\.parts\[0\].name: unknown reward 'qde'; did you mean"),
        ({"parts": [{"name": "qed", "wieght": 1}]}, r"parts\[0\].wieght: .*did you mean 'weight'"),
        ({"parts": [{"name": "qed", "weight": 0}]}, r"\.parts\[0\].weight: got 0.0"),
        ({"parts": [{"name": "qed"}, {"name": "qed"}]}, r"parts\[1\]: 'qed' is listed twice"),
        ({"parts": [{"name": "qed"}, {"name": "sa", "label": "qed_score"}]}, "is listed twice"),
        ({"parts": [{"name": "qed", "label": "a b"}]}, "label: 'a b'"),
        ({"parts": [{"name": "qed", "options": {"x": 1}}]}, r"parts\[0\].options.x: unknown"),
        ({"parts": [{"name": "tpsa"}]}, r"parts\[0\].options: tpsa has no usual direction"),
        ({"parts": [{"name": "verdict"}]}, r"parts\[0\].name: 'verdict' does not read molecules"),
        ({"parts": [{"name": "qed"}], "mode": "harmonic"}, "mode"),
        (
            {"parts": [{"name": "qed"}], "filters": [{"name": "pains", "weight": 1}]},
            r"filters\[0\].weight: unknown option",
        ),
    ],
)
def test_refused(
    options: dict[str, Any], message: str, combined: Callable[..., CombinedReward]
) -> None:
    with pytest.raises(ConfigError, match=r"^rewards\[0\].options.*" + message):
        combined(**options)
