"""Rows of JSON, JSON lines, CSV, Parquet and Arrow files, each with the place it came from.

A file that cannot be read ends in a DataError that names the file and the line; no row is guessed,
filled in or left out.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl4bio.errors import DataError
from rl4bio.files.columnar import read_columnar
from rl4bio.files.delimited import check_width, delimited_rows
from rl4bio.files.text_files import check_plain, read_text
from rl4bio.text.redaction import shown

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow")
"""Kinds of files with rows; those of text also with .gz."""
DELIMITERS = ",;\t"
MAX_MESSAGES = 10


@dataclass(slots=True, kw_only=True)
class Row:
    """One record as the file has it."""

    fields: dict[str, Any]
    place: str
    """file:line of its first character; file:row for Parquet, which has no lines."""
    key: str | None = None
    """Its key in a JSON object of records; None for the other forms."""


BAD_ROWS = "correct the rows, or set data.options.bad_rows to drop to leave them out"


def raise_problems(problems: list[str], *, advice: str = "") -> None:
    """Raise one DataError for a list of problems, the first ten spelled out, then the advice."""
    if problems:
        raise DataError("; ".join([*listed(problems), *([advice] if advice else [])]))


def listed(problems: list[str]) -> list[str]:
    """The first ten of a list of problems, and how many more there are."""
    more = len(problems) - MAX_MESSAGES
    return problems[:MAX_MESSAGES] + ([f"and {more} more"] if more > 0 else [])


def read_rows(path: Path, problems: list[str] | None = None) -> list[Row]:
    """All rows of one file, chosen by its suffix.

    A .json file holds an object of records by id, a list of records, or one record a line, and so
    may a .jsonl file. Comma, semicolon or tab separate the columns of a table, whichever makes most
    of its header. A byte order mark, CRLF line ends and blank lines at the end are accepted.

    Args:
        path: of the file.
        problems: takes what is wrong with lines of a .jsonl file, which are then left out; None
            raises it.

    Raises:
        DataError: the file is missing, empty, of another kind, not UTF-8, or has a broken row.
    """
    readers: dict[str, Callable[[Path], Iterable[Row]]] = {
        ".json": lambda p: _read_json(p, read_text(p)),
        ".jsonl": lambda p: _read_jsonl(p, read_text(p), problems),
        ".csv": lambda p: _read_csv(p, read_text(p)),
        ".tsv": lambda p: _read_csv(p, read_text(p), "\t"),
        ".parquet": _read_columnar,
        ".arrow": _read_columnar,
    }
    reader = readers.get(kind_of(path))
    if kind_of(path) in (".xlsx", ".xls", ".ods"):
        raise DataError(f"{path}: a workbook; save its sheet as CSV (UTF-8) and give that file")
    if reader is None and path.is_dir():
        raise DataError(f"{path}: is a folder; name a file of it ({', '.join(SUFFIXES)})")
    if reader is None:
        raise DataError(
            f"{path}: unknown kind of file {path.suffix!r}; needs {', '.join(SUFFIXES)}"
        )
    check_plain(path)
    rows = list(reader(path))
    if not rows:
        raise_problems(problems or [])
        raise DataError(f"{path}:1: the file has no records; fetch it again, or name another")
    if _is_pandas(rows):
        raise DataError(
            f"{path}:1: holds columns and not records, as pandas' to_json writes them; write it "
            "with to_json(path, orient='records', lines=True)"
        )
    return rows


def _is_pandas(rows: list[Row]) -> bool:
    """Whether what was read are the parts or the columns of one table of pandas."""
    if len(rows) == 1 and {"data", "columns"} & rows[0].fields.keys():
        return isinstance(rows[0].fields.get("data"), list)
    numbered = (row.fields and all(map(str.isdecimal, row.fields)) for row in rows)
    return all(row.key is not None for row in rows) and all(numbered)


def kind_of(path: Path) -> str:
    """What a file's name says it is: its suffix without .gz, in lower case."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {shown(twice)} appears twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_object, parse_constant=_refuse_constant)


class _Scanner:
    """A position in a JSON text that knows its line."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text, self.at = path, text, 0
        self._line, self._counted = 1, 0

    @property
    def line(self) -> int:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
            self.at += 1
        return self.text[self.at : self.at + 1]

    def expect(self, allowed: str) -> str:
        found = self.peek()
        if not found:
            raise DataError(f"{self.path}:{self.line}: the file ends early; fetch it again")
        if found not in allowed:
            wanted = " or ".join(allowed)
            raise DataError(f"{self.path}:{self.line}: found {shown(found)}, expected {wanted}")
        self.at += 1
        return found

    def value(self) -> Any:
        self.peek()
        try:
            value, self.at = _DECODER.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            early = error.pos >= len(self.text.rstrip()) or error.msg.startswith("Unterminated")
            hint = "; the file may be cut off, fetch it again" if early else ""
            raise DataError(
                f"{self.path}:{error.lineno}:{error.colno}: {error.msg}{hint}"
            ) from None
        except RecursionError:
            raise DataError(f"{self.path}:{self.line}: nested too deeply") from None
        except ValueError as error:
            raise DataError(f"{self.path}:{self.line}: {error}") from None
        return value


def _record(value: Any, place: str, key: str | None = None) -> Row:
    if not isinstance(value, dict):
        name = f" ({key})" if key is not None else ""
        raise DataError(f"{place}{name}: {shown(value)} is not a record; expected an object")
    return Row(fields=value, place=place, key=key)


def _read_json(path: Path, text: str) -> Iterator[Row]:
    scanner = _Scanner(path, text)
    opening = scanner.expect("{[")
    if opening == "{" and _is_lines(text):
        yield from _read_lines(path, text)
        return
    closing = "}" if opening == "{" else "]"
    keys: set[str] = set()
    if scanner.peek() == closing:
        scanner.at += 1
    else:
        while True:
            scanner.peek()
            place, key = f"{path}:{scanner.line}", None
            if opening == "{":
                key = scanner.value()
                if not isinstance(key, str):
                    raise DataError(f"{place}: key {shown(key)} is not a string")
                if key in keys:
                    raise DataError(f"{place} ({key}): this id appears twice")
                keys.add(key)
                scanner.expect(":")
            yield _record(scanner.value(), place, key)
            if scanner.expect("," + closing) == closing:
                break
    if scanner.peek():
        raise DataError(
            f"{path}:{scanner.line}: text after the end of the records; write one list, or "
            "as .jsonl an object a line"
        )


def _read_jsonl(path: Path, text: str, skipped: list[str] | None) -> Iterator[Row]:
    """A list of records under the name of JSON lines is read as what it is."""
    if re.match(r"\s*\[\s*\{", text):
        yield from _read_json(path, text)
    else:
        yield from _read_lines(path, text, skipped)


def _is_lines(text: str) -> bool:
    """Whether a text is one object a line, as hub exports named .json are."""
    try:
        first = json.loads(text.lstrip().partition("\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and not all(isinstance(v, dict) for v in first.values())


def _read_lines(path: Path, text: str, skipped: list[str] | None = None) -> Iterator[Row]:
    problems: list[str] = [] if skipped is None else skipped
    # Not splitlines: U+2028 and friends are legal inside a JSON string.
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        place = f"{path}:{number}"
        try:
            yield _record(_parse_line(line), place)
        except json.JSONDecodeError as error:
            problems.append(f"{place}:{error.colno}: {error.msg}")
        except RecursionError:
            problems.append(f"{place}: nested too deeply")
        except DataError as error:
            if skipped is None:
                raise
            problems.append(str(error))
        except ValueError as error:
            problems.append(f"{place}: {error}")
    if skipped is None:
        raise_problems(problems)


def _parse_line(line: str) -> Any:
    if not line.strip():
        raise ValueError("a blank line between the records; remove it")
    return json.loads(line, object_pairs_hook=_unique_object, parse_constant=_refuse_constant)


def _read_csv(path: Path, text: str, delimiter: str = "") -> Iterator[Row]:
    delimiter = delimiter or _find_delimiter(text)
    rows = delimited_rows(path, text, delimiter)
    _, header = next(rows)
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise DataError(f"{path}:1: a column name appears twice; rename one")
    blank = ""
    for line, cells in rows:
        place = f"{path}:{line}"
        if not any(cells):  # at the end spreadsheets leave some
            blank = blank or place
            continue
        if blank:
            raise DataError(f"{blank}: a blank line between the records; remove it")
        check_width(place, cells, len(header), delimiter)
        fields = dict(zip(header, cells, strict=True))
        fields.pop("", None)  # the index of a pandas table
        yield Row(fields=fields, place=place)


def _find_delimiter(text: str) -> str:
    """What cuts a header into most columns; a comma where nothing does."""
    first = text.lstrip("\r\n").partition("\n")[0]
    return max(DELIMITERS, key=lambda sign: len(next(csv.reader([first], delimiter=sign), [])))


def _read_columnar(path: Path) -> Iterator[Row]:
    for number, fields in enumerate(read_columnar(path), start=1):
        yield Row(fields=fields, place=f"{path}:row {number}")
