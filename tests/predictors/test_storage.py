"""Predictors on disk: the same numbers again, and what is not read."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rl4bio.chem.features import feature_rows
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import ModelError
from rl4bio.predictors.predictor import Target
from rl4bio.predictors.storage import load_predictor, read_predictor, save_predictor

NAMES = {"predictor.json", "trees.safetensors", "README.md", "report.json"}
SMILES = ["CCO", "CCCCCC", "CC(=O)Oc1ccccc1C(=O)O", "c1ccc2ccccc2c1"]
READ = """
import sys
from pathlib import Path
from rl4bio.predictors.storage import load_predictor
from rl4bio.chem.reading import read_smiles
assert "lightgbm" not in sys.modules
target = load_predictor(sys.argv[1]).targets["egfr"]
for one in target.predict([read_smiles(text) for text in sys.argv[2:]]):
    print(one.affinity.hex(), one.spread.hex(), one.similarity.hex())
assert "lightgbm" not in sys.modules
"""


@pytest.fixture
def folder(tmp_path: Path, make_target: Callable[..., Target]) -> Path:
    path = tmp_path / "stored"
    save_predictor(path, {"egfr": make_target()}, card="# card\n", report={"a": 1})
    return path


def test_another_process_gives_the_same_numbers_bit_for_bit(
    folder: Path, make_target: Callable[..., Target]
) -> None:
    assert {path.name for path in folder.iterdir()} == NAMES
    output = subprocess.run(
        [sys.executable, "-c", READ, str(folder), *SMILES],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    predictions = make_target().predict([read_smiles(text) for text in SMILES])
    expected = [[p.affinity.hex(), p.spread.hex(), p.similarity.hex()] for p in predictions]
    assert [line.split() for line in output.splitlines()] == expected


def test_a_trained_predictor_comes_back_bit_for_bit(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    from rl4bio.predictors.training import TreeOptions, train_target

    molecules = [read_smiles("C" * k + end) for k in range(1, 25) for end in ("O", "N", "c1ccccc1")]
    draw = np.random.default_rng(0).normal(size=len(molecules))
    options = TreeOptions(members=2, trees=10, min_leaf_molecules=2)
    target = train_target(molecules, 6 + draw, options)
    save_predictor(tmp_path / "p", {"a": target, "b": target}, card="", report={})
    again = read_predictor(tmp_path / "p").targets
    assert list(again) == ["a", "b"]
    rows = feature_rows(molecules, "counts-1")
    for stored in again.values():
        assert (stored.forest.members(rows) == target.forest.members(rows)).all()
        for name, array in target.forest.arrays().items():
            found = stored.forest.arrays()[name]
            assert found.dtype == array.dtype
            assert (found == array).all(), name
        assert (stored.domain == target.domain).all()


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pt", "model.PICKLE", "model"])
def test_a_pickle_is_refused_and_not_run(name: str, tmp_path: Path) -> None:
    class Stolen:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'canary'}",)

    (tmp_path / name).write_bytes(pickle.dumps(Stolen()))
    with pytest.raises(ModelError, match="refused: a pickle can run code"):
        load_predictor(str(tmp_path / name))
    assert not (tmp_path / "canary").exists()


def test_a_folder_of_a_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "forest.joblib").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match=r"refused: holds the pickle forest\.joblib"):
        load_predictor(str(tmp_path))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no folder with a predictor\.json"):
        load_predictor(str(tmp_path / "none"))
    with pytest.raises(ModelError, match="did you mean 'affinity-egfr'"):
        load_predictor("rl4bio:afinity-egfr")


def change(folder: Path, **changes: Any) -> None:
    """Change entries of a stored target's description; None removes one."""
    path = folder / "predictor.json"
    document = json.loads(path.read_text())
    for key, value in changes.items():
        place = document if key in document else document["targets"]["egfr"]
        place.pop(key, None)
        if value is not None:
            place[key] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, r"is of 'other' 1, this version reads 'rl4bio-affinity' 1"),
        ({"version": 2}, "'rl4bio-affinity' 2, this version reads"),
        ({"features": "counts-9"}, "wants features 'counts-9', this version has counts-1"),
        ({"num_features": 2000}, "split_feature: is outside"),
        ({"num_features": 7000}, "features: counts-1 are 6156, the trees have 7000"),
        ({"num_features": None}, "is incomplete .KeyError: 'num_features'"),
        ({"targets": {}}, "targets: is empty"),
        ({"targets": []}, "is incomplete"),
        ({"targets": {"bace": {"features": "counts-1"}}}, "is incomplete"),
        ({"low": float("nan")}, "low, high: not finite"),
        ({"probe_values": [1.0] * 6}, "does not give the numbers of its training"),
        ({"probe_values": [8.5]}, "does not give the numbers of its training"),
        ({"probes": ["C1CC"]}, "hold a text that is no SMILES"),
    ],
)
def test_a_changed_description(changes: dict[str, Any], message: str, folder: Path) -> None:
    change(folder, **changes)
    with pytest.raises(ModelError, match=message):
        read_predictor(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_description_that_is_none(content: bytes, folder: Path) -> None:
    (folder / "predictor.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"predictor\.json (cannot be read|is of None None)"):
        read_predictor(folder)


def test_damaged_numbers(folder: Path) -> None:
    path = folder / "trees.safetensors"
    arrays = load_file(path)
    whole = path.read_bytes()
    for cut in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelError, match=r"trees\.safetensors cannot be read"):
            read_predictor(folder)
    for name, wrong, message in (
        ("egfr.node_child", arrays["egfr.node_child"][::-1].copy(), "node_child"),
        ("egfr.leaf_value", np.full_like(arrays["egfr.leaf_value"], np.inf), "not finite"),
        ("egfr.leaf_value", arrays["egfr.leaf_value"].astype(np.float32), "needs a filled float64"),
        ("egfr.leaf_value", arrays["egfr.leaf_value"] + 1, "does not give the numbers"),
        ("egfr.domain", arrays["egfr.domain"][:, :8].copy(), "domain: is"),
    ):
        save_file({**arrays, name: wrong}, path)
        with pytest.raises(ModelError, match=message):
            read_predictor(folder)
    arrays.pop("egfr.domain")
    save_file(arrays, path)
    with pytest.raises(ModelError, match=r"is incomplete .KeyError: 'egfr\.domain'"):
        read_predictor(folder)
    path.unlink()
    with pytest.raises(ModelError, match=r"trees\.safetensors cannot be read"):
        read_predictor(folder)


def test_the_shipped_predictor_is_whole_and_small() -> None:
    shipped = load_predictor("rl4bio:affinity-egfr")
    assert list(shipped.targets) == ["egfr"]
    folder = Path(__file__).parents[2] / "rl4bio/assets/affinity-egfr"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6
    target = shipped.targets["egfr"]
    assert target.unit == "pIC50"
    # Gefitinib was made for EGFR; aspirin and ethanol were not.
    texts = ["COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1", "CC(=O)Oc1ccccc1C(=O)O", "CCO"]
    drug, aspirin, ethanol = target.predict([read_smiles(text) for text in texts])
    assert drug.affinity > 7
    assert drug.similarity == 1
    assert aspirin.affinity < 6.5
    assert ethanol.affinity < 6.5
    assert ethanol.similarity < 0.2
