"""Writes synthetic multiple-choice cases that a very small model can learn.

    python -m experiments.medical_choice.make_cases --output runs/medical_choice_cases

A case is a note with four findings: one is low, one normal, one high, one missing. The question
asks for one of these states, and the options are the findings in another order, so that neither the
note nor the letters alone give the answer away. The three files have MedQA's columns (question,
options, answer_idx, answer): `demonstrations.jsonl`, with a column of reasoning; `questions.jsonl`
and `test.jsonl`, without. No medical knowledge is asked for: the note decides.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

# Words of rl4bio:gemma3-nano's vocabulary; none holds a letter of an option, as "vitamin D" does.
FINDINGS = (
    "appetite", "blood pressure", "body weight", "bone density", "cholesterol", "eye pressure",
    "glucose", "grip strength", "haemoglobin", "heart rate", "iron", "liver fat", "lung function",
    "melatonin", "memory score", "muscle mass", "oral intake", "oxygen saturation", "pain score",
    "sleep duration", "tumour size", "urinary protein", "walking distance", "zinc",
)  # fmt: skip
CONDITIONS = (
    "acne", "anaemia", "angina", "cirrhosis", "dementia", "depression", "epilepsy", "glaucoma",
    "gout", "hypertension", "insomnia", "lupus", "migraine", "obesity", "pancreatitis",
    "pneumonia", "psoriasis", "sinusitis", "stroke", "tinnitus",
)  # fmt: skip
STATES = ("low", "normal", "high", "missing")
LETTERS = "ABCD"


def make_case(rng: random.Random, letter: str, *, reasoning: bool) -> dict[str, Any]:
    """A case whose right option is `letter`, as a row of its file."""
    states = dict(zip(rng.sample(FINDINGS, 4), rng.sample(STATES, 4), strict=True))
    right, asked = rng.choice(list(states.items()))
    listed = rng.sample([name for name in states if name != right], 3)
    listed.insert(LETTERS.index(letter), right)
    note = ", ".join(f"{state} {name}" for name, state in states.items())
    row = {
        "question": f"A patient with {rng.choice(CONDITIONS)}: {note}. Which is {asked}?",
        "options": dict(zip(LETTERS, listed, strict=True)),
        "answer_idx": letter,
        "answer": right,
    }
    return row | {"reasoning": f"{asked} {right}, {letter}."} if reasoning else row


def make_cases(seed: int, counts: Sequence[int]) -> list[list[dict[str, Any]]]:
    """Lists of cases with as many of each letter; the first list has reasoning.

    No two cases have the same findings in the same states, whatever is asked and of whom.
    """
    rng = random.Random(seed)
    seen: set[frozenset[str]] = set()
    files = []
    for number, count in enumerate(counts):
        rows: list[dict[str, Any]] = []
        for letter in islice(cycle(LETTERS), count):
            while True:
                row = make_case(rng, letter, reasoning=number == 0)
                note = row["question"].partition(": ")[2].partition(".")[0]
                if (findings := frozenset(note.split(", "))) not in seen:
                    break
            seen.add(findings)
            rows.append(row)
        files.append(rows)
    return files


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demonstrations", type=int, default=300)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--test", type=int, default=400)
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    counts = (args.demonstrations, args.questions, args.test)
    names = ("demonstrations", "questions", "test")
    for name, rows in zip(names, make_cases(args.seed, counts), strict=True):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (args.output / f"{name}.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
