"""Reading `.pt` files of strangers: tensors and nothing that could run.

A `.pt` file is a pickle, which may name any function for the reader to call. Here the names are
read first and compared with a short list, then `torch.load` reads the file with its own guard
(`weights_only=True`). There is no other way in: what either refuses stays unread.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.errors import ModelError
from rl4bio.files.text_files import endless

if TYPE_CHECKING:
    from torch import Tensor

MAX_PICKLE_BYTES = 2**21
"""The pickle of a state dict holds names and shapes alone, some 100 bytes a tensor."""
WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep the state dict beside other things."""

SAVE_IT = "save model.state_dict() alone with torch.save"
_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle of files older than torch 1.6: a magic number."""
_LEGACY_PICKLES = 5
_KINDS = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_HARMLESS = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    *(f"torch.{kind}Storage" for kind in _KINDS),
}
"""What a saved dict of tensors names."""


def read_tensors(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a state dict saved by `torch.save`, and the names of what lies beside it.

    A dict that keeps it under one of WRAPPERS is unwrapped; the prefixes `module.` of DataParallel
    and `_orig_mod.` of torch.compile are taken off.

    Args:
        path: of the file, in the zip format or the one before torch 1.6.

    Returns:
        name -> dense tensor on the CPU; and the other keys of a dict that was unwrapped.

    Raises:
        ModelError: the file is missing, no such file, damaged, or refused; the message says why.
    """
    import torch

    check_file(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly everything on a damaged file
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{path}: cannot be read ({reason[:300]}); the file is damaged: copy it again"
        ) from error
    state, others = _state_dict(path, found)
    _check_sizes(path, state)
    return _without_prefixes(state), others


def check_file(path: Path) -> None:
    """Look at a file without reading its tensors.

    Raises:
        ModelError: it is no PyTorch file, or its pickle names something that is not harmless.
    """
    if endless(path):
        raise ModelError(f"{path}: refused: is no plain file; give a .pt file")
    try:
        with path.open("rb") as stream:
            start = stream.read(MAX_PICKLE_BYTES)
        if not start.startswith(_ZIP):
            _check_legacy(path, start)
            return
        with zipfile.ZipFile(path) as archive:
            _check_names(path, _read_pickle(path, archive))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{path}: cannot be read ({reason}); give a .pt file") from error
    except (zipfile.BadZipFile, ValueError, EOFError, MemoryError, RuntimeError) as error:
        raise ModelError(
            f"{path}: damaged or cut off ({error or type(error).__name__}); copy it again"
        ) from error


def _read_pickle(path: Path, archive: zipfile.ZipFile) -> bytes:
    """The pickle of a zip file whose entries are what `torch.save` writes."""
    entries = archive.infolist()
    total, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ModelError(
            f"{path}: refused: its entries unpack to {total:,} bytes, the file has {size:,}; "
            "torch.save compresses nothing"
        )
    pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    if len(pickles) != 1:
        raise ModelError(
            f"{path}: a zip file that is no PyTorch checkpoint ({len(pickles)} data.pkl in it); "
            "give the .pt file that torch.save(model.state_dict()) wrote"
        )
    if pickles[0].file_size > MAX_PICKLE_BYTES:
        raise ModelError(
            f"{path}: refused: its pickle has {pickles[0].file_size:,} bytes, at most "
            f"{MAX_PICKLE_BYTES:,}"
        )
    return archive.read(pickles[0])


def _check_legacy(path: Path, start: bytes) -> None:
    """The pickles that open an old file, or any pickle, which may have any name."""
    stream = io.BytesIO(start)
    try:
        for _ in range(_LEGACY_PICKLES if start.startswith(_LEGACY) else 1):
            _check_names(path, stream)
    except (ValueError, EOFError, MemoryError) as error:
        if start.startswith(_LEGACY):
            raise
        raise ModelError(_no_checkpoint(path)) from error
    if not start.startswith(_LEGACY):
        raise ModelError(_no_checkpoint(path))


def _no_checkpoint(path: Path) -> str:
    return (
        f"{path}: not a PyTorch file; give the .pt file that torch.save(model.state_dict()) wrote"
    )


def _check_names(path: Path, pickle: bytes | io.BytesIO) -> None:
    """Refuse a pickle that names more than a dict of tensors needs; its end is the first STOP."""
    for code, argument, _ in pickletools.genops(pickle):
        if code.name in ("GLOBAL", "INST"):
            name = str(argument).replace(" ", ".", 1)
            if not name.replace(".", "").isidentifier():
                raise ValueError(f"{name[:80]!r} is no name")
            name += " (as an instance)" if code.name == "INST" else ""
        elif code.name == "STACK_GLOBAL" or code.name.startswith("EXT"):
            name = f"a name that it puts together while it is read ({code.name})"
        else:
            continue
        if name not in _HARMLESS:
            raise ModelError(
                f"{path}: refused: needs {name}; only plain tensors are read, never code: save "
                "model.state_dict() alone with torch.save"
            )


def _state_dict(path: Path, found: Any) -> tuple[dict[str, Tensor], list[str]]:
    import torch

    others: list[str] = []
    state = _plain(found)
    for wrapper in WRAPPERS:
        if isinstance(state.get(wrapper), dict):
            others = [str(key) for key in state if key != wrapper]
            state = _plain(state[wrapper])
            break
    if not state:
        kind = "an empty dict" if isinstance(found, dict) else f"a {type(found).__name__}"
        raise ModelError(f"{path}: holds {kind} and not a state dict of name -> tensor; {SAVE_IT}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ModelError(
                f"{path}: not a state dict: {name!r} holds a {type(value).__name__} and no tensor; "
                f"{SAVE_IT}"
            )
        if value.layout != torch.strided or value.device.type != "cpu":
            raise ModelError(f"{path}: {name!r} is no dense tensor; {SAVE_IT}")
    return state, others


def _check_sizes(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse tensors larger than the bytes behind them, by stride 0; torch refuses the others."""
    for name, tensor in state.items():
        claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
        if claimed > stored:
            raise ModelError(
                f"{path}: refused: {name!r} claims {claimed:,} bytes, {stored:,} are stored"
            )


def _plain(found: Any) -> dict[Any, Any]:
    """A copy that has no attributes of its own: a file may set some on an OrderedDict."""
    return dict(dict.items(found)) if isinstance(found, dict) else {}


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in ("module.", "_orig_mod.", "module."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state
