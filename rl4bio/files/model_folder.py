"""What is looked at in a model folder of strangers before anything of it is loaded.

Weights are safetensors, which hold numbers alone. Pickles and code are refused at every door, with
the same words; there is no way round it, since a file that is read wrongly once may run anything.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl4bio.errors import ModelError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
NO_CODE = "is not run; choose a model that transformers knows by itself"
_MAX_CONFIG_BYTES = 2**24
_MAX_HEADER_BYTES = 100_000_000
"""As safetensors itself allows."""


def check_model_folder(folder: Path, key: str) -> None:
    """Refuse a model or adapter folder that could run code, or whose weights are cut off.

    Args:
        folder: with the files.
        key: what names it, for messages.

    Raises:
        ModelError: names the file, and what is wrong with it.
    """
    for path in sorted(folder.glob("*config.json")):
        _check_config(path, key)
    weights = sorted(folder.glob("*.safetensors"))
    pickles = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICKLES)
    if pickles and not weights:
        raise ModelError(
            f"{key}: {pickles[0]}: refused: a pickle can run code when it is read; convert the "
            "weights to safetensors where the folder comes from (a MolGPT .pt: `rl4bio convert`)"
        )
    for path in weights:
        check_safetensors(path, key)
    index = folder / "model.safetensors.index.json"
    for name in sorted(_shards(index, key)):
        if name != Path(name).name or not (folder / name).is_file():
            raise ModelError(
                f"{key}: {index}: lists {name[:80]!r}, which is not in the folder; copy it again"
            )


def check_safetensors(path: Path, key: str) -> None:
    """Refuse a file that is not as long as its header says.

    Raises:
        ModelError: it is cut off, longer, or no safetensors file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if length > min(size - 8, _MAX_HEADER_BYTES):
                raise ValueError("its header is cut off")
            header = json.loads(stream.read(length))
        ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
        wanted = 8 + length + max(ends, default=0)
    except OSError as error:
        raise ModelError(f"{key}: {path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        reason = str(error) if "header" in str(error) else "no safetensors file"
        raise ModelError(f"{key}: {path}: damaged ({reason}); copy it again") from error
    if size != wanted:
        raise ModelError(
            f"{key}: {path}: damaged: it has {size:,} bytes, its header says {wanted:,}; copy it "
            "again"
        )


def _check_config(path: Path, key: str) -> None:
    content = _read(path, key)
    if path.name == "tokenizer_config.json":  # thousands of tokens, and no kernels
        return
    for name, value in _leaves(content):
        if "attn_implementation" in name and isinstance(value, str) and "/" in value:
            raise ModelError(
                f"{key}: {path}: refused: {name} names the kernel {value[:80]!r}; code that comes "
                f"with a checkpoint {NO_CODE}, or remove the entry"
            )


def _shards(index: Path, key: str) -> set[str]:
    if not index.is_file():
        return set()
    try:
        return set(_read(index, key)["weight_map"].values())
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{key}: {index}: damaged (no weight_map); copy it again") from error


def _read(path: Path, key: str) -> Any:
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ModelError(f"{key}: {path}: has more than {_MAX_CONFIG_BYTES:,} bytes; not read")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{key}: {path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{key}: {path}: no JSON ({type(error).__name__}); copy it again") from (
            error
        )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(child, str(key))
    else:
        yield name, value
