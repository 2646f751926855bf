"""The molecules of a therapeutic case: those that are asked about, and those that are answered."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rl4bio.answers.asked import Asked
from rl4bio.answers.design import written_smiles
from rl4bio.answers.kinds import KINDS
from rl4bio.chem.acceptance import broken_rules
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.reports.answers.cases import Reply
from rl4bio.reports.html.structures import molecule_grid
from rl4bio.statistics.quantities import quantity_columns, quantity_titles
from rl4bio.types import Sample

_NO_MOLECULES = ("sequence", "peptide", "disease", "cell")
"""In the names of inputs whose letters may read as a SMILES and are none."""


def asked_molecules(sample: Sample) -> str:
    """The inputs that are molecules, side by side, as HTML; "" for none."""
    found: dict[str, Molecule] = {}
    for name, value in (Asked.of(sample).inputs or {}).items():
        if any(word in name.lower() for word in _NO_MOLECULES):
            continue
        molecule = read_smiles(value)
        if molecule.valid:
            found[name] = molecule
    return molecule_grid(list(found.values()), list(found)) if found else ""


def answered_molecules(reply: Reply, sample: Sample) -> str:
    """The molecule that a reply writes, with what the rewards have measured in its own units."""
    kind = KINDS.get(Asked.of(sample).kind or "")
    if kind is None or not kind.is_molecules:
        return ""
    molecule = read_smiles(written_smiles(reply.completion, sample))
    if not molecule.valid:
        return ""
    facts = measured(reply.raw)
    broken = broken_rules(molecule) if kind.is_design else ()
    facts += [f"refused for {', '.join(broken)}"] if broken else []
    return molecule_grid([molecule], [" · ".join(facts)])


def measured(raw: Mapping[str, float]) -> list[str]:
    """The raw values that are known, each with its name."""
    titles = quantity_titles(quantity_columns(f"raw_{name}" for name in raw))
    values = {title: raw[column.removeprefix("raw_")] for column, title in titles.items()}
    return [f"{title} {value:.3g}" for title, value in values.items() if math.isfinite(value)]
