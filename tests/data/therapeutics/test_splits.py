"""Merging, dividing and balancing items of therapeutic tasks; what training says of labels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from rl4bio.data.base import Split
from rl4bio.data.therapeutics.prompts import Template
from rl4bio.data.therapeutics.records import TherapeuticsRecord
from rl4bio.data.therapeutics.splits import balanced, divide, in_order, label_facts, merge_copies
from rl4bio.errors import DataError

OPTION = Template(
    task="x", text="{Drug SMILES}", kind="option", placeholders=("Drug SMILES",),
    options={"A": "no", "B": "yes"},
)  # fmt: skip
BIN = dataclasses.replace(OPTION, kind="bin", options={})


def record(key: str, answer: str = "", template: Template = OPTION, **more: Any) -> Any:
    inputs = {"Drug SMILES": more.pop("text", key)}
    given: dict[str, Any] = {"way": "random", "group": key, "place": "f:1", **more}
    return TherapeuticsRecord(template=template, inputs=inputs, key=key, answer=answer, **given)


def numbers(*values: float) -> list[TherapeuticsRecord]:
    return [record(str(n), template=BIN, value=value) for n, value in enumerate(values)]


def splits(records: list[TherapeuticsRecord]) -> dict[str, Split | None]:
    return {record.key: record.split for record in records}


class TestMerging:
    def test_copies_count_once_and_contradictions_not_at_all(self) -> None:
        left_out: Counter[str] = Counter()
        rows = [record("a", "A"), record("b", "A"), record("a", "A"), record("b", "B")]
        assert merge_copies(rows, left_out) == [rows[0]]
        assert left_out == {"that are copies": 1, "whose copies differ in the label": 2}

    def test_the_order_of_rows_does_not_matter(self) -> None:
        one, two = record("a", "A", text="OC"), record("a", "A", text="CO")
        assert merge_copies([one, two], Counter()) == merge_copies([two, one], Counter()) == [two]

    def test_a_published_test_item_is_not_trained_on(self) -> None:
        rows = [record("a", "A", split=split) for split in ("train", "test", "val")]
        assert [r.split for r in merge_copies(rows, Counter())] == ["test"]  # type: ignore[arg-type]


class TestDividing:
    def divided(self, *tasks: list[TherapeuticsRecord], seed: int = 0) -> None:
        named = {str(n): records for n, records in enumerate(tasks)}
        divide(named, test_fraction=0.2, val_fraction=0.1, seed=seed)

    def test_shares_by_hand(self) -> None:
        rows = [record(str(n)) for n in range(50)]
        self.divided(rows)
        assert Counter(r.split for r in rows) == {"train": 35, "val": 5, "test": 10}

    def test_a_molecule_of_several_tasks_is_on_one_side(self) -> None:
        one, two = ([record(str(n)) for n in range(k, k + 40)] for k in (0, 20))
        self.divided(one, two)
        both = splits(one).keys() & splits(two).keys()
        assert len(both) == 20
        assert all(splits(one)[key] == splits(two)[key] for key in both)
        assert {splits(one)[key] for key in both} == {"train", "val", "test"}

    def test_rows_and_seed(self) -> None:
        one, two, other = ([record(str(n)) for n in range(50)] for _ in range(3))
        self.divided(one)
        self.divided(two[::-1])
        self.divided(other, seed=1)
        assert splits(one) == splits(two) != splits(other)

    def test_a_large_scaffold_stays_in_training(self) -> None:
        """Ten of 30 share a scaffold; a test share of 6 takes no group above 3."""
        for seed in range(10):
            rows = [
                record(str(n), group="big" if n < 10 else str(n), way="scaffold") for n in range(30)
            ]
            self.divided(rows, seed=seed)
            assert {r.split for r in rows[:10]} == {"train"}
            assert Counter(r.split for r in rows)["test"] == 6

    def test_marks_stay_and_what_is_missing_is_drawn_from_training(self) -> None:
        rows = [record(str(n), split="test" if n < 10 else "train") for n in range(50)]
        self.divided(rows)
        assert {r.split for r in rows[:10]} == {"test"}
        assert Counter(r.split for r in rows[10:]) == {"train": 36, "val": 4}  # 10 % of 40

    def test_nothing_to_train_on(self) -> None:
        with pytest.raises(DataError, match="none of the 1 items of 0 is left to train on"):
            self.divided([record("a", split="test")])


class TestBalance:
    def test_both_letters_come_equally_often(self) -> None:
        """2 of A and 7 of B: each A three times, and one of them once more."""
        rows = [record(str(n), "A" if n < 2 else "B") for n in range(9)]
        found = balanced(rows, seed=0)
        assert Counter(r.answer for r in found) == {"A": 7, "B": 7}
        times = Counter(r.key for r in found)
        assert sorted(times[key] for key in "01") == [3, 4]
        assert all(times[str(n)] == 1 for n in range(2, 9))

    def test_one_letter_alone_stays(self) -> None:
        rows = [record("a", "B"), record("b", "B")]
        assert balanced(rows, seed=0) == rows

    def test_in_order(self) -> None:
        rows = [record(str(n)) for n in range(20)]
        assert in_order(rows, seed=0) == in_order(rows[::-1], seed=0) != in_order(rows, seed=1)


class TestFacts:
    def test_of_options(self) -> None:
        facts = label_facts([record(str(n), "A" if n < 1 else "B") for n in range(4)])
        assert facts.class_share == {"A": 0.25, "B": 0.75}
        assert label_facts([record("a", "B")]).class_share == {"A": 0.0, "B": 1.0}

    def test_of_bins(self) -> None:
        """-1, 0, 1, 3 are bins 0, 250, 500, 1000; off 250 by 250, 0, 250, 750: 312.5 on average."""
        facts = label_facts(numbers(3, -1, 0, 1))
        assert facts.scale == {"low": -1, "high": 3}
        assert facts.constant == {"bin": 250, "mae": 312.5}

    def test_a_scale_that_is_given(self) -> None:
        facts = label_facts(numbers(-5, 5), scale=[0, 10])
        assert facts.scale == {"low": 0, "high": 10}
        assert facts.constant == {"bin": 0, "mae": 250}  # bins 0 (held inside) and 500

    def test_one_number_gives_no_scale(self) -> None:
        with pytest.raises(DataError, match="every training label of x is 2"):
            label_facts(numbers(2, 2))
        assert label_facts(numbers(2, 2), scale=[1, 3]).constant == {"bin": 500, "mae": 0}
