"""Measured affinities from tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rl4bio.errors import DataError
from rl4bio.predictors.records import read_measured


def write(folder: Path, *rows: str, header: str = "smiles,pic50") -> Path:
    path = folder / "t.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_repeats_are_averaged_and_salts_lose_their_ions(tmp_path: Path) -> None:
    path = write(tmp_path, "CCN,5", "NCC,6", "Cl.CCN,7.5", "CCO,4", "C[C@H](N)O,3", "C[C@@H](N)O,2")
    found = read_measured(path, "pIC50")
    assert [molecule.canonical for molecule in found.molecules][:2] == ["CCN", "CCO"]
    assert found.values.tolist() == [6, 4, 3, 2]  # mirror images stay apart
    assert (found.rows, found.repeats, found.largest_gap, found.dropped) == (6, 2, 2.5, 0)


def test_rows_without_a_molecule_are_counted(tmp_path: Path) -> None:
    """ChEMBL has biologics, whose SMILES are empty; pandas writes nan."""
    found = read_measured(write(tmp_path, "CCO,5", ",6", "nan,7", "CC,8"), "pic50")
    assert found.values.tolist() == [5, 8]
    assert found.left_out == {"without a molecule": 2}


def test_tautomers_are_one_molecule(tmp_path: Path) -> None:
    found = read_measured(write(tmp_path, "Cc1c[nH]cn1,5", "Cc1cnc[nH]1,6"), "pic50")
    assert (found.values.tolist(), found.repeats) == ([5.5], 1)


@pytest.mark.parametrize(
    ("values", "refused"), [((1e-8, 3e-7, 2e-6), True), ((15, 19, 14), True), ((5, 9, 4), False)]
)
def test_values_of_no_stated_unit_are_looked_at(
    values: tuple[float, ...], refused: bool, tmp_path: Path
) -> None:
    rows = [f"{'C' * n},{value}" for n, value in enumerate(values, start=1)]
    path = write(tmp_path, *rows, header="smiles,y")
    if refused:
        with pytest.raises(DataError, match=r"'y'.*hardly -log10 of mol/l; say with --unit"):
            read_measured(path, "y")
    assert len(read_measured(path, "y", unit="p").values) == 3


@pytest.mark.parametrize(
    ("unit", "text", "value"),
    [
        ("p", "7.5", 7.5),
        ("M", "1e-6", 6),
        ("mM", "1", 3),
        ("uM", "10", 5),
        ("nM", "100", 7),
        ("pM", "1", 12),
    ],
)
def test_units_by_hand(unit: Any, text: str, value: float, tmp_path: Path) -> None:
    path = write(tmp_path, f"CCO,{text}", header="smiles,ic50")
    assert read_measured(path, "ic50", unit=unit).values.tolist() == [pytest.approx(value)]


@pytest.mark.parametrize(
    ("row", "unit", "message"),
    [
        ("C1CC,5", "p", r"t\.csv:3: 'C1CC' is no SMILES \(syntax\)"),
        ("CC,high", "p", r"t\.csv:3: pic50 is 'high', no number"),
        ("CC,6-7", "p", r"t\.csv:3: pic50 is '6-7', no number"),
        ("CC,350", "p", r"t\.csv:3: pic50 is 350, .* outside -2 to 20; is --unit p right"),
        ("CC,0", "nM", r"t\.csv:3: pic50 is 0, needs a nM above 0"),
        ("CC,-5", "nM", "needs a nM above 0"),
        ("CC,inf", "nM", "needs a nM above 0"),
        ("CC,1e-30", "nM", "outside"),
    ],
)
def test_a_row_that_cannot_be_read(row: str, unit: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "CCO,5", row)
    with pytest.raises(DataError, match=message + r".*leave such rows out with --drop-bad"):
        read_measured(path, "pic50", unit=unit)
    found = read_measured(path, "pic50", unit=unit, drop_bad=True)
    assert (len(found.molecules), found.dropped) == (1, 1)


def test_many_bad_rows_are_counted_and_none_good_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, *["C1,5"] * 5)
    with pytest.raises(DataError, match=r"t\.csv:4: .*; and 2 more; repair"):
        read_measured(path, "pic50")
    with pytest.raises(DataError, match="and 2 more"):
        read_measured(path, "pic50", drop_bad=True)


def test_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "x,CCO,5", header="id,canonical_smiles,pKd")
    assert read_measured(path, "pkd").values.tolist() == [5]
    with pytest.raises(DataError, match=r"no column 'pki' \(--label\)"):
        read_measured(path, "pki")
    with pytest.raises(DataError, match=r"no column 'mol' \(--smiles\)"):
        read_measured(path, "pkd", smiles="mol")


def test_the_real_tables(shared_data: Path) -> None:
    egfr = read_measured(shared_data / "affinity/egfr_pic50.csv", "pic50")
    # In nM the same values: pIC50 = 9 - log10(IC50), given with four digits.
    nm = read_measured(shared_data / "affinity/egfr_pic50.csv", "ic50_nm", unit="nM")
    assert egfr.rows == 5568
    assert len(egfr.molecules) == 5568 - egfr.repeats
    assert abs(egfr.values - nm.values).max() < 1e-3


def test_what_measures_something_else_is_left_out_and_counted(tmp_path: Path) -> None:
    header = "smiles;Standard Type;Standard Relation;Standard Value;Standard Units"
    rows = [
        "CCO;IC50;'=';100;nM",
        "OCC;IC50;'=';1;uM",
        "CCN;IC50;'>';10000;nM",
        "CCC;Inhibition;'=';37;%",
        "CCCC;IC50;'=';3;ug.mL-1",
    ]
    path = write(tmp_path, *rows, header=header)
    with pytest.raises(
        DataError, match=r"IC50 \(4 rows\), Inhibition \(1 rows\); choose with --type"
    ):
        read_measured(path, "Standard Value")
    found = read_measured(path, "Standard Value", types=["IC50"])
    assert [molecule.canonical for molecule in found.molecules] == ["CCO"]
    assert found.values.tolist() == [pytest.approx(6.5)]  # of 7 and 6
    assert sum(found.left_out.values()) == 3
    with pytest.raises(DataError, match=r"left to learn from.*1 molecules that disagree"):
        read_measured(path, "Standard Value", types=["IC50"], tolerance=0.5)


def test_a_counter_ion_is_no_drug_and_a_mixture_is_shown(tmp_path: Path) -> None:
    pamoic = "O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O"
    path = write(tmp_path, f"CN1CCCN=C1C=Cc1cccs1.{pamoic},4", "Oc1ccccc1C.CCCCN,5")
    found = read_measured(path, "pic50")
    assert [m.canonical for m in found.molecules] == ["CN1CCCN=C1C=Cc1cccs1", "Cc1ccccc1O"]
    assert len(found.mixtures) == 1
    assert "t.csv:3" in found.mixtures[0]


@pytest.mark.parametrize("text", ["", "nan", "NA", "n.d.", "NT", "-", "#N/A"])
def test_a_row_without_a_value_is_counted(text: str, tmp_path: Path) -> None:
    found = read_measured(write(tmp_path, "CCO,5", f"CCN,{text}"), "pic50")
    assert (found.values.tolist(), found.left_out) == ([5], {"without a value": 1})


@pytest.mark.parametrize(
    ("label", "unit", "message"),
    [
        ("logIC50", None, "'logic50' says logarithms of concentrations"),
        ("log Ki (nM)", None, "says logarithms"),
        ("IC50", None, "nothing says the unit of column 'ic50'; give it with --unit"),
        ("Ki", None, "nothing says the unit"),
        ("logIC50", "p", ""),
        ("Ki", "nM", ""),
        ("Ki [uM]", None, ""),
        ("-log Ki", None, ""),
        ("affinity", None, ""),
    ],
)
def test_the_scale_must_be_known(label: str, unit: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "CCO,5", header=f"smiles,{label}")
    if not message:
        assert len(read_measured(path, label, unit=unit).values) == 1
        return
    with pytest.raises(DataError, match=message):
        read_measured(path, label, unit=unit)


def test_an_export_of_pubchem(tmp_path: Path) -> None:
    """Its standard value is in uM, whatever the other columns say; its first rows describe it."""
    path = write(
        tmp_path,
        "RESULT_TYPE,,FLOAT,STRING,FLOAT,STRING",
        "RESULT_UNIT,,MICROMOLAR,,,",
        "1,CCO,0.1,=,100,nM",
        "2,CCN,10,>,10000,nM",
        header="PUBCHEM_RESULT_TAG,PUBCHEM_EXT_DATASOURCE_SMILES,PubChem Standard Value,"
        "Standard Relation,Standard Value,Standard Units",
    )
    for label in ("PubChem Standard Value", "Standard Value"):
        found = read_measured(path, label)
        assert found.values.tolist() == [pytest.approx(7)]
        assert found.left_out == {"that are bounds (column 'standard relation')": 1}
