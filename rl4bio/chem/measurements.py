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
    "relation": "relation relations qualifier operator prefix modifier standard_relation op "
    "relationship activity_qualifier published_relation value_relation value_qualifier "
    "acqualifier inequality sign",
    "censored": "censored is_censored censoring",
    "upper": "standard_upper_value upper_value published_upper_value",
    "unit": "units unit standard_units standard_unit activity_unit activity_units value_unit "
    "value_units published_units",
    "type": "type standard_type activity_type activity_name measurement_type bioactivity_type "
    "affinity_type endpoint published_type assay_endpoint",
    "validity": "data_validity_comment data_validity_description validity_comment validity",
    "duplicate": "potential_duplicate",
    "comment": "comment activity_comment",
}
"""What a column tells -> its names, in any case, with blanks or underscores."""

_EXACT = frozenset({"", "=", "==", "eq", "equal", "equals", "exact", "exactly"})
_BOUND = re.compile(r"^\s*(?:[<>~≤≥≈]=?|>>|<<|ca\.?)\s*(?=[\d.])")
_UNITS = {
    **dict.fromkeys(("m", "mol/l", "molar", "mol.l-1"), "M"),
    **dict.fromkeys(("mm", "mmol/l", "millimolar", "mmol.l-1"), "mM"),
    **dict.fromkeys(("um", "umol/l", "micromolar", "umol.l-1"), "uM"),
    **dict.fromkeys(("nm", "nmol/l", "nanomolar", "nmol.l-1"), "nM"),
    **dict.fromkeys(("pm", "pmol/l", "picomolar", "pmol.l-1"), "pM"),
    **dict.fromkeys(("-log10(m)", "-logm", "-log(m)", "log", "p", "neg_log"), "p"),
}
_SAME_SIGNS = str.maketrans("µμ⁻¹−", "uu-1-")
_POWERS = re.compile(r"^(?:1e|10['^]?)-0?(\d+)(?=m)")
_PREFIXES = {"3": "m", "6": "u", "9": "n", "12": "p"}
"""Of units that PubChem and ChEMBL write as powers of ten, 10^-9 M."""
_IN_NAME = re.compile(r"[(\[_ ]\s*([pnuµμm]?m)\s*[)\]]?$", re.IGNORECASE)
_P_TYPE = re.compile(r"^(?:p_?(?:ic|ec|ki|kd|ac|xc|gi)(?:50)?$|-\s*log)", re.IGNORECASE)
_P_NAME = re.compile(r"^(?:p_?(?:ic|ec|ki|kd|chembl|ac|xc|gi|affinity|activity)|-?\s*log)", re.I)
_TYPE_NAME = re.compile(r"(ic50|ec50|ac50|gi50|xc50|\bki\b|\bkd\b|^pki|^pkd)", re.IGNORECASE)
_SOUND = frozenset({"", "nan", "none", "null", "manually validated"})
_SIGNS = frozenset({"=", "==", "<", ">", "<=", ">=", "~", "<<", ">>", "\u2264", "\u2265", "\u2248"})
_WORDS = frozenset({"eq", "lt", "gt", "le", "ge", "less than", "greater than", "exact", "approx"})
_CENSORED = frozenset({"1", "1.0", "true", "yes", "left", "right", "interval"})
_UNDECIDED = frozenset({"not active", "inactive", "inconclusive", "not determined", "nd", "nt"})
_NO_VALUE = frozenset({"", "na", "n/a", "#n/a", "nd", "n.d.", "n.d", "nt", "n.t.", "-", "--", "?"})
_LOG_NAME = re.compile(r"^log(?:10)?[\s_(]*(?:ic|ec|ac|gi|xc|ki|kd)", re.IGNORECASE)
_BY_DEFINITION = {"pubchem standard value": "uM", "acvalue": "uM", "ac_um": "uM"}
"""Columns of PubChem whose unit no name says."""


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
        if _text(value).lower() in _NO_VALUE:
            return "without a value"
        relation = told.get("relation", "").strip("'\" ").lower()
        if relation not in _EXACT or _BOUND.match(value):
            return f"that are bounds{self._named('relation')}"
        if told.get("censored", "").lower() in _CENSORED:
            return f"that are bounds{self._named('censored')}"
        if told.get("upper"):
            return f"that are ranges{self._named('upper')}"
        if self.types and told.get("type", "").lower() not in self.types:
            return f"of another type{self._named('type')}"
        if told.get("validity", "").lower() not in _SOUND:
            return f"of doubtful validity{self._named('validity')}"
        if told.get("duplicate", "").lower() in ("1", "1.0", "true"):
            return f"that repeat another publication{self._named('duplicate')}"
        if told.get("comment", "").lower() in _UNDECIDED:
            return f"that are called inactive or undecided{self._named('comment')}"
        return ""

    def unit(self, row: Mapping[str, object], given: str | None) -> str | None:
        """The unit of a row: of its own column, as given, or of the label's name; p otherwise.

        None where the row's unit is none of amount, or missing; the row is counted then.
        """
        own = given or self.unit_of_label()
        if _P_TYPE.match(_text(row.get(self.columns.get("type", "")))):
            own = "p"
        if "unit" in self.columns and not self.is_p and self.label not in _BY_DEFINITION:
            told = _text(row.get(self.columns["unit"]))
            found = read_unit(told) if told else own
            if found is None:
                why = "in a unit that is not of amount" if told else "without a unit"
                self.left_out[f"{why}{self._named('unit')}"] += 1
            return found
        return own or "p"

    def unit_of_label(self) -> str | None:
        """The unit in the name of the column, as in `IC50 (nM)`."""
        if self.label in _BY_DEFINITION:
            return _BY_DEFINITION[self.label]
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
    columns = _columns_of(names, rows, label)
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


def _columns_of(
    names: Sequence[str], rows: Sequence[Mapping[str, object]], label: str
) -> dict[str, str]:
    """What tells of a label: a column named after it, of its family, or of a known name.

    A table of ChEMBL may have `value`, `units` beside `standard_value`, `standard_units`: each goes
    with its own. A column that holds signs alone is one of relation, whatever it is called.
    """
    found: dict[str, str] = {}
    plain = {name: re.sub(r"[\s.-]+", "_", name) for name in names if name != label}
    family = _family(label.replace("pchembl", "standard"))
    for key, known in COLUMNS.items():
        own = (f"{label}_{key}", f"{label}_{key}s")
        there = [name for name in plain if plain[name] in {*own, *known.split()}]
        its_own = [name for name in there if plain[name] in own]
        its_own += [name for name in there if _family(plain[name]) == family]
        if there:
            found[key] = (its_own or there)[0]
    # An `operator` may also be who measured.
    relation = found.pop("relation", "")
    for name in [relation, *names] if relation else names:
        cells = {_text(row.get(name)).strip("'\"").lower() for row in rows} - {""}
        known_by_name = name == relation and cells & (_SIGNS | _WORDS)
        if name != label and (known_by_name or (cells and cells <= _SIGNS)):
            found["relation"] = name
            break
    return found


def _family(name: str) -> str:
    """Of ChEMBL's columns: as published, standardised, or neither."""
    return next((word for word in ("standard", "published") if name.startswith(word)), "")


def read_unit(text: str) -> str | None:
    """The unit that a text names, None where it is none of amount, such as % or ug/ml."""
    plain = re.sub(r"[\s·*()\[\]]+", "", text).translate(_SAME_SIGNS).lower()
    plain = _POWERS.sub(lambda found: _PREFIXES.get(found[1], found[0]), plain)
    return _UNITS.get(plain.replace("^-1", "-1").replace("moll-1", "mol.l-1"))


def check_scale(measure: Measure, given: str | None, *, place: str, option: str) -> None:
    """Raise a DataError where nothing says on which scale the values are.

    Args:
        measure: of the table.
        given: the unit that the user gave.
        place: of the table.
        option: what gives the unit.
    """
    label = measure.label
    if given is None and _LOG_NAME.match(label):
        raise DataError(
            f"{place}: column {label!r} says logarithms of concentrations; write -log10 of mol/l "
            f"(pIC50), or say with {option} p that they are"
        )
    told = given or measure.unit_of_label() or "unit" in measure.columns or measure.is_p
    if not told and _TYPE_NAME.search(label):
        raise DataError(
            f"{place}: nothing says the unit of column {label!r}; give it with {option}: nM, uM, "
            "or p where the values are -log10 of mol/l"
        )


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
