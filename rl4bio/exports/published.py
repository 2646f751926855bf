"""MolGPT as its authors publish it: a `.pt` file of weights and a vocabulary beside it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from rl4bio.errors import ModelError, StorageError
from rl4bio.storage import write_atomic
from rl4bio.storage.files import storage_errors


def stoi_path(weights: Path) -> Path:
    """The vocabulary beside a `.pt` file, named as the published code names it."""
    return weights.with_name(f"{weights.stem}_stoi.json")


def write_published(weights: Path, vocabulary: Path, tokenizer: Any, model: Any) -> None:
    """Write a MolGPT as the published code does, and read it back.

    Raises:
        ModelError: the model is no MolGPT.
        StorageError: it cannot be written, or does not read back as it is.
    """
    import torch

    from rl4bio.exports.cards import describe_molgpt
    from rl4bio.modules.molgpt.files import published_state, read_stoi
    from rl4bio.modules.molgpt.layers import MolGPTConfig
    from rl4bio.storage.torch_files import read_tensors

    if not isinstance(model.config, MolGPTConfig):
        raise ModelError(
            f"--format molgpt: the model is a {model.config.model_type}; use --format huggingface"
        )
    state = published_state(model)
    stream = io.BytesIO()
    torch.save(state, stream)
    with storage_errors(weights):
        weights.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(vocabulary, json.dumps(tokenizer.get_vocab()))
    write_atomic(weights, stream.getvalue())
    read, _ = read_tensors(weights)
    same = read.keys() == state.keys() and all(torch.equal(read[k], state[k]) for k in state)
    if not same or read_stoi(vocabulary) != tokenizer.get_vocab():
        raise StorageError(f"{weights}: was not written as it is; check the disk")
    config = model.config
    print(describe_molgpt(config))
    print(
        f"written to {weights} and {vocabulary.name}; n_head={config.num_heads} is not in the "
        f"file: `rl4bio convert` needs --heads {config.num_heads}"
        + (f" --scaffold-length {config.scaffold_length}" if config.scaffold_length else "")
    )
    if config.bos_token_id is not None:
        print("note: the model begins with '<': give MolGPT's script that context and not 'C', and")
        print("      `rl4bio convert --start-token` on the way back")
