"""Tables of molecules as columns of text: .csv, .tsv, .tab, .txt and .smi, plain or under gzip.

Column names are lower-cased. What cannot be read is a DataError with file and line. No RDKit.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rl4bio.chem.tokens import TokenError, split_smiles
from rl4bio.errors import DataError
from rl4bio.files.delimited import check_width, delimited_rows
from rl4bio.files.text_files import read_text
from rl4bio.registry import did_you_mean
from rl4bio.text.redaction import shown

SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".smi", ".smiles")
LISTED_COLUMNS = 20
MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "none", "null", "-"})
"""Cells without a value, in any case."""
DRUG_COLUMNS = ("drug", "ligand", "molecule", "structure", "mol")
"""Columns of molecules in tables without one of smiles, such as TDC's."""

_UNNAMED = re.compile(r"|unnamed: \d+(?:_level_\d+)?")
_SEPARATOR = re.compile(r"\"?sep=.?\"?", re.IGNORECASE)
_SIGN, _POWER = r"[<>=~\u2264\u2265\u2248 ]*[+-]?", r"(?:[eE][+-]?\d+)?"
_PLAIN = re.compile(rf"{_SIGN}\d*\.?\d+{_POWER}|{_SIGN}\d+\.{_POWER}")
_DECIMAL_COMMA = re.compile(rf"{_SIGN}(?:\d+|\d{{1,3}}(?:\.\d{{3}})+)(?:,\d+)?{_POWER}")
_COMMA_GROUPS = re.compile(rf"{_SIGN}\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?")
_BLANK_GROUPS = re.compile(r"(?<=\d)[ \u00a0\u202f'\u2019](?=\d{3}(?!\d))")
_AFTER_SMILES = re.compile(r"[\s,;\"]+")
_SMILES_SIGN = re.compile(r"[()=#\[\]\d]|^cc")
_PUBCHEM_TAG = "pubchem_result_tag"

Records = Iterator[tuple[int, list[str]]]
"""Line and cells of each row that is not blank."""


@dataclass(slots=True, kw_only=True)
class Header:
    """The columns of a file."""

    path: Path
    names: list[str]
    """Lower-cased."""
    line: int = 1

    def index(self, name: str, *, option: str) -> int:
        """Place of a column.

        Args:
            name: in any case.
            option: what asks for it, for the message.

        Raises:
            DataError: the file has no such column.
        """
        wanted = name.strip().lower()
        if wanted not in self.names:
            listed = [shown(column)[1:-1] for column in self.names[:LISTED_COLUMNS]]
            more = len(self.names) - len(listed)
            raise DataError(
                f"{self.path}:{self.line}: has no column {name!r} ({option})"
                f"{did_you_mean(wanted, self.names)}; its columns: {', '.join(listed)}"
                + (f" and {more} more" if more else "")
            )
        return self.names.index(wanted)

    def smiles_index(self, name: str | None, *, option: str) -> int:
        """Place of the molecules: the named column, `smiles`, or else the only one like it.

        Raises:
            DataError: the file has no such column.
        """
        if name is None:
            alike = molecule_columns(self.names)
            if len(alike) > 1 and "smiles" not in alike:
                raise DataError(
                    f"{self.path}:{self.line}: has several columns of molecules, "
                    f"{', '.join(map(shown, alike))}; name one with {option}"
                )
            if not alike and any(map(_is_molecule, self.names)):
                raise DataError(
                    f"{self.path}:{self.line}: the first line holds a molecule in place of names "
                    "of columns; write a header above it, such as smiles"
                )
            name = alike[0] if len(alike) == 1 else "smiles"
        return self.index(name, option=option)


def molecule_columns(names: Sequence[str]) -> list[str]:
    """Of lower-cased names of columns, those that may hold the molecules."""
    alike = [name for name in names if "smiles" in name and "scaffold" not in name]
    return alike or [name for name in names if name in DRUG_COLUMNS]


@dataclass(slots=True, kw_only=True)
class Table(Header):
    """The cells of a file by column, with the line that each row begins on."""

    rows: list[list[str]]
    lines: list[int]

    def place(self, row: int) -> str:
        """File and line of a row, for messages."""
        return f"{self.path}:{self.lines[row]}"


def read_table(path: Path, *, option: str) -> Table:
    """All rows of a file.

    Comma, semicolon, tab and bar separate columns, whichever the header has most of. Numbers with
    decimal commas or groups of thousands come as plain ones where the column says which they are.
    A .smi file has one molecule a line, up to the first blank, comma or semicolon, and perhaps a
    header. A .txt file is either, by what its first line begins with. Blank lines are skipped.

    Args:
        path: of a file with one of SUFFIXES, and .gz behind it where it is packed.
        option: what named the file, for the message where it cannot be read.

    Raises:
        DataError: the file is missing, empty, of another kind, damaged, not UTF-8, or has a row
            with more or fewer columns than its header.
    """
    header, records = _open(path, option)
    found = list(records)
    return Table(
        path=path,
        names=header.names,
        line=header.line,
        rows=[cells for _, cells in found],
        lines=[line for line, _ in found],
    )


def read_smiles_column(
    path: Path, column: str | None = None, *, option: str, column_option: str
) -> Iterator[tuple[int, str]]:
    """Line and SMILES of each row of a file, one at a time; a cell may be empty.

    Args:
        path: as for `read_table`.
        column: in any case; None is `smiles`, or else the only column with smiles in its name.
        option: what named the file, for messages.
        column_option: what named the column.

    Raises:
        DataError: as for `read_table`, or the file has no such column.
    """
    header, records = _open(path, option)
    index = header.smiles_index(column, option=column_option)
    for line, cells in records:
        yield line, cells[index].strip()


def _open(path: Path, option: str) -> tuple[Header, Records]:
    name = path.name.lower().removesuffix(".gz")
    kind = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)
    if kind is None:
        raise DataError(
            f"{path}: unknown kind of file; needs {', '.join(SUFFIXES)}, or one of them with .gz"
        )
    text = read_text(path, option=option)
    skipped, text = _without_preface(text)
    first = text.partition("\n")[0]
    if kind in (".smi", ".smiles") or (kind == ".txt" and not _names_columns(first)):
        return Header(path=path, names=["smiles"]), _filled(path, _smi_records(text, skipped))
    delimiter = max(",;\t|", key=first.count)
    records = _csv_records(path, text, delimiter, skipped)
    line, cells = next(records, (1, []))
    if not cells:
        raise _no_molecule(path)
    names = [cell.strip().lower() for cell in cells]
    kept = [place for place, name in enumerate(names) if not _UNNAMED.fullmatch(name)]
    if kept and len(kept) < len(names):  # the index that pandas writes, or a trailing separator
        names = [names[place] for place in kept]
        records = ((n, [cells[place] for place in kept]) for n, cells in records)
    if names and names[0] == _PUBCHEM_TAG:  # types and units of the columns, above the rows
        records = ((n, cells) for n, cells in records if not cells[0].startswith("RESULT_"))
    if delimiter != "," or '"' in text:
        records = _plain_numbers(list(records), delimiter)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}:{line}: two columns are called {shown(twice)}; rename one")
    return Header(path=path, names=names, line=line), _filled(path, records)


def _names_columns(first: str) -> bool:
    """Whether a first line is a header: it mentions SMILES, or begins with what is none."""
    try:
        split_smiles(re.split(r"[\s,;]", first.strip(), maxsplit=1)[0])
    except TokenError:
        return True
    return "smiles" in first.lower()


def _is_molecule(name: str) -> bool:
    """Whether a lower-cased name of a column was a SMILES: cco and c1ccccc1 are, cid and no not."""
    try:
        tokens = split_smiles(name.replace("cl", "Cl").replace("br", "Br"))
    except TokenError:
        return False
    return len(tokens) > 2 and bool({"c", "C"} & {*tokens}) and bool(_SMILES_SIGN.search(name))


def _without_preface(text: str) -> tuple[int, str]:
    """How many lines stand before the table, and the text from there: Excel's `sep=;`, comments,
    blank lines. A comment that names a column of SMILES is the header; its sign goes."""
    skipped = 0
    while text:
        line, newline, rest = text.partition("\n")
        plain = line.strip()
        if plain.startswith("#") and "smiles" in plain.lower() and re.search(r"[,;\t]", plain):
            return skipped, text.replace("#", "", 1)
        if plain and not plain.startswith("#") and not _SEPARATOR.fullmatch(plain):
            break
        skipped, text = skipped + 1, rest if newline else ""
    return skipped, text


def _plain_numbers(records: list[tuple[int, list[str]]], delimiter: str) -> Records:
    """Rows whose columns of numbers are written as programs do: a point, and no groups of three."""
    width = max((len(cells) for _, cells in records), default=0)
    for place in range(width):
        cells = [own[place].strip() for _, own in records if place < len(own)]
        spelled = _spelling([cell for cell in cells if cell], delimiter)
        if spelled is not None:
            for _, own in records:
                own[place] = spelled(own[place])
    return iter(records)


def _spelling(cells: list[str], delimiter: str) -> Callable[[str], str] | None:
    """What makes plain numbers of a column's cells; None where they are, or are no numbers.

    A comma is decimal where Excel separates columns with semicolons, and wherever a cell cannot be
    read otherwise; else it separates thousands. Where tabs leave both open, nothing is changed.
    """
    whole = [_BLANK_GROUPS.sub("", cell) for cell in cells]
    if all(map(_PLAIN.fullmatch, whole)):
        # Points of thousands are seen beside a decimal comma alone.
        return (lambda cell: _BLANK_GROUPS.sub("", cell)) if whole != cells else None
    with_commas = [cell for cell in whole if "," in cell]
    groups = all(_COMMA_GROUPS.fullmatch(c) or _PLAIN.fullmatch(c) for c in whole)
    decimal = all(map(_DECIMAL_COMMA.fullmatch, whole)) and all(
        cell.count(",") <= 1 for cell in with_commas
    )
    if groups and decimal and delimiter == "\t":
        return None
    if decimal and not (groups and delimiter == ","):
        return lambda cell: _BLANK_GROUPS.sub("", cell).replace(".", "").replace(",", ".")
    if groups:
        return lambda cell: _BLANK_GROUPS.sub("", cell).replace(",", "")
    return None


def _csv_records(path: Path, text: str, delimiter: str, skipped: int) -> Records:
    """The header and the rows, which are as wide as it; names of rows, as R writes them, go."""
    width = 0
    named: bool | None = None  # whether rows begin with a name that the header does not have
    for line, cells in delimited_rows(path, text, delimiter, skipped=skipped):
        if not any(map(str.strip, cells)) or (cells[0].startswith("#") and width):
            continue
        if width and named is None:
            named = delimiter == "\t" and len(cells) == width + 1 and cells[0].isdigit()
        cells = cells[1:] if named else cells
        while width and len(cells) > width and not cells[-1].strip():
            cells.pop()
        width = width or len(cells)
        check_width(f"{path}:{line}", cells, width, delimiter)
        yield line, cells


def _smi_records(text: str, skipped: int) -> Records:
    started = False
    for number, line in enumerate(io.StringIO(text, newline=""), start=skipped + 1):
        words = _AFTER_SMILES.split(line.strip().lstrip('"'), maxsplit=1) if line.strip() else []
        if words and words[0].startswith("#"):  # a comment: no SMILES begins with a bond
            continue
        # No SMILES holds the word: `m` stands inside brackets alone.
        if words and (started or "smiles" not in words[0].lower()):
            started = True
            yield number, words[:1]


def _filled(path: Path, records: Records) -> Records:
    """The records, of which there must be one."""
    number = 0
    for number, record in enumerate(records, start=1):  # noqa: B007
        yield record
    if not number:
        raise _no_molecule(path)


def _no_molecule(path: Path) -> DataError:
    return DataError(f"{path}: holds no molecule, at most a header; fetch it again")
