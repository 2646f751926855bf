"""Which rows of a head are tokens: many checkpoints have more rows than their tokenizer has words.

A row without a token was never trained and is no text, so it is neither sampled nor counted: the
distribution is over the tokens that there are, in sampling and in every log-probability. Rows
behind the last token are cut off, which costs nothing; holes before it become -inf.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

NAME = "rl4bio_known_tokens"
"""Attribute of the inner model, so that copies of a model have the same tokens."""


class KnownTokens:
    """The tokens of a head with a row for each.

    Args:
        ids: of the tokens; those without a row do not count.
        rows: of the head.
    """

    def __init__(self, ids: Iterable[int], rows: int) -> None:
        known = {token for token in ids if 0 <= token < rows}
        self.count: int = max(known, default=-1) + 1
        """Rows up to the last token."""
        self.holes: list[int] = [row for row in range(self.count) if row not in known]
        """Rows before the last token that have none, sorted."""
        self.rows = rows
        self._holes_on: dict[torch.device, Tensor] = {}

    @property
    def complete(self) -> bool:
        """Whether every row is a token, so that nothing need be restricted."""
        return self.count == self.rows and not self.holes

    @property
    def absent(self) -> list[int]:
        """All rows that are no tokens."""
        return [*self.holes, *range(self.count, self.rows)]

    def restrict(self, logits: Tensor) -> Tensor:
        """Logits [..., rows] without the rows that are no tokens: [..., count], holes -inf."""
        logits = logits[..., : self.count]
        if not self.holes:
            return logits
        return logits.index_fill(-1, self.holes_in(0, self.count, logits.device), float("-inf"))

    def holes_in(self, start: int, stop: int, device: torch.device) -> Tensor:
        """The holes from `start` to before `stop`, counted from `start`: int [h]."""
        if device not in self._holes_on:  # once: a copy to a GPU cannot be recorded
            self._holes_on[device] = torch.tensor(self.holes, dtype=torch.long, device=device)
        first, last = (bisect.bisect_left(self.holes, place) for place in (start, stop))
        found = self._holes_on[device][first:last]
        return found - start if start else found


def inner_model(model: Any) -> Any:
    """The causal language model inside of adapters."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def known_tokens(model: Any) -> KnownTokens | None:
    """What `note_known_tokens` has noted; None where every row of the head is a token."""
    return getattr(inner_model(model), NAME, None)


def note_known_tokens(model: Any, tokens: KnownTokens) -> None:
    """Restrict what the model samples and is scored on to these tokens."""
    setattr(inner_model(model), NAME, None if tokens.complete else tokens)


def restricted(model: Any, logits: Tensor) -> Tensor:
    """A model's logits [..., rows], restricted to its tokens."""
    tokens = known_tokens(model)
    return logits if tokens is None else tokens.restrict(logits)
