"""Rows of a rollout put together, picked out and cut into micro-batches; padding never matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from rl4bio.engine.sending import moved
from rl4bio.modules.conditions import pick_conditions
from rl4bio.process.memory import MAPPED_FROM
from rl4bio.types import Rollout, Scores

Found = TypeVar("Found", Rollout, Scores)
OF_ALL = ("group_size", "weights")
"""Fields that belong to all rows together, the same in every piece."""
OF_GROUPS = ("samples",)
"""Fields with an element a group; the others have one a row."""
LEFT = ("prompt_ids", "prompt_mask")
"""Fields that are padded on the left."""


@dataclass(slots=True, kw_only=True)
class Rows:
    """Some rows of a rollout without spare width, each prompt once."""

    prompt_ids: Tensor  # int [U, p]
    prompt_mask: Tensor  # bool [U, p]
    prompt_index: Tensor  # int [n]; the prompt of each completion
    completion_ids: Tensor  # int [n, c]
    completion_mask: Tensor  # bool [n, c]
    conditions: dict[str, Tensor] = field(default_factory=dict)  # each [U, ...]

    @property
    def width(self) -> int:
        """c, at least 1."""
        return self.completion_ids.shape[1]

    def to(self, device: torch.device) -> Rows:
        """The same rows on a device."""
        return moved(self, device)


def on_host(rollout: Rollout) -> Rollout:
    """A rollout with tokens and masks on the CPU, so that cutting it waits for no device."""
    own = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    return replace(rollout, **{name: getattr(rollout, name).cpu() for name in own})


def micro_batches(
    rollout: Rollout,
    max_tokens: int,
    *,
    packed: bool,
    groups: Sequence[int] | None = None,
    enough: int | None = None,
) -> list[Tensor]:
    """Row numbers of micro-batches of at most `max_tokens` tokens, at least one row each.

    Groups stay whole where they fit, so that their prompt runs once; one that does not is cut into
    pieces that each run it again, which changes no number. Groups of like length come together.

    Args:
        rollout: N rows.
        max_tokens: of the prompts, each once, and the completions.
        packed: count real tokens; else prompts * longest prompt + completions * longest completion.
        groups: those to cut; None is all.
        enough: tokens beyond which no further group joins; none is cut for it. None is max_tokens.

    Returns:
        int tensors, together a permutation of the groups' rows; the largest micro-batch first,
        whose freed memory all others fit into: a heap that gives to ever larger ones grows.
    """
    size = rollout.group_size
    prompts: list[int] = rollout.prompt_mask.sum(-1).tolist()
    completions: list[int] = rollout.completion_mask.sum(-1).tolist()

    def tokens(rows: list[int]) -> int:
        fronts = [prompts[number * size] for number in {row // size for row in rows}]
        tails = [completions[row] for row in rows]
        if packed:
            return sum(fronts) + sum(tails)
        return len(fronts) * max(fronts) + len(tails) * max(tails)

    chosen = range(len(prompts) // size) if groups is None else groups
    whole = [list(range(n * size, (n + 1) * size)) for n in chosen]
    whole.sort(key=lambda rows: (tokens(rows), rows))
    batches: list[list[int]] = [[]]
    for group in whole:
        fits = tokens(group) <= max_tokens
        limit = min(max_tokens, enough or max_tokens) if fits else max_tokens
        for piece in [group] if fits else [[row] for row in group]:
            together = [*batches[-1], *piece]
            if batches[-1] and tokens(together) > limit:
                batches.append(piece)
            else:
                batches[-1] = together
    batches.sort(key=tokens, reverse=True)
    device = rollout.prompt_ids.device
    return [torch.tensor(sorted(rows), device=device) for rows in batches]


def tokens_in_heap(model: Any) -> int | None:
    """Tokens whose widest states stay below the size that the allocator maps for itself.

    On a CPU each such tensor costs fresh pages again and again: seconds of an update. None on other
    devices, and for a model that does not tell its width.
    """
    weight: Tensor = next(model.parameters())
    config: Any = getattr(model, "config", None)
    if weight.device.type != "cpu" or not hasattr(config, "get_text_config"):
        return None
    text = config.get_text_config()
    width = max(getattr(text, "intermediate_size", None) or 0, getattr(text, "hidden_size", 0))
    return MAPPED_FROM // (4 * width) if width else None


def cut(rollout: Rollout, rows: Tensor) -> Rows:
    """Some rows, cut to their own longest prompt and completion."""
    groups, prompt_index = torch.unique(rows // rollout.group_size, return_inverse=True)
    first = groups * rollout.group_size
    prompt_mask, completion_mask = rollout.prompt_mask[first], rollout.completion_mask[rows]
    p = max(1, int(prompt_mask.sum(-1).max()))
    c = max(1, int(completion_mask.sum(-1).max()))
    return Rows(
        prompt_ids=rollout.prompt_ids[first, -p:],
        prompt_mask=prompt_mask[:, -p:],
        prompt_index=prompt_index,
        completion_ids=rollout.completion_ids[rows, :c],
        completion_mask=completion_mask[:, :c],
        conditions=pick_conditions(rollout.conditions, first),
    )


def take_groups(found: Found, groups: Sequence[int], size: int) -> Found:
    """Some groups of a rollout or of its scores, in the given order.

    Args:
        found: N rows.
        groups: numbers of the groups.
        size: G, of each group.
    """
    rows = [group * size + k for group in groups for k in range(size)]
    return replace(
        found,
        **{
            each.name: _picked(
                getattr(found, each.name), groups if each.name in OF_GROUPS else rows
            )
            for each in fields(found)
            if each.name not in OF_ALL
        },
    )


def join_groups(pieces: Sequence[Found]) -> Found:
    """All groups in one, prompts padded on the left and completions on the right."""
    return replace(
        pieces[0],
        **{
            each.name: _joined([getattr(piece, each.name) for piece in pieces], each.name in LEFT)
            for each in fields(pieces[0])
            if each.name not in OF_ALL
        },
    )


def _picked(value: Any, rows: Sequence[int]) -> Any:
    if isinstance(value, Tensor):
        return value[torch.tensor(rows, dtype=torch.long, device=value.device)]
    if isinstance(value, dict):
        return {name: _picked(own, rows) for name, own in value.items()}
    return [value[row] for row in rows] if isinstance(value, list) else value


def _joined(values: Sequence[Any], left: bool = False) -> Any:
    first = values[0]
    if any(value is None for value in values):
        return None
    if isinstance(first, dict):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: _joined([own[name] for own in values if name in own]) for name in names}
    if isinstance(first, list):
        return [one for value in values for one in value]
    if not isinstance(first, Tensor):
        return sum(values)
    if first.dim() == 2:
        width = max(value.shape[1] for value in values)
        rest = [width - value.shape[1] for value in values]
        values = [pad(v, (n, 0) if left else (0, n)) for v, n in zip(values, rest, strict=True)]
    return torch.cat(list(values))
