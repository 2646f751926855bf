"""Worked examples in front of medical questions: which, as what turns, and kept out of training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rl4bio.data.base import Split
from rl4bio.data.medical.corpus import MedicalReasoningCorpus
from rl4bio.data.medical.prompts import instruction
from rl4bio.errors import DataError

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def question(kind: str, number: int) -> str:
    """A question that shares no word triple with another number's."""
    return " ".join(f"{kind}{number}x{place}" for place in range(8)) + "?"


ROWS = [
    {
        "question": question("choice", number),
        "options": {letter: f"{letter}-text {number}" for letter in "ABCD"},
        "answer_idx": "ABCD"[number % 4],
        "answer": f"{'ABCD'[number % 4]}-text {number}",
    }
    for number in range(30)
]
TRACES = [
    {"Question": question("open", n), "Complex_CoT": f"So {n}.", "Response": f"It is {n}."}
    for n in range(30)
]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def corpus(*sources: Any, **options: Any) -> MedicalReasoningCorpus:
    return MedicalReasoningCorpus(sources=list(sources), **options)


@pytest.fixture
def letters(tmp_path: Path) -> str:
    return write(tmp_path / "letters.jsonl", ROWS)


def turns(made: Any, split: Any) -> list[list[tuple[str, str]]]:
    return [[(t["role"], t["content"]) for t in sample.prompt] for sample in made.samples(split)]


def test_every_prompt_begins_with_the_same_questions_and_their_letters(letters: str) -> None:
    made = corpus(letters, form="direct", shots=2)
    by_text = {row["question"]: row for row in ROWS}
    prompts = [prompt for split in SPLITS for prompt in turns(made, split)]
    assert len({tuple(prompt[:5]) for prompt in prompts}) == 1
    system, *worked = prompts[0][:5]
    assert system == ("system", instruction("choice", "direct"))
    assert [role for role, _ in worked] == ["user", "assistant"] * 2
    for (_, question), (_, answer) in zip(worked[::2], worked[1::2], strict=True):
        row = by_text[question.splitlines()[0]]
        assert answer == row["answer_idx"]
        assert question.splitlines()[1:] == [f"{k}. {v}" for k, v in row["options"].items()]
    for split in SPLITS:
        for sample, prompt in zip(made.samples(split), turns(made, split), strict=True):
            assert prompt[5:] == [("user", sample.question)]


def test_they_are_neither_trained_on_nor_tested(letters: str) -> None:
    without, with_ = corpus(letters, form="direct"), corpus(letters, form="direct", shots=3)
    for split in ("val", "test"):
        assert [s.uid for s in with_.samples(split)] == [s.uid for s in without.samples(split)]
    kept = [s.uid for s in without.samples("train")]
    assert [s.uid for s in with_.samples("train")] == kept[:-3]
    asked = {s.question for split in SPLITS for s in with_.samples(split)}
    assert not asked & {text for role, text in turns(with_, "test")[0][1:7] if role == "user"}


def test_a_subset_stays_the_same_beginning(letters: str) -> None:
    subsets = [corpus(letters, form="direct", shots=n, max_train=5) for n in (0, 4)]
    assert len({tuple(s.uid for s in made.samples("train")) for made in subsets}) == 1


def test_each_kind_of_question_has_examples_of_its_own(tmp_path: Path, letters: str) -> None:
    columns = {"question": "question", "options": "options", "label": "answer_idx"}
    explained = {"source": letters, "columns": {**columns, "reasoning": "question"}}
    made = corpus(explained, write(tmp_path / "traces.jsonl", TRACES), shots=1)
    kinds = set()
    for sample, prompt in zip(made.samples("test"), turns(made, "test"), strict=True):
        (_, asked), (_, answered) = prompt[1:3]
        assert ("A. A-text" in asked) == ("A. A-text" in sample.question)
        assert answered.startswith("<reasoning>")
        kinds.add("A. A-text" in asked)
    assert kinds == {True, False}


def test_too_many_are_refused(tmp_path: Path, letters: str) -> None:
    with pytest.raises(DataError, match=r"data\.options\.shots: 40 .* and 24 .*\(choice\).*direct"):
        corpus(letters, form="direct", shots=40).samples("test")
    with pytest.raises(DataError, match="shots: leaves no question to train on"):
        corpus(letters, form="direct", shots=24).samples("test")
    with pytest.raises(DataError, match=r"1 worked examples .* and 0 .*form tags"):
        corpus(letters, shots=1).samples("test")  # letters alone have no reasoning to show
    with pytest.raises(ValueError, match="shots: got -1"):
        corpus(letters, shots=-1)
