"""Rows of a data set on the Hugging Face Hub."""

from __future__ import annotations

from rl4bio.errors import DataError
from rl4bio.files.deadline import answers_for
from rl4bio.files.folders import dataset_rows
from rl4bio.files.rows import Row


def read_hub_rows(source: str, subset: str, revision: str | None, *, key: str) -> list[Row]:
    """All rows of all splits of `source`; row numbers stand in for lines.

    Args:
        source: Hub id.
        subset: its configuration.
        revision: its commit or tag.
        key: of the configuration, for messages.

    Raises:
        DataError: offline, unknown, gated, or a data set that needs to run a script.
    """
    import datasets

    if not answers_for(source):
        raise DataError(
            f"data.source: the Hub does not answer for {source!r}; try again, set HF_HUB_OFFLINE=1 "
            "if it was downloaded before, or give a local file"
        )
    try:
        loaded = datasets.load_dataset(source, subset, revision=revision)
    # Anything may come out of a download: connection, parsing, permission and hub errors.
    except Exception as error:
        raise DataError(
            f"{key}: {source!r} (subset {subset!r}) is neither a file or folder here nor "
            f"could it be loaded from the Hub ({_reason(error)}); {_advice(error)}"
        ) from error
    return dataset_rows({f"{source}/{subset}[{split}]": table for split, table in loaded.items()})


def _reason(error: BaseException) -> str:
    first = " ".join(str(error).partition("\n")[0].split())
    return f"{type(error).__name__}: {first[:200]}"


def _advice(error: BaseException) -> str:
    text = f"{type(error).__name__} {error}".lower()
    if "script" in text:
        return "it needs a loading script, which is never run; use a copy without one, or a file"
    if "gated" in text or "401" in text or "403" in text:
        return "accept its licence on the Hub and run `hf auth login`, or give a local file"
    if "builderconfig" in text:
        return "set its subset to one of them"
    return (
        "check the name, or download it once while online (`hf download --repo-type dataset`) and "
        "give the folder, or give a local .json, .jsonl, .csv or .parquet file"
    )
