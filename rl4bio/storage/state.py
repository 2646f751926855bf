"""Nested run-time state (optimiser, random generators) as tensors and plain JSON, without pickle.

A state goes to two places: its tensors and arrays into one flat dictionary for safetensors, all
else into a JSON value in which markers stand where the tensors were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rl4bio.errors import StorageError

if TYPE_CHECKING:
    from torch import Tensor

_TENSOR, _ARRAY, _TUPLE, _PAIRS = "__tensor__", "__array__", "__tuple__", "__pairs__"
_MARKERS = frozenset({_TENSOR, _ARRAY, _TUPLE, _PAIRS})


def flatten_state(state: Any) -> tuple[dict[str, Tensor], Any]:
    """Split nested dicts, lists and tuples into tensors and a JSON value.

    Args:
        state: any nesting of dict, list, tuple, torch.Tensor, numpy arrays and scalars, int, float,
            str, bool and None; dict keys may be str or int. Floats keep every bit.

    Returns:
        tensors by position ("t0", "t1", ...), on their devices; and the JSON value.

    Raises:
        StorageError: the state holds an object of another type.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _flatten(state, "state", tensors)


def _flatten(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    import numpy as np
    import torch

    if value is None or isinstance(value, bool | int | float | str):
        # numpy's float64 is a float, which JSON must not see.
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, torch.Tensor):
        return {_TENSOR: _store(value.detach(), tensors)}
    if isinstance(value, np.ndarray):
        raw = torch.from_numpy(np.frombuffer(value.tobytes(), dtype=np.uint8).copy())
        return {
            _ARRAY: _store(raw, tensors),
            "dtype": value.dtype.str,
            "shape": list(value.shape),
        }
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {_TUPLE: [_flatten(v, f"{where}[{i}]", tensors) for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [_flatten(v, f"{where}[{i}]", tensors) for i, v in enumerate(value)]
    if isinstance(value, dict):
        pairs = [(k, _flatten(v, f"{where}.{k}", tensors)) for k, v in value.items()]
        if all(type(k) is str and k not in _MARKERS for k, _ in pairs):
            return dict(pairs)
        if all(type(k) in (str, int) for k, _ in pairs):  # JSON would make int keys text
            return {_PAIRS: [list(pair) for pair in pairs]}
    raise StorageError(
        f"{where}: a {type(value).__name__} cannot be stored in a checkpoint; use tensors, "
        "numbers, text, lists and dicts"
    )


def _store(tensor: Tensor, tensors: dict[str, Tensor]) -> str:
    name = f"t{len(tensors)}"
    tensors[name] = tensor
    return name


def unflatten_state(tensors: dict[str, Tensor], plain: Any) -> Any:
    """The state that `flatten_state` split; tensors come as they are in `tensors`."""
    import numpy as np

    if isinstance(plain, list):
        return [unflatten_state(tensors, value) for value in plain]
    if not isinstance(plain, dict):
        return plain
    if _TENSOR in plain:
        return tensors[plain[_TENSOR]]
    if _ARRAY in plain:
        raw = tensors[plain[_ARRAY]].numpy().tobytes()
        return np.frombuffer(raw, dtype=np.dtype(plain["dtype"])).reshape(plain["shape"]).copy()
    if _TUPLE in plain:
        return tuple(unflatten_state(tensors, value) for value in plain[_TUPLE])
    if _PAIRS in plain:
        return {key: unflatten_state(tensors, value) for key, value in plain[_PAIRS]}
    return {key: unflatten_state(tensors, value) for key, value in plain.items()}
