"""Rows of a rollout put together, picked out and cut into micro-batches; padding never matters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from rl4bio.types import Rollout, Scores


def micro_batches(rollout: Rollout, max_tokens: int) -> list[Tensor]:
    """Row numbers of micro-batches of at most `max_tokens` padded tokens, at least one row each.

    Rows of like length come together. Every row is in exactly one micro-batch.

    Args:
        rollout: N rows.
        max_tokens: rows * (longest prompt + longest completion) of a micro-batch.

    Returns:
        int tensors, together a permutation of 0..N-1.
    """
    prompts = rollout.prompt_mask.sum(-1).tolist()
    completions = rollout.completion_mask.sum(-1).tolist()
    order = sorted(range(len(prompts)), key=lambda n: (prompts[n] + completions[n], n))
    batches: list[list[int]] = [[]]
    for n in order:
        rows = [*batches[-1], n]
        width = max(prompts[k] for k in rows) + max(completions[k] for k in rows)
        if batches[-1] and len(rows) * width > max_tokens:
            batches.append([n])
        else:
            batches[-1] = rows
    device = rollout.prompt_ids.device
    return [torch.tensor(sorted(rows), device=device) for rows in batches]


def cut(rollout: Rollout, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Prompt ids and mask [n, p], completion ids and mask [n, c] of some rows, without spare width.

    The completion width is at least 1, so that a micro-batch of empty completions has a shape.
    """
    prompt_mask, completion_mask = rollout.prompt_mask[rows], rollout.completion_mask[rows]
    p = max(1, int(prompt_mask.sum(-1).max()))
    c = max(1, int(completion_mask.sum(-1).max()))
    return (
        rollout.prompt_ids[rows, -p:],
        prompt_mask[:, -p:],
        rollout.completion_ids[rows, :c],
        completion_mask[:, :c],
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
    )


def take_scores(scores: Scores, groups: Sequence[int], group_size: int) -> Scores:
    """The scores of some groups, in the given order."""
    rows = [group * group_size + k for group in groups for k in range(group_size)]
    index = torch.tensor(rows, dtype=torch.long, device=scores.total.device)
    return Scores(
        total=scores.total[index],
        parts={name: part[index] for name, part in scores.parts.items()},
        weights=scores.weights,
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
    )


def join_scores(pieces: Sequence[Scores]) -> Scores:
    """One table of all rows."""
    return Scores(
        total=torch.cat([piece.total for piece in pieces]),
        parts={
            name: torch.cat([piece.parts[name] for piece in pieces]) for name in pieces[0].parts
        },
        weights=pieces[0].weights,
    )
