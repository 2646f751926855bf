"""Order, sharding, resuming, prompt limits and validation batches."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from rl4bio.data.base import Corpus, Split
from rl4bio.data.module import PromptDataModule, fit_prompts
from rl4bio.data.streams import PromptStream, pass_order
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


class TestStrata:
    """Three labels, equally common, in batches of six."""

    ROWS = tuple(Sample(uid=f"s{n}", prompt="", target=c) for n, c in enumerate("abc" * 7))

    def batches(self, count: int, **options: Any) -> list[list[Sample]]:
        chosen: dict[str, Any] = {
            "batch_size": 6,
            "seed": 3,
            "stratum": lambda sample: sample.target,
            **options,
        }
        rows = iter(PromptStream(self.ROWS, **chosen))
        return [batch.samples for batch in itertools.islice(rows, count)]

    def test_every_batch_holds_as_many_of_each(self) -> None:
        """In every pass, and where a batch lies in two; without strata it is left to chance."""
        counts = [Counter(s.target for s in batch) for batch in self.batches(14)]
        assert all(count == {"a": 2, "b": 2, "c": 2} for count in counts)
        by_chance = self.batches(14, stratum=lambda sample: "")
        assert len({tuple(sorted(Counter(s.target for s in b).items())) for b in by_chance}) > 3

    def test_it_is_a_shuffle_of_every_row(self) -> None:
        rows = [s.uid for batch in self.batches(14) for s in batch]
        passes = [rows[n : n + 21] for n in (0, 21, 42, 63)]
        assert all(sorted(one) == sorted(s.uid for s in self.ROWS) for one in passes)
        firsts = {tuple(s.target for s in batch) for batch in self.batches(14)}
        assert len({tuple(one) for one in passes}) == 4
        assert len(firsts) > 5  # the order inside a round is random, too

    def test_resuming_and_ranks(self) -> None:
        whole = [s.uid for batch in self.batches(8) for s in batch]
        later = [s.uid for batch in self.batches(4, start=24) for s in batch]
        assert later == whole[24:]
        ranks = [self.batches(8, batch_size=3, rank=rank, world_size=2) for rank in (0, 1)]
        both = [s.uid for pair in zip(*ranks, strict=True) for batch in pair for s in batch]
        assert both == whole

    def test_rare_strata_are_spread_over_the_pass(self) -> None:
        order = pass_order(1, 0, ("a",) * 4 + ("b",) * 36)
        places = sorted(order.index(row) for row in range(4))
        assert [place // 10 for place in places] == [0, 1, 2, 3]

    def test_one_stratum_is_the_shuffle_alone(self) -> None:
        assert pass_order(5, 2, ("",) * 9) == pass_order(5, 2, ("x",) * 9)


LONG = [
    Sample(uid=f"s{n}", prompt="", demonstration="C" * length)
    for n, length in enumerate([3, 9, 1, 7, 5, 5, 2, 8, 6, 4, 5])
]
LENGTHS = {sample.uid: len(sample.demonstration) for sample in LONG}


class TestLengthWindow:
    def stream(self, **options: Any) -> Iterator[PromptBatch]:
        chosen = {"batch_size": 2, "seed": 3, "length_window": 4, **options}
        return iter(PromptStream(LONG, **chosen))

    def test_a_window_holds_the_same_draws_in_other_batches(self) -> None:
        plain = take(self.stream(length_window=1), 12)
        sorted_ = take(self.stream(), 12)
        for start in (0, 8, 16):  # 4 steps of 2
            one, other = plain[start : start + 8], sorted_[start : start + 8]
            assert Counter(uid for _, uid in one) == Counter(uid for _, uid in other)
        assert [n for n, _ in sorted_] == list(range(24))
        assert sorted_ != plain

    def test_batches_are_cut_from_the_sorted_window_and_shuffled(self) -> None:
        ascending = 0
        for window in range(20):
            rows = take(self.stream(start=8 * window), 4)
            lengths = [LENGTHS[uid] for _, uid in rows]
            batches = [tuple(lengths[n : n + 2]) for n in range(0, 8, 2)]
            assert [x for batch in sorted(batches) for x in batch] == sorted(lengths)
            ascending += batches == sorted(batches)
        assert ascending < 5
        firsts = [LENGTHS[take(self.stream(start=8 * w), 1)[0][1]] for w in range(20)]
        assert firsts != sorted(firsts)
        assert len(set(firsts)) > 2

    def test_equal_lengths_are_not_kept_in_order(self) -> None:
        same = [Sample(uid=str(n), prompt="", demonstration="C") for n in range(8)]
        options: dict[str, Any] = {"batch_size": 4, "seed": 3}
        plain = take(iter(PromptStream(same, **options)), 2)
        mixed = take(iter(PromptStream(same, **options, length_window=2)), 2)
        assert {uid for _, uid in plain[:4]} not in (
            {uid for _, uid in mixed[:4]},
            {uid for _, uid in mixed[4:]},
        )

    @pytest.mark.parametrize("start", [0, 2, 4, 8, 14, 22])
    def test_resuming_inside_a_window_or_at_its_border(self, start: int) -> None:
        whole = take(self.stream(), 16)
        assert take(self.stream(start=start), 5) == whole[start : start + 10]

    @pytest.mark.parametrize("world_size", [1, 2, 4])
    def test_does_not_depend_on_the_ranks(self, world_size: int) -> None:
        ranks = [
            self.stream(batch_size=4 // world_size, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        whole = self.stream(batch_size=4)
        for _ in range(10):
            assert [draw for rank in ranks for draw in take(rank, 1)] == take(whole, 1)

    def test_a_draw_may_vary_its_sample_wherever_it_comes(self) -> None:
        def vary(sample: Sample, number: int) -> Sample:
            return replace(sample, question=f"{sample.uid} in draw {number}")

        def shown(**options: Any) -> set[str]:
            batches = itertools.islice(self.stream(vary=vary, **options), 4)
            return {sample.question for batch in batches for sample in batch.samples}

        assert shown() == shown(length_window=1)
        assert len(shown()) == 8


class TestPromptLimit:
    @pytest.mark.parametrize(("train", "val"), [([3, 1], [2]), ([1], [3, 2])])
    def test_the_longest_prompt_is_that_of_all_splits(
        self, train: list[int], val: list[int]
    ) -> None:
        class Two(Corpus):
            def samples(self, split: Split) -> Sequence[Sample]:
                return [ROWS[n - 1] for n in (train if split == "train" else val)]

        module = PromptDataModule(Two(), count_tokens=words)
        assert module.longest is None
        module.samples("train")
        assert module.longest == (max(train), ROWS[max(train) - 1])
        module.samples("val")
        assert module.longest == (3, ROWS[2])

    def test_equal_texts_are_counted_once(self) -> None:
        counted: list[Prompt] = []

        def count(prompt: Prompt) -> int:
            counted.append(prompt)
            return len(prompt)

        samples = [Sample(uid=str(n), prompt="CO"[n % 2]) for n in range(100)]
        kept = fit_prompts(Seven(), samples, limit=1, policy="fail", count_tokens=count)
        assert kept == samples
        assert counted == ["C", "O"]

    def fit(self, policy: Any, limit: int = 4) -> list[Sample]:
        return fit_prompts(Seven(), ROWS, limit=limit, policy=policy, count_tokens=words)

    def test_fail_names_the_records(self) -> None:
        with pytest.raises(DataError, match=r"3 of 7 prompts have more than 4 tokens \(ids s4, s5"):
            self.fit("fail")
        assert self.fit("fail", limit=7) == ROWS

    def test_drop_keeps_the_order(self, package_log: pytest.LogCaptureFixture) -> None:
        assert [sample.uid for sample in self.fit("drop")] == ["s0", "s1", "s2", "s3"]
        assert "0 shortened, 3 dropped of 7" in package_log.text

    def test_shorten_drops_only_what_cannot_be_cut(
        self, package_log: pytest.LogCaptureFixture
    ) -> None:
        kept = self.fit("shorten")
        assert [sample.uid for sample in kept] == ["s0", "s1", "s2", "s3", "s4", "s6"]
        assert all(words(sample.prompt) <= 4 for sample in kept)
        assert "2 shortened, 1 dropped of 7" in package_log.text
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
