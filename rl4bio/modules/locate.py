"""Where a checkpoint's files are."""

from __future__ import annotations

from pathlib import Path

from rl4bio.errors import ModelError
from rl4bio.files.assets import asset, is_asset, shipped_text
from rl4bio.files.deadline import probe_model
from rl4bio.files.model_errors import model_error
from rl4bio.files.model_folder import check_model_folder


def locate(checkpoint: str) -> str:
    """The folder or hub id behind `policy.checkpoint`, checked as far as it costs no weights.

    A hub id that is not in the local cache is probed by one request, so that a gated or missing
    model is reported within seconds.

    Raises:
        ModelError: unknown asset, missing folder, or a hub id that cannot be read.
    """
    if is_asset(checkpoint):
        folder = asset(checkpoint, "config.json")
        if folder is None:
            raise ModelError(
                f"policy.checkpoint: no shipped model {checkpoint!r}; shipped: "
                f"{shipped_text('config.json')}"
            )
        return str(folder)
    wanted = "an existing model folder, a hub id (owner/name), or rl4bio:<asset>"
    if not checkpoint.strip():
        raise ModelError(f"policy.checkpoint: is empty; give {wanted}")
    path = Path(checkpoint).expanduser()
    if path.is_file():
        raise ModelError(
            f"policy.checkpoint: {checkpoint} is a file; give {wanted} (a MolGPT .pt becomes a "
            "folder by `rl4bio convert`)"
        )
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"policy.checkpoint: {checkpoint}: the folder has no config.json; it must be a "
                "Hugging Face model folder (an adapter goes to policy.adapter.path)"
            )
        check_model_folder(path, "policy.checkpoint")
        return str(path)
    if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") != 1:
        raise ModelError(f"policy.checkpoint: no folder {checkpoint}; give {wanted}")
    try:
        probe_model(checkpoint)
    except Exception as error:  # the hub client raises its own, requests' and httpx's errors
        raise model_error(checkpoint, error, "policy.checkpoint") from error
    return checkpoint
