"""Folders of other programs as sources, and tables as people save them, in every corpus."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from rl4bio.data.medical.corpus import MedicalReasoningCorpus
from rl4bio.data.pubmedqa.corpus import PubMedQACorpus
from rl4bio.data.smiles.corpus import SmilesCorpus
from rl4bio.data.therapeutics.corpus import TherapeuticsCorpus
from rl4bio.errors import DataError
from rl4bio.files.folders import find_folder
from rl4bio.files.rows import read_rows

LABELS = ["yes", "no", "maybe"]
CONTEXTS = ["Falls were 'counted'.", 'There were 31 "falls" (p = 0.004).']


@pytest.fixture(autouse=True)
def _quiet() -> None:
    datasets.disable_progress_bars()


def pubmedqa_rows() -> list[dict[str, Any]]:
    """In the Hub's columns, with the annotators' verdicts inside the context."""
    return [
        {
            "pubid": 90000 + n,
            "question": f"Does drug {n} lower the rate of falls?",
            "context": {
                "contexts": CONTEXTS,
                "labels": ["METHODS", "RESULTS"],
                "reasoning_required_pred": list(LABELS[n % 3]),
                "reasoning_free_pred": list(LABELS[n % 3]),
            },
            "long_answer": f"Drug {n} did.",
            "final_decision": LABELS[n % 3],
        }
        for n in range(9)
    ]


def choice_rows() -> list[dict[str, Any]]:
    return [
        {
            "question": f"Which of these helps patient {n} with sign {n * n}?",
            "options": {letter: f"{letter.lower()}-{n}" for letter in "ABCD"},
            "answer_idx": "ABCD"[n % 4],
        }
        for n in range(12)
    ]


def molecule_rows() -> list[dict[str, Any]]:
    return [{"Drug": "C" * (n + 1) + "O", "Y": n % 2} for n in range(12)]


CORPORA: dict[str, tuple[Callable[[], list[dict[str, Any]]], Callable[[Path], Any]]] = {
    "pubmedqa": (pubmedqa_rows, lambda path: PubMedQACorpus(source=str(path), val_size=1)),
    "medical": (choice_rows, lambda path: MedicalReasoningCorpus(sources=[str(path)])),
    "therapeutics": (
        molecule_rows,
        lambda path: TherapeuticsCorpus(tasks=[{"task": "BBB_Martins", "source": str(path)}]),
    ),
    "smiles": (molecule_rows, lambda path: SmilesCorpus(source=str(path), smiles_column="drug")),
}


def seen(corpus: Any) -> list[tuple[Any, ...]]:
    """What a model is shown and graded by, of all splits, in no order."""
    return sorted(
        (str(s.prompt), str(s.target), s.demonstration)
        for split in ("train", "val", "test")
        for s in corpus.samples(split)
    )


@pytest.mark.parametrize("name", CORPORA)
class TestSavedDatasets:
    def reference(self, name: str, folder: Path) -> list[tuple[Any, ...]]:
        """The same rows from a file that has always been read."""
        rows, make = CORPORA[name]
        if name in ("therapeutics", "smiles"):
            path = folder / "plain.csv"
            pd.DataFrame(rows()).to_csv(path, index=False)
        else:
            path = folder / "plain.jsonl"
            path.write_text("\n".join(map(json.dumps, rows())))
        return seen(make(path))

    def test_a_saved_dataset_is_read(self, name: str, tmp_path: Path) -> None:
        rows, make = CORPORA[name]
        datasets.Dataset.from_list(rows()).save_to_disk(tmp_path / "saved")
        assert seen(make(tmp_path / "saved")) == self.reference(name, tmp_path)

    def test_a_saved_dict_of_one_split_is_read(self, name: str, tmp_path: Path) -> None:
        rows, make = CORPORA[name]
        table = datasets.Dataset.from_list(rows())
        datasets.DatasetDict({"train": table}).save_to_disk(tmp_path / "saved")
        assert seen(make(tmp_path / "saved")) == self.reference(name, tmp_path)

    def test_rows_that_were_picked_before_saving(self, name: str, tmp_path: Path) -> None:
        rows, make = CORPORA[name]
        twice = datasets.Dataset.from_list([row for row in rows() for _ in range(2)])
        twice.select(range(0, len(twice), 2)).with_format("numpy").save_to_disk(tmp_path / "saved")
        assert seen(make(tmp_path / "saved")) == self.reference(name, tmp_path)

    def test_several_splits(self, name: str, tmp_path: Path) -> None:
        """PubMedQA knows its test half by itself; the others would train on a published test."""
        rows, make = CORPORA[name]
        table = datasets.Dataset.from_list(rows())
        half = len(table) // 2
        splits = {"train": table.select(range(half)), "test": table.select(range(half, len(table)))}
        datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
        if name == "pubmedqa":
            assert len(seen(make(tmp_path / "saved"))) == len(table)
            return
        with pytest.raises(DataError, match="the splits test, train"):
            make(tmp_path / "saved").samples("train")
        assert len(seen(make(tmp_path / "saved" / "train"))) == half

    def test_a_damaged_one_is_named(self, name: str, tmp_path: Path) -> None:
        rows, make = CORPORA[name]
        datasets.Dataset.from_list(rows()).save_to_disk(tmp_path / "saved")
        next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"x" * 100)
        with pytest.raises(DataError, match=r"saved: a saved dataset that does not read"):
            make(tmp_path / "saved").samples("train")

    def test_a_folder_without_data(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "README.md").write_text("nothing")
        with pytest.raises(DataError, match=str(tmp_path)):
            CORPORA[name][1](tmp_path).samples("train")


def test_one_split_of_a_saved_dict(tmp_path: Path) -> None:
    table = datasets.Dataset.from_list(choice_rows())
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(tmp_path / "saved")
    source = {"source": str(tmp_path / "saved"), "split": "train"}
    assert MedicalReasoningCorpus(sources=[source]).samples("train")
    with pytest.raises(DataError, match="has no split 'dev'; it has test, train"):
        MedicalReasoningCorpus(sources=[{**source, "split": "dev"}]).samples("train")


class TestFoldersOfTheHub:
    def shard(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        table = datasets.Dataset.from_list(pubmedqa_rows())
        table.to_parquet(str(folder / "train-00000-of-00001.parquet"))
        (folder.parent / "README.md").write_text("---\nlicense: mit\n---\n")
        (folder.parent / "dataset_infos.json").write_text("{}")
        (folder / ".DS_Store.json").write_text("{}")

    def read(self, folder: Path) -> int:
        return len(seen(PubMedQACorpus(source=str(folder), val_size=1)))

    @pytest.mark.parametrize("inner", ["pqa_labeled", "data"])
    def test_a_copy_of_the_repository(self, tmp_path: Path, inner: str) -> None:
        self.shard(tmp_path / "PubMedQA" / inner)
        assert self.read(tmp_path / "PubMedQA") == 9

    def test_the_cache_of_downloads(self, tmp_path: Path) -> None:
        cache = tmp_path / "datasets--qiaojin--PubMedQA"
        self.shard(cache / "snapshots" / "abc" / "pqa_labeled")
        assert find_folder(cache) == cache / "snapshots" / "abc"
        assert self.read(cache) == 9
        self.shard(cache / "snapshots" / "def" / "pqa_labeled")
        with pytest.raises(DataError, match="with 2 snapshots; give the folder of one"):
            self.read(cache)
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text("def\n")
        assert find_folder(cache) == cache / "snapshots" / "def"

    def test_the_cache_of_tables(self, tmp_path: Path) -> None:
        datasets.Dataset.from_list(pubmedqa_rows()).save_to_disk(tmp_path / "saved")
        cache = tmp_path / "pub_med_qa" / "0.0.0"
        cache.mkdir(parents=True)
        shutil.copy(next((tmp_path / "saved").glob("*.arrow")), cache / "pub_med_qa-train.arrow")
        (cache / "dataset_info.json").write_text("{}")
        assert self.read(cache) == 9


class TestNumberedClasses:
    """A ClassLabel column holds numbers in the file and names in what `datasets` says of it."""

    def table(self) -> datasets.Dataset:
        table = datasets.Dataset.from_list(pubmedqa_rows())
        return table.cast_column("final_decision", datasets.ClassLabel(names=LABELS))

    @pytest.mark.parametrize("kind", ["saved", "parquet", "arrow"])
    def test_names_are_read(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / ("t.parquet" if kind == "parquet" else "t")
        if kind == "parquet":
            self.table().to_parquet(str(path))
        else:
            self.table().save_to_disk(path)
            path = next(path.glob("*.arrow")) if kind == "arrow" else path
        records = PubMedQACorpus(source=str(path)).read()
        assert [record.label for record in records] == [LABELS[n % 3] for n in range(9)]

    def test_no_label_stays_a_number(self, tmp_path: Path) -> None:
        """MedMCQA's hidden labels are -1."""
        names = datasets.Features({"cop": datasets.ClassLabel(names=list("abcd"))})
        table = datasets.Dataset.from_dict({"cop": [-1, 3]}, features=names)
        table.to_parquet(str(tmp_path / "t.parquet"))
        assert [row.fields["cop"] for row in read_rows(tmp_path / "t.parquet")] == [-1, "d"]

    def test_numbers_without_names_are_refused(self, tmp_path: Path) -> None:
        frame = pd.DataFrame(pubmedqa_rows())
        frame["final_decision"] = [n % 3 for n in range(9)]
        frame.to_csv(tmp_path / "t.csv")
        with pytest.raises(
            DataError, match=r"t.csv:2 \(90000\): final_decision is '0', needs exactly"
        ):
            PubMedQACorpus(source=str(tmp_path / "t.csv")).read()


def frame(**changes: Any) -> pd.DataFrame:
    found = pd.DataFrame(pubmedqa_rows())
    for column, values in changes.items():
        found[column] = [values] * len(found)
    return found


ARRAY = np.array(CONTEXTS, dtype=object)
TABLES: dict[str, Callable[[Path], Path]] = {}


def table(name: str) -> Callable[[Callable[[Path], Any]], Callable[[Path], Path]]:
    def add(write: Callable[[Path], Any]) -> Callable[[Path], Path]:
        def written(folder: Path) -> Path:
            write(folder / name)
            return folder / name

        TABLES[write.__name__.strip("_").replace("_", " ")] = written
        return written

    return add


@table("t.csv")
def _datasets_to_csv(path: Path) -> None:
    datasets.Dataset.from_list(pubmedqa_rows()).to_csv(str(path))


@table("t.csv")
def _objects_of_arrays(path: Path) -> None:
    """What `Dataset.to_csv` wrote for years: the Python text of a dict of numpy arrays."""
    objects = [
        {key: np.array(value, dtype=object) for key, value in row["context"].items()}
        for row in pubmedqa_rows()
    ]
    frame().assign(context=objects).to_csv(path, index=False)


@table("t.csv")
def _flattened(path: Path) -> None:
    datasets.Dataset.from_list(pubmedqa_rows()).flatten().to_csv(str(path))


@table("t.csv")
def _pandas_with_its_index(path: Path) -> None:
    frame().to_csv(path)


@table("t.csv")
def _read_and_written_again(path: Path) -> None:
    frame().to_csv(path)
    pd.read_csv(path).to_csv(path)  # the index becomes the column "Unnamed: 0"


@table("t.csv")
def _lists_and_semicolons(path: Path) -> None:
    frame(context=CONTEXTS).to_csv(path, sep=";")


@table("t.tsv")
def _arrays_and_tabs(path: Path) -> None:
    frame(context=ARRAY).to_csv(path, sep="\t", index=False)


@table("t.csv")
def _json_cells_bom_and_crlf(path: Path) -> None:
    cells = [json.dumps(row["context"]) for row in pubmedqa_rows()]
    frame().assign(context=cells).to_csv(path, encoding="utf-8-sig", lineterminator="\r\n")


@table("t.csv.gz")
def _packed(path: Path) -> None:
    frame().to_csv(path, index=False)


@table("t.csv")
def _rows_of_delimiters_at_the_end(path: Path) -> None:
    frame().to_csv(path, index=False)
    path.write_text(path.read_text() + ",,,,\n,,,,\n\n")


@table("t.csv")
def _names_in_another_spelling(path: Path) -> None:
    names = {"question": "Question ", "final_decision": "Final Decision", "context": "CONTEXT"}
    frame().rename(columns=names).to_csv(path, index=False)


@table("t.csv")
def _numbers_with_gaps(path: Path) -> None:
    frame().assign(pubid=[90000.0 + n for n in range(9)]).to_csv(path, index=False)


@table("t.jsonl")
def _list_under_the_name_of_lines(path: Path) -> None:
    path.write_text(json.dumps(pubmedqa_rows(), indent=1))


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_as_what_they_are(tmp_path: Path, name: str) -> None:
    """As from JSON lines: no cell's own text, no annotator's verdict in a prompt."""
    plain = tmp_path / "plain.jsonl"
    plain.write_text("\n".join(map(json.dumps, pubmedqa_rows())))
    wanted = seen(PubMedQACorpus(source=str(plain), val_size=1))
    found = PubMedQACorpus(source=str(TABLES[name](tmp_path)), val_size=1)
    assert seen(found) == wanted
    assert {sample.context for sample in found.samples("train")} == {"\n".join(CONTEXTS)}
    assert {s.uid for s in found.samples("train")} <= {str(90000 + n) for n in range(9)}


def write_gap(path: Path) -> None:
    text = frame().to_csv(index=False)
    path.write_text(text.replace("90001", "\n,,,,\n90001", 1))


def write_latin(path: Path) -> None:
    text = frame().to_csv(index=False)
    path.write_bytes(text.replace("falls", "f\xe4lle").encode("latin-1"))


def with_context(cell: Any) -> Callable[[Path], None]:
    return lambda path: frame(context=cell).to_csv(path)


CUT = np.array(["x"] * 2000, dtype=object)
RECORDS = "holds columns and not records.*orient='records', lines=True"
REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "latin.csv": (write_latin, ":2: byte 0xe4 is not UTF-8; save the file as UTF-8"),
    "book.xlsx": (lambda path: path.write_bytes(b"PK\x03\x04"), ": a workbook; save its sheet as"),
    "gap.csv": (write_gap, ": a blank line between the records; remove it"),
    "nothing.csv": (
        lambda path: frame().assign(question=[None] * 9).to_csv(path),
        r":2 \(90000\): question is empty",
    ),
    "none.csv": (lambda path: frame(question="None").to_csv(path), "question is empty .'None'."),
    "cut.csv": (
        with_context(CUT),
        r":2 \(90000\): context is .*cut with '\.\.\.', so data is lost",
    ),
    "hive.csv": (with_context("[Falls, More falls]"), r":2 \(90000\): context is"),
    "ids.csv": (lambda path: frame(pubid=7).to_csv(path), ":3 .*this id appears already at .*:2"),
    "columns.json": (lambda path: frame().to_json(path), RECORDS),
    "split.json": (lambda path: frame().to_json(path, orient="split"), RECORDS),
    "table.json": (lambda path: frame().to_json(path, orient="table"), RECORDS),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tables_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    write, message = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(DataError, match=f"{name}.*{message}") as caught:
        PubMedQACorpus(source=str(tmp_path / name)).read()
    assert "\n" not in str(caught.value)


OPTION_CELLS: dict[str, Callable[[list[str]], Any]] = {
    "list": lambda texts: texts,
    "array": lambda texts: np.array(texts, dtype=object),
    "object": lambda texts: dict(zip("ABCD", texts, strict=True)),
    "pairs": lambda texts: [{"key": k, "value": v} for k, v in zip("ABCD", texts, strict=True)],
    "arrays": lambda texts: {"label": np.array(list("ABCD")), "text": np.array(texts)},
    "JSON": json.dumps,
}


@pytest.mark.parametrize("form", OPTION_CELLS)
def test_options_in_a_cell(tmp_path: Path, form: str) -> None:
    rows = choice_rows()
    cells = [OPTION_CELLS[form](list(row["options"].values())) for row in rows]
    spelled = {"question": "Question", "options": "Options", "answer_idx": "Answer Idx"}
    pd.DataFrame(rows).assign(options=cells).rename(columns=spelled).to_csv(tmp_path / "t.csv")
    samples = MedicalReasoningCorpus(sources=[str(tmp_path / "t.csv")]).samples("train")
    found = {sample.question.split("\n")[0]: sample.extra["options"] for sample in samples}
    assert found.items() <= {row["question"]: row["options"] for row in rows}.items()


def test_options_that_were_cut(tmp_path: Path) -> None:
    frame = pd.DataFrame(choice_rows())
    frame.assign(options=["['a' 'b' ... 'd']"] * 12).to_csv(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"t.csv:2: options is .*needs letter: text.*data is lost"):
        MedicalReasoningCorpus(sources=[str(tmp_path / "t.csv")]).samples("train")
