"""The order of samples: shuffled passes, cut into the batches of every rank."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from torch.utils.data import IterableDataset

from rl4bio.types import PromptBatch, Sample


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
