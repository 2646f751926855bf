"""Rows of a rollout put together, picked out and cut into micro-batches; padding never matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from rl4bio.host_memory import MAPPED_FROM
from rl4bio.modules.conditions import pick_conditions
from rl4bio.types import Rollout, Scores


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
        int tensors, together a permutation of the groups' rows.
    """
    size = rollout.group_size
    prompts = rollout.prompt_mask.sum(-1).tolist()
    completions = rollout.completion_mask.sum(-1).tolist()

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


def take_groups(rollout: Rollout, groups: Sequence[int]) -> Rollout:
    """Some groups of a rollout, in the given order."""
    size = rollout.group_size
    rows = [group * size + k for group in groups for k in range(size)]
    index = torch.tensor(rows, dtype=torch.long, device=rollout.prompt_ids.device)
    return Rollout(
        prompt_ids=rollout.prompt_ids[index],
        prompt_mask=rollout.prompt_mask[index],
        completion_ids=rollout.completion_ids[index],
        completion_mask=rollout.completion_mask[index],
        logprobs=rollout.logprobs[index],
        completions=[rollout.completions[row] for row in rows],
        truncated=rollout.truncated[index],
        samples=[rollout.samples[group] for group in groups],
        group_size=size,
        conditions=pick_conditions(rollout.conditions, index),
    )


def take_scores(scores: Scores, groups: Sequence[int], group_size: int) -> Scores:
    """The scores of some groups, in the given order."""
    rows = [group * group_size + k for group in groups for k in range(group_size)]
    index = torch.tensor(rows, dtype=torch.long, device=scores.total.device)
    return Scores(
        total=scores.total[index],
        parts={name: part[index] for name, part in scores.parts.items()},
        weights=scores.weights,
        states=None if scores.states is None else [scores.states[row] for row in rows],
        raw={name: [values[row] for row in rows] for name, values in scores.raw.items()},
    )


def join_rollouts(pieces: Sequence[Rollout]) -> Rollout:
    """One rollout of all groups, prompts padded on the left and completions on the right."""
    p = max(piece.prompt_ids.shape[1] for piece in pieces)
    c = max(piece.completion_ids.shape[1] for piece in pieces)

    def left(tensors: list[Tensor]) -> Tensor:
        return torch.cat([pad(t, (p - t.shape[1], 0)) for t in tensors])

    def right(tensors: list[Tensor]) -> Tensor:
        return torch.cat([pad(t, (0, c - t.shape[1])) for t in tensors])

    return Rollout(
        prompt_ids=left([piece.prompt_ids for piece in pieces]),
        prompt_mask=left([piece.prompt_mask for piece in pieces]),
        completion_ids=right([piece.completion_ids for piece in pieces]),
        completion_mask=right([piece.completion_mask for piece in pieces]),
        logprobs=right([piece.logprobs for piece in pieces]),
        completions=[text for piece in pieces for text in piece.completions],
        truncated=torch.cat([piece.truncated for piece in pieces]),
        samples=[sample for piece in pieces for sample in piece.samples],
        group_size=pieces[0].group_size,
        conditions={
            name: torch.cat([piece.conditions[name] for piece in pieces])
            for name in pieces[0].conditions
        },
    )


def join_scores(pieces: Sequence[Scores]) -> Scores:
    """One table of all rows."""
    states = [piece.states for piece in pieces if piece.states is not None]
    return Scores(
        total=torch.cat([piece.total for piece in pieces]),
        parts={
            name: torch.cat([piece.parts[name] for piece in pieces]) for name in pieces[0].parts
        },
        weights=pieces[0].weights,
        states=[s for some in states for s in some] if len(states) == len(pieces) else None,
        raw={
            name: [value for piece in pieces for value in piece.raw[name]] for name in pieces[0].raw
        },
    )
