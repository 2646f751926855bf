"""A corpus as a LightningDataModule: shuffling, sharding, prompt limits, position for resume."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

import lightning as L
from torch.utils.data import DataLoader

from rl4bio.data.base import Corpus, CountTokens
from rl4bio.data.streams import BatchStream, PromptStream
from rl4bio.errors import DataError, about_sample
from rl4bio.types import PromptBatch, Sample

log = logging.getLogger("rl4bio")


def fit_prompts(
    corpus: Corpus,
    samples: Sequence[Sample],
    *,
    limit: int,
    policy: Literal["fail", "drop", "shorten"],
    count_tokens: CountTokens,
    lengths: list[int] | None = None,
) -> list[Sample]:
    """The samples whose prompts have at most `limit` tokens, after the policy for longer ones.

    Args:
        corpus: knows how to shorten a sample.
        samples: in order.
        limit: tokens of a prompt, `rollout.max_prompt_tokens`.
        policy: fail with the record ids, drop the samples, or shorten their context.
        count_tokens: length of a prompt, and of the opening behind it, in the policy's tokens.
        lengths: is given the tokens of every kept sample's prompt, in their order.

    Raises:
        DataError: a prompt is too long under "fail", or nothing is left.
    """

    counted: dict[str, int] = {}  # thousands of molecules share a handful of prompts
    measured: dict[int, int] = {}  # by id: those that are kept live on

    def fits(sample: Sample) -> bool:
        measured[id(sample)] = count(sample)
        return measured[id(sample)] <= limit

    def count(sample: Sample) -> int:
        prompt = sample.prompt
        with about_sample(sample.uid):
            if sample.opening:
                return count_tokens(prompt, sample.opening)
            if not isinstance(prompt, str):
                return count_tokens(prompt)
            if prompt not in counted:
                counted[prompt] = count_tokens(prompt)
        return counted[prompt]

    kept: list[Sample] = []
    shortened, dropped = 0, []
    for sample in samples:
        if fits(sample):
            kept.append(sample)
            continue
        shorter = corpus.shorten(sample, fits) if policy == "shorten" else None
        if shorter is None:
            dropped.append(sample)
        else:
            kept.append(shorter)
            shortened += 1
    if policy == "fail":
        _refuse(dropped, samples, limit)
    if not kept and samples:
        raise DataError(
            f"no prompt fits rollout.max_prompt_tokens={limit}; raise it (the first has "
            f"{count_tokens(samples[0].prompt)} tokens)"
        )
    if shortened or dropped:
        log.warning(
            "prompts over rollout.max_prompt_tokens=%d: %d shortened, %d dropped of %d",
            limit,
            shortened,
            len(dropped),
            len(samples),
        )
    if lengths is not None:
        lengths += [measured[id(sample)] for sample in kept]
    return kept


def _refuse(dropped: Sequence[Sample], samples: Sequence[Sample], limit: int) -> None:
    """Raise a DataError where some prompts are too long."""
    if dropped:
        ids = ", ".join(sample.uid for sample in dropped[:5])
        raise DataError(
            f"{len(dropped)} of {len(samples)} prompts have more than {limit} tokens (ids {ids}"
            f"{', ...' if len(dropped) > 5 else ''}); raise rollout.max_prompt_tokens or set "
            "rollout.overlong_prompts to shorten or drop"
        )


class PromptDataModule(L.LightningDataModule):
    """Prompts of a corpus for training and validation.

    Args:
        corpus: where samples come from.
        seed: of the training order.
        max_prompt_tokens: limit of a prompt.
        overlong_prompts: what to do with longer ones.
        count_tokens: length of a prompt in the policy's tokens; None checks no lengths.
        length_window: training steps whose samples are sorted by length together; 1 = none.
        fit_demonstrations: the samples whose demonstration fits behind their prompt; None = all.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        seed: int = 1,
        max_prompt_tokens: int = 1024,
        overlong_prompts: Literal["fail", "drop", "shorten"] = "fail",
        count_tokens: CountTokens | None = None,
        length_window: int = 1,
        fit_demonstrations: Callable[[Sequence[Sample]], list[Sample]] | None = None,
    ) -> None:
        super().__init__()
        self.corpus = corpus
        self.seed = seed
        self.max_prompt_tokens = max_prompt_tokens
        self.overlong_prompts = overlong_prompts
        self.count_tokens = count_tokens
        self.length_window = length_window
        self.fit_demonstrations = fit_demonstrations
        self.left_out: dict[str, int] = {}
        """Samples of a split whose demonstration is too long, once it is read."""
        self.draws = 0
        """Training prompts that all ranks have used up; set it to resume."""
        self.longest: tuple[int, Sample] | None = None
        """Of the splits that were read and measured: tokens of the longest prompt, its sample."""
        self._splits: dict[str, list[Sample]] = {}

    def samples(self, split: Literal["train", "val", "test"]) -> list[Sample]:
        """The samples of a split that fit the limits of tokens; read once."""
        if split not in self._splits:
            samples = list(self.corpus.samples(split))
            lengths: list[int] = []
            if self.count_tokens is not None and samples:
                samples = fit_prompts(
                    self.corpus,
                    samples,
                    limit=self.max_prompt_tokens,
                    policy=self.overlong_prompts,
                    count_tokens=self.count_tokens,
                    lengths=lengths,
                )
                longest = max(zip(lengths, samples, strict=True), key=lambda pair: pair[0])
                if self.longest is None or longest[0] > self.longest[0]:
                    self.longest = longest
            given = len(samples)
            if self.fit_demonstrations is not None:
                samples = self.fit_demonstrations(samples)
            self.left_out[split] = given - len(samples)
            self._splits[split] = samples
        return self._splits[split]

    def train_dataloader(self) -> DataLoader[PromptBatch]:
        """Batches without end, from the draw on that a resumed run has reached."""
        samples = self.samples("train")
        if not samples:
            raise DataError("the train split is empty; check data.options")
        stream = PromptStream(
            samples,
            batch_size=self.corpus.batch_size,
            seed=self.seed,
            rank=self._rank,
            world_size=self._world_size,
            start=self.draws,
            length_window=self.length_window,
            vary=self.corpus.vary,
            stratum=self.corpus.stratum,
        )
        return DataLoader(stream, batch_size=None)

    def val_dataloader(self) -> DataLoader[PromptBatch]:
        """Batches that hold every validation sample exactly once over all ranks."""
        numbers = range(self._rank, len(self.samples("val")), self._world_size)
        size = self.corpus.batch_size
        batches = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        stream = BatchStream(
            PromptBatch(samples=[self.samples("val")[n] for n in batch], indices=list(batch))
            for batch in batches
        )
        return DataLoader(stream, batch_size=None)

    def spare(self, iteration: int, round_number: int, numbers: Sequence[int]) -> PromptBatch:
        """Fresh prompts that replace those at the given draws; fixed by the seed and the place."""
        samples = self.samples("train")
        rows = [
            random.Random(f"{self.seed}/{iteration}/{round_number}/{n}").randrange(len(samples))
            for n in numbers
        ]
        return PromptBatch(samples=[samples[row] for row in rows], indices=list(numbers))

    def state_dict(self) -> dict[str, Any]:
        """How many draws are used up."""
        return {"draws": self.draws}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the draws of a checkpoint."""
        self.draws = int(state_dict["draws"])

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1
