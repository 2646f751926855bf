"""rl4bio.evaluation.overlap: test items that were in training."""

from __future__ import annotations

import json
from pathlib import Path

from rl4bio.evaluation.overlap import SharedItem, find_overlaps

TRAIN = [("1", "Does aspirin reduce pain?"), ("2", "Is 0.5 mg enough?"), ("3", "")]


def test_an_identifier_is_found() -> None:
    assert find_overlaps(TRAIN, [("2", "Another question?")]) == [
        SharedItem("2", "2", "identifier")
    ]


def test_a_question_is_found_in_other_spelling() -> None:
    for spelling in (
        "does  ASPIRIN reduce pain",
        "Does “aspirin” reduce\u00a0pain ?",
        "Does ａspirin reduce pain?",
    ):
        assert find_overlaps(TRAIN, [("9", spelling)]) == [SharedItem("9", "1", "question")]


def test_other_words_and_numbers_are_other_questions() -> None:
    test = [
        ("7", "Does aspirin increase pain?"),
        ("8", "Is 0.05 mg enough?"),
        ("9", ""),
        ("10", "?!"),
    ]
    assert find_overlaps(TRAIN, test) == []


def test_the_official_halves_do_not_overlap_and_the_published_50_cases_do(
    shared_data: Path,
) -> None:
    folder = shared_data / "medical/pubmedqa"
    records = json.loads((folder / "ori_pqal.json").read_text("utf-8"))
    splits = json.loads((folder / "splits.json").read_text())
    rows = {uid: (uid, record["QUESTION"]) for uid, record in records.items()}
    train = [rows[uid] for uid in splits["cv"]]
    assert find_overlaps(train, [rows[uid] for uid in splits["test"]]) == []
    # records 950 to 999: 24 of them are official test items, so 26 are training items
    assert len(find_overlaps(train, list(rows.values())[950:])) == 26
