"""From the rows of a rollout to entries of the memory, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rl4bio.functional.masking import pad_left, pad_right
from rl4bio.modules.replay.memory import Entry
from rl4bio.types import Rollout, Sample, Scores

Places = Callable[[Sequence[str], Sequence[Sample]], Sequence[tuple[str, str] | None]]
"""Completions and their samples -> what molecule each is (its parent) and that one's scaffold."""


def worth_keeping(
    rollout: Rollout, scores: Scores, advantages: Tensor, places: Places | None
) -> list[Entry]:
    """The completions of a rollout that a memory may keep.

    Of molecules each one that is new to the run; of other completions those that earned more than
    their group. Truncated completions are none.

    Args:
        rollout: N rows.
        scores: of the rows.
        advantages: float [N].
        places: of molecules; None where there are none.
    """
    totals, gains = scores.total.tolist(), advantages.tolist()
    cut_off = rollout.truncated.tolist()
    samples = rollout.row_samples
    if scores.states is None or places is None:
        found = [
            None if cut_off[n] or not gains[n] > 0 else (f"{sample.uid}\n{text}", sample.uid)
            for n, (sample, text) in enumerate(zip(samples, rollout.completions, strict=True))
        ]
    else:
        named = places(rollout.completions, samples)
        found = [
            None if cut_off[n] or scores.states[n] != "valid" else place
            for n, place in enumerate(named)
        ]
    return [
        _entry(rollout, n, place, totals[n], gains[n])
        for n, place in enumerate(found)
        if place is not None and not math.isnan(totals[n])
    ]


def _entry(
    rollout: Rollout, row: int, place: tuple[str, str], score: float, advantage: float
) -> Entry:
    prompt_mask, mask = rollout.prompt_mask[row], rollout.completion_mask[row]
    return Entry(
        key=place[0],
        alike=place[1],
        text=rollout.completions[row],
        score=score,
        advantage=advantage,
        prompt=rollout.prompt_ids[row][prompt_mask].tolist(),
        completion=rollout.completion_ids[row][mask].tolist(),
        logprobs=rollout.logprobs[row][mask].tolist(),
        conditions={name: values[row].tolist() for name, values in rollout.conditions.items()},
    )


def rollout_of(entries: Sequence[Entry], pad_id: int, device: torch.device) -> Rollout:
    """Entries as a rollout of one completion a prompt.

    Args:
        entries: N, at least one.
        pad_id: token of the padding.
        device: of the tensors.

    Returns:
        N rows without samples; `logprobs` is NaN where no policy sampled.
    """
    prompt_ids, prompt_mask = pad_left([entry.prompt for entry in entries], pad_id)
    ids, mask = pad_right([entry.completion for entry in entries], pad_id)
    logprobs = torch.zeros(ids.shape)
    for row, entry in enumerate(entries):
        known = entry.logprobs or [math.nan] * len(entry.completion)
        logprobs[row, : len(known)] = torch.tensor(known)
    return Rollout(
        prompt_ids=prompt_ids.to(device),
        prompt_mask=prompt_mask.to(device),
        completion_ids=ids.to(device),
        completion_mask=mask.to(device),
        logprobs=logprobs.to(device),
        completions=[entry.text for entry in entries],
        truncated=torch.zeros(len(entries), dtype=torch.bool, device=device),
        samples=[],
        group_size=1,
        conditions={
            name: torch.tensor([entry.conditions[name] for entry in entries], device=device)
            for name in entries[0].conditions
        },
    )
