"""The synthetic cases of the medical-choice experiment: right, balanced, apart; both runs start."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from experiments.medical_choice.make_cases import FINDINGS, LETTERS, STATES, main, make_cases
from rl4bio.config.load import load_config
from rl4bio.data import CORPORA
from rl4bio.fit import main as fit
from rl4bio.rewards.choice import ChoiceReward

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "medical_choice"
SMALL = ("--demonstrations", "40", "--questions", "40", "--test", "24")


def read_note(question: str) -> tuple[dict[str, str], str]:
    """State -> finding of a note, and the state that is asked for."""
    found = re.fullmatch(r"A patient with \w+: (.*)\. Which is (\w+)\?", question)
    assert found is not None
    pairs = [(part.split(" ", 1)[0], part.split(" ", 1)[1]) for part in found[1].split(", ")]
    return dict(pairs), found[2]


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    main(["--output", str(tmp_path), *SMALL])
    return tmp_path


def test_the_marked_option_is_the_one_that_the_note_gives() -> None:
    for rows in make_cases(3, (50, 50, 50)):
        for row in rows:
            note, asked = read_note(row["question"])
            assert sorted(note) == sorted(STATES)  # each state once, so one option fits
            assert sorted(note.values()) == sorted(row["options"].values())
            assert row["answer"] == note[asked] == row["options"][row["answer_idx"]]


def test_letters_are_balanced_and_only_demonstrations_reason() -> None:
    demonstrations, questions, test = make_cases(3, (40, 80, 20))
    for rows, count in ((demonstrations, 10), (questions, 20), (test, 5)):
        assert Counter(row["answer_idx"] for row in rows) == dict.fromkeys(LETTERS, count)
    for row in demonstrations:
        _, asked = read_note(row["question"])
        assert row["reasoning"] == f"{asked} {row['answer']}, {row['answer_idx']}."
    assert not any("reasoning" in row for row in questions + test)


def test_no_two_cases_have_the_same_note() -> None:
    rows = [row for part in make_cases(0, (300, 2000, 400)) for row in part]
    notes = {frozenset(read_note(row["question"])[0].items()) for row in rows}
    assert len(notes) == len(rows) == 2700


def test_a_seed_fixes_the_cases() -> None:
    assert make_cases(5, (4, 4, 4)) == make_cases(5, (4, 4, 4)) != make_cases(6, (4, 4, 4))


def test_no_finding_reads_as_a_letter() -> None:
    # Else "B, vitamin D" would choose two options.
    assert not any(re.search(r"\b[A-D]\b", finding.upper()) for finding in FINDINGS)


def test_the_corpora_of_both_runs_read_the_cases(cases: Path) -> None:
    for name, source in (("sft", "sources.0.source"), ("grpo", "sources.0")):
        file = "demonstrations" if name == "sft" else "questions"
        config = load_config(FOLDER / f"{name}.yaml", overrides(cases, source, file))
        corpus = CORPORA.build(config.data.name, config.data.options, where="data")
        train = [*corpus.samples("train"), *corpus.samples("val")]
        assert len(train) >= 36  # nearly all of 40 are unlike every test case
        assert all(bool(sample.demonstration) == (name == "sft") for sample in train)
        if name == "sft":
            texts = [sample.demonstration for sample in train]
            assert ChoiceReward()(texts, train) == [1.0] * len(train)
        assert len(corpus.samples("test")) == 24


def test_fine_tuning_and_then_grpo_run(
    cases: Path, no_traces: None, capsys: pytest.CaptureFixture[str]
) -> None:
    short = [f"output_dir={cases}", "trainer.max_steps=1", "data.options.batch_size=2"]
    sft = overrides(cases, "sources.0.source", "demonstrations")
    assert fit(["--config", str(FOLDER / "sft.yaml"), *sft, *short]) == 0
    model = cases / "medical_choice_sft" / "model"
    grpo = [*overrides(cases, "sources.0", "questions"), f"policy.checkpoint={model}"]
    grpo += ["grpo.group_size=2", "rollout.max_completion_tokens=8"]
    assert fit(["--config", str(FOLDER / "grpo.yaml"), *grpo, *short]) == 0
    summary = json.loads((cases / "medical_choice_grpo" / "summary.json").read_text())
    assert summary["base"] == str(model)
    assert {"reward/choice_mean", "reward/structure_mean"} <= summary["last"].keys()


def overrides(cases: Path, source: str, file: str) -> list[str]:
    """The data of a run, from the folder of cases."""
    return [
        f"data.options.{source}={cases / file}.jsonl",
        f"data.options.test_sources.0={cases / 'test.jsonl'}",
    ]
