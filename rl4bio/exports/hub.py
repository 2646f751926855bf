"""Uploading a folder to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from rl4bio.errors import ConfigError, Rl4bioError, StorageError
from rl4bio.files.deadline import HUB_S, within


def check_push(repo_id: str, form: str) -> None:
    """Refuse a push that cannot work, before an hour of merging.

    Raises:
        ConfigError: the name or the format is no model's, or nobody is logged in.
        StorageError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    if form == "molgpt":
        raise ConfigError("--push: goes with a folder, not with MolGPT's files")
    if repo_id.count("/") != 1:
        raise ConfigError(f"--push: got {repo_id!r}, needs owner/name")
    try:
        within(HUB_S, HfApi().whoami)
    except Exception as error:  # the hub client raises its own, requests' and httpx's errors
        raise push_error(repo_id, error) from error


def push(folder: Path, repo_id: str) -> None:
    """Upload a folder to a model repository, a private one where it is new."""
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(repo_id, private=True, exist_ok=True)
        HfApi().upload_folder(
            folder_path=folder, repo_id=repo_id, commit_message="Upload by rl4bio export"
        )
    except Exception as error:
        raise push_error(repo_id, error, folder) from error
    print(f"pushed to https://huggingface.co/{repo_id}")


def push_error(repo_id: str, error: Exception, folder: Path | None = None) -> Rl4bioError:
    """What a user can do about a failed push."""
    kept = f"; the folder is whole, send it later: hf upload {repo_id} {folder}" if folder else ""
    names = {cls.__name__ for cls in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    if "LocalTokenNotFoundError" in names or status in (401, 403):
        return ConfigError(
            f"--push: no right to write {repo_id}; log in with `hf auth login` (or set HF_TOKEN) "
            f"with a token that may write there{kept}"
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return StorageError(
        f"--push: {repo_id} cannot be written ({reason}); is the machine offline? Leave --push out "
        f"to write the folder alone{kept}"
    )
