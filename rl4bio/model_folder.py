"""Hugging Face model folders that `convert` and `export` write, and their cards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl4bio.errors import StorageError
from rl4bio.storage.folders import new_folder


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


def describe_molgpt(config: Any) -> str:
    """One line of what a MolGPT is: sizes and conditions."""
    conditions = []
    if config.num_properties:
        names = ", ".join(config.property_names or ["names unknown"])
        noun = "property" if config.num_properties == 1 else "properties"
        conditions.append(f"{config.num_properties} {noun} ({names})")
    if config.scaffold_length:
        conditions.append(f"a scaffold of {config.scaffold_length} tokens")
    return (
        f"MolGPT: {config.vocab_size} tokens, block {config.block_size}, {config.num_layers} "
        f"layers, {config.num_heads} heads, width {config.width}; conditioned on "
        f"{' and '.join(conditions) or 'nothing'}; "
        f"{'no start token' if config.bos_token_id is None else 'start token <'}"
    )
