"""Where a SMILES string starts: the prompt in front of what a model writes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rl4bio.chem.tokens import END, TokenError, split_smiles

START, FIRST_TOKEN = "start", "first_token"
NUM_PROMPTS = 1000
"""Prompts that stand for a recorded distribution of first tokens."""


def literal_of(context: str) -> str:
    """The tokens that a context spells out; empty for `start` and `first_token`."""
    return "" if context in (START, FIRST_TOKEN) else context


def check_literal(option: str, text: str) -> None:
    """Raise a ValueError for a text that is no part of a SMILES."""
    try:
        if END in split_smiles(text):
            raise TokenError(f"{END!r} is added by the model itself")
    except TokenError as error:
        raise ValueError(f"{option}: {error}") from None


def check_context(context: str, first_tokens: Mapping[str, float] | None, *, data: bool) -> None:
    """Check the option `context`, and `first_tokens` with it; raises ValueError.

    Args:
        context: start, first_token or literal tokens.
        first_tokens: recorded shares; they stand for the rows where there are no data.
        data: whether there is a source.
    """
    if not context:
        raise ValueError(f"context: is empty; write {START}, {FIRST_TOKEN} or tokens such as C")
    check_literal("context", literal_of(context))
    needed = context == FIRST_TOKEN and not data
    if needed and not first_tokens:
        raise ValueError(
            f"first_tokens: context {FIRST_TOKEN} without a source needs their shares, such as "
            "{C: 0.8, O: 0.2}"
        )
    if first_tokens is not None and not needed:
        raise ValueError(f"first_tokens: goes with context {FIRST_TOKEN} and no source; remove it")
    for token, share in (first_tokens or {}).items():
        if not (share > 0 and math.isfinite(share)) or not is_token(token):
            raise ValueError(
                f"first_tokens.{token}: got {share}, needs one SMILES token with a number above 0"
            )


def is_token(text: str) -> bool:
    """Whether a text is exactly one token of a SMILES, or the end token."""
    try:
        return split_smiles(text) == [text]
    except TokenError:
        return False


def prefix_of(context: str, text: str, first: str) -> str | None:
    """The start of a molecule that is its prompt; None where it starts otherwise or ends there.

    Args:
        context: start, first_token or literal tokens.
        text: the molecule.
        first: its first token.
    """
    if context == START:
        return ""
    prefix = first if context == FIRST_TOKEN else context
    if not text.startswith(prefix) or len(text) == len(prefix):
        return None
    if prefix == first or is_token(prefix):
        return prefix if prefix == first else None
    wanted = split_smiles(prefix)  # CC is no start of CCl
    return prefix if split_smiles(text)[: len(wanted)] == wanted else None


def in_proportion(shares: Mapping[str, float], size: int = NUM_PROMPTS) -> list[str]:
    """`size` entries in the given proportions, by largest remainder; at least one of each."""
    total = sum(shares.values())
    exact = {token: size * share / total for token, share in shares.items()}
    counts = {token: int(value) for token, value in exact.items()}
    rest = sorted(exact, key=lambda token: (counts[token] - exact[token], token))
    for token in rest[: size - sum(counts.values())]:
        counts[token] += 1
    return [token for token, count in counts.items() for _ in range(max(1, count))]
