"""From replies to numbers and files: summary.json, items.jsonl, side_by_side.csv, report.html."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl4bio.evaluation.answers import Answer, answer_metrics, majority_label
from rl4bio.evaluation.cases import Case, Reply, side_by_side_csv
from rl4bio.evaluation.compare import PairedComparison, compare_answers
from rl4bio.evaluation.report import html_report
from rl4bio.evaluation.table import MODES_DIFFER, ResultRow
from rl4bio.storage import write_atomic, write_json
from rl4bio.storage.files import storage_errors
from rl4bio.types import Sample


@dataclass(slots=True, kw_only=True)
class ModelReplies:
    """One model's replies in one mode."""

    model: str
    """base or tuned."""
    mode: str
    samples: list[Sample]
    replies: list[Reply]


@dataclass(slots=True, kw_only=True)
class Summary:
    """The metric table and, where a tuned model ran, its comparison with the base."""

    rows: list[ResultRow]
    comparison: PairedComparison | None


def summarize(results: Sequence[ModelReplies], *, seed: int, rounds: int) -> Summary:
    """Metrics of every result, of the best constant answer, and the paired comparison.

    Args:
        results: the base first; a `tuned` result in the base's mode is compared with it.
        seed: of the bootstrap.
        rounds: resamples of the bootstrap.
    """

    def row(model: str, mode: str, answers: Sequence[Answer]) -> ResultRow:
        metrics = answer_metrics(answers, seed=seed, rounds=rounds)
        return ResultRow(model=model, mode=mode, metrics=metrics)

    base = results[0]
    answers = [reply.answer for reply in base.replies]
    label = majority_label([answer.gold for answer in answers])
    constant = [Answer(gold=answer.gold, strict=label, lenient=label) for answer in answers]
    rows = [row(r.model, r.mode, [reply.answer for reply in r.replies]) for r in results]
    tuned = _tuned(results)
    comparison = None
    if tuned is not None:
        other = [reply.answer for reply in tuned.replies]
        comparison = compare_answers(answers, other, seed=seed, rounds=rounds)
    return Summary(
        rows=[*rows, row(f"always {label!r}", "constant", constant)], comparison=comparison
    )


def make_cases(results: Sequence[ModelReplies], uids: Collection[str]) -> list[Case]:
    """The chosen samples with the replies of the base and, where there is one, the tuned model."""
    shown = [results[0], *([tuned] if (tuned := _tuned(results)) is not None else [])]
    return [
        Case(sample=sample, replies={result.model: result.replies[n] for result in shown})
        for n, sample in enumerate(results[0].samples)
        if sample.uid in uids
    ]


def write_outputs(
    folder: Path,
    *,
    title: str,
    facts: dict[str, str],
    summary: Summary,
    results: Sequence[ModelReplies],
    cases: Sequence[Case],
) -> None:
    """Write the four files; each appears whole or not at all.

    Args:
        folder: made where it is missing.
        title: heading of the report.
        facts: what was evaluated and how, name -> value.
        summary: of `summarize`.
        results: every model and mode, for items.jsonl.
        cases: of `make_cases`.

    Raises:
        StorageError: a file cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    items = "".join(
        json.dumps(item, ensure_ascii=False) + "\n" for r in results for item in _items(r)
    )
    # A lone surrogate of a broken file becomes its JSON escape instead of an encoding error.
    write_atomic(folder / "items.jsonl", items.encode(errors="backslashreplace"))
    write_atomic(folder / "side_by_side.csv", side_by_side_csv(cases))
    page = html_report(
        title=title, facts=facts, rows=summary.rows, comparison=summary.comparison, cases=cases
    )
    write_atomic(folder / "report.html", page)
    record = {
        "facts": facts,
        "rows": [dataclasses.asdict(row) for row in summary.rows],
        "paired": None if summary.comparison is None else dataclasses.asdict(summary.comparison),
        "note": MODES_DIFFER,
    }
    write_json(folder / "summary.json", finite(record))


def finite(value: Any) -> Any:
    """The value with None for every NaN and infinity, which JSON cannot write."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tuned(results: Sequence[ModelReplies]) -> ModelReplies | None:
    return next((r for r in results if r.model == "tuned" and r.mode == results[0].mode), None)


def _items(result: ModelReplies) -> list[dict[str, Any]]:
    """One record a sample: enough to score the run again with another parser or reward."""
    return [
        finite(
            {
                "uid": sample.uid,
                "model": result.model,
                "mode": result.mode,
                "gold": sample.target,
                "verdict": reply.answer.strict,
                "verdict_lenient": reply.answer.lenient,
                "right": reply.answer.right,
                "tokens": reply.answer.tokens,
                "truncated": reply.answer.truncated,
                "rewards": reply.answer.rewards,
                "choices": reply.choices,
                "completion": reply.completion,
                "prompt": sample.prompt,
            }
        )
        for sample, reply in zip(result.samples, result.replies, strict=True)
    ]
