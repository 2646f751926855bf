"""What is looked at in a model folder of strangers before anything of it is loaded.

Weights are safetensors, which hold numbers alone. Pickles and code are refused at every door, with
the same words; there is no way round it, since a file that is read wrongly once may run anything.
"""

from __future__ import annotations

import json
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl4bio.errors import ModelError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".dill")
"""Files that are pickles, or that may hold some."""
NO_CODE = "is not run; choose a model that transformers knows by itself"
NO_PICKLE = (
    "refused: a pickle can run code when it is read; convert the weights to safetensors where the "
    "folder comes from (a MolGPT .pt: `rl4bio convert`)"
)
_READ = ("config.json", "generation_config.json", "tokenizer_config.json", "adapter_config.json")
"""Of the configurations in a folder, those that are read; other libraries leave more."""
_ELSEWHERE = ("megatron_config", "adapters")
"""Of an adapter: modules that peft would import for it, and other adapters that it would read."""
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_MAX_CONFIG_BYTES = 2**24
_TEXTS = (".json", ".txt", ".model", ".jinja", ".tiktoken")
"""What is read whole: configurations and tokenizers."""
_MAX_TEXT_BYTES = 2**28
"""Tokenizers of today have up to 40 MB."""
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
    entries = sorted(folder.iterdir())
    for path in entries:
        _check_plain(path, key)
    check_configs(folder, key)
    weights = [path for path in entries if path.suffix == ".safetensors"]
    pickles = [path for path in entries if path.suffix.lower() in PICKLES]
    if pickles and not weights:
        raise ModelError(f"{key}: {pickles[0]}: {NO_PICKLE}")
    tensors = sum(len(read_header(path, key)) for path in weights)
    for index in (path for path in entries if path.name.endswith(".safetensors.index.json")):
        for name in sorted(_shards(index, key)):
            if name != Path(name).name or not (folder / name).is_file():
                raise ModelError(
                    f"{key}: {index}: lists {name[:80]!r}, which is not in the folder; copy it "
                    "again"
                )
    if not weights:
        raise ModelError(
            f"{key}: {folder}: has no *.safetensors, which is where weights are read from; copy "
            "the folder again, or convert them where it comes from"
        )
    if (folder / "config.json").is_file():
        _check_layers(folder / "config.json", key, tensors)


def cached_folder(checkpoint: str, revision: str | None = None) -> Path | None:
    """The folder of a Hub id in the local cache; None where it is not there."""
    if checkpoint.count("/") != 1 or Path(checkpoint).expanduser().is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(checkpoint, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def check_cached(checkpoint: str, key: str, revision: str | None = None) -> None:
    """Refuse what `check_configs` refuses in the cached files of a Hub id; others may be missing.

    Raises:
        ModelError: names the file, and what is wrong with it.
    """
    if folder := cached_folder(checkpoint, revision):
        check_configs(folder, key)


def check_configs(folder: Path, key: str) -> None:
    """Refuse configurations that name code.

    Raises:
        ModelError: names the file, and what it names.
    """
    for path in sorted(folder.glob("*config.json")):
        _check_config(path, key)


def _check_plain(path: Path, key: str) -> None:
    """Refuse a pipe or a device, which never ends, a link that leads nowhere, and a bomb."""
    text = path.suffix in _TEXTS
    if not text and path.suffix != ".safetensors":
        return
    try:
        facts = path.stat()
    except OSError as error:
        raise ModelError(f"{key}: {path}: cannot be read ({error.strerror or error})") from error
    if not stat.S_ISREG(facts.st_mode):
        raise ModelError(f"{key}: {path}: refused: is no plain file; copy the folder again")
    if text and facts.st_size > _MAX_TEXT_BYTES:
        raise ModelError(f"{key}: {path}: has more than {_MAX_TEXT_BYTES:,} bytes; not read")


def damaged_file(folder: Path) -> str:
    """What is wrong with the first file of a folder that is not what its name says; "" = none."""
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix == ".json":
                read_model_json(path, "", most=_MAX_TEXT_BYTES)
            elif path.suffix == ".safetensors":
                read_header(path, "")
    except ModelError as error:
        return str(error).removeprefix(": ")
    return ""


def read_header(path: Path, key: str) -> dict[str, Any]:
    """What a safetensors file says of its tensors, by name; it is as long as it says.

    Raises:
        ModelError: it is cut off, longer, or no safetensors file.
    """
    try:
        size = path.stat().st_size
        header, length = _header(path, size)
        ends = [facts["data_offsets"][1] for facts in header.values()]
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
    return header


def tensor_shapes(folder: Path, key: str) -> dict[str, list[int]]:
    """The shapes of the floating-point tensors of a folder, from the headers of its files.

    Raises:
        ModelError: a file is damaged.
    """
    found: dict[str, list[int]] = {}
    for path in folder.glob("*.safetensors"):
        found |= {
            name: facts["shape"]
            for name, facts in read_header(path, key).items()
            if "F" in str(facts["dtype"])
        }
    return found


def _header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """What a safetensors file says of its tensors, and how many bytes that takes."""
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, _MAX_HEADER_BYTES):
            raise ValueError("its header is cut off")
        header = json.loads(stream.read(length))
    return {name: facts for name, facts in header.items() if name != "__metadata__"}, length


def _check_layers(path: Path, key: str, tensors: int) -> None:
    """Refuse a configuration of more layers than there are tensors: each is made, bit by bit."""
    for name, value in _leaves(read_model_json(path, key)):
        if name in _LAYERS and isinstance(value, int) and value > tensors:
            raise ModelError(
                f"{key}: {path}: refused: {name} is {value:,}, the files have {tensors:,} tensors"
            )


def _check_config(path: Path, key: str) -> None:
    found = read_model_json(path, key)
    if not isinstance(found, dict):
        if path.name not in _READ:  # sentence-transformers notes its data as a list
            return
        raise ModelError(f"{key}: {path}: holds no JSON object; copy it again")
    for name in _ELSEWHERE:
        if found.get(name):
            raise ModelError(
                f"{key}: {path}: refused: {name} names code or files of another place, which "
                f"{NO_CODE}, or remove the entry"
            )
    if path.name == "tokenizer_config.json":  # thousands of tokens, and no kernels
        return
    for name, value in _leaves(found):
        if "attn_implementation" in name and isinstance(value, str) and "/" in value:
            raise ModelError(
                f"{key}: {path}: refused: {name} names the kernel {value[:80]!r}; code that comes "
                f"with a checkpoint {NO_CODE}, or remove the entry"
            )


def _shards(index: Path, key: str) -> set[str]:
    try:
        names = read_model_json(index, key)["weight_map"].values()
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{key}: {index}: damaged (no weight_map); copy it again") from error
    if strange := [name for name in names if not isinstance(name, str)]:
        raise ModelError(
            f"{key}: {index}: lists {strange[0]!r:.80}, which is no name; copy it again"
        )
    return set(names)


def read_model_json(path: Path, key: str, *, most: int = _MAX_CONFIG_BYTES) -> Any:
    """The value of a JSON file of strangers.

    Raises:
        ModelError: it is too large, cannot be read, or is no JSON.
    """
    try:
        if path.stat().st_size > most:
            raise ModelError(f"{key}: {path}: has more than {most:,} bytes; not read")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{key}: {path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ModelError(
            f"{key}: {path}: no JSON ({place or type(error).__name__}); copy it again"
        ) from error


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(child, str(key))
    elif isinstance(value, list):
        for child in value:
            yield from _leaves(child, name)
    else:
        yield name, value
