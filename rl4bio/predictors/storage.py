"""Predictors as folders: predictor.json for what they are, trees.safetensors for their numbers.

Nothing that could run is read: a pickle is refused by its name or its first bytes, and the numbers
are checked before they are used. A predictor that does not give the numbers of its day, because
RDKit counts fragments otherwise, is refused as well.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl4bio import __version__
from rl4bio.chem.features import FEATURE_SETS, RDKIT_VERSION
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import ModelError
from rl4bio.files.assets import PREFIX, asset, is_asset, shipped, shipped_text
from rl4bio.files.model_folder import PICKLES
from rl4bio.files.text_files import bounded_bytes
from rl4bio.predictors.forest import ARRAYS, Forest
from rl4bio.predictors.own_model import is_own_model, read_own_model
from rl4bio.predictors.predictor import Predictor, Target
from rl4bio.registry import did_you_mean
from rl4bio.storage.folders import new_folder

FORMAT, VERSION = "rl4bio-affinity", 1
DESCRIPTION, NUMBERS = "predictor.json", "trees.safetensors"
MAX_BYTES = 2**28
"""Of either file; a thousand times what a few thousand molecules need."""
PROBES = (
    "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC",
    "CC(C)(C#N)c1ccc(cc1)N1C(=O)N(C)c2cnc3ccc(cc3c12)-c1cnc2ccccc2c1",
    "CN1CCN(CC1)c1ccc2nc([nH]c2c1)-c1c(N)c2c(F)cccc2[nH]c1=O",
    "CC(=O)Oc1ccccc1C(=O)O",
    "NC1=NC(=O)N(C=C1)[C@@H]1O[C@H](CO)[C@@H](O)C1(F)F",
    "CCO",
)
"""Molecules whose predictions are stored, to see that a predictor still gives the same numbers."""
_PICKLES = (*PICKLES, ".sav")


def save_predictor(target: Path, targets: Mapping[str, Target], *, card: str, report: Any) -> None:
    """Write a folder, and read it back before it is there.

    Args:
        target: replaced whole where it exists.
        targets: by name.
        card: content of README.md.
        report: content of report.json.

    Raises:
        StorageError: it cannot be written.
    """
    from safetensors.numpy import save

    arrays: dict[str, Any] = {}
    described = {}
    probes = [read_smiles(text) for text in PROBES]
    for name, one in targets.items():
        arrays |= {f"{name}.{key}": _narrow(a) for key, a in one.forest.arrays().items()}
        arrays[f"{name}.domain"] = one.domain
        described[name] = {
            "features": one.features,
            "num_features": one.forest.num_features,
            "unit": one.unit,
            "low": one.low,
            "high": one.high,
            "probe_values": [p.affinity for p in one.predict(probes)],
            "facts": one.facts,
        }
    document = {
        "format": FORMAT,
        "version": VERSION,
        "rl4bio": __version__,
        "rdkit": RDKIT_VERSION,
        "probes": list(PROBES),
        "targets": described,
    }
    with new_folder(target) as folder:
        (folder / NUMBERS).write_bytes(save(arrays))
        (folder / DESCRIPTION).write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        (folder / "README.md").write_text(card, "utf-8")
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        read_predictor(folder)


def find_predictor(where: str) -> Path:
    """The folder of a predictor: a path, or `rl4bio:<asset>`.

    Raises:
        ModelError: there is none, or it is a pickle.
    """
    if is_asset(where):
        folder = asset(where, DESCRIPTION)
        if folder is None:
            near = did_you_mean(where.removeprefix(PREFIX), shipped(DESCRIPTION))
            raise ModelError(
                f"no shipped predictor {where!r}{near}; shipped: {shipped_text(DESCRIPTION)}"
            )
        return folder
    path = Path(where).expanduser()
    if path.suffix.lower() in _PICKLES or (path.is_file() and _starts_as_pickle(path)):
        raise ModelError(
            f"{where}: refused: a pickle can run code when it is read; train the predictor again "
            "with `rl4bio affinity`, which stores numbers alone"
        )
    if not (path / DESCRIPTION).is_file():
        inside = sorted(
            str(p.relative_to(path))
            for pattern in ("*", "model_*/*")  # chemprop's folders hold a folder a model
            for p in path.glob(pattern)
            if p.suffix.lower() in _PICKLES
        )
        if inside:
            raise ModelError(
                f"{where}: refused: holds the pickle {inside[0]} and no {DESCRIPTION}; a pickle "
                "can run code when it is read; train the predictor again with `rl4bio affinity`, "
                "or write your own model with save_own_model (docs/affinity.md)"
            )
        raise ModelError(
            f"{where}: no folder with a {DESCRIPTION}; give one that `rl4bio affinity` wrote, or "
            "rl4bio:affinity-egfr"
        )
    return path


def _starts_as_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(1) == b"\x80"


@functools.lru_cache(maxsize=8)
def load_predictor(where: str) -> Predictor:
    """A stored predictor, read once a process.

    Args:
        where: a folder, or `rl4bio:<asset>`.

    Raises:
        ModelError: it is missing, a pickle, damaged, of another version, or gives other numbers
            than when it was stored.
    """
    return read_predictor(find_predictor(where), name=where)


def read_predictor(folder: Path, *, name: str = "") -> Predictor:
    """As `load_predictor`, from a folder and every time."""
    name = name or str(folder)
    if is_own_model(folder):
        return read_own_model(folder, name=name)
    document, digest = _read_description(folder, name)
    arrays = _read_numbers(folder, name, digest)
    targets: dict[str, Target] = {}
    try:
        for key, entry in document["targets"].items():
            targets[key] = _target(key, entry, arrays)
        if not targets:
            raise ValueError("targets: is empty")
        _check_probes(document, targets)
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{name}: {DESCRIPTION} is incomplete ({type(error).__name__}: {error}); copy the "
            "folder again, or train it again with `rl4bio affinity`"
        ) from error
    except ValueError as error:
        raise ModelError(
            f"{name}: refused: {error}; copy the folder again, or train it again with "
            "`rl4bio affinity`"
        ) from error
    return Predictor(name=name, targets=targets, digest=digest.hexdigest())


def _read_description(folder: Path, name: str) -> tuple[dict[str, Any], Any]:
    path = folder / DESCRIPTION
    try:
        data = bounded_bytes(path, MAX_BYTES)
        document = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{name}: {DESCRIPTION} cannot be read ({error}); copy the folder again"
        ) from error
    found = document if isinstance(document, dict) else {}
    if (found.get("format"), found.get("version")) != (FORMAT, VERSION):
        raise ModelError(
            f"{name}: {DESCRIPTION} is of {found.get('format')!r} {found.get('version')!r}, this "
            f"version reads {FORMAT!r} {VERSION}; train it again with `rl4bio affinity`"
        )
    return document, hashlib.blake2b(data, digest_size=16)


def _read_numbers(folder: Path, name: str, digest: Any) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = bounded_bytes(folder / NUMBERS, MAX_BYTES)
        digest.update(data)
        return dict(load(data))
    except (OSError, ValueError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"{name}: {NUMBERS} cannot be read ({error}); copy the folder again"
        ) from error


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers in half the bytes, where they fit; they halve the file of most predictors."""
    small = np.iinfo(np.uint16)
    fits = array.dtype.kind == "i" and array.min() >= small.min and array.max() <= small.max
    return array.astype(np.uint16) if fits else array


def _widen(array: NDArray[Any], kind: str) -> NDArray[Any]:
    return array.astype(kind) if array.dtype == np.uint16 and kind == "int32" else array


def _target(name: str, entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> Target:
    features = entry["features"]
    numbers: dict[str, Any] = {
        key: _widen(arrays[f"{name}.{key}"], kind) for key, kind in ARRAYS.items()
    }
    if features not in FEATURE_SETS:
        raise ValueError(
            f"target {name!r} wants features {features!r}, this version has "
            f"{', '.join(FEATURE_SETS)}"
        )
    low, high = float(entry["low"]), float(entry["high"])
    if not np.isfinite([low, high]).all():
        raise ValueError("low, high: not finite")
    return Target(
        features=features,
        forest=Forest(num_features=int(entry["num_features"]), **numbers),
        domain=arrays[f"{name}.domain"],
        low=low,
        high=high,
        unit=str(entry["unit"]),
        facts=dict(entry["facts"]),
    )


def _check_probes(document: Mapping[str, Any], targets: Mapping[str, Target]) -> None:
    """Whether features and trees still give the numbers that were stored beside them."""
    probes = [read_smiles(str(text)) for text in document["probes"]]
    if not all(probe.valid for probe in probes):
        raise ValueError("probes: hold a text that is no SMILES")
    for name, target in targets.items():
        wanted = np.array(document["targets"][name]["probe_values"], dtype=np.float64)
        found = np.array([p.affinity for p in target.predict(probes)])
        if wanted.shape != found.shape or not np.allclose(found, wanted, rtol=0, atol=1e-6):
            raise ValueError(
                f"target {name!r} does not give the numbers of its training: it was made with "
                f"RDKit {document['rdkit']}, this is {RDKIT_VERSION}"
            )
