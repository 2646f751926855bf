"""Order, sharding, resuming, prompt limits and validation batches."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from rl4bio.data.base import Corpus, Split
from rl4bio.data.module import PromptDataModule, PromptStream, fit_prompts
from rl4bio.errors import DataError
from rl4bio.types import Prompt, PromptBatch, Sample

ROWS = [Sample(uid=f"s{n}", prompt="w " * (n + 1), context="c" * n) for n in range(7)]


@dataclass(kw_only=True)
class Seven(Corpus):
    """Prompts of 1 to 7 words; shortening leaves three words, where there is enough context."""

    reads: int = 0

    def samples(self, split: Split) -> Sequence[Sample]:
        self.reads += 1
        return ROWS

    def shorten(self, sample: Sample, fits: Callable[[Sample], bool]) -> Sample | None:
        shorter = replace(sample, prompt="w w w")
        return shorter if fits(shorter) and len(sample.context) != 5 else None


def words(prompt: Prompt) -> int:
    assert isinstance(prompt, str)
    return len(prompt.split())


def stream(**options: Any) -> Iterator[PromptBatch]:
    return iter(PromptStream(ROWS, **{"batch_size": 2, "seed": 3, **options}))


def take(batches: Iterator[PromptBatch], count: int) -> list[tuple[int, str]]:
    """The next draws, as (global number, sample)."""
    return [
        (number, sample.uid)
        for batch in itertools.islice(batches, count)
        for number, sample in zip(batch.indices, batch.samples, strict=True)
    ]


def on_rank(rank: int, world_size: int, **options: Any) -> PromptDataModule:
    module = PromptDataModule(Seven(batch_size=2), **options)
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world_size)  # type: ignore
    return module


class TestStream:
    @pytest.mark.parametrize("world_size", [1, 2, 4])
    def test_global_batch_does_not_depend_on_the_ranks(self, world_size: int) -> None:
        ranks = [
            stream(batch_size=4 // world_size, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        whole = stream(batch_size=4)
        for _ in range(6):  # 24 draws, more than three passes
            together = [draw for rank in ranks for draw in take(rank, 1)]
            assert together == take(whole, 1)

    def test_every_pass_has_every_row_once(self) -> None:
        draws = take(stream(batch_size=1), 21)
        assert [number for number, _ in draws] == list(range(21))
        passes = [[uid for _, uid in draws[n : n + 7]] for n in (0, 7, 14)]
        assert all(sorted(one) == sorted(row.uid for row in ROWS) for one in passes)
        assert passes[0] != passes[1]
        assert passes[0] != sorted(passes[0])

    @pytest.mark.parametrize("start", [2, 6, 8, 14])
    def test_resuming_continues_the_order_in_any_pass(self, start: int) -> None:
        whole = take(stream(), 12)
        assert take(stream(start=start), 5) == whole[start : start + 10]

    def test_seed_fixes_the_order(self) -> None:
        assert take(stream(), 7) == take(stream(), 7)
        assert take(stream(seed=4), 7) != take(stream(), 7)

    def test_corpus_smaller_than_a_batch(self) -> None:
        batch = next(iter(PromptStream(ROWS[:3], batch_size=8, seed=1)))
        assert Counter(sample.uid for sample in batch.samples) == {"s0": 3, "s1": 3, "s2": 2} or (
            len(batch.samples) == 8
            and set(Counter(s.uid for s in batch.samples).values()) == {3, 2}
        )


class TestPromptLimit:
    def fit(self, policy: Any, limit: int = 4) -> list[Sample]:
        return fit_prompts(Seven(), ROWS, limit=limit, policy=policy, count_tokens=words)

    def test_fail_names_the_records(self) -> None:
        with pytest.raises(DataError, match=r"3 of 7 prompts have more than 4 tokens \(ids s4, s5"):
            self.fit("fail")
        assert self.fit("fail", limit=7) == ROWS

    def test_drop_keeps_the_order(self, caplog: pytest.LogCaptureFixture) -> None:
        logging.getLogger("rl4bio").propagate = True
        with caplog.at_level(logging.WARNING, logger="rl4bio"):
            assert [sample.uid for sample in self.fit("drop")] == ["s0", "s1", "s2", "s3"]
        assert "0 shortened, 3 dropped of 7" in caplog.text

    def test_shorten_drops_only_what_cannot_be_cut(self, caplog: pytest.LogCaptureFixture) -> None:
        logging.getLogger("rl4bio").propagate = True
        with caplog.at_level(logging.WARNING, logger="rl4bio"):
            kept = self.fit("shorten")
        assert [sample.uid for sample in kept] == ["s0", "s1", "s2", "s3", "s4", "s6"]
        assert all(words(sample.prompt) <= 4 for sample in kept)
        assert "2 shortened, 1 dropped of 7" in caplog.text
        assert ROWS[4].prompt == "w w w w w "

    def test_nothing_left(self) -> None:
        with pytest.raises(DataError, match=r"rollout\.max_prompt_tokens=0.*first has 1 tokens"):
            self.fit("drop", limit=0)


class TestModule:
    @pytest.mark.parametrize("world_size", [1, 2, 3, 8])
    def test_validation_has_every_item_once(self, world_size: int) -> None:
        seen = []
        for rank in range(world_size):
            batches = list(on_rank(rank, world_size).val_dataloader())
            assert all(1 <= len(batch.samples) <= 2 for batch in batches)
            seen += [sample.uid for batch in batches for sample in batch.samples]
        assert sorted(seen) == [row.uid for row in ROWS]

    def test_training_resumes_at_its_draws(self) -> None:
        whole = take(iter(on_rank(0, 1).train_dataloader()), 8)
        module = on_rank(0, 1)
        module.load_state_dict({"draws": 10})
        assert module.state_dict() == {"draws": 10}
        assert take(iter(module.train_dataloader()), 3) == whole[10:16]

    def test_ranks_take_their_slices(self) -> None:
        ranks = [take(iter(on_rank(rank, 2).train_dataloader()), 1) for rank in (0, 1)]
        assert [number for rank in ranks for number, _ in rank] == [0, 1, 2, 3]

    def test_spares_are_fixed_by_seed_and_place(self) -> None:
        module = on_rank(0, 1)
        spare = module.spare(4, 1, [3, 9])
        assert spare.indices == [3, 9]
        assert spare == on_rank(0, 1).spare(4, 1, [3, 9])
        assert module.spare(4, 1, [9]).samples == spare.samples[1:]  # wherever it is sampled

        def many(*place: int, seed: int = 1) -> list[str]:
            batch = on_rank(0, 1, seed=seed).spare(*place, range(40))
            return [sample.uid for sample in batch.samples]

        assert many(4, 1) != many(4, 2)
        assert many(4, 1) != many(5, 1)
        assert many(4, 1) != many(4, 1, seed=2)
        assert set(many(4, 1)) == {row.uid for row in ROWS}

    def test_samples_are_read_and_measured_once(self) -> None:
        module = on_rank(0, 1, max_prompt_tokens=4, overlong_prompts="drop", count_tokens=words)
        assert len(module.samples("train")) == 4
        assert module.samples("train") is module.samples("train")
        assert module.corpus.reads == 1  # type: ignore[attr-defined]

    def test_empty_train_split(self) -> None:
        module = on_rank(0, 1)
        module.corpus.samples = lambda split: []  # type: ignore[method-assign]
        with pytest.raises(DataError, match="train split is empty"):
            module.train_dataloader()
