"""Hugging Face model folders that `convert` and `export` write, and their cards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.errors import StorageError
from rl4bio.exports.cards import card
from rl4bio.exports.merge import check_saved, merge
from rl4bio.exports.source import Source
from rl4bio.storage.folders import new_folder

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy


def write_model_folder(
    target: Path,
    model: Any,
    tokenizer: Any,
    card: str,
    *,
    base: Path | None = None,
    stops: list[int] | None = None,
    check: Callable[[Any], None] | None = None,
) -> None:
    """Write model, tokenizer and README.md to a folder, and read them back before it is there.

    Args:
        target: replaced whole where it exists.
        model: of transformers.
        tokenizer: of the model.
        card: content of README.md.
        base: folder of the checkpoint that the model came from; its files are kept as they are.
        stops: ids that end a completion, for the generation config; None leaves them.
        check: is given the model as it was read back.

    Raises:
        StorageError: it cannot be written, or does not read back as it is.
    """
    from transformers import AutoTokenizer

    from rl4bio.modules.saving import verify_model, write_model

    with new_folder(target) as folder:
        write_model(model, tokenizer, folder, base, stops=stops)
        (folder / "README.md").write_text(card, "utf-8")
        read = verify_model(model, folder, where=target)
        if AutoTokenizer.from_pretrained(folder).get_vocab() != tokenizer.get_vocab():
            raise StorageError(f"{target}: the vocabulary was not written as it is; check the disk")
        if check is not None:
            check(read)


def write_merged(target: Path, policy: Policy, source: Source, dtype: str) -> None:
    """Write a whole model with everything that transformers needs to use it.

    The adapter is merged in float32 and the sum rounded once. The generation config names every
    token that ends a turn, since a checkpoint may declare fewer than the model writes.
    """
    import torch

    from rl4bio.modules.base_files import find_base as base_folder

    model, base = merge(policy, source.folder), source.base
    model = model.to(getattr(torch, dtype))
    write_model_folder(
        target,
        model,
        policy.tokenizer,
        card(target.name, policy, source, model),
        base=base_folder(policy.checkpoint, policy.revision),
        stops=policy.stop_ids,
        check=lambda read: check_saved(read, model, dtype, target),
    )
    print(f"written to {target}: {dtype}{f', adapter merged into {base}' if base else ''}")
    quantization = "none" if source.config is None else source.config.policy.quantization
    if quantization != "none":
        print(f"note: trained on a {quantization} base, merged into the unquantised one")


def write_adapter(target: Path, policy: Policy, source: Source) -> None:
    """Write an adapter alone, with tokenizer and card, and read it back."""
    from rl4bio.modules.saving import verify_policy, write_policy
    from rl4bio.storage.folders import new_folder

    with new_folder(target) as folder:
        write_policy(policy, folder)
        verify_policy(policy, folder)
        (folder / "README.md").write_text(card(target.name, policy, source), "utf-8")
    print(f"written to {target}: adapter of {source.base}")
