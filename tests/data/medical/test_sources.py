"""Sources of medical questions: files, folders as they come from the Hub, the Hub, splits."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from rl4bio.data.medical.sources import MedicalSource, read_source
from rl4bio.errors import DataError


def write(path: Path, *questions: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": q, "choices": ["a", "b"], "answer": 0} for q in questions]
    if path.suffix == ".parquet":
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        parquet.write_table(arrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def questions(source: Path | str, **options: Any) -> list[str]:
    return [
        row.fields["question"] for row in read_source(MedicalSource(source=str(source), **options))
    ]


def test_one_file(tmp_path: Path) -> None:
    assert questions(write(tmp_path / "my_test.jsonl", "one", "two")) == ["one", "two"]
    with pytest.raises(DataError, match="is one file, so split 'test' takes nothing out"):
        questions(tmp_path / "my_test.jsonl", split="test")


class TestFolders:
    def test_files_of_one_split_are_one_table(self, tmp_path: Path) -> None:
        write(tmp_path / "data" / "train-00000-of-00002.parquet", "one")
        write(tmp_path / "data" / "train-00001-of-00002.parquet", "two")
        (tmp_path / "README.md").write_text("a card")
        assert questions(tmp_path) == ["one", "two"]

    def test_files_without_a_split_in_their_names(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write(tmp_path / "cardiology.jsonl", "one")
        write(tmp_path / "neurology.jsonl", "two")
        with caplog.at_level(logging.INFO, logger="rl4bio"):
            assert questions(tmp_path) == ["one", "two"]
        assert "2 files are one table: cardiology.jsonl, neurology.jsonl" in caplog.text

    @pytest.mark.parametrize("name", ["{}-00000-of-00001.parquet", "phrases_no_exclude_{}.jsonl"])
    def test_several_splits_must_be_named(self, tmp_path: Path, name: str) -> None:
        for split in ("train", "validation", "test"):
            write(tmp_path / name.format(split), f"in {split}")
        with pytest.raises(
            DataError, match=r"has the splits test, train, validation, .* set split, and give the"
        ):
            questions(tmp_path)
        assert questions(tmp_path, split="validation") == ["in validation"]
        with pytest.raises(DataError, match=r"no split 'dev'; it has test, train, validation"):
            questions(tmp_path, split="dev")

    def test_a_subset_is_a_folder(self, tmp_path: Path) -> None:
        for subset in ("anatomy", "virology"):
            write(tmp_path / subset / "test-00000-of-00001.parquet", subset)
        assert questions(tmp_path, subset="virology") == ["virology"]
        with pytest.raises(DataError, match="has no sub-folder 'en'; give the subset's file"):
            questions(tmp_path, subset="en")

    def test_folders_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="has no file; give one file, or a folder"):
            questions(tmp_path)
        write(tmp_path / "a.jsonl", "one")
        (tmp_path / "b.csv").write_text("question\none\n")
        with pytest.raises(DataError, match=r"files of several kinds \(.csv, .jsonl\)"):
            questions(tmp_path)


class TestHub:
    @pytest.fixture
    def hub(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What the stand-in for a download returns, and what it was asked for."""
        import datasets

        state: dict[str, Any] = {"splits": {}}

        def load(source: str, subset: str, *, revision: str | None) -> Any:
            state["asked"] = (source, subset, revision)
            tables = {n: datasets.Dataset.from_list(rows) for n, rows in state["splits"].items()}
            return datasets.DatasetDict(tables)

        monkeypatch.setattr(datasets, "load_dataset", load)
        return state

    def test_one_split_needs_no_name(self, hub: dict[str, Any]) -> None:
        hub["splits"] = {"train": [{"question": "one"}, {"question": "two"}]}
        assert questions("owner/set", subset="en", revision="abc") == ["one", "two"]
        assert hub["asked"] == ("owner/set", "en", "abc")
        assert questions("owner/set", split="train") == ["one", "two"]

    def test_published_splits_are_not_pooled(self, hub: dict[str, Any]) -> None:
        hub["splits"] = {"train": [{"question": "one"}], "test": [{"question": "two"}]}
        with pytest.raises(DataError, match=r"owner/set: has the splits test, train, and pooling"):
            questions("owner/set")
        assert questions("owner/set", split="test") == ["two"]
        with pytest.raises(DataError, match="no split 'dev'; it has test, train"):
            questions("owner/set", split="dev")

    def test_no_rows(self, hub: dict[str, Any]) -> None:
        with pytest.raises(DataError, match="owner/set/default: the data set has no rows"):
            questions("owner/set")

    def test_offline(self) -> None:
        """conftest.py switches the Hub off, so that this fails without a wait."""
        with pytest.raises(DataError, match=r"neither a file or folder here nor.*give a local"):
            questions("nobody/medical-questions")

    @pytest.mark.parametrize("name", ["gone.jsonl", "folder/gone.jsonl", "./gone/folder", "x"])
    def test_what_looks_like_a_file_is_not_looked_up(self, name: str) -> None:
        with pytest.raises(DataError, match=r"no file or folder at .*; give a \.json"):
            questions(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": " "}, "source: is empty"),
        ({"source": "x", "label_base": 2}, "label_base: got 2, needs 0 or 1"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MedicalSource(**options)
