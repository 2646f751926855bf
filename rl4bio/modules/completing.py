"""Completions of samples, batch by batch, wherever they are drawn: in training and validation, in
an evaluation, for a preview and for a user."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rl4bio.modules.backends import Sampler
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions, sampling_seed
from rl4bio.sections import RolloutConfig
from rl4bio.types import Completions, Sample

log = logging.getLogger("rl4bio")

EVALUATION = -1
"""Round number of an evaluation's noise, which no training step draws."""
PROGRESS_S = 5.0
"""Seconds between two lines that say how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions are drawn."""

    max_new_tokens: int | None = None
    """Limit of a completion, its end token included; None: the model's positions alone."""
    temperature: float = 0.0
    """Divides the logits; 0: the likeliest token each time."""
    top_k: int | None = None
    group_size: int = 1
    """Completions of each prompt."""
    seed: int = 1
    """Of the noise, with the number of the prompt."""
    round_number: int = 0
    """One seed draws other noise in each round."""

    @classmethod
    def at(cls, limits: RolloutConfig, **how: float) -> Sampling:
        """As a run draws: its limit, temperature and top_k; what is given stands above them."""
        own = {
            "max_new_tokens": limits.max_completion_tokens,
            "temperature": limits.temperature,
            "top_k": limits.top_k,
        }
        return cls(**(own | how))  # type: ignore[arg-type]

    @property
    def distribution(self) -> dict[str, Any]:
        """What is sampled from, and what log-probabilities of it are taken of."""
        return {"temperature": self.temperature, "top_k": self.top_k}

    def seeds(self, numbers: Sequence[int]) -> list[int] | None:
        """The seeds of prompts by their numbers; None where no noise is drawn."""
        if self.temperature == 0:
            return None
        return [sampling_seed(self.seed, number, self.round_number) for number in numbers]

    def room(self, policy: Policy, prompt_tokens: int) -> int:
        """Longest completion behind a prompt: the limit, or less where positions end."""
        limits = (self.max_new_tokens, policy.completion_room(prompt_tokens))
        return min(limit for limit in limits if limit is not None)


class Progress:
    """Lines on stderr that say how far it is.

    Args:
        total: prompts.
        what: is counted.
        name: of the model, before the number.
        each: counted of every prompt.
        ends: whether there is a line at the end, too; before it there is at most one in
            `PROGRESS_S` seconds.
    """

    def __init__(
        self, total: int, what: str, *, name: str = "", each: int = 1, ends: bool = False
    ) -> None:
        self.total, self.what, self.each, self.ends = total * each, what, each, ends
        self.lead = f"{name}: " if name else ""
        self.done = 0
        self.started = self.shown = time.monotonic()

    def add(self, prompts: int) -> None:
        """Count prompts as done, and say so where a line is due."""
        self.done += prompts * self.each
        now = time.monotonic()
        due = now - self.shown >= PROGRESS_S
        if self.ends if self.done >= self.total else due:
            self.shown = now
            log.info("%s%d of %d %s", self.lead, self.done, self.total, self.what)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started


def complete(
    policy: Policy,
    samples: Sequence[Sample],
    sampling: Sampling,
    *,
    seeds: Sequence[int] | None,
    prompts: Sequence[list[int]] | None = None,
    begun: bool = False,
    sampler: Sampler | None = None,
) -> Completions:
    """Completions of one batch.

    Args:
        policy: as it stands; put into eval mode inside.
        samples: B.
        sampling: how to draw.
        seeds: one a sample; None decodes greedily.
        prompts: of the samples, where they are encoded already.
        begun: the prompts hold more than the start of a turn, which texts then leave out.
        sampler: who draws; None is `sample_completions`.
    """
    given = policy.inputs(samples, prompts)
    if begun:
        del given["starts"]
    return (sampler or functools.partial(sample_completions, policy))(
        **given,
        group_size=sampling.group_size,
        max_new_tokens=max(1, sampling.room(policy, max(map(len, given["prompts"])))),
        temperature=sampling.temperature or 1.0,
        top_k=sampling.top_k,
        seeds=seeds,
    )


def in_turn(count: int, size: int) -> list[range]:
    """Row numbers in batches, as they come."""
    return [range(start, min(count, start + size)) for start in range(0, count, size)]


def by_length(prompts: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Row numbers in batches, longest prompts first: little padding, and memory runs out early."""
    order = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    return [order[start : start + size] for start in range(0, len(order), size)]


def complete_all(
    policy: Policy,
    samples: Sequence[Sample],
    sampling: Sampling,
    *,
    batches: Iterable[Sequence[int]],
    numbers: Sequence[int],
    prompts: Sequence[list[int]] | None = None,
    begun: bool = False,
    progress: Progress | None = None,
) -> Iterator[tuple[Sequence[int], Completions]]:
    """Completions of any number of samples, batch by batch, with the rows of each batch.

    The noise of each sample depends on the seed and its number, not on the batches.

    Args:
        policy: as it stands; put into eval mode inside.
        samples: any number.
        sampling: how to draw.
        batches: row numbers of the samples that share a batch.
        numbers: of the samples, for their noise.
        prompts: of the samples, where they are encoded already.
        begun: as in `complete`.
        progress: is told of a batch once the next is asked for.
    """
    for rows in batches:
        yield (
            rows,
            complete(
                policy,
                [samples[row] for row in rows],
                sampling,
                seeds=sampling.seeds([numbers[row] for row in rows]),
                prompts=None if prompts is None else [prompts[row] for row in rows],
                begun=begun,
            ),
        )
        if progress is not None:
            progress.add(len(rows))
