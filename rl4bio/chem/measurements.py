"""What a number in a table measures: its relation, unit, type and validity, where columns say so.

Exports of ChEMBL, BindingDB and PubChem hold values that are only bounds, percentages beside
concentrations, and rows that their curators doubt. What cannot be compared is left out and counted
by reason. Nothing here needs RDKit.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rl4bio.errors import DataError

Unit = Literal["p", "M", "mM", "uM", "nM", "pM"]
"""-log10 of mol/l, or a concentration."""
MOLAR: dict[str, float] = {"M": 0.0, "mM": 3.0, "uM": 6.0, "nM": 9.0, "pM": 12.0}
"""Minus the power of ten of a unit, in mol/l."""

COLUMNS: dict[str, str] = {
    "relation": "relation relations qualifier operator prefix modifier standard_relation "
    "relationship activity_qualifier published_relation value_relation value_qualifier",
    "unit": "units unit standard_units standard_unit activity_unit activity_units value_unit "
    "value_units published_units",
    "type": "type standard_type activity_type activity_name measurement_type bioactivity_type "
    "affinity_type endpoint published_type assay_endpoint",
    "validity": "data_validity_comment data_validity_description validity_comment validity",
    "duplicate": "potential_duplicate",
}
"""What a column tells -> its names, in any case, with blanks or underscores."""

_EXACT = frozenset({"", "=", "==", "eq", "nan", "none", "null"})
_BOUND = re.compile(r"^\s*(?:[<>~≤≥≈]=?|>>|<<|ca\.?)\s*(?=[\d.])")
_UNITS = {
    **dict.fromkeys(("m", "mol/l", "molar", "mol.l-1"), "M"),
    **dict.fromkeys(("mm", "mmol/l", "millimolar", "mmol.l-1"), "mM"),
    **dict.fromkeys(("um", "umol/l", "micromolar", "umol.l-1"), "uM"),
    **dict.fromkeys(("nm", "nmol/l", "nanomolar", "nmol.l-1"), "nM"),
    **dict.fromkeys(("pm", "pmol/l", "picomolar", "pmol.l-1"), "pM"),
    **dict.fromkeys(("-log10(m)", "-logm", "-log(m)", "log", "p", "neg_log"), "p"),
}
_IN_NAME = re.compile(r"[(\[_ ]\s*([pnuµμm]?m)\s*[)\]]?$", re.IGNORECASE)
_P_NAME = re.compile(r"^(?:p_?(?:ic|ec|ki|kd|chembl|ac|xc|gi|affinity|activity)|-?\s*log)", re.I)
_TYPE_NAME = re.compile(r"(ic50|ec50|ac50|gi50|xc50|\bki\b|\bkd\b|^pki|^pkd)", re.IGNORECASE)
_SOUND = frozenset({"", "nan", "none", "null", "manually validated"})


@dataclass(slots=True, kw_only=True)
class Measure:
    """Which columns of a table say what a value is, and which of its rows are comparable."""

    label: str
    """Column of the values, lower-cased."""
    columns: dict[str, str]
    """Of COLUMNS' keys, what the table has: key -> column."""
    types: frozenset[str]
    """Lower-cased types that are wanted; empty = any."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> rows."""

    @property
    def is_p(self) -> bool:
        """Whether the column's name says -log10."""
        return _P_NAME.match(self.label) is not None

    def wants(self, row: Mapping[str, object], value: str) -> bool:
        """Whether a row's value is an exact one of the wanted type; counts it where it is not."""
        reason = self.refusal(row, value)
        if reason:
            self.left_out[reason] += 1
        return not reason

    def refusal(self, row: Mapping[str, object], value: str) -> str:
        """Why a row's value is not to be taken, "" where it is."""
        told = {key: _text(row.get(column)) for key, column in self.columns.items()}
        relation = told.get("relation", "").strip("'\" ").lower()
        if relation not in _EXACT or _BOUND.match(value):
            return f"that are bounds{self._named('relation')}"
        if self.types and told.get("type", "").lower() not in self.types:
            return f"of another type{self._named('type')}"
        if told.get("validity", "").lower() not in _SOUND:
            return f"of doubtful validity{self._named('validity')}"
        if told.get("duplicate", "").lower() in ("1", "1.0", "true"):
            return f"that repeat another publication{self._named('duplicate')}"
        return ""

    def unit(self, row: Mapping[str, object], given: str | None) -> str | None:
        """The unit of a row: of its own column, as given, or of the label's name; p otherwise.

        None where the row's unit is none of amount; the row is counted then.
        """
        if "unit" in self.columns and not self.is_p:
            told = _text(row.get(self.columns["unit"]))
            if told:
                found = read_unit(told)
                if found is None:
                    self.left_out[f"in a unit that is not of amount{self._named('unit')}"] += 1
                return found
        return given or self.unit_of_label() or "p"

    def unit_of_label(self) -> str | None:
        """The unit in the name of the column, as in `IC50 (nM)`."""
        found = _IN_NAME.search(self.label)
        return read_unit(found[1]) if found else None

    def _named(self, key: str) -> str:
        return f" (column {self.columns[key]!r})" if key in self.columns else ""

    def described(self) -> str:
        """What was left out, or ""."""
        return ", ".join(f"{count} {why}" for why, count in self.left_out.items())


def find_measure(
    names: Sequence[str],
    rows: Sequence[Mapping[str, object]],
    label: str,
    *,
    types: Sequence[str] = (),
    place: str,
    option: str,
) -> Measure:
    """What the columns of a table say of its values.

    Args:
        names: of all columns, lower-cased.
        rows: their cells by those names.
        label: column of the values.
        types: wanted ones, such as IC50, in any case.
        place: of the table, for messages.
        option: what names types.

    Raises:
        DataError: rows are of several types and none was chosen, or of none of those chosen.
    """
    label = label.strip().lower()
    columns: dict[str, str] = {}
    for key, known in COLUMNS.items():
        own = {f"{label}_{key}", f"{label}_{key}s", *known.split()}
        found = [n for n in names if n != label and re.sub(r"[\s.-]+", "_", n) in own]
        if found:
            columns[key] = found[0]
    measure = Measure(label=label, columns=columns, types=frozenset(t.lower() for t in types))
    if "type" not in columns:
        return measure
    counts = Counter(_text(row.get(columns["type"])) for row in rows if _text(row.get(label)))
    counts.pop("", None)
    there = {name.lower() for name in counts}
    named = _TYPE_NAME.search(label)
    if not measure.types and len(there) > 1 and named and named[0].lower().lstrip("p") in there:
        measure.types = frozenset({named[0].lower().lstrip("p")})
    listed = ", ".join(f"{name} ({n} rows)" for name, n in counts.most_common(6))
    if measure.types and there and not measure.types & there:
        raise DataError(f"{place}: {option} names none of the types of its rows: {listed}")
    if not measure.types and len(there) > 1:
        raise DataError(
            f"{place}: column {columns['type']!r} says that the values are of several types: "
            f"{listed}; choose with {option} (bounds and other units are left out by themselves)"
        )
    return measure


def read_unit(text: str) -> str | None:
    """The unit that a text names, None where it is none of amount, such as % or ug/ml."""
    plain = re.sub(r"[\s·*]+", "", text).replace("µ", "u").replace("μ", "u").lower()
    return _UNITS.get(plain.replace("^-1", "-1").replace("moll-1", "mol.l-1"))


def on_p_scale(value: float, unit: str) -> float:
    """-log10 of mol/l.

    Raises:
        ValueError: a concentration is not above 0.
    """
    if unit == "p":
        return value
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"needs a {unit} above 0")
    return MOLAR[unit] - math.log10(value)


def _text(cell: object) -> str:
    text = "" if cell is None else str(cell).strip()
    return "" if text.lower() in ("nan", "none", "null") else text
