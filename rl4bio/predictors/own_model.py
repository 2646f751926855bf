"""A model of one's own as a predictor: ONNX, scikit-learn, chemprop, and ensembles of these.

What a model must be told is kept beside it: the features, the range of the training values, the
training molecules' fingerprints (the applicability domain), and predictions of known molecules, to
see that it still gives them. `rl4bio.predictors.own_engines` reads and runs the models.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl4bio import __version__
from rl4bio.chem.features import FEATURE_SETS, RDKIT_VERSION, domain_bits
from rl4bio.chem.identity import parent_molecule
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.errors import DataError, MissingPackageError, ModelError
from rl4bio.files.text_files import bounded_bytes
from rl4bio.predictors.own_engines import (
    Member,
    check_features,
    kind_of,
    open_form,
    read_member,
    together,
)
from rl4bio.predictors.predictor import Prediction, Predictor, nearest_tanimoto
from rl4bio.storage.folders import new_folder
from rl4bio.text.redaction import one_line

FORMAT, VERSION = "rl4bio-own-model", 1
MODEL, DOMAIN, DESCRIPTION = "model.onnx", "domain.safetensors", "predictor.json"
MAX_BYTES = 2**30
PROBES = ("CC(=O)Oc1ccccc1C(=O)O", "CCO", "CN1CCN(CC1)c1ccc2nc([nH]c2c1)-c1c(N)c2ccccc2[nH]c1=O")
TOLERANCE = 1e-3
"""Between two installations of ONNX Runtime, which add up float32 in other orders."""
_MODEL_NAME = re.compile(r"model(?:_\d+)?\.(onnx|skops|safetensors)")


@dataclass(slots=True, kw_only=True)
class OwnTarget:
    """One task of a model, or of an ensemble of models."""

    members: Sequence[Member]
    column: int
    """Of the models' values, where there are several: a task, or a class of a classifier."""
    domain: NDArray[np.uint8]
    """Packed fingerprints of the training molecules."""
    low: float
    high: float
    unit: str

    def predict(self, molecules: Sequence[Molecule]) -> list[Prediction]:
        """Of valid molecules, of the parent of each; the spread of what says none is NaN."""
        if not molecules:
            return []
        wholes = [parent_molecule(molecule) for molecule in molecules]
        values, spreads = (found[:, self.column] for found in together(self.members, wholes))
        nearest = nearest_tanimoto(domain_bits(wholes), self.domain)
        return [
            Prediction(affinity=float(v), spread=float(s), similarity=float(t))
            for v, s, t in zip(values, spreads, nearest, strict=True)
        ]


def save_own_model(
    folder: str | Path,
    model: Any,
    *,
    training: Sequence[str],
    values: Mapping[str, Sequence[float]],
    features: str = "",
    unit: str = "",
    output: str | None = None,
    columns: Mapping[str, int] | None = None,
) -> None:
    """Write a folder that the reward `affinity` takes as its `predictor`.

    Args:
        folder: to write; a predictor that is there is replaced.
        model: an ONNX file's bytes, which takes float32 [M, F] and gives numbers [M] or [M, T]; a
            fitted estimator of scikit-learn; a chemprop `MPNN`; or a list of these, an ensemble
            whose mean counts and whose disagreement is the spread.
        training: SMILES that it was trained with.
        values: target -> what it was trained to give for each of them.
        features: one of `rl4bio.chem.features.FEATURE_SETS`, with which the model was trained;
            chemprop makes its own.
        unit: of the values, for people.
        output: name of an ONNX model's output; None = the last one.
        columns: target -> its column of the output; None = in the order of `values`.

    Raises:
        DataError: a SMILES is none, or there are not as many values.
        ModelError: the model does not run on the features, or does not give such an output.
        MissingPackageError: what runs the model is not installed.
    """
    molecules = _training_molecules(training, values)
    models = list(model) if isinstance(model, list | tuple) else [model]
    if not models:
        raise ModelError("model: is an empty list")
    kinds = [kind_of(one) for one in models]
    if set(kinds) != {"safetensors"}:
        check_features(features)
    forms = [open_form(one) for one in models]
    names = [
        f"model_{k}.{kind}" if len(kinds) > 1 else f"model.{kind}" for k, kind in enumerate(kinds)
    ]
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "rl4bio": __version__,
        "rdkit": RDKIT_VERSION,
        "models": names,
        "shapes": [shape for _, shape in forms],
        "features": features,
        "output": output,
        "unit": unit,
        "probes": list(PROBES),
        "targets": _ranges(values, columns),
    }
    domain = domain_bits([parent_molecule(molecule) for molecule in molecules])
    _probe(document, [data for data, _ in forms], domain)
    _write(Path(folder), document, [data for data, _ in forms], domain)


def _probe(document: dict[str, Any], files: Sequence[bytes], domain: Any) -> None:
    """Keep what the models say of the probes, by which a later reader checks that they run alike.

    Raises:
        ModelError: they do not run on the features.
        MissingPackageError: what runs them is not installed.
    """
    features = document["features"]
    try:
        members = _members(document, files)
        for name, target in _targets(document, members, domain).items():
            found = [one.affinity for one in target.predict([read_smiles(p) for p in PROBES])]
            document["targets"][name]["probe_values"] = found
    except MissingPackageError:
        raise
    except Exception as error:  # whatever the packages raise for shapes, types and names
        width = f" ({FEATURE_SETS[features][0]} float32 numbers)" if features else ""
        raise ModelError(
            f"the model does not run on {features or 'molecules'}{width} or has no such output: "
            f"{_said(error)}"
        ) from error


def _write(folder: Path, document: dict[str, Any], files: Sequence[bytes], domain: Any) -> None:
    """A folder of a predictor: the models, the training molecules and their description."""
    from safetensors.numpy import save

    with new_folder(folder) as building:
        for name, data in zip(document["models"], files, strict=True):
            (building / name).write_bytes(data)
        (building / DOMAIN).write_bytes(save({"domain": domain}))
        (building / DESCRIPTION).write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _ranges(
    values: Mapping[str, Sequence[float]], columns: Mapping[str, int] | None
) -> dict[str, dict[str, Any]]:
    """Target -> its column of the output and the range that was trained on."""
    return {
        name: {
            "column": number if columns is None else columns[name],
            "low": float(min(own)),
            "high": float(max(own)),
        }
        for number, (name, own) in enumerate(values.items())
    }


def _training_molecules(
    training: Sequence[str], values: Mapping[str, Sequence[float]]
) -> list[Molecule]:
    """The molecules, each with a value of every target, or a DataError."""
    molecules = [read_smiles(text) for text in training]
    for text, molecule in zip(training, molecules, strict=True):
        if not molecule.valid:
            raise DataError(f"training: {text[:80]!r} is no SMILES ({molecule.reason})")
    for name, own in values.items():
        if len(own) != len(training):
            raise DataError(f"values of {name}: {len(own)} for {len(training)} molecules")
    return molecules


def is_own_model(folder: Path) -> bool:
    """Whether a folder was written by `save_own_model`."""
    return (folder / DOMAIN).is_file() or (folder / MODEL).is_file()


def read_own_model(folder: Path, *, name: str) -> Predictor:
    """The predictor of such a folder.

    Raises:
        ModelError: it is damaged, or gives other numbers than when it was written.
        MissingPackageError: what runs the model is not installed.
    """
    from safetensors.numpy import load

    try:
        files = {file: bounded_bytes(folder / file, MAX_BYTES) for file in (DESCRIPTION, DOMAIN)}
        document = json.loads(files[DESCRIPTION])
        if (document["format"], document["version"]) != (FORMAT, VERSION):
            raise ValueError(f"is of another format than {FORMAT} {VERSION}")
        models = [_model_bytes(folder, file) for file in document.get("models", [MODEL])]
        members = _members(document, models)
        targets = _targets(document, members, load(files[DOMAIN])["domain"])
        probes = [read_smiles(text) for text in document["probes"]]
        for key, target in targets.items():
            found = [one.affinity for one in target.predict(probes)]
            wanted = document["targets"][key]["probe_values"]
            if not np.allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE):
                raise ValueError(
                    f"{key} does not give the numbers of the day when it was written: RDKit was "
                    f"{document['rdkit']}, this is {RDKIT_VERSION}"
                )
    except MissingPackageError:
        raise
    except Exception as error:  # of the files, JSON, safetensors and the package of the model
        raise ModelError(
            f"{name}: refused: {_said(error)}; write it again with save_own_model"
        ) from error
    read = b"".join([*files.values(), *models])
    digest = hashlib.blake2b(read, digest_size=16).hexdigest()
    return Predictor(name=name, targets=targets, digest=digest)


def _model_bytes(folder: Path, name: str) -> bytes:
    if _MODEL_NAME.fullmatch(name) is None:
        raise ValueError(f"models: {name!r} is no name of a model")
    return bounded_bytes(folder / name, MAX_BYTES)


def _members(document: Mapping[str, Any], models: Sequence[bytes]) -> list[Member]:
    names = document.get("models", [MODEL])
    shapes = document.get("shapes", [{}])
    return [
        read_member(name.rpartition(".")[2], data, document["features"], document["output"], shape)
        for name, data, shape in zip(names, models, shapes, strict=True)
    ]


def _targets(
    document: Mapping[str, Any], members: Sequence[Member], domain: NDArray[np.uint8]
) -> dict[str, OwnTarget]:
    return {
        name: OwnTarget(
            members=members,
            column=int(entry["column"]),
            domain=domain,
            low=float(entry["low"]),
            high=float(entry["high"]),
            unit=str(document["unit"]),
        )
        for name, entry in document["targets"].items()
    }


def _said(error: Exception) -> str:
    return one_line(str(error), 200)
