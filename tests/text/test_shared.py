"""rl4bio.text.shared: the pieces of a text that another one holds."""

from __future__ import annotations

import time

from rl4bio.text.shared import shared_spans

ABSTRACT = "Of 120 patients, 31 with placebo and 12.5 % with the drug (p = 0.023) had seizures."


def pieces(text: str, *others: str) -> list[str]:
    return [text[start:end] for start, end in shared_spans(text, others)]


def test_quotations_are_found_without_case_and_signs() -> None:
    thought = "I think 31 WITH placebo, and 12.5 with the drug had it."
    assert pieces(thought, ABSTRACT) == ["31 WITH placebo, and 12.5 with the drug"]
    assert pieces(ABSTRACT, thought) == ["31 with placebo and 12.5 % with the drug"]


def test_short_runs_are_chance() -> None:
    assert pieces("patients with the drug had it", ABSTRACT) == []
    assert pieces("", ABSTRACT) == []
    assert pieces(ABSTRACT) == []


def test_pieces_of_two_texts() -> None:
    assert pieces("a b c d x e f g h", "a b c d", "E F G H") == ["a b c d", "e f g h"]


def test_long_texts_take_no_long_time() -> None:
    start = time.thread_time()
    assert shared_spans("a " * 200_000, ["a " * 200_000])
    assert time.thread_time() - start < 5
