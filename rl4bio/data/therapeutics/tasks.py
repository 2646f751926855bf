"""Entries of `tasks`: a table, the task it holds, and the template that goes with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rl4bio.chem.measurements import Unit
from rl4bio.data.therapeutics.prompts import TaskKind, Template, parse_template
from rl4bio.registry import build_dataclass, did_you_mean
from rl4bio.text.redaction import shown

SplitWay = Literal["random", "scaffold", "given", "train", "val", "test"]


@dataclass(kw_only=True)
class TherapeuticsTask:
    """One table of one task: an entry of `tasks`."""

    task: str
    """Name of its prompt template: that of TDC, such as BBB_Martins."""
    source: str | None = None
    """A .csv, .tsv, .tab or .smi file, also with .gz, or .parquet, .json, .jsonl; rl4bio:analogues
    for made-up molecules; None for a design task that has no input."""
    inputs: dict[str, str] = field(default_factory=dict)
    """placeholder -> column, in any case. None named: the column called like the placeholder, with
    or without its last words (Drug SMILES: drug), or smiles."""
    label: str | None = None
    """Column of the answer; None: y or label, and for reactants also reactants or output. Of a
    design task: a molecule to imitate in supervised fine-tuning."""
    reasoning: str | None = None
    """Column of a text that leads to the answer, for demonstrations in the form tags."""
    kind: TaskKind | None = None
    """What is answered; None reads it off the template."""
    template: str | None = None
    """A template of one's own, in place of the one under the task's name."""
    canonical: bool = False
    """Write molecules in prompts as RDKit's canonical SMILES, not as the table does. Tables that
    were put together from several sources tell the label by how they write (docs/therapeutics.md).
    """
    positive: Any = 1
    """The label whose answer is (B); the other one is (A)."""
    scale: Any = None
    """Labels [low, high] of bin 000 and bin 1000; None: least and greatest of the training split;
    log10: the same of the labels' logarithms, for numbers over many powers of ten."""
    unit: Unit | None = None
    """Of concentrations, such as nM: labels become -log10 of mol/l (pIC50), and so do those that a
    column of units gives in another one. None: numbers are taken as they are."""
    type: str | None = None
    """Of the measurements to take, such as IC50, where a column of types has several."""
    tolerance: float | None = None
    """Repeated measurements of one item become their median where they differ by at most this, on
    the scale of the labels, and are left out otherwise; None: a tenth of the labels' range."""
    split: SplitWay | None = None
    """As the corpus's `split`; train, val or test make the whole table that part."""
    split_column: str | None = None
    """For `split: given`; None: split."""

    def __post_init__(self) -> None:
        if not self.task.strip():
            raise ValueError("task: is empty; name a task such as BBB_Martins")
        if self.source is not None and not self.source.strip():
            raise ValueError("source: is empty; give a file, or null for a prompt without input")
        if self.scale == "log10":
            if self.unit is not None:
                raise ValueError("scale: log10 stands beside unit, which is a logarithm already")
        elif self.scale is not None and not _are_ends(self.scale):
            raise ValueError(
                f"scale: got {self.scale}, needs [low, high] with low below high, or log10"
            )
        elif self.scale is not None:
            self.scale = [float(end) for end in self.scale]
        if self.tolerance is not None and not self.tolerance >= 0:
            raise ValueError(f"tolerance: got {self.tolerance}, needs at least 0")

    @property
    def ends(self) -> list[float] | None:
        """The labels of bin 000 and bin 1000, where they are given."""
        return None if self.scale == "log10" else self.scale


def _are_ends(scale: Any) -> bool:
    numbers = isinstance(scale, list) and all(type(end) in (int, float) for end in scale)
    return numbers and len(scale) == 2 and math.isfinite(sum(scale)) and scale[0] < scale[1]


def find_template(
    entry: TherapeuticsTask, texts: Mapping[str, str], where: str, split: str
) -> Template:
    """The template of an entry, checked against it.

    Raises:
        ValueError: there is none, or the entry asks for what it does not have.
    """
    text = entry.template if entry.template is not None else texts.get(entry.task)
    if text is None:
        raise ValueError(
            f"{where}.task: no template for {entry.task!r}{did_you_mean(entry.task, texts)}; name "
            "one of the file of prompts or of the package, or write one in template"
        )
    template = parse_template(entry.task, text)
    kind = entry.kind or template.kind
    if (kind == "option") != (template.kind == "option") or (
        template.kind == "bin" and kind != "bin"
    ):
        raise ValueError(
            f"{where}.kind: got {kind!r}, but the template of {entry.task} asks for "
            f"{template.kind}; leave it out"
        )
    for name in entry.inputs:
        if name not in template.placeholders:
            hint = did_you_mean(name, template.placeholders)
            known = ", ".join(template.placeholders) or "none"
            raise ValueError(
                f"{where}.inputs: {entry.task} has no input {name!r}{hint}; its inputs: {known}"
            )
    if entry.source is None and (template.placeholders or kind != "design"):
        needs = ", ".join(template.placeholders) or "the label"
        raise ValueError(f"{where}.source: is null, but {entry.task} needs {needs}; name a file")
    if (entry.split or split) == "scaffold" and entry.source and not template.molecules:
        raise ValueError(
            f"{where}.split: {entry.task} has no molecule among its inputs; use random"
        )
    return dataclasses.replace(template, kind=kind)


def build_entries(tasks: Sequence[Any]) -> list[TherapeuticsTask]:
    """The entries behind the option, each a mapping.

    Raises:
        ConfigError: an entry has an unknown key, or a value that is refused.
        ValueError: it is no mapping, or two tables of one task do not agree.
    """
    entries: list[TherapeuticsTask] = []
    for index, given in enumerate(tasks):
        if not isinstance(given, Mapping):
            raise ValueError(
                f"tasks[{index}]: got {shown(given)}, needs {{task: ..., source: ...}}"
            )
        entry = build_dataclass(TherapeuticsTask, given, where=f"tasks[{index}]")
        for other in entries:
            if other.task == entry.task:
                _check_alike(other, entry, f"tasks[{index}]")
        entries.append(entry)
    return entries


def _check_alike(one: TherapeuticsTask, other: TherapeuticsTask, where: str) -> None:
    """Tables of one task share what their samples have in common."""
    for name in ("template", "kind", "scale", "unit", "tolerance"):
        if getattr(one, name) != getattr(other, name):
            raise ValueError(f"{where}.{name}: differs from that of the other table of {one.task}")
