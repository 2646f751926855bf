"""`rl4bio score`: apply the rewards of a configuration to completions in a file. No torch."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.chem.states import batch_states
from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config import load_config
from rl4bio.data.records import Row, raise_problems, read_rows
from rl4bio.errors import ConfigError, DataError, StorageError
from rl4bio.redaction import shown
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.repeats import read_molecules, reads_molecules
from rl4bio.storage.files import write_atomic
from rl4bio.tags import LABELS, lenient_verdict, strict_parse, strict_verdict
from rl4bio.types import Sample, ScoreTable

if TYPE_CHECKING:
    from rl4bio.chem.reading import Molecule

Result = dict[str, Any]
"""One line of the output; null where a reward could not score."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rl4bio score",
        description="Apply the rewards of a configuration to completions in a file.",
        epilog="Each input line is an object with id, question, context (a text or a list of "
        "sections), completion, and, where known, label and long_answer. The output has one line "
        "for each, in the same order: id, every reward by name (under rewards too), total, "
        "verdict, verdict_lenient, format_ok. Where a reward reads molecules, a line needs id and "
        "completion (the SMILES, behind the optional prefix) or smiles, and the output has id, the "
        "rewards, total, state (valid, invalid, duplicate), reason, canonical and raw.",
    )
    add_config_arguments(parser)
    parser.add_argument("--completions", required=True, metavar="IN.jsonl", help="what to score")
    parser.add_argument("--output", required=True, metavar="OUT.jsonl", help="file to write")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(score, build_parser(), argv)


def score(arguments: argparse.Namespace) -> None:
    """Read, score, write, and print the summary."""
    source, target = Path(arguments.completions), Path(arguments.output)
    config = load_config(arguments.config, arguments.overrides)
    scorer = WeightedRewards.from_config(config.rewards)
    if not source.is_file():
        raise DataError(f"{source}: no such file; give --completions a JSON lines file")
    if target.exists() and target.samefile(source):
        raise ConfigError(f"--output: {target} is the input file; choose another name")
    if not target.parent.is_dir():
        raise StorageError(f"{target}: the folder does not exist; create {target.parent}")
    ids, samples, completions = read_completions(source, molecules=reads_molecules(scorer))
    table = scorer(completions, samples)
    molecules = read_molecules(scorer, completions, samples)
    if molecules is None:
        pairs = enumerate(zip(ids, completions, strict=True))
        results = [result_row(i, c, table, n) for n, (i, c) in pairs]
        lines = summary(results, [sample.target for sample in samples])
    else:
        results = molecule_rows(ids, molecules, table)
        lines = molecule_summary(results)
    # ASCII, so that no character of an id can end a line early.
    write_atomic(target, "".join(json.dumps(row, allow_nan=False) + "\n" for row in results))
    print(lines)
    print(f"{len(results)} rows written to {target}")


def read_completions(
    path: Path, *, molecules: bool = False
) -> tuple[list[str | int], list[Sample], list[str]]:
    """The ids, samples and completions of a file, row by row.

    Args:
        path: JSON lines.
        molecules: rows hold a SMILES, and no question, context or label.

    Raises:
        DataError: the file or some of its rows cannot be used; names file and line of each.
    """
    rows, problems = read_rows(path), []
    ids: list[str | int] = []
    samples: list[Sample] = []
    completions: list[str] = []
    for row in rows:
        try:
            sample, completion = molecule_sample(row) if molecules else to_sample(row)
            samples.append(sample)
            ids.append(row.fields["id"])
            completions.append(completion)
        except DataError as error:
            problems.append(str(error))
    raise_problems(problems)
    return ids, samples, completions


def to_sample(row: Row) -> tuple[Sample, str]:
    """The sample that a row's completion answers, and the completion.

    Raises:
        DataError: a field is missing, of the wrong type, or no label.
    """
    uid, label = _uid(row), row.fields.get("label")
    if label is not None and label not in LABELS:
        raise DataError(
            f"{row.place}: label is {shown(label)}; expected {', '.join(LABELS)} or null"
        )
    context = row.fields.get("context")
    sections: list[Any] = context if isinstance(context, list) else [context]
    if not all(isinstance(section, str) for section in sections):
        raise DataError(
            f"{row.place}: context is {_given(row, 'context')}; expected a text or a list of texts"
        )
    known = row.fields.get("long_answer") is not None
    sample = Sample(
        uid=uid,
        prompt="",
        target=label,
        question=_text(row, "question"),
        context=_encodable(row, "context", "\n".join(sections)),
        reference=_text(row, "long_answer") if known else "",
    )
    return sample, _text(row, "completion")


def molecule_sample(row: Row) -> tuple[Sample, str]:
    """A sample with the row's prefix, and its completion or its whole SMILES.

    Raises:
        DataError: a field is missing or of the wrong type.
    """
    if "completion" not in row.fields and "smiles" in row.fields:
        return Sample(uid=_uid(row), prompt=""), _text(row, "smiles")
    prefix = _text(row, "prefix") if row.fields.get("prefix") is not None else ""
    return Sample(uid=_uid(row), prompt="", extra={"prefix": prefix}), _text(row, "completion")


def _uid(row: Row) -> str:
    uid = row.fields.get("id")
    if isinstance(uid, bool) or not isinstance(uid, str | int):
        raise DataError(f"{row.place}: id is {_given(row, 'id')}; expected a text or an integer")
    return _encodable(row, "id", str(uid))


def _given(row: Row, name: str) -> str:
    return shown(row.fields[name]) if name in row.fields else "missing"


def _text(row: Row, name: str) -> str:
    value = row.fields.get(name)
    if not isinstance(value, str):
        raise DataError(f"{row.place}: {name} is {_given(row, name)}; expected a text")
    return _encodable(row, name, value)


def _encodable(row: Row, name: str, value: str) -> str:
    """The value; JSON can spell half a surrogate pair, which is no character."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = ascii(value[error.start])
        raise DataError(f"{row.place}: {name} holds {half}, half a character") from None
    return value


def result_row(uid: str | int, completion: str, table: ScoreTable, index: int) -> Result:
    """What is written about one completion.

    Every part stands under `rewards`, and beside it under its own name where that is free: the
    verdict reward's is not, because `verdict` is the label that was read.
    """
    parts = {name: _or_null(values[index]) for name, values in table.parts.items()}
    row: Result = {
        "id": uid,
        "rewards": parts,
        "total": _or_null(table.total[index]),
        "verdict": strict_verdict(completion),
        "verdict_lenient": lenient_verdict(completion),
        "format_ok": strict_parse(completion) is not None,
    }
    if table.raw:
        row["raw"] = {name: _or_null(values[index]) for name, values in table.raw.items()}
    return {**row, **{name: value for name, value in parts.items() if name not in row}}


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


def molecule_rows(
    ids: Sequence[str | int], molecules: Sequence[Molecule], table: ScoreTable
) -> list[Result]:
    """What is written about molecules; parts also by their own names where those are free."""
    rows: list[Result] = []
    for index, (molecule, state) in enumerate(zip(molecules, batch_states(molecules), strict=True)):
        parts = {name: _or_null(values[index]) for name, values in table.parts.items()}
        row: Result = {
            "id": ids[index],
            "rewards": parts,
            "total": _or_null(table.total[index]),
            "state": state,
            "reason": molecule.reason,
            "canonical": molecule.canonical,
            "raw": {name: _or_null(values[index]) for name, values in table.raw.items()},
        }
        rows.append({**row, **{name: value for name, value in parts.items() if name not in row}})
    return rows


def molecule_summary(results: Sequence[Result]) -> str:
    """A short table: mean of each reward, share of valid and of distinct molecules."""
    valid = [row["state"] != "invalid" for row in results]
    distinct = [row["state"] == "valid" for row in results if row["state"] != "invalid"]
    return "\n".join(
        [
            *reward_lines(results),
            f"{'valid':<28}{_mean(valid)}{len(valid):>9}",
            f"{'distinct among valid':<28}{_mean(distinct)}{len(distinct):>9}",
        ]
    )


def _mean(values: Sequence[float]) -> str:
    return f"{math.fsum(values) / len(values):>8.3f}" if values else f"{'-':>8}"


if __name__ == "__main__":
    raise SystemExit(main())
