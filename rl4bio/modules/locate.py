"""Where a checkpoint's files are, and what to tell a user when they are not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rl4bio.errors import MissingPackageError, ModelError, Rl4bioError
from rl4bio.files.assets import asset, is_asset, shipped_text
from rl4bio.files.deadline import probe_model
from rl4bio.files.model_folder import NO_CODE, check_model_folder


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
        raise hub_error(checkpoint, error) from error
    return checkpoint


@contextlib.contextmanager
def reading(checkpoint: str) -> Iterator[None]:
    """Whatever goes wrong while transformers reads a checkpoint becomes one of our errors.

    Files of other people fail in more ways than a list holds. Memory that runs out stays what it
    is.

    Raises:
        ModelError: see `hub_error`.
        MissingPackageError: a package that this checkpoint needs is not installed.
    """
    try:
        yield
    except (Rl4bioError, MemoryError):
        raise
    except ImportError as error:
        raise MissingPackageError(f"{checkpoint}: {_first_line(error)}") from error
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
            raise
        raise hub_error(checkpoint, error) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def hub_error(checkpoint: str, error: BaseException) -> ModelError:
    """The ModelError that says what a user can do about a failed load."""
    names: set[str] = set()
    cause: BaseException | None = error
    while cause is not None:
        names.update(cls.__name__ for cls in type(cause).__mro__)
        cause = cause.__cause__ or cause.__context__
    what_to_do = (
        "(1) accept the licence on the model's page and log in with `hf auth login` or HF_TOKEN, "
        f"(2) download it once with `hf download {checkpoint}` and give that folder as "
        "policy.checkpoint=, or (3) choose another model, such as "
        "policy.checkpoint=rl4bio:gemma3-nano"
    )
    if "GatedRepoError" in names:
        return ModelError(f"{checkpoint} is gated and this account has no access; {what_to_do}")
    if "RepositoryNotFoundError" in names:
        return ModelError(f"{checkpoint} is not on the hub, or private; {what_to_do}")
    offline = {
        "OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectionError", "ConnectError",
        "ConnectTimeout", "ReadTimeout", "Timeout", "ProxyError", "HfHubHTTPError",
    }  # fmt: skip
    if names & offline:
        return ModelError(
            f"{checkpoint} is not in the local cache and the hub cannot be reached; {what_to_do}"
        )
    reason = _first_line(error)
    if "trust_remote_code" in str(error):
        return ModelError(
            f"{checkpoint}: refused: it needs code of its own, and code that comes with a "
            f"checkpoint {NO_CODE}"
        )
    if Path(checkpoint).expanduser().is_dir():
        return ModelError(
            f"{checkpoint} cannot be loaded: {reason}; its files are damaged, incomplete or of an "
            "unknown kind: copy or download the folder again, or choose another policy.checkpoint"
        )
    return ModelError(f"{checkpoint} cannot be loaded: {reason}; {what_to_do}")
