"""The medical corpus: splits, overlap, samples, options."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rl4bio.answers.forms import read_completion
from rl4bio.data import CORPORA
from rl4bio.data.base import Split
from rl4bio.data.medical.corpus import MedicalReasoningCorpus
from rl4bio.data.medical.prompts import instruction
from rl4bio.data.module import PromptDataModule
from rl4bio.errors import ConfigError, DataError
from rl4bio.types import Sample

SPLITS: tuple[Split, ...] = ("train", "val", "test")
SYLLABLES = ("ba", "ko", "mi", "ru", "te", "zo", "fa", "ni", "lu", "se")


def word(rng: random.Random) -> str:
    return "".join(rng.choices(SYLLABLES, k=4))


def choice_row(number: int) -> dict[str, Any]:
    """A MedQA row that shares next to no word triple with another number's."""
    rng = random.Random(number)
    options = {letter: word(rng) for letter in "ABCD"}
    letter = rng.choice("ABCD")
    return {
        "question": " ".join(word(rng) for _ in range(12)) + "?",
        "options": options,
        "answer_idx": letter,
        "answer": options[letter],
    }


def trace_row(number: int) -> dict[str, Any]:
    rng = random.Random(-number)
    return {
        "Question": " ".join(word(rng) for _ in range(12)) + "?",
        "Complex_CoT": f"It is {word(rng)} (P<0.05).",
        "Response": f"The answer is {word(rng)}.",
    }


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def corpus(*sources: Any, **options: Any) -> MedicalReasoningCorpus:
    return MedicalReasoningCorpus(sources=list(sources), **options)


def uids(made: MedicalReasoningCorpus) -> dict[str, list[str]]:
    return {split: [sample.uid for sample in made.samples(split)] for split in SPLITS}


def sizes(made: MedicalReasoningCorpus) -> list[int]:
    return [len(made.samples(split)) for split in SPLITS]


class TestSplit:
    def test_shares_by_hand(self, tmp_path: Path) -> None:
        """Of 230: 10 % are 23 and 23; 0.5 % are 1.15, so 1 and 1."""
        file = write(tmp_path / "rows.jsonl", [choice_row(n) for n in range(230)])
        assert sizes(corpus(file)) == [184, 23, 23]
        assert sizes(corpus(file, val_fraction=0.005, test_fraction=0.005)) == [228, 1, 1]
        assert sizes(corpus(file, val_fraction=0.0, test_fraction=0.0)) == [230, 0, 0]
        assert sizes(corpus(file, max_train=50, max_test=7)) == [50, 23, 7]

    def test_every_question_is_in_one_split(self, tmp_path: Path) -> None:
        file = write(tmp_path / "rows.jsonl", [choice_row(n) for n in range(60)])
        found = [uid for split in uids(corpus(file)).values() for uid in split]
        assert len(found) == len(set(found)) == 60

    def test_the_order_of_rows_and_files_does_not_matter(self, tmp_path: Path) -> None:
        choices, traces = [choice_row(n) for n in range(40)], [trace_row(n) for n in range(40)]
        one = corpus(write(tmp_path / "a.jsonl", choices), write(tmp_path / "b.jsonl", traces))
        two = corpus(
            write(tmp_path / "c.jsonl", random.Random(1).sample(traces, 40)),
            write(tmp_path / "d.jsonl", choices[::-1]),
        )
        assert uids(one) == uids(two)
        assert one.samples("train")[0].prompt == two.samples("train")[0].prompt

    def test_the_seed_matters(self, tmp_path: Path) -> None:
        file = write(tmp_path / "rows.jsonl", [choice_row(n) for n in range(60)])
        assert uids(corpus(file)) == uids(corpus(file, seed=0))
        assert set(uids(corpus(file))["test"]) != set(uids(corpus(file, seed=1))["test"])

    def test_a_subset_is_the_start_of_the_whole(self, tmp_path: Path) -> None:
        file = write(tmp_path / "rows.jsonl", [choice_row(n) for n in range(60)])
        assert uids(corpus(file, max_train=9))["train"] == uids(corpus(file))["train"][:9]

    def test_nothing_left(self, tmp_path: Path) -> None:
        file = write(tmp_path / "rows.jsonl", [choice_row(n) for n in range(2)])
        with pytest.raises(DataError, match="none of the 1 questions that are not in test is left"):
            corpus(file).samples("train")


class TestRepetition:
    def nearly(self, row: dict[str, Any]) -> dict[str, Any]:
        """The same question with its last word changed: 9 of its 10 triples stay, and 4 options, so
        13 of 15 in all."""
        return {**row, "question": row["question"].rpartition(" ")[0] + " changed?"}

    def test_near_copies_leave_train_and_are_counted(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rows = [choice_row(n) for n in range(50)]
        made = corpus(write(tmp_path / "rows.jsonl", rows + [self.nearly(row) for row in rows]))
        with caplog.at_level(logging.WARNING, logger="rl4bio"):
            assert sizes(made)[1:] == [10, 10]

        def starts(split: Split) -> set[str]:
            questions = [s.question.partition("\nA.")[0] for s in made.samples(split)]
            return {question.rpartition(" ")[0] for question in questions}

        assert not starts("train") & (starts("val") | starts("test"))
        assert not starts("val") & starts("test")
        logged = [int(n) for n in re.findall(r"(\d+) of \d+ questions of train", caplog.text)]
        assert sum(logged) == 100 - sum(sizes(made)) > 0

    def test_equal_questions_count_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rows = [choice_row(n) for n in range(30)]
        turned = {
            **rows[0],
            "options": dict(zip("ABCD", reversed(rows[0]["options"].values()), strict=True)),
        }
        turned["answer_idx"] = "ABCD"[3 - "ABCD".index(rows[0]["answer_idx"])]
        wrong = {**rows[1], "answer_idx": "A" if rows[1]["answer_idx"] != "A" else "B"}
        del wrong["answer"]
        made = corpus(write(tmp_path / "rows.jsonl", [*rows, rows[2], turned, wrong]))
        with caplog.at_level(logging.WARNING, logger="rl4bio"):
            assert sum(sizes(made)) == 29  # 30, less the one whose copies differ
        assert "29 questions in 33 rows; 1 left out, since their copies differ" in caplog.text

    def test_traces_and_short_answers_of_one_question_meet(self, tmp_path: Path) -> None:
        traces = [trace_row(n) for n in range(30)]
        short = [
            {"Open-ended Verifiable Question": t["Question"], "Ground-True Answer": f"gold {n}"}
            for n, t in enumerate(traces)
        ]
        made = corpus(write(tmp_path / "a.jsonl", traces), write(tmp_path / "b.jsonl", short))
        assert sizes(made) == [24, 3, 3]
        by_question = {t["Question"]: (t, f"gold {n}") for n, t in enumerate(traces)}
        for sample in made.samples("train"):
            trace, gold = by_question[sample.question]
            assert (sample.target, sample.reference) == (gold, trace["Response"])


class TestEvaluationSets:
    @pytest.fixture
    def files(self, tmp_path: Path) -> tuple[str, str]:
        rows = [choice_row(n) for n in range(40)]
        # In the evaluation set: ten questions, three of them (nearly) training questions.
        shared = [rows[0], TestRepetition().nearly(rows[1]), TestRepetition().nearly(rows[2])]
        others = [choice_row(n) for n in range(100, 107)]
        return (
            write(tmp_path / "train.jsonl", rows),
            write(tmp_path / "official.jsonl", shared + others),
        )

    def test_they_are_the_test_split_and_stay_out_of_training(
        self, files: tuple[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        made = corpus(files[0], test_sources=[files[1]])
        with caplog.at_level(logging.WARNING, logger="rl4bio"):
            assert sizes(made) == [33, 4, 10]
        assert "3 of 40 questions of train and validation are nearly in test: left out" in (
            caplog.text
        )
        assert {s.extra["source"] for s in made.samples("test")} == {files[1]}

    def test_or_they_are_refused(self, files: tuple[str, str]) -> None:
        made = corpus(files[0], test_sources=[files[1]], overlap="fail")
        with pytest.raises(DataError, match=r"^3 of 40 questions .*train\.jsonl:\d+; take them"):
            made.samples("train")
        assert sizes(corpus(files[0], overlap="fail")) == [32, 4, 4]

    def test_an_open_question_out_of_the_evaluation_set(
        self, files: tuple[str, str], tmp_path: Path
    ) -> None:
        row = choice_row(100)
        opened = {
            "Open-ended Verifiable Question": row["question"],
            "Ground-True Answer": row["answer"],
        }
        more = {**opened, "Open-ended Verifiable Question": "Which nerve moves the face?"}
        file = write(tmp_path / "open.jsonl", [opened, more])
        made = corpus(file, test_sources=[files[1]], val_fraction=0.0)
        assert [s.question for s in made.samples("train")] == ["Which nerve moves the face?"]


class TestSamples:
    def find(self, made: MedicalReasoningCorpus, text: str) -> Sample:
        (sample,) = [s for split in SPLITS for s in made.samples(split) if text in s.question]
        return sample

    def test_choice(self, tmp_path: Path) -> None:
        row = choice_row(1)
        made = corpus(write(tmp_path / "a.jsonl", [row]), val_fraction=0.0, test_fraction=0.0)
        (sample,) = made.samples("train")
        lines = [row["question"], *(f"{k}. {v}" for k, v in row["options"].items())]
        assert sample.question == "\n".join(lines)
        assert sample.prompt == [
            {"role": "system", "content": instruction("choice", "tags")},
            {"role": "user", "content": sample.question},
        ]
        assert (sample.target, sample.reference) == (row["answer_idx"], row["answer"])
        assert sample.extra["options"] == row["options"]
        assert sample.extra["letter"] == row["answer_idx"]
        assert sample.demonstration == ""  # no reasoning to imitate

    @pytest.mark.parametrize("form", ["tags", "think"])
    def test_open_with_a_trace(self, tmp_path: Path, form: Any) -> None:
        row = trace_row(1)
        file = write(tmp_path / "a.jsonl", [row])
        (sample,) = corpus(file, val_fraction=0.0, test_fraction=0.0, form=form).samples("train")
        assert sample.prompt == [
            {"role": "system", "content": instruction("long", form)},
            {"role": "user", "content": row["Question"]},
        ]
        assert (sample.target, sample.reference) == (None, row["Response"])
        assert "options" not in sample.extra
        parsed = read_completion(sample.demonstration, form)
        assert parsed is not None
        assert (parsed.thought, parsed.answer) == (row["Complex_CoT"], row["Response"])

    def test_open_with_a_short_answer(self, tmp_path: Path) -> None:
        row = {"Open-ended Verifiable Question": "Which drug?", "Ground-True Answer": "Aspirin"}
        file = write(tmp_path / "a.jsonl", [row])
        (sample,) = corpus(file, val_fraction=0.0, test_fraction=0.0).samples("train")
        assert sample.prompt[0] == {"role": "system", "content": instruction("short", "tags")}
        assert (sample.target, sample.reference) == ("Aspirin", "Aspirin")
        assert sample.demonstration == ""

    def test_direct(self, tmp_path: Path) -> None:
        row = choice_row(1)
        file = write(tmp_path / "a.jsonl", [row])
        made = corpus(file, val_fraction=0.0, test_fraction=0.0, form="direct")
        (sample,) = made.samples("train")
        assert sample.prompt[0] == {"role": "system", "content": instruction("choice", "direct")}
        assert sample.demonstration == row["answer_idx"]

    def test_a_reasoning_for_a_choice_ends_in_the_letter(self, tmp_path: Path) -> None:
        row = {**choice_row(1), "why": "Because."}
        columns = {"question": "question", "options": "options", "label": "answer_idx"}
        source = {
            "source": write(tmp_path / "a.jsonl", [row]),
            "columns": {**columns, "reasoning": "why"},
        }
        (sample,) = corpus(source, val_fraction=0.0, test_fraction=0.0).samples("train")
        letter = row["answer_idx"]
        assert sample.demonstration == (f"<reasoning>Because.</reasoning><answer>{letter}</answer>")

    @pytest.mark.parametrize("form", ["tags", "think", "direct"])
    def test_test_samples_have_no_demonstration(self, tmp_path: Path, form: Any) -> None:
        made = corpus(write(tmp_path / "a.jsonl", [trace_row(n) for n in range(20)]), form=form)
        assert not any(s.demonstration for s in made.samples("test"))
        assert all(s.demonstration for s in [*made.samples("train"), *made.samples("val")])

    def test_the_lightning_module_serves_it(self, tmp_path: Path) -> None:
        made = corpus(write(tmp_path / "a.jsonl", [choice_row(n) for n in range(30)]), batch_size=4)
        data = PromptDataModule(made, count_tokens=lambda prompt, opening: len(str(prompt)))
        batch = next(iter(data.train_dataloader()))
        assert len(batch.samples) == 4
        assert sum(len(b.samples) for b in data.val_dataloader()) == 3


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "data.options.sources: this option is required"),
            ({"sources": []}, "data.options.sources: is empty"),
            ({"sources": [3]}, "data.options.sources[0]: got 3, needs a text or {source: ...}"),
            ({"sources": [{"subset": "en"}]}, "data.options.sources[0].source: this option is req"),
            ({"sources": [{"source": "x", "splt": "y"}]}, "sources[0].splt: unknown option; did"),
            ({"sources": ["x", {"source": " "}]}, "data.options.sources[1].source: is empty"),
            ({"sources": [{"source": "x", "kind": "essay"}]}, "data.options.sources[0].kind"),
            (
                {"sources": [{"source": "x", "columns": {"answer": "a"}}]},
                "data.options.sources[0].columns: has no question",
            ),
            (
                {"sources": ["x"], "test_sources": [{"source": "y", "label_base": 3}]},
                "data.options.test_sources[0].label_base: got 3",
            ),
            ({"sources": ["x"], "val_fraction": 1.0}, "data.options.val_fraction: got 1.0"),
            ({"sources": ["x"], "test_fraction": -0.1}, "data.options.test_fraction: got -0.1"),
            (
                {"sources": ["x"], "val_fraction": 0.5, "test_fraction": 0.5},
                "data.options.test_fraction: with val_fraction it leaves nothing",
            ),
            ({"sources": ["x"], "max_train": 0}, "data.options.max_train: got 0"),
            ({"sources": ["x"], "form": "xml"}, "data.options.form"),
            ({"sources": ["x"], "overlap": "keep"}, "data.options.overlap"),
            ({"sources": ["x"], "bad_rows": "keep"}, "data.options.bad_rows"),
            ({"source": "x"}, "data.options.source: unknown option; did you mean 'sources'"),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(message)):
            CORPORA.build("medical_reasoning", options, where="data")

    def test_a_whole_source(self, tmp_path: Path) -> None:
        write(tmp_path / "train.jsonl", [{"q": f"{word(random.Random(9))}?", "a": "b", "n": 1}])
        write(tmp_path / "test.jsonl", [{"q": "other?", "a": "b", "n": 2}])
        source = {
            "source": str(tmp_path),
            "split": "train",
            "kind": "open",
            "columns": {"question": "q", "answer": "a", "id": "n"},
        }
        options = {"sources": [source], "val_fraction": 0, "test_fraction": 0}
        made = CORPORA.build("medical_reasoning", options, where="data")
        assert [s.extra["source_id"] for s in made.samples("train")] == ["1"]

    def test_bad_rows_follow_the_option(self, tmp_path: Path) -> None:
        rows = [choice_row(n) for n in range(9)] + [{**choice_row(9), "answer_idx": "X"}]
        file = write(tmp_path / "a.jsonl", rows)
        with pytest.raises(DataError, match=r"a\.jsonl:10: answer_idx is 'X'.*bad_rows to drop"):
            corpus(file).samples("train")
        assert sum(sizes(corpus(file, bad_rows="drop"))) == 9


class TestRealFiles:
    def test_reasoning_demo(self, shared_data: Path) -> None:
        """198 rows: 10 % are 19.8, so 20 and 20."""
        path = shared_data / "medical/reasoning/huatuogpt_o1_demo.jsonl"
        made = corpus(str(path))
        assert sizes(made) == [158, 20, 20]
        for sample in made.samples("train"):
            parsed = read_completion(sample.demonstration, "tags")
            assert parsed is not None
            assert parsed.answer == sample.reference
            assert sample.target

    def test_medqa_beside_mmlu(self, shared_data: Path) -> None:
        """1273 + 1021 questions; MMLU's near copies, such as five about one passage on saunas, do
        not reach both sides."""
        folder = shared_data / "medical/mcq"
        made = corpus(
            str(folder / "medqa_usmle_5options_test.jsonl"), str(folder / "mmlu_medical.jsonl")
        )
        train, val, test = (made.samples(split) for split in SPLITS)
        assert (len(val), len(test)) == (229, 229)
        assert 1800 < len(train) < 2294 - 2 * 229
        sauna = [sum("Sauna use" in s.question for s in split) for split in (train, val, test)]
        assert sum(count > 0 for count in sauna) == 1
        assert all(s.target == s.extra["letter"] in s.extra["options"] for s in train)
