"""A model of one's own as a predictor: ONNX, which scikit-learn, XGBoost and torch export.

ONNX is a graph of known operations: reading it runs nothing of the file. What it must be told is
kept beside it: the features, the range of the training values, the training molecules' fingerprints
(the applicability domain), and predictions of known molecules, to see that it still gives them.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl4bio import __version__
from rl4bio.chem.features import FEATURE_SETS, RDKIT_VERSION, domain_bits, feature_rows
from rl4bio.chem.identity import parent_molecule
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.errors import DataError, MissingPackageError, ModelError
from rl4bio.predictors.predictor import Prediction, Predictor, nearest_tanimoto
from rl4bio.storage.folders import new_folder
from rl4bio.text.redaction import one_line

FORMAT, VERSION = "rl4bio-own-model", 1
MODEL, DOMAIN, DESCRIPTION = "model.onnx", "domain.safetensors", "predictor.json"
MAX_BYTES = 2**30
PROBES = ("CC(=O)Oc1ccccc1C(=O)O", "CCO", "CN1CCN(CC1)c1ccc2nc([nH]c2c1)-c1c(N)c2ccccc2[nH]c1=O")
TOLERANCE = 1e-3
"""Between two installations of ONNX Runtime, which add up float32 in other orders."""


@dataclass(slots=True, kw_only=True)
class OwnTarget:
    """One output of a model."""

    features: str
    output: str
    """Name of the model's output."""
    column: int
    """Of that output, where it has several: a task, or a class of a classifier."""
    model: Any
    """An `onnxruntime.InferenceSession`."""
    domain: NDArray[np.uint8]
    """Packed fingerprints of the training molecules."""
    low: float
    high: float
    unit: str

    def predict(self, molecules: Sequence[Molecule]) -> list[Prediction]:
        """Of valid molecules, of the parent of each; a single model has no spread (NaN)."""
        if not molecules:
            return []
        wholes = [parent_molecule(molecule) for molecule in molecules]
        rows = feature_rows(wholes, self.features)
        (found,) = self.model.run([self.output], {self.model.get_inputs()[0].name: rows})
        values = np.asarray(found, dtype=np.float64).reshape(len(rows), -1)[:, self.column]
        nearest = nearest_tanimoto(domain_bits(wholes), self.domain)
        return [
            Prediction(affinity=float(v), spread=float("nan"), similarity=float(s))
            for v, s in zip(values, nearest, strict=True)
        ]


def save_own_model(
    folder: str | Path,
    model: bytes,
    *,
    features: str,
    training: Sequence[str],
    values: Mapping[str, Sequence[float]],
    unit: str = "",
    output: str | None = None,
    columns: Mapping[str, int] | None = None,
) -> None:
    """Write a folder that the reward `affinity` takes as its `predictor`.

    Args:
        folder: to write; a predictor that is there is replaced.
        model: an ONNX file's bytes; it takes float32 [M, F] and gives numbers [M] or [M, T].
        features: one of `rl4bio.chem.features.FEATURE_SETS`, with which the model was trained.
        training: SMILES that it was trained with.
        values: target -> what it was trained to give for each of them.
        unit: of the values, for people.
        output: name of the model's output; None = the last one.
        columns: target -> its column of the output; None = in the order of `values`.

    Raises:
        DataError: a SMILES is none, or there are not as many values.
        ModelError: the model does not run on the features, or does not give such an output.
        MissingPackageError: onnxruntime is not installed.
    """
    from safetensors.numpy import save

    molecules = _training_molecules(training, values)
    if features not in FEATURE_SETS:
        raise ModelError(f"features: unknown {features!r}; known: {', '.join(FEATURE_SETS)}")
    session = _session(model, "model")
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "rl4bio": __version__,
        "rdkit": RDKIT_VERSION,
        "features": features,
        "output": output or session.get_outputs()[-1].name,
        "unit": unit,
        "probes": list(PROBES),
        "targets": {
            name: {
                "column": number if columns is None else columns[name],
                "low": float(min(own)),
                "high": float(max(own)),
            }
            for number, (name, own) in enumerate(values.items())
        },
    }
    domain = domain_bits([parent_molecule(molecule) for molecule in molecules])
    try:
        for name, target in _targets(document, session, domain).items():
            found = [one.affinity for one in target.predict([read_smiles(p) for p in PROBES])]
            document["targets"][name]["probe_values"] = found
    except Exception as error:  # whatever ONNX Runtime raises for shapes, types and names
        raise ModelError(
            f"the model does not run on {features} ({FEATURE_SETS[features][0]} float32 numbers) "
            f"or has no such output: {_said(error)}"
        ) from error
    with new_folder(Path(folder)) as building:
        (building / MODEL).write_bytes(model)
        (building / DOMAIN).write_bytes(save({"domain": domain}))
        (building / DESCRIPTION).write_text(json.dumps(document, indent=2) + "\n", "utf-8")


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
    return (folder / MODEL).is_file()


def read_own_model(folder: Path, *, name: str) -> Predictor:
    """The predictor of such a folder.

    Raises:
        ModelError: it is damaged, or gives other numbers than when it was written.
        MissingPackageError: onnxruntime is not installed.
    """
    from safetensors.numpy import load

    try:
        files = {file: (folder / file).read_bytes() for file in (DESCRIPTION, MODEL, DOMAIN)}
        if sum(map(len, files.values())) > MAX_BYTES:
            raise ValueError(f"has more than {MAX_BYTES:,} bytes")
        document = json.loads(files[DESCRIPTION])
        if (document["format"], document["version"]) != (FORMAT, VERSION):
            raise ValueError(f"is of another format than {FORMAT} {VERSION}")
        targets = _targets(document, _session(files[MODEL], name), load(files[DOMAIN])["domain"])
        probes = [read_smiles(text) for text in document["probes"]]
        for key, target in targets.items():
            found = [one.affinity for one in target.predict(probes)]
            wanted = document["targets"][key]["probe_values"]
            if not np.allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE):
                raise ValueError(
                    f"{key} does not give the numbers of the day when it was written: RDKit was "
                    f"{document['rdkit']}, this is {RDKIT_VERSION}"
                )
    except (MissingPackageError, ModelError):
        raise
    except Exception as error:  # of the files, JSON, safetensors and ONNX Runtime
        raise ModelError(
            f"{name}: refused: {_said(error)}; write it again with save_own_model"
        ) from error
    digest = hashlib.blake2b(b"".join(files.values()), digest_size=16).hexdigest()
    return Predictor(name=name, targets=targets, digest=digest)


def _targets(
    document: Mapping[str, Any], session: Any, domain: NDArray[np.uint8]
) -> dict[str, OwnTarget]:
    return {
        name: OwnTarget(
            features=document["features"],
            output=document["output"],
            column=int(entry["column"]),
            model=session,
            domain=domain,
            low=float(entry["low"]),
            high=float(entry["high"]),
            unit=str(document["unit"]),
        )
        for name, entry in document["targets"].items()
    }


def _session(model: bytes, name: str) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # rewards run in processes of their own
    try:
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes, which are not public
        raise ModelError(f"{name}: is no ONNX model that runs here ({_said(error)})") from error


def _said(error: Exception) -> str:
    return one_line(str(error), 200)


@functools.cache
def _runtime() -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "a predictor in ONNX needs onnxruntime; run `pip install 'rl4bio[onnx]'`"
        ) from error
    return onnxruntime
