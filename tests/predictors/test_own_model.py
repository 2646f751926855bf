"""rl4bio.predictors.own_model: a model of one's own as the predictor of a reward."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from rl4bio.chem.features import MORGAN, feature_rows
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import DataError, MissingPackageError, ModelError
from rl4bio.predictors import own_engines, own_model
from rl4bio.predictors.own_model import save_own_model
from rl4bio.predictors.storage import load_predictor, read_predictor
from rl4bio.rewards.molecules.affinity import AffinityReward
from rl4bio.types import Sample

SMILES = ["CCO", "CCN", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "CCCCCC", "CC(C)O"]
FEATURES = "ecfp4-bits-1024"


def test_the_fingerprints_are_those_of_rdkit() -> None:
    for name, (radius, bits) in MORGAN.items():
        made = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
        mol = Chem.MolFromSmiles(SMILES[3])
        wanted = made.GetFingerprintAsNumPy(mol)
        if "counts" in name:
            wanted = made.GetCountFingerprintAsNumPy(mol)
        assert (feature_rows([read_smiles(SMILES[3])], name)[0] == wanted).all()


@pytest.fixture(scope="module")
def linear() -> tuple[Any, bytes]:
    """Two targets at once: the sum of the bits, and its negative."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    weights = np.stack([np.ones(1024), -np.ones(1024)], axis=1).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1024])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    return onnx, helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def write(folder: Path, model: bytes, **changes: Any) -> Path:
    values = {"up": [1.0, 2, 3, 4, 5, 6], "down": [-1.0, -2, -3, -4, -5, -6]}
    options = {"features": FEATURES, "training": SMILES, "values": values, "unit": "bits"}
    save_own_model(folder, model, **{**options, **changes})
    return folder


def test_a_reward_of_it(linear: tuple[Any, bytes], tmp_path: Path) -> None:
    """Of a training molecule: the number of its bits, at similarity 1, between the bounds."""
    folder = write(tmp_path / "mine", linear[1])
    bits = float(feature_rows([read_smiles("CCO")], FEATURES).sum())
    reward = AffinityReward(
        predictor=str(folder),
        target="up",
        transform={"kind": "linear", "low": 0, "high": 2 * bits},
    )
    sample = Sample(uid="1", prompt="p")
    assert reward(["CCO", "no molecule"], [sample] * 2) == pytest.approx([0.5, 0.0])
    raw = reward.raw_values(["CCO", "[Na+].CC[O-]"], [sample] * 2)
    assert raw[""] == [bits, bits]  # of a salt the parent
    assert raw["_similarity"] == [1.0, 1.0]
    assert math.isnan(raw["_spread"][0])
    target = load_predictor(str(folder)).targets["down"]
    assert target.unit == "bits"
    assert target.predict([read_smiles("CCO")])[0].affinity == -bits


def test_far_molecules_are_outside_the_domain(linear: tuple[Any, bytes], tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", linear[1])
    options: dict[str, Any] = {"kind": "linear", "low": 0, "high": 1}
    reward = AffinityReward(predictor=str(folder), target="up", transform=options)
    assert reward(["FC(F)(F)S(=O)(=O)Br"], [Sample(uid="1", prompt="p")]) == [0.0]


@pytest.mark.parametrize("damage", ["other numbers", "no description", "no model", "no domain"])
def test_a_damaged_folder_is_refused(
    linear: tuple[Any, bytes], tmp_path: Path, damage: str
) -> None:
    folder = write(tmp_path / "mine", linear[1])
    if damage == "other numbers":
        path = folder / own_model.DESCRIPTION
        document = json.loads(path.read_text())
        document["targets"]["up"]["probe_values"][0] += 1
        path.write_text(json.dumps(document))
    elif damage == "no model":
        (folder / own_model.MODEL).write_bytes(b"no onnx")
    else:
        gone = own_model.DESCRIPTION if damage == "no description" else own_model.DOMAIN
        (folder / gone).unlink()
    with pytest.raises(ModelError) as raised:
        read_predictor(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"features": "ecfp4-bits-2048"}, ModelError, "does not run on ecfp4-bits-2048"),
        ({"features": "mine"}, ModelError, "features: unknown 'mine'"),
        ({"output": "z"}, ModelError, "has no such output"),
        ({"columns": {"up": 0, "down": 7}}, ModelError, "has no such output"),
        ({"training": ["C(", *SMILES[1:]]}, DataError, "'C(' is no SMILES"),
        ({"values": {"up": [1.0]}}, DataError, "values of up: 1 for 6 molecules"),
    ],
)
def test_what_does_not_fit(
    linear: tuple[Any, bytes],
    tmp_path: Path,
    changes: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error) as raised:
        write(tmp_path / "mine", linear[1], **changes)
    assert said in str(raised.value)
    assert not (tmp_path / "mine").exists()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    own_engines._package.cache_clear()
    with pytest.raises(MissingPackageError, match=r"rl4bio\[onnx\]"):
        write(tmp_path / "mine", b"")


def test_an_ensemble_says_how_far_it_disagrees(linear: tuple[Any, bytes], tmp_path: Path) -> None:
    """Of the sum of n bits and of its negative: mean 0, standard deviation n."""
    onnx, plus = linear
    graph = onnx.load_from_string(plus)
    weights = graph.graph.initializer[0]
    weights.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weights), "w"))
    folder = tmp_path / "mine"
    save_own_model(
        folder,
        [plus, graph.SerializeToString()],
        features=FEATURES,
        training=SMILES,
        values={"up": [1.0, 2, 3, 4, 5, 6]},
    )
    (found,) = load_predictor(str(folder)).targets["up"].predict([read_smiles("CCO")])
    bits = float(feature_rows([read_smiles("CCO")], FEATURES).sum())
    assert (found.affinity, found.spread) == (0.0, bits)


@pytest.mark.parametrize("name", ["../model.onnx", "model.pkl", "model_0.joblib"])
def test_other_files_are_not_read(linear: tuple[Any, bytes], tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "mine", linear[1])
    path = folder / own_model.DESCRIPTION
    path.write_text(path.read_text().replace('"model.onnx"', json.dumps(name)))
    with pytest.raises(ModelError, match="is no name of a model"):
        read_predictor(folder)


def test_what_is_no_model() -> None:
    with pytest.raises(ModelError, match="needs the bytes of an ONNX file"):
        save_own_model("never", {}, features=FEATURES, training=["CCO"], values={"y": [1.0]})


def test_scikit_learn_gives_its_own_numbers(tmp_path: Path) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    skl2onnx = pytest.importorskip("skl2onnx")
    pytest.importorskip("onnxruntime")
    rows = feature_rows([read_smiles(text) for text in SMILES], FEATURES)
    forest = ensemble.RandomForestRegressor(n_estimators=5, random_state=0).fit(rows, range(6))
    model = skl2onnx.to_onnx(forest, rows[:1]).SerializeToString()
    folder = write(tmp_path / "mine", model, values={"y": [0.0, 1, 2, 3, 4, 5]})
    found = load_predictor(str(folder)).targets["y"].predict([read_smiles(s) for s in SMILES])
    assert [one.affinity for one in found] == pytest.approx(forest.predict(rows), abs=1e-5)
