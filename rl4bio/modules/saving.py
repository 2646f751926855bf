"""A policy to its files and back: written beside its base's own files, then read and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rl4bio.errors import ModelError, StorageError
from rl4bio.modules.base_files import find_base, settle_configs, write_tokenizer

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy

ADAPTER_FILE = "adapter_model.safetensors"


def write_policy(policy: Policy, folder: Path) -> None:
    """Write the adapter (peft's format) or the whole model, with the tokenizer, to a folder.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    base = find_base(policy.checkpoint, policy.revision)
    if policy.adapter is None:
        write_model(policy.model, policy.tokenizer, folder, base)
        return
    model: Any = policy.model
    config = model.peft_config["default"]
    place = Path(policy.checkpoint).expanduser()
    config.base_model_name_or_path = str(place.absolute()) if place.is_dir() else policy.checkpoint
    if policy.revision is not None:
        config.revision = policy.revision
    write_adapter_files(model, folder)
    (folder / "README.md").unlink(missing_ok=True)  # peft's form, with nothing filled in
    write_tokenizer(policy.tokenizer, base, folder)


def write_adapter_files(model: Any, folder: Path) -> None:
    """Write the adapter's own files, in peft's format.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    from safetensors import SafetensorError

    try:
        model.save_pretrained(
            folder,
            safe_serialization=True,
            save_embedding_layers=False,
            selected_adapters=["default"],
        )
    except SafetensorError as error:  # its wrapper of "no space left on device" and the like
        raise OSError(str(error)) from error


def write_model(
    model: Any, tokenizer: Any, folder: Path, base: Path | None, *, stops: list[int] | None = None
) -> None:
    """Write a whole model with its tokenizer; what is as in the base keeps the base's form.

    Args:
        model: of transformers.
        tokenizer: of the model.
        folder: to write to.
        base: of `find_base`.
        stops: ids that end a completion, for the generation config; None leaves the base's.
    """
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model.save_pretrained(folder, safe_serialization=True)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    settle_configs(folder, base, stops=stops)
    write_tokenizer(tokenizer, base, folder)


def verify_policy(policy: Policy, folder: Path, *, where: Path | None = None) -> None:
    """Compare the written weights with those in memory.

    Args:
        policy: that was written.
        folder: to read.
        where: the folder's later name, for messages.

    Raises:
        StorageError: a tensor is missing, differs, or is not finite.
    """
    if policy.adapter is None:
        verify_model(policy.model, folder, where=where)
        return
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(folder / ADAPTER_FILE)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"{where or folder}: does not read back ({error}); check the disk"
        ) from error
    _compare(adapter_state(policy.model), stored, where or folder)


def verify_model(model: Any, folder: Path, *, where: Path | None = None) -> Any:
    """Read a whole model back and compare it with that in memory, buffers of positions included.

    transformers renames and fuses weights on the way to the file and back, so models are compared
    and not names in files.

    Args:
        model: that was written.
        folder: to read.
        where: the folder's later name, for messages.

    Returns:
        The model that was read, on the CPU.

    Raises:
        StorageError: a tensor is missing, differs, or is not finite.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    where = where or folder
    options = {"dtype": model.dtype, "output_loading_info": True}
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StorageError(
            f"{where}: was not written as it is ({reason}); check the disk"
        ) from error
    read, report = loaded
    lost = sorted(
        {*report["missing_keys"]} - {*(getattr(read, "all_tied_weights_keys", None) or ())}
    )
    if lost:
        raise StorageError(f"{where}: {lost[0]} was not written as it is; check the disk")
    _compare(model.state_dict(), read.state_dict(), where)
    _compare_positions(model, read, where)
    return read


def _compare(own: dict[str, Any], stored: dict[str, Any], where: Path) -> None:
    for name, tensor in own.items():
        value = tensor.detach().cpu()
        if not bool(torch.isfinite(value).all()):
            raise StorageError(f"{where}: {name} is not finite; use an earlier checkpoint")
        if name not in stored or not torch.equal(stored[name].detach().cpu(), value):
            raise StorageError(f"{where}: {name} was not written as it is; check the disk")


def _compare_positions(model: nn.Module, read: nn.Module, where: Path) -> None:
    """Compare what no file holds but the configuration makes, such as rotary frequencies."""
    kept = model.state_dict().keys()
    own, other = dict(model.named_buffers()), dict(read.named_buffers())
    for name, buffer in own.items():
        first = name.replace("inv_freq", "original_inv_freq")
        if name in kept or (first != name and first in own):  # those in use change with the length
            continue
        value = buffer.detach().cpu().float()
        # A model that was cast has cast its buffers; another base of the positions is far away.
        if name not in other or not torch.allclose(value, other[name].float(), 2e-2, 1e-6):
            raise StorageError(f"{where}: its configuration makes another {name}; report it")


def adapter_state(model: Any) -> dict[str, torch.Tensor]:
    """The tensors of the adapter `default` under the names that peft gives them in a file."""
    from peft import get_peft_model_state_dict

    found: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, adapter_name="default", save_embedding_layers=False
    )
    return found


def check_savable(policy: Policy) -> None:
    """Refuse, before the first step, to train what the adapter's file would not hold.

    Raises:
        ModelError: a trained weight is not among those that peft saves.
    """
    if policy.adapter is None:
        return
    saved = {tensor.data_ptr() for tensor in adapter_state(policy.model).values()}
    for name, parameter in policy.model.named_parameters():
        if parameter.requires_grad and parameter.data_ptr() not in saved:
            raise ModelError(
                f"policy.adapter: {name} would be trained, but peft does not save it with this "
                "kind of adapter, so the result would be lost; start from another adapter, or "
                "name other policy.adapter.targets"
            )
