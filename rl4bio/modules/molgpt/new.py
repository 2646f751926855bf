"""A MolGPT with random weights, shaped by the configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from rl4bio.chem.tokens import END, TokenError, split_smiles, vocabulary_of
from rl4bio.errors import ConfigError
from rl4bio.modules.locate import locate
from rl4bio.modules.molgpt.layers import MolGPTConfig
from rl4bio.modules.molgpt.tokenizer import VOCABULARY_FILE, SmilesTokenizer
from rl4bio.sections import NewMolGPTConfig

Vocabulary = Callable[[], Mapping[str, int] | None]
"""Collects the tokens of the training data."""


def new_molgpt(
    config: NewMolGPTConfig, corpus: Vocabulary | None, *, attention: str
) -> tuple[SmilesTokenizer, Any]:
    """Tokenizer and model of `policy.molgpt`; torch's global seed decides the weights.

    Raises:
        ConfigError: the vocabulary is not a MolGPT stoi.json, or there is no corpus to make one of.
    """
    vocabulary = read_vocabulary(config, corpus)
    tokenizer = SmilesTokenizer(
        vocabulary=vocabulary, bos_token=END if config.start_token else None
    )
    shape = MolGPTConfig(
        vocab_size=len(vocabulary),
        block_size=config.block_size,
        width=config.width,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        num_properties=len(config.properties),
        property_names=list(config.properties) or None,
        scaffold_length=config.scaffold_length,
        dropout=config.dropout,
        bos_token_id=vocabulary[END] if config.start_token else None,
        eos_token_id=vocabulary[END],
        pad_token_id=vocabulary[END],
    )
    return tokenizer, AutoModelForCausalLM.from_config(shape, attn_implementation=attention)


def read_vocabulary(config: NewMolGPTConfig, corpus: Vocabulary | None) -> dict[str, int]:
    """token -> id: those of the named file or folder, or of the corpus, and the extra ones."""
    found = _named_vocabulary(config, corpus)
    if not config.extra_tokens:
        return found
    try:
        return checked_vocabulary(vocabulary_of([found, config.extra_tokens]))
    except ValueError as error:
        raise ConfigError(f"policy.molgpt.extra_tokens: {error}") from error


def _named_vocabulary(config: NewMolGPTConfig, corpus: Vocabulary | None) -> dict[str, int]:
    key = "policy.molgpt.vocabulary"
    if config.vocabulary == "corpus":
        found = None if corpus is None else corpus()
        if found is None:
            raise ConfigError(
                f"{key}: the data has no SMILES; use data.name=smiles, or name a file"
            )
        return dict(found)
    path = Path(config.vocabulary).expanduser()
    if path.is_dir() or config.vocabulary.startswith("rl4bio:"):
        path = Path(locate(config.vocabulary)) / VOCABULARY_FILE
    try:
        return checked_vocabulary(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{key}: {config.vocabulary}: {error}; name a MolGPT stoi.json, a model folder, or "
            "corpus"
        ) from error


def checked_vocabulary(found: Any) -> dict[str, int]:
    """A vocabulary that is one: SMILES tokens on the ids 0 to V-1, `<` among them.

    Raises:
        ValueError: it is not; the message says why.
    """
    if not isinstance(found, dict) or not all(
        isinstance(v, int) and not isinstance(v, bool) for v in found.values()
    ):
        raise ValueError("expected one JSON object of token -> id")
    if sorted(found.values()) != list(range(len(found))):
        raise ValueError(f"the ids are not 0 to {len(found) - 1}, each once")
    if END not in found:
        raise ValueError(f"no token {END!r}, which ends and pads every string")
    for token in found:
        try:
            whole = split_smiles(token) == [token]
        except TokenError:
            whole = False
        if not whole:
            raise ValueError(f"{token!r} is not one SMILES token")
    return found
