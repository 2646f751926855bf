"""What `rl4bio score` writes: a line for each completion, and a summary of all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rl4bio.answers.asked import Asked
from rl4bio.answers.forms import answer_of
from rl4bio.answers.tags import strict_parse
from rl4bio.answers.verdict import lenient_verdict, strict_verdict
from rl4bio.types import MoleculeState, Sample, ScoreTable

if TYPE_CHECKING:
    from rl4bio.chem.reading import Molecule

Result = dict[str, Any]
"""One line of the output; null where a reward could not score."""


def result_rows(ids: Sequence[str | int], table: ScoreTable, own: Iterable[Result]) -> list[Result]:
    """What is written about completions.

    Every part stands under `rewards`, and beside it under its own name where that is free: the
    verdict reward's is not, because `verdict` is the label that was read.

    Args:
        ids: N.
        table: their scores.
        own: N, what else is known of each.
    """
    rows = []
    for index, (uid, more) in enumerate(zip(ids, own, strict=True)):
        parts = {name: _or_null(values[index]) for name, values in table.parts.items()}
        row = {"id": uid, "rewards": parts, "total": _or_null(table.total[index]), **more}
        if table.raw or "state" in row:
            row["raw"] = {name: _or_null(values[index]) for name, values in table.raw.items()}
        rows.append({**row, **{name: value for name, value in parts.items() if name not in row}})
    return rows


def of_verdict(completion: str) -> Result:
    """What is read of a completion that says yes, no or maybe; null where it says nothing."""
    return {
        "verdict": strict_verdict(completion),
        "verdict_lenient": lenient_verdict(completion),
        "format_ok": strict_parse(completion) is not None,
    }


def of_answer(completion: str, sample: Sample) -> Result:
    """What is read of an answer to a therapeutic question."""
    return {"kind": Asked.of(sample).kind, "answer": answer_of(completion, sample) or None}


def of_molecule(molecule: Molecule, state: MoleculeState) -> Result:
    """What a completion is as a molecule."""
    return {"state": state, "reason": molecule.reason, "canonical": molecule.canonical}


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def summary(results: Sequence[Result], labels: Sequence[str | None]) -> str:
    """A short table: mean of each reward, parse rates, accuracy over the labelled rows."""
    lines = reward_lines(results)
    for key, reader in (("verdict", "strict"), ("verdict_lenient", "lenient")):
        parsed = [row[key] is not None for row in results]
        pairs = [(row[key], lab) for row, lab in zip(results, labels, strict=True) if lab]
        right = [verdict == label for verdict, label in pairs]
        given = [verdict == label for verdict, label in pairs if verdict is not None]
        lines.append(f"{f'verdict found, {reader}':<28}{_mean(parsed)}{len(parsed):>9}")
        lines.append(f"{f'accuracy, {reader}':<28}{_mean(right)}{len(right):>9}")
        lines.append(f"{f'accuracy if found, {reader}':<28}{_mean(given)}{len(given):>9}")
    return "\n".join(lines)


def reward_lines(results: Sequence[Result]) -> list[str]:
    """The table's head, and the mean and count of each reward."""
    lines = [f"{'reward':<28}{'mean':>8}{'scored':>9}"]
    for name in [*results[0]["rewards"], "total"]:
        values = [row["total"] if name == "total" else row["rewards"][name] for row in results]
        scored = [value for value in values if value is not None]
        lines.append(f"{name:<28}{_mean(scored)}{len(scored):>9}")
    return lines


def answer_summary(results: Sequence[Result]) -> str:
    """A short table: mean of each reward, share of the completions that have an answer."""
    found = [row["answer"] is not None for row in results]
    return "\n".join([*reward_lines(results), f"{'answer found':<28}{_mean(found)}{len(found):>9}"])


def molecule_summary(results: Sequence[Result]) -> str:
    """A short table: mean of each reward, share of valid and of distinct molecules."""
    valid = [row["state"] != "invalid" for row in results if row["state"] != "other"]
    distinct = [row["state"] == "valid" for row in results if row["canonical"]]
    reasons = Counter(row["reason"] for row in results if row["state"] == "invalid")
    return "\n".join(
        [
            *reward_lines(results),
            f"{'valid':<28}{_mean(valid)}{len(valid):>9}",
            f"{'distinct among valid':<28}{_mean(distinct)}{len(distinct):>9}",
            *(
                f"{f'invalid, {reason}':<28}{count / len(valid):>8.3f}{count:>9}"
                for reason, count in reasons.most_common()
            ),
        ]
    )


def _mean(values: Sequence[float]) -> str:
    return f"{math.fsum(values) / len(values):>8.3f}" if values else f"{'-':>8}"
