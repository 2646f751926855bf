"""A corpus as a LightningDataModule: shuffling, sharding, prompt limits, position for resume."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import lightning as L
from torch.utils.data import DataLoader, IterableDataset

from rl4bio.data.base import Corpus, CountTokens
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
) -> list[Sample]:
    """The samples whose prompts have at most `limit` tokens, after the policy for longer ones.

    Args:
        corpus: knows how to shorten a sample.
        samples: in order.
        limit: tokens of a prompt, `rollout.max_prompt_tokens`.
        policy: fail with the record ids, drop the samples, or shorten their context.
        count_tokens: length of a prompt, and of the opening behind it, in the policy's tokens.

    Raises:
        DataError: a prompt is too long under "fail", or nothing is left.
    """

    counted: dict[str, int] = {}  # thousands of molecules share a handful of prompts

    def fits(sample: Sample) -> bool:
        prompt = sample.prompt
        with about_sample(sample.uid):
            if sample.opening:
                return count_tokens(prompt, sample.opening) <= limit
            if not isinstance(prompt, str):
                return count_tokens(prompt) <= limit
            if prompt not in counted:
                counted[prompt] = count_tokens(prompt)
        return counted[prompt] <= limit

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
    if dropped and policy == "fail":
        ids = ", ".join(sample.uid for sample in dropped[:5])
        raise DataError(
            f"{len(dropped)} of {len(samples)} prompts have more than {limit} tokens (ids {ids}"
            f"{', ...' if len(dropped) > 5 else ''}); raise rollout.max_prompt_tokens or set "
            "rollout.overlong_prompts to shorten or drop"
        )
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
    return kept


def pass_order(seed: int, epoch: int, strata: tuple[str, ...]) -> list[int]:
    """Rows in the order of one pass: shuffled, then every stratum spread evenly over the pass.

    The k-th of a stratum's n rows comes at (k + 1/2) / n of the pass, ties in random order. So L
    strata of one size come in rounds of L rows that hold one of each, and a batch of a multiple of
    L rows as many of each. With one stratum it is the shuffle alone.

    Args:
        seed: of the shuffle.
        epoch: number of the pass.
        strata: of every row; of one size where batches shall be balanced.
    """
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(strata)))
    rng.shuffle(order)
    sizes = Counter(strata)
    if len(sizes) == 1:
        return order
    met: Counter[str] = Counter()
    places: dict[int, tuple[float, float]] = {}
    for row in order:
        stratum = strata[row]
        places[row] = ((met[stratum] + 0.5) / sizes[stratum], rng.random())
        met[stratum] += 1
    return sorted(order, key=places.__getitem__)


class PromptStream(IterableDataset[PromptBatch]):
    """Batches without end; the global batch of a step is the same for any number of ranks.

    Step k takes draws k*B*W to (k+1)*B*W of the shuffled corpus (`pass_order`), and rank r its r-th
    slice of B. With a length window of L, the draws of L steps are sorted by the length of their
    demonstrations, cut into L global batches and these shuffled, so that a batch holds samples of
    like length and the same draws are used up after every window.

    Args:
        samples: the training split.
        batch_size: B, prompts per rank.
        seed: of the shuffles.
        rank: of this process.
        world_size: W.
        start: draws that an earlier run has used up.
        length_window: L, steps whose samples are sorted together; 1 leaves the order as drawn.
        vary: what a draw shows of its sample; see `Corpus.vary`.
        stratum: what is spread evenly over a pass; see `Corpus.stratum`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        length_window: int = 1,
        vary: Callable[[Sample, int], Sample] | None = None,
        stratum: Callable[[Sample], str] = lambda sample: "",
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start = start
        self.length_window = length_window
        self.vary = vary
        self._strata = tuple(stratum(sample) for sample in samples)
        self._orders: dict[int, list[int]] = {}
        self._window: tuple[int, list[int]] = (-1, [])

    def __iter__(self) -> Iterator[PromptBatch]:
        place = self.start + self.rank * self.batch_size
        while True:
            places = range(place, place + self.batch_size)
            samples = [self._sample(self._draw_at(n)) for n in places]
            yield PromptBatch(samples=samples, indices=list(places))
            place += self.batch_size * self.world_size

    def _sample(self, number: int) -> Sample:
        sample = self._row(number)
        return sample if self.vary is None else self.vary(sample, number)

    def _row(self, number: int) -> Sample:
        epoch, place = divmod(number, len(self.samples))
        if epoch not in self._orders:  # a window may lie in two passes
            self._orders.pop(epoch - 2, None)
            self._orders[epoch] = pass_order(self.seed, epoch, self._strata)
        return self.samples[self._orders[epoch][place]]

    def _draw_at(self, place: int) -> int:
        """Number of the draw at a place of the stream; the place itself without a window."""
        if self.length_window == 1:
            return place
        size = self.length_window * self.batch_size * self.world_size
        window, offset = divmod(place, size)
        if self._window[0] != window:
            self._window = (window, self._sorted(window, size))
        return self._window[1][offset]

    def _sorted(self, window: int, size: int) -> list[int]:
        """The draws of a window in the order of the stream."""
        rng = random.Random(f"{self.seed}/window/{window}")
        keys = {
            number: (len(self._row(number).demonstration), rng.random())
            for number in range(window * size, (window + 1) * size)
        }
        numbers = sorted(keys, key=keys.__getitem__)
        step = self.batch_size * self.world_size
        batches = [numbers[start : start + step] for start in range(0, size, step)]
        rng.shuffle(batches)
        return [number for batch in batches for number in batch]


class BatchStream(IterableDataset[PromptBatch]):
    """Given batches in order. Iterable, so that no Trainer spreads them over ranks once more."""

    def __init__(self, batches: Iterable[PromptBatch]) -> None:
        self.batches = list(batches)

    def __iter__(self) -> Iterator[PromptBatch]:
        return iter(self.batches)


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
        self._splits: dict[str, list[Sample]] = {}

    def samples(self, split: Literal["train", "val", "test"]) -> list[Sample]:
        """The samples of a split that fit the limits of tokens; read once."""
        if split not in self._splits:
            samples = list(self.corpus.samples(split))
            if self.count_tokens is not None and samples:
                samples = fit_prompts(
                    self.corpus,
                    samples,
                    limit=self.max_prompt_tokens,
                    policy=self.overlong_prompts,
                    count_tokens=self.count_tokens,
                )
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
