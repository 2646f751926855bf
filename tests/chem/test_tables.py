"""Files of molecules: kinds, columns, and what is said about those that cannot be used."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from rl4bio.chem.tables import Table, read_smiles_column, read_table
from rl4bio.errors import DataError


def table(folder: Path, name: str, content: str | bytes) -> Table:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return read_table(folder / name, option="the source")


def column(path: Path, name: str | None = None) -> list[tuple[int, str]]:
    return list(read_smiles_column(path, name, option="the source", column_option="the column"))


CSV = 'Name,SMILES\nethanol,CCO\n\n"a, b",C1=CC=CC=C1\n'
TWO = [["ethanol", "CCO"], ["a, b", "C1=CC=CC=C1"]]
TABLES = {
    "a.csv": CSV,
    "b.CSV.gz": CSV.replace("\n", "\r\n"),
    "c.tsv": "name\tsmiles\n\nethanol\tCCO\na, b\tC1=CC=CC=C1",
    "d.csv": '"Name";"Smiles"\n"ethanol";CCO\n"a, b";C1=CC=CC=C1\n',
    "e.txt": "\ufeff" + CSV,
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_with_a_header(name: str, tmp_path: Path) -> None:
    found = table(tmp_path, name, TABLES[name])
    assert (found.names, found.rows) == (["name", "smiles"], TWO)
    last = 3 if name == "d.csv" else 4
    assert found.place(1) == f"{tmp_path / name}:{last}"
    assert [text for _, text in column(tmp_path / name)] == ["CCO", "C1=CC=CC=C1"]


@pytest.mark.parametrize("name", ["a.smi", "a.smiles", "a.txt", "a.smi.gz", "a.TXT.gz"])
@pytest.mark.parametrize("header", ["", "smiles\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_of_smiles(name: str, header: str, end: str, tmp_path: Path) -> None:
    text = f"\ufeff{header}CCO\n\n c1ccccc1\n".replace("\n", end)
    found = table(tmp_path, name, text)
    first = 2 if header else 1
    rows = [cells[0].strip() for cells in found.rows]
    assert (found.names, rows) == (["smiles"], ["CCO", "c1ccccc1"])
    assert found.lines == [first, first + 2]


@pytest.mark.parametrize("name", ["a.smi", "a.txt"])
def test_what_follows_a_smiles_is_not_read(name: str, tmp_path: Path) -> None:
    found = table(tmp_path, name, "CCO ethanol, of wine\nc1ccccc1\tbenzene;x\n")
    assert found.rows == [["CCO"], ["c1ccccc1"]]


def test_a_header_of_a_txt_is_known_by_its_words(tmp_path: Path) -> None:
    assert table(tmp_path, "a.txt", "structure\nCCO\n").names == ["structure"]
    assert table(tmp_path, "a.txt", "no\tSMILES\n1\tCCO\n").names == ["no", "smiles"]
    assert table(tmp_path, "a.txt", "\tSMILES\n1\tCCO\n").names == ["smiles"]
    assert table(tmp_path, "a.txt", "CCO\tethanol\n").names == ["smiles"]


def test_quoted_line_ends_count(tmp_path: Path) -> None:
    found = table(tmp_path, "a.csv", 'smiles,note\nC,"two\nlines"\nCC,x\n')
    assert found.lines == [2, 4]


def test_the_column_of_the_molecules(tmp_path: Path) -> None:
    (path := tmp_path / "a.csv").write_text("scaffold_smiles,Canonical_SMILES,x\nC, CC ,N\n")
    assert column(path) == [(2, "CC")]  # the only one like it
    assert column(path, " X") == [(2, "N")]
    path.write_text("canonical_smiles,smiles\nC,CC\nC,\n")
    assert column(path) == [(2, "CC"), (3, "")]
    path.write_text("a_smiles,b_smiles\nC,CC\n")
    with pytest.raises(DataError, match=r"a\.csv:1: has several columns of molecules, .*; name"):
        column(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"smiles,Smiles\nC,C\n", r"x\.csv:1: two columns are called 'smiles'; rename"),
        ("x.csv", b"smiles,a\nC,1\nC,1,2\n", r"x\.csv:3: 3 columns, the header has 2; a cell wit"),
        ("x.csv", b"smiles,a\nC,1\n\nC\n", r"x\.csv:4: 1 columns, the header has 2"),
        ("x.csv", b'smiles\n"C\n', r"x\.csv:\d: not CSV \(unexpected end of data\); correct"),
        ("x.csv", b"smiles\n", "holds no molecule, at most a header; fetch it again"),
        ("x.csv", b",,\n", "holds no molecule"),
        ("x.smi", b"smiles\n", "holds no molecule"),
        ("x.csv", b"smiles\n\xff\n", r"x\.csv:2: byte 0xff is not UTF-8"),
        ("x.sdf", b"x", r"x\.sdf: unknown kind of file; needs \.csv, \.tsv"),
        ("x.gz", b"x", r"x\.gz: unknown kind of file"),
    ],
)
def test_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (lambda path: read_table(path, option="the source"), column):
        with pytest.raises(DataError, match=message):
            read(tmp_path / name)


def test_missing_columns_are_named_with_what_there_is(tmp_path: Path) -> None:
    found = table(tmp_path, "a.csv", "\n\nname,pIC50\nC,7\n")
    with pytest.raises(DataError) as caught:
        found.index("PIC5", option="data.options.where")
    assert str(caught.value) == (
        f"{tmp_path / 'a.csv'}:3: has no column 'PIC5' (data.options.where); did you mean "
        "'pic50'?; its columns: name, pic50"
    )
    found = table(tmp_path, "a.csv", ",".join(f"c{n}" for n in range(25)) + "\n" + "C," * 24 + "C")
    with pytest.raises(DataError, match=r"c18, c19 and 5 more$"):
        found.index("zzz", option="x")


def test_a_missing_file_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.smi: cannot be read \(No such.*check the source$"):
        column(tmp_path / "none.smi")


def test_reading_needs_no_rdkit() -> None:
    code = "import sys; sys.modules['rdkit'] = None; import rl4bio.chem.tables"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_real_files(shared_data: Path) -> None:
    path = shared_data / "smiles" / "moses2_sample.csv.gz"
    found = read_table(path, option="")
    assert len(found.rows) == 75_000
    index = found.smiles_index(None, option="")
    assert [cells[index] for cells in found.rows] == [text for _, text in column(path)]
    assert found.place(74_999) == f"{path}:75001"


@pytest.mark.parametrize(
    ("name", "content", "names", "rows"),
    [
        # pandas' index, with and without a name; a separator at the end of each line
        ("a.csv", ",Drug_ID,Drug,Y\n0,x,CCO,1\n", ["drug_id", "drug", "y"], ["x", "CCO", "1"]),
        ("a.csv", "Unnamed: 0,smiles\n0,CCO\n", ["smiles"], ["CCO"]),
        ("a.csv", "smiles,y,\nCCO,1,\n", ["smiles", "y"], ["CCO", "1"]),
        # the names of rows that R writes without a header
        ("a.tsv", "smiles\ty\n1\tCCO\t5\n", ["smiles", "y"], ["CCO", "5"]),
        # Excel: its own line, decimal commas; a comma in a name stays
        ("a.csv", "sep=;\nsmiles;y;n\nCCO;7,5;a,b\n", ["smiles", "y", "n"], ["CCO", "7.5", "a,b"]),
        ("a.csv", "# from 2024\n\nsmiles,y\nCCO,1\n", ["smiles", "y"], ["CCO", "1"]),
        ("a.csv", "#SMILES,ID\nCCO,1\n", ["smiles", "id"], ["CCO", "1"]),
        ("a.smi", "# drugs\nCCO ethanol\n", ["smiles"], ["CCO"]),
        ("a.txt", "smiles|y\nCCO|1\n", ["smiles", "y"], ["CCO", "1"]),
        ("a.csv", "smiles,y\n   \nCCO,1\n", ["smiles", "y"], ["CCO", "1"]),
    ],
)
def test_tables_as_programs_save_them(
    name: str, content: str, names: list[str], rows: list[str], tmp_path: Path
) -> None:
    found = table(tmp_path, name, content)
    assert (found.names, found.rows) == (names, [rows])
    assert found.lines == [content.rstrip("\n").count("\n") + 1]


@pytest.mark.parametrize("name", ["Drug", "Ligand", "Structure", "mol", "SMILES_ISO"])
def test_a_column_of_drugs_is_one_of_molecules(name: str, tmp_path: Path) -> None:
    (path := tmp_path / "a.csv").write_text(f"Drug_ID,{name},Y\nx,CCO,1\n")
    assert column(path) == [(2, "CCO")]


@pytest.mark.parametrize("first", ["CCO", "c1ccccc1Cl,5", "1,O=C(O)C"])
def test_a_table_without_a_header_says_so(first: str, tmp_path: Path) -> None:
    (path := tmp_path / "a.csv").write_text(f"{first}\n{first}\n")
    with pytest.raises(DataError, match=r"a\.csv:1: the first line holds a molecule"):
        column(path)


@pytest.mark.parametrize("names", ["id,y", "cid,ic50", "no,op,count", "x,1.5"])
def test_names_of_columns_are_no_molecules(names: str, tmp_path: Path) -> None:
    (path := tmp_path / "a.csv").write_text(f"{names}\n{names}\n")
    with pytest.raises(DataError, match="has no column 'smiles'"):
        column(path)


@pytest.mark.parametrize(
    ("delimiter", "cells", "read"),
    [
        (";", ["6,5", "7", "8,25"], ["6.5", "7", "8.25"]),
        (";", ["1.234,5", "10.000", "3"], ["1234.5", "10000", "3"]),
        (";", ["1,234.5", "2"], ["1234.5", "2"]),
        (",", ['"1,234"', '"10,000"', "5"], ["1234", "10000", "5"]),
        (",", ['"6,5"', '"7,125"'], ["6.5", "7.125"]),
        ("\t", ["10,000", "1.5"], ["10000", "1.5"]),
        ("\t", ["10,000", "15"], ["10,000", "15"]),  # either: left to be refused
        ("\t", ["1 234", "10\u00a0000"], ["1234", "10000"]),
        (";", ["1'234", "> 10'000"], ["1234", "> 10000"]),
        (";", ["1,5", "none"], ["1,5", "none"]),  # a column of texts
        (",", ["1.234", "2.5"], ["1.234", "2.5"]),
    ],
)
def test_numbers_as_people_write_them(
    delimiter: str, cells: list[str], read: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    lines = [f"smiles{delimiter}y", *(f"CCO{delimiter}{cell}" for cell in cells)]
    path.write_text("\n".join(lines), "utf-8")
    assert [row[1] for row in read_table(path, option="--data").rows] == read


def test_blanks_behind_the_last_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("smiles,y\nCCO,5,,\nCCN,6,\n")
    assert read_table(path, option="--data").rows == [["CCO", "5"], ["CCN", "6"]]


@pytest.mark.parametrize("line", ["CCO,ethanol", "CCO;1;2", '"CCO"', '"CCO" x', "CCO\tx y"])
def test_a_molecule_ends_where_no_smiles_goes_on(line: str, tmp_path: Path) -> None:
    path = tmp_path / "a.smi"
    path.write_text(f"{line}\n")
    assert read_table(path, option="--data").rows == [["CCO"]]
