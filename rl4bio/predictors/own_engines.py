"""What runs a model of one's own: ONNX Runtime, scikit-learn from skops files, chemprop.

None of the files is a pickle: ONNX is a graph of known operations, skops names the types it holds,
and of a chemprop model the numbers are kept as safetensors and its shape as JSON.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rl4bio.chem.features import FEATURE_SETS, feature_rows
from rl4bio.chem.reading import Molecule
from rl4bio.errors import MissingPackageError, ModelError
from rl4bio.predictors import chemprop_model

Numbers = NDArray[np.float64]

_TREE = "sklearn.tree._tree.Tree"
"""What skops does not trust by itself, since its numbers are indices; they are checked here."""
_KERNELS = "sklearn.gaussian_process.kernels."
_FORESTS = ("RandomForestRegressor", "ExtraTreesRegressor", "BaggingRegressor")


class Member(Protocol):
    """One model of an ensemble."""

    def __call__(self, molecules: Sequence[Molecule]) -> tuple[Numbers, Numbers]:
        """Values and their variances, [M, T] each; NaN where it says nothing of a variance."""


class OnnxMember:
    """A graph of known operations."""

    def __init__(self, model: bytes, features: str, output: str | None) -> None:
        runtime = _package("onnxruntime", "onnx", "a predictor in ONNX")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # rewards run in processes of their own
        try:
            self.session = runtime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own classes, which are not public
            raise ModelError(f"is no ONNX model that runs here ({error})") from error
        self.features = features
        self.output = output or self.session.get_outputs()[-1].name

    def __call__(self, molecules: Sequence[Molecule]) -> tuple[Numbers, Numbers]:
        rows = feature_rows(molecules, self.features)
        (found,) = self.session.run([self.output], {self.session.get_inputs()[0].name: rows})
        values = np.asarray(found, dtype=np.float64).reshape(len(rows), -1)
        return values, np.full_like(values, np.nan)


class SklearnMember:
    """An estimator of scikit-learn; a forest and a Gaussian process know how sure they are."""

    def __init__(self, model: bytes, features: str, output: str | None = None) -> None:
        persistence = _package("skops.io", "skops", "a predictor of scikit-learn")
        try:
            asked = persistence.get_untrusted_types(data=model)
            strange = [one for one in asked if one != _TREE and not one.startswith(_KERNELS)]
            if strange:
                raise ModelError(
                    f"holds types that skops does not trust: {', '.join(strange[:3])}; store it "
                    "as ONNX (skl2onnx)"
                )
            self.model = persistence.loads(model, trusted=asked)
        except ModelError:
            raise
        except Exception as error:  # a damaged zip, other versions
            raise ModelError(f"is no skops file that reads here ({error})") from error
        self.features = features
        _check_trees(self.model, FEATURE_SETS[features][0])

    def __call__(self, molecules: Sequence[Molecule]) -> tuple[Numbers, Numbers]:
        rows = feature_rows(molecules, self.features)
        name = type(self.model).__name__
        if name == "GaussianProcessRegressor":
            found, spread = self.model.predict(rows, return_std=True)
            return _columns(found, rows), _columns(spread, rows) ** 2
        if name in _FORESTS:
            places = getattr(self.model, "estimators_features_", None) or [slice(None)] * len(
                self.model.estimators_
            )
            each = np.stack(
                [
                    _columns(one.predict(rows[:, place]), rows)
                    for one, place in zip(self.model.estimators_, places, strict=True)
                ]
            )
            return each.mean(axis=0), each.var(axis=0)
        if hasattr(self.model, "predict_proba"):
            found = self.model.predict_proba(rows)  # a list of [M, 2] where there are several tasks
            tasks = found if isinstance(found, list) else [found]
            values = np.column_stack([one[:, 1] for one in tasks]).astype(np.float64)
        else:
            values = _columns(self.model.predict(rows), rows)
        return values, np.full_like(values, np.nan)


class ChempropMember:
    """A directed message-passing network over the graph of a molecule."""

    def __init__(self, model: bytes, shape: Mapping[str, Any]) -> None:
        _package("chemprop", "chemprop", "a predictor of chemprop")
        self.network = chemprop_model.from_open_form(model, shape)

    def __call__(self, molecules: Sequence[Molecule]) -> tuple[Numbers, Numbers]:
        return chemprop_model.predict(self.network, molecules)


def kind_of(model: Any) -> str:
    """Suffix of the file that keeps a model: of ONNX's bytes, an estimator, or a chemprop network.

    Raises:
        ModelError: it is none of these.
    """
    if isinstance(model, bytes):
        return "onnx"
    module = type(model).__module__.partition(".")[0]
    if module == "chemprop":
        return "safetensors"
    if module == "sklearn":
        return "skops"
    raise ModelError(
        f"model: got {type(model).__module__}.{type(model).__name__}; needs the bytes of an ONNX "
        "file, a fitted estimator of scikit-learn, or an MPNN of chemprop"
    )


def open_form(model: Any) -> tuple[bytes, dict[str, Any]]:
    """The bytes that keep a model, and what must be told besides."""
    kind = kind_of(model)
    if kind == "onnx":
        return model, {}
    if kind == "safetensors":
        return chemprop_model.open_form(model)
    persistence = _package("skops.io", "skops", "a predictor of scikit-learn")
    return bytes(persistence.dumps(model)), {}


def check_features(features: str) -> None:
    """Refuse a set of features that nothing makes.

    Raises:
        ModelError: its name is unknown.
    """
    if features not in FEATURE_SETS:
        raise ModelError(f"features: unknown {features!r}; known: {', '.join(FEATURE_SETS)}")


def read_member(
    kind: str, model: bytes, features: str, output: str | None, shape: Mapping[str, Any]
) -> Member:
    """A model of a kind that `kind_of` names.

    Raises:
        ModelError: the bytes are of no such model.
        MissingPackageError: what runs it is not installed.
    """
    if kind == "safetensors":
        return ChempropMember(model, shape)
    check_features(features)
    made: Callable[..., Member] = {"onnx": OnnxMember, "skops": SklearnMember}[kind]
    return made(model, features, output)


def together(members: Sequence[Member], molecules: Sequence[Molecule]) -> tuple[Numbers, Numbers]:
    """Mean of the members and standard deviation, [M, T] each: within and between them.

    NaN where one member alone says nothing of its variance.
    """
    found = [member(molecules) for member in members]
    means = np.stack([values for values, _ in found])
    own = np.stack([variances for _, variances in found])
    if len(found) > 1:
        own = np.nan_to_num(own, nan=0.0)
    return means.mean(axis=0), np.sqrt(own.mean(axis=0) + means.var(axis=0))


def _columns(found: Any, rows: NDArray[Any]) -> Numbers:
    return np.asarray(found, dtype=np.float64).reshape(len(rows), -1)


def _check_trees(model: Any, width: int) -> None:
    """Refuse trees whose indices point outside, which would read other memory."""
    for tree in _trees(model):
        count = tree.node_count
        inner = tree.children_left != -1
        for children in (tree.children_left, tree.children_right):
            own = np.asarray(children)[inner]
            # A child stands behind its parent: no circle.
            if (own <= np.flatnonzero(inner)).any() or (own >= count).any():
                raise ModelError("holds a tree whose nodes are out of order")
        features = np.asarray(tree.feature)[inner]
        if (features < 0).any() or (features >= width).any():
            raise ModelError(f"holds a tree over features beyond the {width} that there are")


def _trees(model: Any) -> list[Any]:
    """The trees in an estimator, a pipeline or an ensemble of them."""
    if hasattr(model, "tree_"):
        return [model.tree_]
    inside = [one for _, one in getattr(model, "steps", [])]
    inside += list(np.ravel(np.array(getattr(model, "estimators_", []), dtype=object)))
    return [tree for one in inside for tree in _trees(one)]


@functools.cache
def _package(name: str, extra: str, what: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{what} needs {name.partition('.')[0]}; run `pip install 'rl4bio[{extra}]'`"
        ) from error
