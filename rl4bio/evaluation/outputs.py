"""From replies to numbers and files: summary.json, items.jsonl, side_by_side.csv, report.html."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rl4bio.answers.answer import Answer
from rl4bio.answers.verdict import LABELS
from rl4bio.reports.answers.cases import Case, Reply, side_by_side_csv
from rl4bio.reports.answers.report import html_report
from rl4bio.reports.answers.table import MODES_DIFFER, ResultRow
from rl4bio.reports.answers.verdict import verdict
from rl4bio.reports.html.figure_files import write_figures
from rl4bio.statistics.answers import answer_metrics
from rl4bio.statistics.compare import PairedComparison, compare_answers
from rl4bio.statistics.task_metrics import task_statistics
from rl4bio.storage import write_atomic, write_json
from rl4bio.storage.files import storage_errors
from rl4bio.types import Sample


@dataclass(slots=True, kw_only=True)
class ModelReplies:
    """One model's replies in one mode."""

    model: str
    """base; start, where training went on from an adapter; or tuned."""
    mode: str
    samples: list[Sample]
    replies: list[Reply]
    without: str = ""
    """The mode that this one is without the reasoning; empty for most."""

    @property
    def answers(self) -> list[Answer]:
        """The answer of each reply."""
        return [reply.answer for reply in self.replies]


@dataclass(slots=True, kw_only=True)
class Summary:
    """The metric table and, where a tuned model ran, its comparisons with the base."""

    rows: list[ResultRow]
    comparisons: dict[str, PairedComparison]
    """Mode -> `before` against tuned, the main mode first; a mode in which only one ran is not
    there."""
    reasoning: dict[str, PairedComparison] = field(default_factory=dict)
    """Model and mode -> its answers without reasoning against those with it, where it gave both."""
    before: str = "base"
    """What training began with: base, or start where it went on from an adapter."""
    from_base: dict[str, PairedComparison] = field(default_factory=dict)
    """Mode -> base against tuned, where that is not what training changed."""

    @property
    def comparison(self) -> PairedComparison | None:
        """That of the main mode, the one of the first row."""
        return self.comparisons.get(self.rows[0].mode)


def summarize(
    results: Sequence[ModelReplies],
    *,
    labels: Sequence[str] = LABELS,
    seed: int,
    rounds: int,
    constants: Mapping[str, Sequence[Answer]] = MappingProxyType({}),
) -> Summary:
    """Metrics of every result, of the constant answers, and the paired comparisons.

    Args:
        results: the base in the main mode first; a `tuned` result is compared with the start,
            without one with the base, of its own mode, never with another.
        labels: the classes; () for open questions, which have no constant answer.
        seed: of the bootstrap.
        rounds: resamples of the bootstrap.
        constants: name -> answers of a model that knows nothing (`constant_answers`).
    """

    def row(model: str, mode: str, answers: Sequence[Answer]) -> ResultRow:
        metrics = answer_metrics(
            answers, labels=labels, seed=seed, rounds=rounds, more=task_statistics(answers)
        )
        return ResultRow(model=model, mode=mode, metrics=metrics)

    rows = [row(r.model, r.mode, r.answers) for r in results]
    rows += [row(name, "constant", answers) for name, answers in constants.items()]
    before = _before(results)

    def paired(first: str) -> dict[str, PairedComparison]:
        return {
            old.mode: compare_answers(
                old.answers, tuned.answers, labels=labels, seed=seed, rounds=rounds
            )
            for old, tuned in _pairs(results, first)
        }

    reasoning = {
        f"{short.model}, {full.mode}": compare_answers(
            short.answers, full.answers, labels=labels, seed=seed, rounds=rounds
        )
        for short, full in _without_and_with(results)
    }
    return Summary(
        rows=rows,
        comparisons=paired(before),
        reasoning=reasoning,
        before=before,
        from_base=paired("base") if before != "base" else {},
    )


def make_cases(results: Sequence[ModelReplies], uids: Collection[str]) -> list[Case]:
    """The chosen samples with the replies of the base and, where there are any, of those behind."""
    main = results[0].mode
    shown = [result for result in results if result.mode == main]
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
    completions: bool = True,
) -> None:
    """Write the files; each appears whole or not at all.

    Args:
        folder: made where it is missing.
        title: heading of the report.
        facts: what was evaluated and how, name -> value.
        summary: of `summarize`.
        results: every model and mode, for items.jsonl.
        cases: of `make_cases`.
        completions: whether prompts, completions and cases may be written; without them the files
            hold identifiers, verdicts and numbers alone.

    Raises:
        StorageError: a file cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    items = "".join(
        json.dumps(item, ensure_ascii=False) + "\n"
        for r in results
        for item in _items(r, completions)
    )
    cases = cases if completions else []
    # A lone surrogate of a broken file becomes its JSON escape instead of an encoding error.
    write_atomic(folder / "items.jsonl", items.encode(errors="backslashreplace"))
    write_atomic(folder / "side_by_side.csv", side_by_side_csv(cases))
    page = html_report(
        title=title,
        facts=facts,
        rows=summary.rows,
        comparisons=summary.comparisons,
        reasoning=summary.reasoning,
        cases=cases,
        before=summary.before,
        from_base=summary.from_base,
        training=training_page(folder),
    )
    write_atomic(folder / "report.html", page)
    write_figures(folder, page)
    record = {
        "verdict": verdict(summary.rows, summary.comparisons, summary.before),
        "facts": facts,
        "rows": [dataclasses.asdict(row) for row in summary.rows],
        "paired": None
        if summary.comparison is None
        else _record(summary.comparison, summary.before),
        "paired_by_mode": {
            mode: _record(found, summary.before) for mode, found in summary.comparisons.items()
        },
        "note": MODES_DIFFER,
    }
    if summary.from_base:
        record["paired_with"] = summary.before
        record["paired_from_base"] = {
            mode: dataclasses.asdict(found) for mode, found in summary.from_base.items()
        }
    if summary.reasoning:
        record["reasoning"] = {
            mode: dataclasses.asdict(found) for mode, found in summary.reasoning.items()
        }
    write_json(folder / "summary.json", finite(record))


def training_page(folder: Path) -> str:
    """The report of the run that an evaluation's folder is in, seen from it; "" for none."""
    runs = (up for up in ("..", "../..") if (folder / up / "config.yaml").is_file())
    return next((f"{up}/report.html" for up in runs), "")


def finite(value: Any) -> Any:
    """The value with None for every NaN and infinity, which JSON cannot write."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _record(found: PairedComparison, before: str) -> dict[str, Any]:
    """A comparison as JSON; its counts are named after what tuned is compared with."""
    record = dataclasses.asdict(found)
    table = record["table"].items()
    record["table"] = {key.replace("_base", f"_{before}"): count for key, count in table}
    return record


def _before(results: Sequence[ModelReplies]) -> str:
    """What the last training began with: the model before the tuned one."""
    earlier = [result.model for result in results if result.model != "tuned"]
    return earlier[-1] if earlier else "base"


def _pairs(results: Sequence[ModelReplies], first: str) -> list[tuple[ModelReplies, ModelReplies]]:
    """A model and the tuned one, of every mode in which both ran."""
    tuned = {result.mode: result for result in results if result.model == "tuned"}
    old = [result for result in results if result.model == first and result.mode in tuned]
    return [(result, tuned[result.mode]) for result in old]


def _without_and_with(
    results: Sequence[ModelReplies],
) -> list[tuple[ModelReplies, ModelReplies]]:
    """A model's replies without reasoning, and those with it to the same prompt."""
    return [
        (short, full)
        for short in results
        for full in results
        if full.model == short.model and short.without == full.mode
    ]


def _items(result: ModelReplies, completions: bool) -> list[dict[str, Any]]:
    """One record a sample: enough to score the run again with another parser or reward."""
    records = []
    for sample, reply in zip(result.samples, result.replies, strict=True):
        record = {
            "uid": sample.uid,
            "model": result.model,
            "mode": result.mode,
            "gold": sample.target if completions else reply.answer.gold,
            **_said(reply, completions),
            "choices": reply.choices,
        }
        if reply.draws:
            record["draws"] = [_said(draw, completions) for draw in reply.draws]
        if completions:
            record["prompt"] = sample.prompt
        records.append(finite(record))
    return records


def _said(reply: Reply, completions: bool) -> dict[str, Any]:
    answer = reply.answer
    said = {
        "verdict": answer.strict,
        "verdict_lenient": answer.lenient,
        "right": answer.right if answer.gold is not None else None,
        "tokens": answer.tokens,
        "truncated": answer.truncated,
        "rewards": answer.rewards,
        "grounding": answer.grounding,
    }
    if answer.number is not None:
        said |= {"value": answer.number.said, "label": answer.number.label}
    if answer.measures:
        said["measures"] = answer.measures
    return {**said, "completion": reply.completion} if completions else said
