"""Networks of chemprop v2 as numbers and JSON, instead of the pickle that chemprop writes.

Heid et al., 2024, "Chemprop: a machine learning package for chemical property prediction".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl4bio.chem.reading import Molecule
from rl4bio.errors import ModelError

PARTS = {
    "message_passing": ("BondMessagePassing", "AtomMessagePassing"),
    "agg": ("MeanAggregation", "SumAggregation", "NormAggregation"),
    "predictor": ("RegressionFFN", "MveFFN", "EvidentialFFN", "BinaryClassificationFFN"),
}
"""Part of a network -> classes of `chemprop.nn` that it may be."""
_NO_ARGUMENTS = ("cls", "criterion", "task_weights", "threshold", "output_transform")
_TRAINING = ("predictor.criterion.", "metrics.")
"""Numbers of the training alone."""
BATCH = 256
"""Molecules at a time."""


def open_form(network: Any) -> tuple[bytes, dict[str, Any]]:
    """Safetensors of an `MPNN`, and the arguments that make one of its shape.

    Raises:
        ModelError: it takes more than molecules, or has parts that are not in PARTS.
    """
    from safetensors.torch import save

    shape = _shape(network.hparams)
    kept = {
        key: value.detach().cpu().contiguous().clone()
        for key, value in network.state_dict().items()
        if not key.startswith(_TRAINING)
    }
    return save(kept), shape


def from_open_form(numbers: bytes, shape: Mapping[str, Any]) -> Any:
    """The network.

    Raises:
        ModelError: numbers and shape do not fit each other, or are damaged.
    """
    from safetensors.torch import load

    try:
        return from_parts(shape, load(numbers))
    except ModelError:
        raise
    except Exception as error:  # safetensors', torch's and chemprop's
        raise ModelError(f"is no chemprop model ({error})") from error


def from_parts(shape: Mapping[str, Any], numbers: Mapping[str, Any]) -> Any:
    """An `MPNN` that predicts, of what `_shape` says and its tensors."""
    import torch
    from chemprop import nn
    from chemprop.models import MPNN

    made: dict[str, Any] = {}
    for part, known in PARTS.items():
        options = dict(shape[part])
        name = options.pop("class")
        if name not in known:
            raise ModelError(f"{part} is {name!r}; known: {', '.join(known)}")
        if part == "predictor" and "predictor.output_transform.mean" in numbers:
            size = numbers["predictor.output_transform.mean"].shape[1]
            options["output_transform"] = nn.UnscaleTransform(np.zeros(size), np.ones(size))
        made[part] = getattr(nn, name)(**options)
    network = MPNN(**made, batch_norm=bool(shape["batch_norm"]))
    kept = {k: torch.as_tensor(v) for k, v in numbers.items() if not k.startswith(_TRAINING)}
    left = network.load_state_dict(kept, strict=False)
    missing = [key for key in left.missing_keys if not key.startswith(_TRAINING)]
    if missing or left.unexpected_keys:
        raise ModelError(f"numbers do not fit: {[*missing, *left.unexpected_keys][:3]}")
    return network.eval()


def predict(
    network: Any, molecules: Sequence[Molecule]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and variances of valid molecules, [M, T] each; NaN where the network says none."""
    import torch
    from chemprop.data import BatchMolGraph
    from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer

    graph = SimpleMoleculeMolGraphFeaturizer()
    found = []
    with torch.no_grad():
        for start in range(0, len(molecules), BATCH):
            graphs = [graph(one.mol) for one in molecules[start : start + BATCH]]
            found.append(network(BatchMolGraph(graphs)).numpy().astype(np.float64))
    outputs = np.concatenate(found)
    if outputs.ndim == 2:
        return outputs, np.full_like(outputs, np.nan)
    if outputs.shape[2] == 2:  # a mean and a variance
        return outputs[..., 0], outputs[..., 1]
    mean, v, alpha, beta = np.moveaxis(outputs, 2, 0)  # Amini et al., 2020: both uncertainties
    return mean, beta / (alpha - 1) * (1 + 1 / v)


def _shape(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a network by class name and arguments, as JSON has them."""
    if hparams.get("X_d_transform") is not None:
        raise ModelError("takes descriptors beside the molecule, which a reward does not have")
    shape: dict[str, Any] = {"batch_norm": bool(hparams["batch_norm"])}
    for part, known in PARTS.items():
        own = dict(hparams[part])
        name = own["cls"].__name__
        if name not in known:
            raise ModelError(f"{part} is {name}; supported: {', '.join(known)}")
        shape[part] = {"class": name}
        for key, value in own.items():
            if key not in _NO_ARGUMENTS and (plain := _plain(key, value)) is not None:
                shape[part][key] = plain
    return shape


def _plain(key: str, value: Any) -> Any:
    """An argument as JSON, None where it is the default of none."""
    import torch

    if isinstance(value, torch.nn.Module):
        inner = [type(one).__name__ for one in value.children()]
        if key == "activation":
            return type(value).__name__.upper()
        if all(name == "Identity" for name in inner):
            return None
        raise ModelError("scales descriptors of atoms or bonds, which a reward does not have")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence) and all(isinstance(one, int) for one in value):
        return list(value)
    raise ModelError(f"{key} is {type(value).__name__}, which is not supported")
