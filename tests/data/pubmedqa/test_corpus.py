"""PubMedQA: shapes, the official split, subsets, demonstrations and the text of prompts."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rl4bio.data import CORPORA
from rl4bio.data.module import PromptDataModule
from rl4bio.data.pubmedqa.corpus import PubMedQACorpus
from rl4bio.data.pubmedqa.instructions import DIRECT_SYSTEM, TAGS_SYSTEM
from rl4bio.data.pubmedqa.records import official_test_pmids, question_key
from rl4bio.errors import ConfigError, DataError
from rl4bio.types import Sample


def labels(samples: Sequence[Sample]) -> Counter[str | None]:
    return Counter(s.target for s in samples)


def authors_row(number: int, label: str = "yes") -> dict[str, Any]:
    """A record of the authors' shape that is in nobody's test set."""
    return {
        "QUESTION": f"Does treatment {number} help?",
        "CONTEXTS": [f"We asked about treatment {number}.", "It helped 8 of 9. It hurt nobody."],
        "LABELS": ["OBJECTIVE", "RESULTS"],
        "MESHES": [],
        "YEAR": None,
        "final_decision": label,
        "LONG_ANSWER": "Treatment helped 8 of 9 patients.",
    }


def authors_file(path: Path, num_rows: int = 20) -> Path:
    kinds = ["yes", "no", "yes", "maybe", "no"]
    rows = {str(100 + i): authors_row(i, kinds[i % 5]) for i in range(num_rows)}
    path.write_text(json.dumps(rows, indent=1))
    return path


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "medical" / "pubmedqa"


@pytest.fixture(scope="module")
def corpus(folder: Path) -> PubMedQACorpus:
    return PubMedQACorpus(source=str(folder / "ori_pqal.json"))


class TestOfficialSplit:
    def test_shipped_ids_are_the_published_ones(self, folder: Path) -> None:
        truth = json.loads((folder / "test_ground_truth.json").read_text())
        splits = json.loads((folder / "splits.json").read_text())
        assert official_test_pmids() == set(truth) == set(splits["test"])
        assert not official_test_pmids() & set(splits["cv"])

    def test_counts(self, corpus: PubMedQACorpus) -> None:
        """Jin et al.: both halves have 276 yes, 169 no, 55 maybe; a tenth of them is 27.6, 16.9
        and 5.5, by largest remainder 28, 17 and 5."""
        halves = {"yes": 276, "no": 169, "maybe": 55}
        train, val, test = (corpus.samples(s) for s in ("train", "val", "test"))
        assert labels(test) == halves
        assert labels([*train, *val]) == halves
        assert labels(val) == {"yes": 28, "no": 17, "maybe": 5}

    def test_targets_are_the_published_truth(self, corpus: PubMedQACorpus, folder: Path) -> None:
        truth = json.loads((folder / "test_ground_truth.json").read_text())
        assert {s.uid: s.target for s in corpus.samples("test")} == truth

    @pytest.mark.parametrize("seed", [0, 1, 17])
    def test_test_ids_stay_out_of_training(self, folder: Path, seed: int) -> None:
        corpus = PubMedQACorpus(
            source=str(folder), seed=seed, val_size=100, max_train=50, balance_labels=True
        )
        seen = {s.uid for split in ("train", "val") for s in corpus.samples(split)}
        assert len(seen) == 150
        assert not seen & official_test_pmids()

    def test_copies_without_ids_are_known_by_question(self, folder: Path, tmp_path: Path) -> None:
        rows = json.loads((folder / "ori_pqal.json").read_text()).values()
        file = tmp_path / "fold0.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        corpus = PubMedQACorpus(source=str(file))
        assert {s.uid for s in corpus.samples("test")} == official_test_pmids()
        assert len(corpus.samples("train")) == 450

    def test_question_key_reads_letters_and_digits_only(self) -> None:
        assert question_key("Does X-1 help?") == question_key(" does x1  HELP ")
        assert question_key("Does X-1 help?") != question_key("Does X-2 help?")

    def test_other_data_is_split_by_label(self, tmp_path: Path) -> None:
        """20 records, 8 yes, 8 no, 4 maybe: a quarter for test is 2, 2, 1."""
        file = authors_file(tmp_path / "own.json")
        corpus = PubMedQACorpus(source=str(file), test_fraction=0.25, val_size=5)
        test = corpus.samples("test")
        assert labels(test) == {"yes": 2, "no": 2, "maybe": 1}
        uids = [s.uid for split in ("train", "val", "test") for s in corpus.samples(split)]
        assert sorted(uids) == sorted(str(100 + i) for i in range(20))
        assert all(not s.demonstration for s in test)
        again = PubMedQACorpus(source=str(file), test_fraction=0.25, val_size=5)
        assert [s.uid for s in again.samples("test")] == [s.uid for s in test]


class TestSubsets:
    def test_stratified_and_seeded(self, folder: Path) -> None:
        def uids(seed: int) -> list[str]:
            corpus = PubMedQACorpus(source=str(folder), max_test=100, seed=seed)
            # A fifth of 276, 169, 55 is 55.2, 33.8, 11.
            assert labels(corpus.samples("test")) == {"yes": 55, "no": 34, "maybe": 11}
            return [s.uid for s in corpus.samples("test")]

        assert uids(0) == uids(0)
        assert uids(0) != uids(1)

    def test_no_validation(self, folder: Path) -> None:
        corpus = PubMedQACorpus(source=str(folder), val_size=0)
        assert (len(corpus.samples("train")), len(corpus.samples("val"))) == (500, 0)

    def test_balanced_labels(self, folder: Path) -> None:
        corpus = PubMedQACorpus(source=str(folder), balance_labels=True, batch_size=6)
        train = corpus.samples("train")
        assert labels(train) == {"yes": 248, "no": 248, "maybe": 248}
        # 50 maybe records: 48 of them five times, two of them four times, by 198 = 3*50 + 48.
        times = Counter(s.uid for s in train if s.target == "maybe")
        assert Counter(times.values()) == {5: 48, 4: 2}
        for batch in itertools.islice(PromptDataModule(corpus).train_dataloader(), 130):  # > a pass
            assert Counter(s.target for s in batch.samples) == {"yes": 2, "no": 2, "maybe": 2}

    def test_validation_that_leaves_nothing(self, folder: Path) -> None:
        with pytest.raises(DataError, match=r"val_size: 500 leaves no training record"):
            PubMedQACorpus(source=str(folder), val_size=500).samples("train")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "source: this option is required"),
            ({"source": " "}, "source: is empty"),
            ({"source": "x", "max_test": 0}, "max_test: got 0"),
            ({"source": "x", "test_fraction": 1.0}, "test_fraction: got 1.0"),
            ({"source": "x", "val_size": -1}, "val_size: got -1"),
            ({"source": "x", "form": "xml"}, "form"),
            ({"source": "x", "sauce": "y"}, "did you mean 'source'"),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(message)):
            CORPORA.build("pubmedqa", options, where="data")


def hub_row(uid: int, row: dict[str, Any]) -> dict[str, Any]:
    """The same record with the columns of qiaojin/PubMedQA."""
    return {
        "pubid": uid,
        "question": row["QUESTION"],
        "context": {
            "contexts": row["CONTEXTS"],
            "labels": row["LABELS"],
            "meshes": row["MESHES"],
            "reasoning_required_pred": list(row["reasoning_required_pred"]),
            "reasoning_free_pred": list(row["reasoning_free_pred"]),
        },
        "long_answer": row["LONG_ANSWER"],
        "final_decision": row["final_decision"],
    }


def bigbio_row(uid: str, row: dict[str, Any]) -> dict[str, Any]:
    """The same record with the columns of a bigbio_qa export: one text, no conclusion."""
    return {
        "id": "7",
        "question_id": "7",
        "document_id": uid,
        "question": row["QUESTION"],
        "type": "yesno",
        "choices": ["yes", "no", "maybe"],
        "context": " ".join(row["CONTEXTS"]),
        "answer": [row["final_decision"]],
    }


class TestShapes:
    @pytest.fixture(scope="class")
    def authors(self, folder: Path) -> dict[str, dict[str, Any]]:
        return json.loads((folder / "ori_pqal.json").read_text())

    def same(self, corpus: PubMedQACorpus, source: Path) -> None:
        other = PubMedQACorpus(source=str(source))
        for split in ("train", "val", "test"):
            mine, theirs = corpus.samples(split), other.samples(split)
            assert [(s.uid, s.prompt, s.target, s.demonstration, s.reference) for s in mine] == [
                (s.uid, s.prompt, s.target, s.demonstration, s.reference) for s in theirs
            ]
        human = [s.extra["reasoning_free_pred"] for s in other.samples("test")]
        assert human == [s.extra["reasoning_free_pred"] for s in corpus.samples("test")]

    def test_hub_columns_as_lines(
        self, corpus: PubMedQACorpus, authors: dict[str, Any], tmp_path: Path
    ) -> None:
        file = tmp_path / "train.json"  # hub exports in JSON lines carry either suffix
        file.write_text("".join(json.dumps(hub_row(int(k), v)) + "\n" for k, v in authors.items()))
        self.same(corpus, file)

    def test_hub_columns_as_parquet_folder(
        self, corpus: PubMedQACorpus, authors: dict[str, Any], tmp_path: Path
    ) -> None:
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        rows = [hub_row(int(k), v) for k, v in authors.items()]
        (tmp_path / "pqa_labeled").mkdir()
        for part in (0, 1):
            table = arrow.Table.from_pylist(rows[part * 500 : part * 500 + 500])
            parquet.write_table(table, tmp_path / "pqa_labeled" / f"train-0000{part}.parquet")
        self.same(corpus, tmp_path)

    def test_source_columns_as_csv(
        self, corpus: PubMedQACorpus, authors: dict[str, Any], tmp_path: Path
    ) -> None:
        file = tmp_path / "rows.csv"
        with file.open("w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", *next(iter(authors.values()))])
            for uid, row in authors.items():
                cells = [json.dumps(v) if isinstance(v, list) else v for v in row.values()]
                writer.writerow([uid, *cells])
        self.same(corpus, file)

    def test_bigbio_qa(
        self, corpus: PubMedQACorpus, authors: dict[str, Any], tmp_path: Path
    ) -> None:
        file = tmp_path / "qa.json"
        file.write_text(json.dumps([bigbio_row(k, v) for k, v in authors.items()]))
        other = PubMedQACorpus(source=str(file))
        for split in ("train", "val", "test"):
            mine, theirs = corpus.samples(split), other.samples(split)
            assert [(s.uid, s.target, s.question) for s in mine] == [
                (s.uid, s.target, s.question) for s in theirs
            ]
            assert [s.context.split() for s in mine] == [s.context.split() for s in theirs]


class TestText:
    def test_prompt(self, corpus: PubMedQACorpus) -> None:
        for sample in [s for split in ("train", "val", "test") for s in corpus.samples(split)]:
            system, user = sample.prompt
            assert isinstance(system, dict)
            assert isinstance(user, dict)
            assert (system["role"], system["content"]) == ("system", TAGS_SYSTEM)
            assert user["content"] == f"Question: {sample.question}\nAbstract: {sample.context}"
            text = str(sample.prompt)
            assert not any(f"<answer>{label}" in text for label in ("yes", "no", "maybe"))
            assert not sample.reference or sample.reference not in text

    def test_instructions_are_short(self) -> None:
        assert len(TAGS_SYSTEM.split()) <= 45
        assert len(DIRECT_SYSTEM.split()) <= 45

    def test_direct_form(self, folder: Path) -> None:
        sample = PubMedQACorpus(source=str(folder), form="direct").samples("train")[0]
        assert isinstance(sample.prompt[0], dict)
        assert sample.prompt[0]["content"] == DIRECT_SYSTEM
        assert sample.demonstration == sample.target

    def test_section_labels(self, tmp_path: Path) -> None:
        file = authors_file(tmp_path / "own.json")
        corpus = PubMedQACorpus(source=str(file), val_size=0, section_labels=True)
        sample = next(s for s in corpus.samples("train") if s.uid == "100")
        assert sample.context == (
            "OBJECTIVE: We asked about treatment 0.\nRESULTS: It helped 8 of 9. It hurt nobody."
        )

    def test_demonstrations_quote_the_context(self, corpus: PubMedQACorpus) -> None:
        form = re.compile(r"<thought>([^\n]+)</thought><answer>(yes|no|maybe)</answer>")
        for sample in [*corpus.samples("train"), *corpus.samples("val")]:
            match = form.fullmatch(sample.demonstration)
            assert match is not None
            assert match[2] == sample.target
            words = match[1].split()
            assert 3 <= len(words) <= 60
            # Verbatim: its first and last three words are in the context as they stand.
            context = " ".join(sample.context.split())
            assert " ".join(words[:3]) in context
            assert " ".join(words[-3:]) in context

    def test_test_samples_have_no_demonstration(self, corpus: PubMedQACorpus) -> None:
        assert not any(s.demonstration for s in corpus.samples("test"))

    def test_evidence_is_the_result_that_the_conclusion_repeats(self, tmp_path: Path) -> None:
        """ "helped 8", "8 of", "of 9" are shared by one sentence, nothing by the others."""
        corpus = PubMedQACorpus(source=str(authors_file(tmp_path / "own.json")), val_size=0)
        sample = next(s for s in corpus.samples("train") if s.uid == "100")
        assert sample.demonstration == "<thought>It helped 8 of 9.</thought><answer>yes</answer>"


class TestShorten:
    def test_drops_as_few_leading_sentences_as_needed(self, corpus: PubMedQACorpus) -> None:
        for sample in corpus.samples("train")[:40]:
            for limit in (40, 90):
                short = corpus.shorten(sample, lambda s, n=limit: len(s.context.split()) <= n)
                whole = " ".join(sample.context.split())
                if short is None:
                    continue
                kept = " ".join(short.context.split())
                assert whole.endswith(kept)
                assert len(kept.split()) <= limit
                assert isinstance(short.prompt[1], dict)
                assert short.prompt[1]["content"].endswith(f"Abstract: {short.context}")
                thought = short.demonstration.removeprefix("<thought>").partition("</thought>")[0]
                assert " ".join(thought.split()[:3]) in kept
                assert (short.uid, short.target) == (sample.uid, sample.target)

    def test_one_more_sentence_would_not_fit(self, tmp_path: Path) -> None:
        corpus = PubMedQACorpus(source=str(authors_file(tmp_path / "own.json")), val_size=0)
        sample = next(s for s in corpus.samples("train") if s.uid == "100")
        # Words a sentence: 5, 5, 3.
        kept = {
            limit: short and short.context
            for limit in (13, 12, 8, 7, 3, 2)
            for short in [corpus.shorten(sample, lambda s, n=limit: len(s.context.split()) <= n)]
        }
        assert kept == {
            13: "We asked about treatment 0.\nIt helped 8 of 9. It hurt nobody.",
            12: "It helped 8 of 9. It hurt nobody.",
            8: "It helped 8 of 9. It hurt nobody.",
            7: "It hurt nobody.",
            3: "It hurt nobody.",
            2: None,
        }


def one_row(**changes: Any) -> bytes:
    """Two good records and a third, of id 102, with changes; it starts on line 4."""
    bad = {**authors_row(2), **changes}
    bad = {name: value for name, value in bad.items() if value is not ...}
    rows = {"100": authors_row(0), "101": authors_row(1), "102": bad}
    lines = [f'"{uid}": {json.dumps(row)}' for uid, row in rows.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


GOOD_LINE = json.dumps({"pmid": "5", **authors_row(5)})
BAD_FILES = {
    "capital.json": (one_row(final_decision="Yes"), r":4 \(102\): final_decision is 'Yes'"),
    "true.json": (one_row(final_decision=True), r":4 \(102\): final_decision is True"),
    "one.json": (one_row(final_decision=1), r":4 \(102\): final_decision is 1, needs exactly"),
    "null.json": (one_row(final_decision=None), r":4 \(102\): final_decision is None"),
    "blank.json": (one_row(final_decision=" maybe"), r":4 \(102\): final_decision is ' maybe'"),
    "nolabel.json": (one_row(final_decision=...), r":4 \(102\): column 'final_decision' is miss"),
    "noquestion.json": (one_row(QUESTION=...), r":4 \(102\): column 'question' is missing"),
    "numquestion.json": (one_row(QUESTION=3), r":4 \(102\): question is 3, needs text"),
    "nocontext.json": (one_row(CONTEXTS=[]), r":4 \(102\): CONTEXTS is \[\], needs a text"),
    "nullcontext.json": (one_row(CONTEXTS=["a", None]), r":4 \(102\): CONTEXTS is None"),
    "blanktext.json": (one_row(LONG_ANSWER="  "), r":4 \(102\): long_answer is empty"),
    "sections.json": (one_row(LABELS=["A"]), r":4 \(102\): 2 contexts but 1 section labels"),
    "surrogate.json": (one_row(QUESTION="a \ud800?"), r":4 \(102\): question has half a surrog"),
    "pred.json": (one_row(reasoning_free_pred=["n", "O"]), r":4 \(102\): reasoning_free_pred"),
    "twice.json": (one_row().replace(b'"102"', b'"101"'), r":4 \(101\): this id appears twice"),
    "key.json": (one_row(YEAR="1").replace(b'"YEAR": "1"', b'"YEAR": 1, "YEAR": 2'), ":4: key 'Y"),
    "nan.json": (one_row(YEAR=float("nan")), ":4: NaN is not JSON"),
    "cut.json": (one_row()[:-60], r":4:\d+: .*cut off"),
    "cut_between.json": (one_row().rstrip()[:-1], ":5: the file ends early"),
    "tail.json": (one_row() + b"x", ":6: text after the end"),
    "comma.json": (one_row().replace(b"},\n", b"}\n"), ":3: found '\"', expected , or }"),
    "scalar.json": (b"3", ":1: found '3', expected { or"),
    "deep.json": (b"[" * 100_000, ":1: nested too deeply"),
    "list.json": (b'[{"a": 1},\n 3]', ":2: 3 is not a record"),
    "empty.json": (b"", ":1: the file is empty"),
    "spaces.json": (b"\n  \n", ":1: the file is empty"),
    "none.json": (b"{}", ":1: the file has no records"),
    "utf16.json": (one_row().decode().encode("utf-16"), ":1: UTF-16"),
    "latin.json": (one_row().replace(b"treatment 2", b"caf\xe9"), ":4: byte 0xe9 is not UTF-8"),
    "nul.json": (one_row().replace(b"treatment 2", b"t\0"), ":4: a NUL byte"),
    "page.json": (b"<!DOCTYPE html><html></html>", ":1: a web page"),
    "lfs.json": (b"version https://git-lfs.github.com/spec/v1\noid", ":1: a git-lfs pointer"),
    "lfs.parquet": (b"version https://git-lfs.github.com/spec/v1\noid", ":1: a git-lfs pointer"),
    "gzip.json": (b"\x1f\x8b\x08\x08", ":1: a binary file"),
    "text.parquet": (b"hello", ":1: not a readable Parquet file"),
    "line.jsonl": (f"{GOOD_LINE}\n{{bad\n".encode(), ":2:2: Expecting property name"),
    "last.jsonl": (f"{GOOD_LINE}\n{GOOD_LINE[:-9]}".encode(), r":2:\d+: "),
    "gap.jsonl": (f"{GOOD_LINE}\n\n{GOOD_LINE}".encode(), ":2: a blank line"),
    "same.jsonl": (
        f"{GOOD_LINE}\n{GOOD_LINE}".encode(),
        r":2 \(5\): this id appears already at .*:1",
    ),
    "cells.csv": (
        b"id,question,context,final_decision\n1,a,b\n",
        ":2: 3 columns, the header has 4",
    ),
    "quote.csv": (b'id,question,context,final_decision\n1,"a,b,yes\n', ":2: "),
    "columns.csv": (b"id,id\n1,2\n", ":1: a column name appears twice"),
    "label.csv": (b"id,question,context,final_decision\n1,a,b,YES\n", r":2 \(1\): final_decision"),
    "rows.txt": (b"x", "unknown kind of file '.txt'"),
}


class TestBadFiles:
    @pytest.mark.parametrize("name", BAD_FILES)
    def test_refused_with_its_place(self, name: str, tmp_path: Path) -> None:
        content, message = BAD_FILES[name]
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(name) + ".*" + message) as caught:
            PubMedQACorpus(source=str(file)).samples("train")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 2000

    def test_ten_messages_then_a_count(self, tmp_path: Path) -> None:
        rows = {str(i): authors_row(i, "Yes") for i in range(25)}
        file = tmp_path / "many.json"
        file.write_text(json.dumps(rows, indent=0))
        with pytest.raises(DataError) as caught:
            PubMedQACorpus(source=str(file)).samples("train")
        assert str(caught.value).count("final_decision is 'Yes'") == 10
        assert str(caught.value).endswith("and 15 more")

    @pytest.mark.parametrize("end", [b"", b"\n\n", b"\r\n"])
    def test_byte_order_mark_and_line_ends_are_accepted(self, tmp_path: Path, end: bytes) -> None:
        file = tmp_path / "dos.json"
        file.write_bytes(b"\xef\xbb\xbf" + one_row().replace(b"\n", b"\r\n") + end)
        corpus = PubMedQACorpus(source=str(file), val_size=0)
        assert len(corpus.samples("train")) == 2
        lines = tmp_path / "dos.jsonl"
        lines.write_bytes(b"\xef\xbb\xbf" + GOOD_LINE.encode() + b"\r\n" + end)
        assert PubMedQACorpus(source=str(lines)).samples("test")[0].uid == "5"

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(
            DataError, match=r"no file or folder at .*gone\.json; download ori_pqal"
        ):
            PubMedQACorpus(source=str(tmp_path / "gone.json")).samples("test")

    def test_folder_without_data(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="has no file; give one file"):
            PubMedQACorpus(source=str(tmp_path)).samples("test")

    def test_hub_id_offline(self) -> None:
        """conftest.py switches the Hub off, so that this fails without a wait."""
        with pytest.raises(DataError, match=r"neither a file or folder here nor.*give a local"):
            PubMedQACorpus(source="qiaojin/PubMedQA-of-nobody").samples("test")
