"""Evaluations of two runs that answered the same items, item by item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl4bio.errors import StorageError
from rl4bio.reports.run.comparison import Paired, RunRecord, Setting
from rl4bio.statistics.compare import mcnemar_exact, paired_table, reward_table
from rl4bio.storage import read_json

MOLECULES = {"evaluated reward": "reward_all", "valid %": "validity", "hits %": "hits"}
"""Column -> the number of an evaluation's summary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamReplies:
    """The tuned model's replies to the items of one kind in one mode."""

    part: str
    """Folder inside the evaluation, "" for most."""
    mode: str
    right: Mapping[str, bool]
    """uid -> whether the strictly read answer is right; {} of open questions."""
    totals: Mapping[str, float]
    """uid -> total reward; items without one are left out."""


def exams_of(run: RunRecord) -> list[ExamReplies]:
    """What `rl4bio evaluate --run` has left of a run, in its main mode; [] where it was not run.

    Raises:
        StorageError: a file is not what `rl4bio evaluate` writes.
    """
    root = run.folder / "evaluation"
    return [
        exam
        for path in sorted(root.rglob("items.jsonl"))
        if (exam := _read(path, "" if path.parent == root else path.parent.name)) is not None
    ]


def _read(path: Path, part: str) -> ExamReplies | None:
    try:
        lines = path.read_text("utf-8").splitlines()
        items = [item for item in map(json.loads, lines) if item["model"] == "tuned"]
        own = [item for item in items if item["mode"] == items[0]["mode"]]
        right = {i["uid"]: bool(i["right"]) for i in own if i["right"] is not None}
        totals = {i["uid"]: float(t) for i in own if (t := _total(i)) is not None}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unread(path, error) from error
    if not own:
        return None
    return ExamReplies(part=part, mode=own[0]["mode"], right=right, totals=totals)


def _total(item: Mapping[str, Any]) -> Any:
    return (item.get("rewards") or {}).get("total")


def exam_accuracy(run: RunRecord) -> dict[str, float]:
    """Name of each exam -> share of its items that the tuned model answers right."""
    return {
        exam.part: sum(exam.right.values()) / len(exam.right)
        for exam in exams_of(run)
        if exam.right
    }


def molecule_figures(run: RunRecord) -> dict[str, float]:
    """Column -> what `rl4bio evaluate --run` found of the molecules that the tuned model writes;
    {} where it was not run, or asked questions.

    Raises:
        StorageError: its summary cannot be read.
    """
    path = run.folder / "evaluation" / "summary.json"
    if not path.is_file():
        return {}
    try:
        found = (read_json(path).get("models") or {}).get("tuned") or {}
        values = {title: found[key]["value"] for title, key in MOLECULES.items() if key in found}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unread(path, error) from error
    scale = {title: 100.0 if title.endswith("%") else 1.0 for title in MOLECULES}
    return {t: scale[t] * value for t, value in values.items() if isinstance(value, float | int)}


def _unread(path: Path, error: Exception) -> StorageError:
    return StorageError(
        f"{path}: is not what `rl4bio evaluate` writes ({type(error).__name__}: {error}); "
        "evaluate the run again"
    )


def paired_tests(settings: Sequence[Setting]) -> list[Paired]:
    """Every run against that of the first setting with its seed, or else its first run."""
    found: list[Paired] = []
    first = {run.summary.get("seed"): run for run in reversed(settings[0].runs)}
    for setting in settings[1:]:
        for run in setting.runs:
            base = first.get(run.summary.get("seed"), settings[0].runs[0])
            for old in exams_of(base):
                for new in exams_of(run):
                    if (old.part, old.mode) == (new.part, new.mode):
                        found += _compare(base, run, old, new)
    return found


def _compare(base: RunRecord, run: RunRecord, old: ExamReplies, new: ExamReplies) -> list[Paired]:
    """One comparison, none where the items differ or nothing can be compared."""
    if old.right and old.right.keys() == new.right.keys():
        table = paired_table(
            [old.right[uid] for uid in old.right], [new.right[uid] for uid in old.right]
        )
        first, second, equal = table.only_base, table.only_tuned, table.both_right
        what = f"only the first right {first}, only the second {second}, both {equal}"
    elif not old.right and old.totals and old.totals.keys() == new.totals.keys():
        signs = reward_table(
            [old.totals[uid] for uid in old.totals], [new.totals[uid] for uid in old.totals]
        )
        first, second, equal = signs.higher_base, signs.higher_tuned, signs.equal
        what = f"higher reward of the first {first}, of the second {second}, equal {equal}"
    else:
        return []
    p_value = mcnemar_exact(first, second)
    return [
        Paired(
            first=base.name,
            second=run.name,
            items=len(old.right or old.totals),
            part=old.part,
            counts=what,
            p_value=p_value,
        )
    ]
