"""What columns say of a value, in the words of ChEMBL, BindingDB and PubChem."""

from __future__ import annotations

import pytest

from rl4bio.chem.measurements import Measure, find_measure, on_p_scale, read_unit
from rl4bio.errors import DataError

CHEMBL = ["smiles", "standard type", "standard relation", "standard value", "standard units"]


def rows(*cells: str) -> list[dict[str, object]]:
    return [dict(zip(CHEMBL, row.split("|"), strict=True)) for row in cells]


def find(
    table: list[dict[str, object]], label: str = "standard value", **options: object
) -> Measure:
    names = list(table[0])
    return find_measure(names, table, label, place="t.csv", option="--type", **options)  # type: ignore[arg-type]


def test_several_types_are_a_question() -> None:
    table = rows("C|IC50|'='|5|nM", "CC|IC50|=|6|nM", "N|Ki|=|7|nM", "O|Inhibition|=|50|%")
    with pytest.raises(DataError, match=r"'standard type'.*IC50 \(2 rows\), Ki \(1 rows\).*--type"):
        find(table)
    chosen = find(table, types=["ic50"])
    assert [chosen.wants(row, str(row["standard value"])) for row in table] == [
        True,
        True,
        False,
        False,
    ]
    assert chosen.left_out == {"of another type (column 'standard type')": 2}
    with pytest.raises(DataError, match="--type names none of the types"):
        find(table, types=["EC50"])


@pytest.mark.parametrize("relation", ["'>'", "<", ">=", "~", ">>", "<="])
def test_bounds_are_left_out(relation: str) -> None:
    table = rows(f"C|IC50|{relation}|5|nM", "CC|IC50|'='|6|nM")
    measure = find(table)
    assert [measure.wants(row, str(row["standard value"])) for row in table] == [False, True]
    assert measure.described() == "1 that are bounds (column 'standard relation')"


def test_bounds_in_the_cells_as_bindingdb_writes_them() -> None:
    table: list[dict[str, object]] = [{"ic50 (nm)": v} for v in (" >10000", "<0.1", "25")]
    measure = find(table, "IC50 (nM)")
    assert [measure.wants(row, str(row["ic50 (nm)"])) for row in table] == [False, False, True]
    assert measure.unit(table[2], None) == "nM"


def test_doubts_and_repeats_of_the_curators() -> None:
    table: list[dict[str, object]] = [
        {
            "pchembl value": "6",
            "data validity comment": "Outside typical range",
            "potential duplicate": "0",
        },
        {
            "pchembl value": "6",
            "data validity comment": "Manually validated",
            "potential duplicate": "1",
        },
        {"pchembl value": "6", "data validity comment": "", "potential duplicate": "0"},
    ]
    measure = find(table, "pChEMBL Value")
    assert [measure.wants(row, "6") for row in table] == [False, False, True]
    assert measure.is_p
    assert measure.unit({"pchembl value": "6"}, None) == "p"


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        *(("nM", "nM"), ("µM", "uM"), ("umol/L", "uM"), ("MICROMOLAR", "uM"), ("mM", "mM")),
        *(("(nM)", "nM"), ("nmol·L⁻¹", "nM"), ("10^-6 M", "uM"), ("10'-9M", "nM")),
        *(("1e-09 M", "nM"), ("10^-5 M", None), ("M-1 s-1", None), ("kcal/mol", None)),
        *(("M", "M"), ("%", None), ("ug.mL-1", None), ("hr", None)),
    ],
)
def test_units(text: str, unit: str | None) -> None:
    assert read_unit(text) == unit


def test_a_type_that_is_a_logarithm_needs_no_unit() -> None:
    table = rows("C|pIC50|=|6.1|", "CC|IC50|=|6|nM", "N|-Log IC50|=|5|", "O|Log IC50|=|-6|")
    measure = find(table, types=["pIC50", "IC50", "-Log IC50", "Log IC50"])
    assert [measure.unit(row, "nM") for row in table[:3]] == ["p", "nM", "p"]
    assert measure.unit(table[3], None) is None
    assert measure.left_out == {"without a unit (column 'standard units')": 1}


def test_a_range_is_no_value() -> None:
    table: list[dict[str, object]] = [
        {"standard_value": "10", "standard_upper_value": upper} for upper in ("20", "", "nan")
    ]
    measure = find(table, "standard_value")
    assert [measure.wants(row, "10") for row in table] == [False, True, True]
    assert measure.described() == "1 that are ranges (column 'standard_upper_value')"


def test_a_row_has_the_unit_of_its_own_column() -> None:
    table = rows("C|IC50|=|5|uM", "CC|IC50|=|6|%", "N|IC50|=|6|")
    measure = find(table)
    assert [measure.unit(row, "nM") for row in table] == ["uM", None, "nM"]
    assert measure.left_out == {"in a unit that is not of amount (column 'standard units')": 1}


def test_the_scale_by_hand() -> None:
    assert on_p_scale(10, "uM") == pytest.approx(5)
    assert on_p_scale(7.5, "p") == 7.5
    with pytest.raises(ValueError, match="needs a nM above 0"):
        on_p_scale(0, "nM")


def test_published_values_go_with_their_own_columns() -> None:
    """A table of ChEMBL's web service holds both: 0.1 uM, standardised to 100 nM."""
    table: list[dict[str, object]] = [
        {
            "standard_relation": "=",
            "standard_value": "100",
            "standard_units": "nM",
            "pchembl_value": "7",
            "relation": "<",
            "value": "0.1",
            "units": "uM",
        }
    ]
    published, standard, p = (
        find(table, label) for label in ("value", "standard_value", "pchembl_value")
    )
    assert published.columns == {"relation": "relation", "unit": "units"}
    assert standard.columns == {"relation": "standard_relation", "unit": "standard_units"}
    assert p.columns["relation"] == "standard_relation"
    assert published.unit(table[0], None) == "uM"


@pytest.mark.parametrize(
    ("column", "cells", "left"),
    [
        ("op", ["=", ">", "lt"], 1),
        ("what", ["=", ">", "<"], 1),  # signs alone
        ("operator", ["Ann", "Bo", "Cy"], 3),  # people
        ("sign", ["+", "-", "+"], 3),
        ("censored", ["0", "1", "true"], 1),
        ("Activity Comment", ["Active", "Not Active", "inconclusive"], 1),
        ("comment", ["by hand", "", "second batch"], 3),
    ],
)
def test_what_a_column_tells(column: str, cells: list[str], left: int) -> None:
    table: list[dict[str, object]] = [{column.lower(): cell, "pic50": "5"} for cell in cells]
    measure = find(table, "pic50")
    assert sum(measure.wants(row, "5") for row in table) == left


def test_a_row_without_a_unit_is_none_of_nm() -> None:
    table = rows("C|IC50|=|5|nM", "CC|IC50|=|6|")
    measure = find(table)
    assert [measure.unit(row, None) for row in table] == ["nM", None]
    assert measure.left_out == {"without a unit (column 'standard units')": 1}
    assert measure.unit(table[1], "uM") == "uM"
