"""What to tell a user whose model does not load: the same words at every door."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rl4bio.errors import MissingPackageError, ModelError, Rl4bioError
from rl4bio.files.model_folder import NO_CODE, damaged_file

_OFFLINE = {
    "OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectionError", "ConnectError",
    "ConnectTimeout", "ReadTimeout", "Timeout", "ProxyError", "HfHubHTTPError",
}  # fmt: skip


@contextlib.contextmanager
def reading(checkpoint: str, key: str = "policy.checkpoint") -> Iterator[None]:
    """Whatever goes wrong while transformers reads a checkpoint becomes one of our errors.

    Files of other people fail in more ways than a list holds. Memory that runs out stays what it
    is.

    Args:
        checkpoint: a folder or hub id.
        key: what names it, for messages.

    Raises:
        ModelError: see `model_error`.
        MissingPackageError: a package that this checkpoint needs is not installed.
    """
    try:
        yield
    except (Rl4bioError, MemoryError):
        raise
    except ImportError as error:
        raise MissingPackageError(f"{key}: {checkpoint}: {reason_of(error)}") from error
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
            raise
        raise model_error(checkpoint, error, key) from error


def reason_of(error: BaseException) -> str:
    """The line of a library's message that says something: not one that ends before it does."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def model_error(checkpoint: str, error: BaseException, key: str) -> ModelError:
    """The ModelError that says what a user can do about a failed load."""
    names: set[str] = set()
    cause: BaseException | None = error
    while cause is not None:
        names.update(cls.__name__ for cls in type(cause).__mro__)
        cause = cause.__cause__ or cause.__context__
    where = f"{key}: {checkpoint}"
    other = f"{key}=rl4bio:gemma3-nano" if key == "policy.checkpoint" else "one that is here"
    what_to_do = (
        "(1) accept the licence on the model's page and log in with `hf auth login` or HF_TOKEN, "
        f"(2) download it once with `hf download {checkpoint}` and give that folder as {key}, or "
        f"(3) choose another model, such as {other}"
    )
    if "GatedRepoError" in names:
        return ModelError(f"{where} is gated and this account has no access; {what_to_do}")
    if "RepositoryNotFoundError" in names:
        return ModelError(f"{where} is not on the hub, or private; {what_to_do}")
    if names & _OFFLINE:
        return ModelError(
            f"{where} is not in the local cache and the hub cannot be reached; {what_to_do}"
        )
    if "trust_remote_code" in str(error):
        return ModelError(
            f"{where}: refused: it needs code of its own, and code that comes with a "
            f"checkpoint {NO_CODE}"
        )
    folder = Path(checkpoint).expanduser()
    if not folder.is_dir():
        return ModelError(f"{where} cannot be loaded: {reason_of(error)}; {what_to_do}")
    if damage := damaged_file(folder):
        return ModelError(f"{key}: {damage}")
    return ModelError(
        f"{where} cannot be loaded: {reason_of(error)}; its files are damaged, incomplete or of an "
        f"unknown kind: copy or download the folder again, or choose another {key}"
    )
