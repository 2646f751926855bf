"""rl4bio.files.delimited: cells with the line that their row begins in, and rows written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl4bio.errors import DataError
from rl4bio.files.delimited import check_width, csv_text, delimited_rows, written_rows

PATH = Path("t.csv")


def test_rows_know_the_line_they_begin_in() -> None:
    text = 'a,b\n"two\nlines",1\n\nx,"a ""b"""\n'
    assert list(delimited_rows(PATH, text, ",", skipped=2)) == [
        (3, ["a", "b"]),
        (4, ["two\nlines", "1"]),
        (6, []),
        (7, ["x", 'a "b"']),
    ]


def test_an_open_quote_names_its_line() -> None:
    with pytest.raises(DataError, match=r"t\.csv:4: "):
        list(delimited_rows(PATH, 'a,b\n1,"x', ",", skipped=2))


def test_another_width_is_refused() -> None:
    check_width("t.csv:2", ["1", "2"], 2, ";")
    with pytest.raises(DataError, match=r"t\.csv:2: 1 columns, the header has 2; .* ';' in it"):
        check_width("t.csv:2", ["1"], 2, ";")


def test_a_last_line_that_a_kill_has_cut_is_none(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(csv_text([["step", "x"], ["1", "a,b"], ["2", ""]]) + "3,ha")
    assert written_rows(path) == (
        ["step", "x"],
        [{"step": "1", "x": "a,b"}, {"step": "2", "x": ""}],
    )
    assert csv_text([["a"]], quote_all=True) == '"a"\n'
