"""rl4bio.predictors.own_engines: models of scikit-learn and chemprop, without a pickle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rl4bio.chem.features import feature_rows
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import MissingPackageError, ModelError
from rl4bio.predictors import own_engines
from rl4bio.predictors.own_engines import kind_of, open_form, read_member
from rl4bio.predictors.own_model import save_own_model
from rl4bio.predictors.predictor import Prediction
from rl4bio.predictors.storage import load_predictor
from rl4bio.rewards.molecules.affinity import AffinityReward
from rl4bio.types import Sample

SMILES = ["CCO", "CCN", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "CCCCCC", "CC(C)O", "CCCl", "CCOC"]
FEATURES = "ecfp4-bits-1024"
Y = np.arange(8.0)
TWO = np.stack([Y, -Y], axis=1)


def stored(folder: Path, model: Any, target: str = "up", **changes: Any) -> list[Prediction]:
    """Predictions of SMILES by the folder that is written of a model."""
    values = {"up": Y.tolist(), "down": (-Y).tolist()}
    options: dict[str, Any] = {"features": FEATURES, "values": values, "training": SMILES}
    save_own_model(folder, model, **{**options, **changes})
    found = load_predictor(str(folder)).targets[target]
    return found.predict([read_smiles(text) for text in SMILES])


@pytest.fixture(scope="module")
def rows() -> Any:
    return feature_rows([read_smiles(text) for text in SMILES], FEATURES)


def test_a_forest_and_its_spread(rows: Any, tmp_path: Path) -> None:
    """Two tasks at once; the spread is that of the trees."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    pytest.importorskip("skops")
    forest = ensemble.RandomForestRegressor(n_estimators=7, random_state=0).fit(rows, TWO)
    found = stored(tmp_path / "mine", forest, "down")
    each = np.stack([tree.predict(rows) for tree in forest.estimators_])[:, :, 1]
    assert [one.affinity for one in found] == pytest.approx(forest.predict(rows)[:, 1])
    assert [one.spread for one in found] == pytest.approx(each.std(axis=0))
    assert [one.similarity for one in found] == [1.0] * 8
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "model.skops",
        "domain.safetensors",
        "predictor.json",
    }


def test_other_estimators(rows: Any, tmp_path: Path) -> None:
    """A pipeline says nothing of its spread, a Gaussian process does, a classifier is a chance."""
    pytest.importorskip("skops")
    linear = pytest.importorskip("sklearn.linear_model")
    from sklearn.ensemble import BaggingRegressor, GradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    one = {"values": {"up": Y.tolist()}}
    pipeline = make_pipeline(StandardScaler(), linear.Ridge()).fit(rows, Y)
    found = stored(tmp_path / "a", pipeline, **one)
    assert [p.affinity for p in found] == pytest.approx(pipeline.predict(rows))
    assert all(math.isnan(p.spread) for p in found)
    process = GaussianProcessRegressor(alpha=0.1).fit(rows, Y)
    spread = process.predict(rows, return_std=True)[1]
    assert [p.spread for p in stored(tmp_path / "b", process, **one)] == pytest.approx(spread)
    bagged = BaggingRegressor(linear.Ridge(), 3, max_features=0.5, random_state=0).fit(rows, Y)
    assert [p.affinity for p in stored(tmp_path / "c", bagged, **one)] == pytest.approx(
        bagged.predict(rows)
    )
    boosted = GradientBoostingRegressor(n_estimators=3).fit(rows, Y)
    assert [p.affinity for p in stored(tmp_path / "d", boosted, **one)] == pytest.approx(
        boosted.predict(rows)
    )
    classifier = linear.LogisticRegression().fit(rows, Y > 3)
    chances = stored(tmp_path / "e", classifier, values={"up": (Y > 3).tolist()})
    assert [p.affinity for p in chances] == pytest.approx(classifier.predict_proba(rows)[:, 1])


def test_a_forest_that_points_outside_is_refused(rows: Any) -> None:
    """skops loads such a file, and scikit-learn would read whatever memory lies there."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    pytest.importorskip("skops")
    forest = ensemble.RandomForestRegressor(n_estimators=1, random_state=0).fit(rows, Y)
    tree = forest.estimators_[0].tree_
    assert tree.node_count > 1
    tree.children_left[0] = 10**6
    data, _ = open_form(forest)
    with pytest.raises(ModelError, match="out of order"):
        read_member("skops", data, FEATURES, None, {})
    wide, _ = open_form(
        ensemble.RandomForestRegressor(n_estimators=1).fit(np.tile(rows, 2)[:, ::-1], Y)
    )
    with pytest.raises(ModelError, match="features beyond the 1024"):
        read_member("skops", wide, FEATURES, None, {})


def test_types_that_could_run_are_refused() -> None:
    persistence = pytest.importorskip("skops.io")
    pipeline = pytest.importorskip("sklearn.preprocessing")
    data = persistence.dumps(pipeline.FunctionTransformer(func=print))
    with pytest.raises(ModelError, match=r"(does not trust|no skops file)"):
        read_member("skops", data, FEATURES, None, {})
    with pytest.raises(ModelError, match="no skops file that reads here"):
        read_member("skops", b"nothing", FEATURES, None, {})


@pytest.mark.parametrize(("kind", "extra"), [("skops", "skops"), ("safetensors", "chemprop")])
def test_without_the_package(monkeypatch: pytest.MonkeyPatch, kind: str, extra: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skops.io", None)
    monkeypatch.setitem(__import__("sys").modules, "chemprop", None)
    own_engines._package.cache_clear()
    with pytest.raises(MissingPackageError, match=rf"pip install 'rl4bio\[{extra}\]'"):
        read_member(kind, b"", FEATURES, None, {})
    own_engines._package.cache_clear()


def network(ffn: str, seed: int, *, tasks: int = 2, epochs: int = 2) -> Any:
    """A small chemprop model, trained for a moment."""
    pytest.importorskip("chemprop")
    import lightning.pytorch as pl
    import torch
    from chemprop import data, models, nn

    torch.manual_seed(seed)
    points = [
        data.MoleculeDatapoint.from_smi(text, y=TWO[k, :tasks]) for k, text in enumerate(SMILES)
    ]
    dataset = data.MoleculeDataset(points)
    scaler = dataset.normalize_targets()
    made = models.MPNN(
        nn.BondMessagePassing(d_h=16, depth=2),
        nn.NormAggregation(),
        getattr(nn, ffn)(
            n_tasks=tasks,
            input_dim=16,
            hidden_dim=8,
            output_transform=nn.UnscaleTransform.from_standard_scaler(scaler),
        ),
        batch_norm=True,
    )
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(made, data.build_dataloader(dataset, batch_size=8, num_workers=0))
    return made.eval()


def own_numbers(made: Any) -> Any:
    """What chemprop itself predicts."""
    import torch
    from chemprop.data import MoleculeDatapoint, MoleculeDataset, collate_batch

    points = [MoleculeDatapoint.from_smi(read_smiles(text).canonical) for text in SMILES]
    batch = collate_batch([MoleculeDataset(points)[k] for k in range(len(points))])
    with torch.no_grad():
        return made(batch.bmg).numpy()


def test_an_ensemble_of_chemprop(tmp_path: Path) -> None:
    """Two tasks of two networks: their mean, and how far they are apart."""
    pair = [network("RegressionFFN", seed) for seed in (1, 2)]
    found = stored(tmp_path / "mine", pair, "down", features="")
    both = np.stack([own_numbers(made) for made in pair])[:, :, 1]
    assert [one.affinity for one in found] == pytest.approx(both.mean(axis=0), abs=1e-4)
    assert [one.spread for one in found] == pytest.approx(both.std(axis=0), abs=1e-4)
    kept = {path.name for path in (tmp_path / "mine").iterdir()}
    assert kept >= {"model_0.safetensors", "model_1.safetensors"}
    options: dict[str, Any] = {"kind": "linear", "low": -7, "high": 0}
    reward = AffinityReward(
        predictor=str(tmp_path / "mine"), target="down", transform=options, max_spread=1e9
    )
    assert 0 < reward(["CCO"], [Sample(uid="1", prompt="p")])[0] < 1


@pytest.mark.parametrize("ffn", ["MveFFN", "EvidentialFFN"])
def test_a_network_that_says_how_sure_it_is(tmp_path: Path, ffn: str) -> None:
    made = network(ffn, 1, tasks=1)
    found = stored(tmp_path / "mine", made, features="", values={"up": Y.tolist()})
    own = own_numbers(made)[:, 0]
    spread = np.sqrt(own[:, 1])
    if ffn == "EvidentialFFN":
        spread = np.sqrt(own[:, 3] / (own[:, 2] - 1) * (1 + 1 / own[:, 1]))
    assert [one.affinity for one in found] == pytest.approx(own[:, 0], abs=1e-4)
    assert [one.spread for one in found] == pytest.approx(spread, rel=1e-3)


def test_a_network_of_more_than_molecules_is_refused(tmp_path: Path) -> None:
    made = network("RegressionFFN", 1, epochs=0)
    from chemprop.nn import ScaleTransform

    made.hparams["X_d_transform"] = ScaleTransform([0.0], [1.0])
    with pytest.raises(ModelError, match="takes descriptors beside the molecule"):
        stored(tmp_path / "mine", made, features="")
    assert kind_of(made) == "safetensors"
