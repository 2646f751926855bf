"""A random MolGPT of a few tokens, in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rl4bio.modules.molgpt.model import MolGPTConfig, MolGPTForCausalLM
from rl4bio.modules.molgpt.tokenizer import SmilesTokenizer

TOKENS = ("(", "<", "C", "N", "O")


def tiny_molgpt(
    folder: Path,
    *,
    vocabulary: Sequence[str] = TOKENS,
    seed: int = 1,
    num_layers: int = 2,
    block_size: int = 12,
    **conditions: Any,
) -> Path:
    """Write a model whose start token, "<", ends a molecule too; `conditions` of its config."""
    ids = {token: k for k, token in enumerate(vocabulary)}
    torch.manual_seed(seed)
    shape = MolGPTConfig(
        vocab_size=len(ids),
        block_size=block_size,
        width=16,
        num_layers=num_layers,
        num_heads=2,
        initializer_range=0.2,
        bos_token_id=ids["<"],
        eos_token_id=ids["<"],
        pad_token_id=ids["<"],
        **conditions,
    )
    MolGPTForCausalLM._from_config(shape).save_pretrained(folder)
    SmilesTokenizer(vocabulary=ids, bos_token="<").save_pretrained(folder)
    return folder
