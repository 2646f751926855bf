"""The affinity reward: the predictor's number, transformed, times its domain's factor."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rl4bio.chem.features import FEATURE_SETS, domain_bits
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import ConfigError, ModelError
from rl4bio.predictors.forest import ForestBuilder
from rl4bio.predictors.predictor import Prediction, Target, nearest_tanimoto
from rl4bio.predictors.storage import save_predictor
from rl4bio.rewards.base import Reward
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.molecules.affinity import AffinityReward
from rl4bio.rewards.molecules.transforms import Sigmoid
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

WIDTH = FEATURE_SETS["counts-1"][0]
KNOWN = ("CCCCCCCCO", "c1ccccc1")
SHIPPED = "rl4bio:affinity-egfr"
Rewarded = Callable[..., list[float]]


def by_size(small: float, large: float) -> Target:
    """Two members, 1 apart: `small` in the mean up to four heavy atoms, else `large`."""
    builder = ForestBuilder(WIDTH)
    for shift in (-0.5, 0.5):
        builder.add_member(
            [
                {
                    "split_feature": WIDTH - 11,  # heavy atoms
                    "threshold": 4.5,
                    "decision_type": "<=",
                    "missing_type": "None",
                    "left_child": {"leaf_value": small + shift},
                    "right_child": {"leaf_value": large + shift},
                }
            ]
        )
    return Target(
        features="counts-1",
        forest=builder.build(),
        domain=domain_bits([read_smiles(text) for text in KNOWN]),
        low=4.0,
        high=9.0,
    )


@pytest.fixture
def stored(tmp_path: Path) -> str:
    folder = tmp_path / "predictor"
    save_predictor(folder, {"egfr": by_size(5.0, 7.0)}, card="", report={})
    return str(folder)


def test_value_is_the_transform_times_the_factor(stored: str, rewards_of: Rewarded) -> None:
    # Known molecules are in the domain. pIC50 7 is 0.5 above the middle of 5 and 8.
    inside = Sigmoid(low=5, high=8)(7.0)
    assert rewards_of("affinity", KNOWN, predictor=stored) == [inside, inside]
    assert inside == pytest.approx(1 / (1 + 10 ** -(5 * 0.5 / 3)))
    # A linear transform, and a molecule half in: its similarity is the middle of the bounds.
    (near,) = nearest_tanimoto(
        domain_bits([read_smiles("CCCCCO")]), domain_bits([read_smiles(text) for text in KNOWN])
    )
    assert 0.05 < near < 0.95
    options = {
        "predictor": stored,
        "transform": {"kind": "linear", "low": 6, "high": 8},
        "domain_low": float(near) - 0.05,
        "domain_high": float(near) + 0.05,
    }
    assert rewards_of("affinity", ["CCCCCO", *KNOWN], **options) == pytest.approx([0.25, 0.5, 0.5])


def test_what_is_no_molecule_and_what_is_unknown_earn_nothing(
    stored: str, rewards_of: Rewarded
) -> None:
    foreign = "FC(F)(F)S(F)(F)(F)(F)F"
    found = rewards_of("affinity", ["C1CC", "", foreign, "CCO I think"], predictor=stored)
    assert found == [0, 0, 0, 0]
    # Without the factor the unknown one would be worth as much as any other of its size.
    free = {"predictor": stored, "domain_low": 0.0, "domain_high": 0.0}
    assert rewards_of("affinity", [foreign, KNOWN[0]], **free)[0] == pytest.approx(0.873, abs=1e-3)


@pytest.mark.parametrize(
    ("similarity", "spread", "factor"),
    [(0.2, 0, 0), (0.3, 0, 0), (0.35, 0, 0.25), (0.5, 0, 1), (1, 0.8, 1), (1, 0.81, 0)],
)
def test_the_factor_by_hand(similarity: float, spread: float, factor: float, stored: str) -> None:
    reward = AffinityReward(predictor=stored, domain_low=0.3, domain_high=0.5, max_spread=0.8)
    found = reward.factor(Prediction(affinity=7, spread=spread, similarity=similarity))
    assert found == pytest.approx(factor)


def test_a_step_where_the_bounds_are_equal(stored: str) -> None:
    reward = AffinityReward(predictor=stored, domain_low=0.4, domain_high=0.4)
    made = [Prediction(affinity=7, spread=0, similarity=s) for s in (0.39, 0.4, 0.41)]
    assert [reward.factor(one) for one in made] == [0, 1, 1]


def test_an_ensemble_that_disagrees_earns_nothing(stored: str, rewards_of: Rewarded) -> None:
    # Members are at 6.5 and 7.5: a standard deviation of 0.5.
    assert rewards_of("affinity", KNOWN[:1], predictor=stored, max_spread=0.5)[0] > 0
    assert rewards_of("affinity", KNOWN[:1], predictor=stored, max_spread=0.49) == [0]


def test_a_training_molecule_may_be_refused(rewards_of: Rewarded, stored: str) -> None:
    # A training molecule has a similarity of 1 to itself.
    assert rewards_of("affinity", KNOWN[:1], predictor=stored, max_similarity=1.0)[0] > 0
    assert rewards_of("affinity", KNOWN[:1], predictor=stored, max_similarity=0.99) == [0]


def test_raw_values(stored: str, build: Callable[..., Reward]) -> None:
    reward = build("affinity", predictor=stored)
    raw = reward.raw_values(["CC", "C(", KNOWN[0]], [Sample(uid="1", prompt="")] * 3)
    assert list(raw) == ["", "_similarity", "_spread", "_domain"]
    assert [values[2] for values in raw.values()] == [7, 1, 0.5, 1]
    assert raw[""][0] == 5
    assert all(math.isnan(values[1]) for values in raw.values())


def test_alone_or_in_a_batch_and_in_any_order(rewards_of: Rewarded) -> None:
    texts = ["Nc1ncnc2ccccc12", "c1ccc(Nc2ncnc3ccccc23)cc1", "CCO", "OCC", "C1"]
    batch = rewards_of("affinity", texts, predictor=SHIPPED)
    assert batch == [rewards_of("affinity", [text], predictor=SHIPPED)[0] for text in texts]
    assert batch[::-1] == rewards_of("affinity", texts[::-1], predictor=SHIPPED)
    assert batch[1] > batch[2] == batch[3]


def test_each_molecule_is_predicted_once(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    predict = Target.predict

    def recorded(self: Target, molecules: Any) -> list[Prediction]:
        asked.append([molecule.canonical for molecule in molecules])
        return predict(self, molecules)

    reward = AffinityReward(predictor=stored)
    reward.prepare()
    monkeypatch.setattr(Target, "predict", recorded)
    samples = [Sample(uid="1", prompt="")] * 4
    texts = ["CCCCCCN", "NCCCCCC", "CCCCCCF", "C("]
    reward(texts, samples)
    reward.raw_values(texts, samples)
    reward(texts, samples)
    assert [one for one in asked if one] == [["CCCCCCN", "CCCCCCF"]]


def test_a_predictor_that_was_replaced_in_between_is_another(tmp_path: Path) -> None:
    values = []
    for name, large in (("a", 7.0), ("b", 8.0)):
        save_predictor(tmp_path / name, {"x": by_size(5.0, large)}, card="", report={})
        reward = AffinityReward(predictor=str(tmp_path / name))
        values += [reward.raw(read_smiles(KNOWN[0]))]
    assert values == [7, 8]  # a memo under one key would give the first twice


def test_several_targets_need_a_name(tmp_path: Path, build: Callable[..., Reward]) -> None:
    folder = str(tmp_path / "p")
    targets = {"egfr": by_size(5.0, 7.0), "bace": by_size(5.0, 8.0)}
    save_predictor(Path(folder), targets, card="", report={})
    bace = build("affinity", predictor=folder, target="bace")
    egfr = build("affinity", predictor=folder, target="egfr")
    molecule = read_smiles(KNOWN[0])
    assert [bace.raw(molecule), egfr.raw(molecule)] == [8, 7]  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"target: .* predicts egfr, bace; name one of them"):
        build("affinity", predictor=folder).prepare()
    with pytest.raises(ConfigError, match="does not predict 'bce'; did you mean 'bace'"):
        build("affinity", predictor=folder, target="bce").prepare()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain_low": 0.6}, r"options\.domain_low: got 0\.6 with domain_high 0\.5"),
        ({"domain_high": 1.5}, "needs 0 <= domain_low <= domain_high <= 1"),
        ({"domain_low": -0.1}, "domain_low: got -0.1"),
        ({"max_spread": 0}, r"options\.max_spread: got 0"),
        ({"max_similarity": 0.4}, r"options\.max_similarity: got 0\.4"),
        ({"transform": {"kind": "sgmoid"}}, "did you mean 'sigmoid'"),
        ({"tagret": "egfr"}, "did you mean 'target'"),
    ],
)
def test_options_are_checked_at_construction(
    options: dict[str, Any], message: str, build: Callable[..., Reward]
) -> None:
    with pytest.raises(ConfigError, match=message):
        build("affinity", predictor=SHIPPED, **options)


def test_a_missing_predictor_is_found_before_the_first_prompt(
    tmp_path: Path, build: Callable[..., Reward]
) -> None:
    with pytest.raises(ConfigError, match=r"options\.predictor: this option is required"):
        build("affinity")
    with pytest.raises(ConfigError, match=r"options\.predictor: .*did you mean 'affinity-egfr'"):
        build("affinity", predictor="rl4bio:afinity-egfr")
    with pytest.raises(ModelError, match=r"predictor: .*; give one that `rl4bio affinity` wrote"):
        build("affinity", predictor=str(tmp_path)).prepare()
    (tmp_path / "forest.pkl").write_bytes(b"")
    with pytest.raises(ModelError, match=r"predictor: .*forest\.pkl: refused: a pickle"):
        build("affinity", predictor=str(tmp_path / "forest.pkl")).prepare()


def test_as_a_part_of_a_geometric_mean() -> None:
    part = {"name": "affinity", "options": {"predictor": SHIPPED}}
    options = {"mode": "geometric", "parts": [part, {"name": "sa"}]}
    texts = ["COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1", "CCO", "C1"]
    scorer = WeightedRewards.from_config([RewardConfig(name="combined", options=options)])
    table = scorer(texts, [Sample(uid="1", prompt="")] * 3)
    raw = {name.removeprefix("combined."): values for name, values in table.raw.items()}
    shares = np.array([raw["affinity_score"], raw["sa_score"]])[:, 0]
    assert table.total[0] == pytest.approx(math.sqrt(shares.prod()))
    assert table.total[0] > 0.7
    assert table.total[1] < 1e-3  # ethanol is out of the domain: 0 counts as 1e-8
    assert table.total[2] == 0
    assert raw["affinity_similarity"][0] == 1
