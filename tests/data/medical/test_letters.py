"""Letters of training questions: equally often right, in a step too; nothing else changes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rl4bio.data.medical.letters import balance_letters, refers
from rl4bio.data.medical.records import MedicalRecord
from rl4bio.data.module import PromptDataModule
from tests.data.medical.test_corpus import choice_row, corpus, trace_row, write

OPTIONS = {"A": "iron", "B": "zinc", "C": "copper", "D": "lead"}


def record(number: int = 0, *, letter: str = "A", **fields: object) -> MedicalRecord:
    options = fields.pop("options", OPTIONS)
    assert isinstance(options, dict)
    own = {key: f"{text} {number}" if number else text for key, text in options.items()}
    return MedicalRecord(
        question=f"Which metal, case {number}?",
        options=own,
        letter=letter,
        answer=own[letter],
        **fields,  # type: ignore[arg-type]
    )


def letters(records: list[MedicalRecord]) -> Counter[str]:
    return Counter(each.letter for each in records)


def test_every_letter_is_right_equally_often_whatever_it_was() -> None:
    given = [record(n, letter="C" if n % 5 else "A") for n in range(1, 41)]
    assert letters(balance_letters(given, seed=0)) == dict.fromkeys("ABCD", 10)
    uneven = letters(balance_letters(given[:38], seed=0))
    assert sorted(uneven.values()) == [9, 9, 10, 10]


def test_a_moved_question_is_the_same_question() -> None:
    given = [record(n) for n in range(1, 21)]
    for before, after in zip(given, balance_letters(given, seed=3), strict=True):
        assert after.uid == before.uid
        assert after.answer == before.answer == after.options[after.letter]
        assert list(after.options) == list(before.options)
        assert sorted(after.options.values()) == sorted(before.options.values())
        changed = [x for x in OPTIONS if after.options[x] != before.options[x]]
        assert set(changed) in (set(), {before.letter, after.letter})


def test_the_seed_fixes_the_letters_and_another_seed_takes_others() -> None:
    given = [record(n) for n in range(1, 21)]
    once, again, other = (balance_letters(given, seed=seed) for seed in (1, 1, 2))
    assert once == again
    assert [each.letter for each in once] != [each.letter for each in other]


def test_questions_of_four_and_of_five_options_are_balanced_apart() -> None:
    five = {**OPTIONS, "E": "tin"}
    given = [record(n, options=five if n % 2 else OPTIONS) for n in range(1, 41)]
    moved = balance_letters(given, seed=0)
    assert letters([each for each in moved if len(each.options) == 5]) == dict.fromkeys("ABCDE", 4)
    assert letters([each for each in moved if len(each.options) == 4]) == dict.fromkeys("ABCD", 5)


@pytest.mark.parametrize(
    "text",
    [
        "All of the above",
        "none of these",
        "Both of the preceding",
        "A and C",
        "(B), (C)",
        "Both A and B",
        "neither B nor C",
        "only B",
        "Options A, B and D",
        "all of A, B and C",
        "any of those",
    ],
)
def test_options_that_speak_of_others_stay_where_they_are(text: str) -> None:
    spoken = [record(options={**OPTIONS, "D": text}, letter="B") for _ in range(12)]
    assert refers([text])
    assert all(each.letter == "B" for each in balance_letters(spoken, seed=0))


@pytest.mark.parametrize(
    "text", ["Vitamin A", "Hepatitis B and C", "only a short course", "answer a question", "A", ""]
)
def test_other_options_are_moved(text: str) -> None:
    assert not refers([text])


def test_what_has_a_reasoning_or_no_options_stays() -> None:
    given = [record(n, reasoning="B is wrong, so A.") for n in range(1, 9)]
    given += [MedicalRecord(question="Why?", answer="iron")]
    assert balance_letters(given, seed=0) == given


def test_a_step_holds_as_many_of_each_letter_and_the_test_split_is_as_published(
    tmp_path: Path,
) -> None:
    file = write(tmp_path / "choice.jsonl", [choice_row(n) for n in range(58)])
    options = {"form": "direct", "val_fraction": 0.1, "test_fraction": 0.2, "batch_size": 8}
    plain, moved = corpus(file, **options), corpus(file, **options, balance_letters=True)
    assert moved.samples("test") == plain.samples("test")
    assert moved.samples("val") == plain.samples("val")
    before, after = plain.samples("train"), moved.samples("train")
    assert [s.uid for s in after] == [s.uid for s in before]
    assert [s.prompt for s in after] != [s.prompt for s in before]
    assert Counter(s.demonstration for s in after) == Counter(s.target for s in after)
    data = PromptDataModule(moved, seed=0)
    data.setup("fit")
    batches = iter(data.train_dataloader())
    for _ in range(5):
        assert Counter(s.target for s in next(batches).samples) == dict.fromkeys("ABCD", 2)


def test_an_open_question_takes_no_letter(tmp_path: Path) -> None:
    rows = [*(choice_row(n) for n in range(20))]
    traces = write(tmp_path / "traces.jsonl", [trace_row(n) for n in range(20)])
    mixed = corpus(write(tmp_path / "choice.jsonl", rows), traces, balance_letters=True)
    strata = Counter(mixed.stratum(sample) for sample in mixed.samples("train"))
    assert set(strata) == {"", "A", "B", "C", "D"}
