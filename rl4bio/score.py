"""`rl4bio score`: apply the rewards of a configuration to completions in a file. No torch."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.answer_block import answer_of
from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config import load_config
from rl4bio.data.records import listed
from rl4bio.errors import ConfigError, DataError, StorageError
from rl4bio.redaction import mask_secrets, one_line
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.repeats import read_molecules, reads_molecules, row_states
from rl4bio.score_rows import read_completions
from rl4bio.storage.files import write_atomic
from rl4bio.tags import lenient_verdict, strict_parse, strict_verdict
from rl4bio.types import MoleculeState, Sample, ScoreTable

if TYPE_CHECKING:
    from rl4bio.chem.reading import Molecule

Result = dict[str, Any]
"""One line of the output; null where a reward could not score."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rl4bio score",
        description="Apply the rewards of a configuration to completions in a file.",
        epilog="Each input line is an object (a row of a .csv has the same columns) with id, "
        "question, context (a text or a list of sections), completion, and, where known, label and "
        "long_answer. The output has one line for each, in the same order: id, every reward by "
        "name (under rewards too), total, verdict, verdict_lenient, format_ok. Where a reward "
        "reads molecules, a line needs id and completion (the SMILES, behind the optional prefix) "
        "or smiles, and the output has id, the "
        "rewards, total, state (valid, invalid, duplicate), reason, canonical and raw. Lines of "
        "therapeutic tasks have id, kind (option, bin, reactants, design), completion and what "
        "their rewards read: target, options, class_share, constant, label, scale, input, task, "
        "answer_form (tags or plain); the output has the answer that was read. Lines that `rl4bio "
        "generate` wrote need no question and context; rewards that read these give null there.",
    )
    add_config_arguments(parser)
    parser.add_argument(
        "--completions",
        required=True,
        metavar="FILE",
        help="what to score: .jsonl or .csv, molecules also .smi, as `rl4bio generate` writes them",
    )
    parser.add_argument("--output", required=True, metavar="OUT.jsonl", help="file to write")
    parser.add_argument(
        "--bad-lines",
        choices=("stop", "skip"),
        default="stop",
        help="what a line that cannot be used does: stop everything, the default, or be left out, "
        "counted and named",
    )
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
    ids, samples, completions, problems = read_completions(
        source, molecules=reads_molecules(scorer), skip=arguments.bad_lines == "skip"
    )
    table = scorer(completions, samples)
    molecules = read_molecules(scorer, completions, samples)
    if molecules is not None:
        results = molecule_rows(ids, molecules, row_states(molecules, samples), table)
        lines = molecule_summary(results)
    elif any("kind" in sample.extra for sample in samples):
        results = answer_rows(ids, completions, samples, table)
        lines = answer_summary(results)
    else:
        pairs = enumerate(zip(ids, completions, strict=True))
        results = [result_row(i, c, table, n) for n, (i, c) in pairs]
        lines = summary(results, [sample.target for sample in samples])
    # ASCII, so that no character of an id can end a line early.
    write_atomic(target, "".join(json.dumps(row, allow_nan=False) + "\n" for row in results))
    print(lines)
    if problems:
        print(f"{len(problems)} of {len(problems) + len(results)} lines skipped:")
        print("\n".join(f"  {one_line(mask_secrets(problem))}" for problem in listed(problems)))
    print(f"{len(results)} rows written to {target}")


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


def answer_rows(
    ids: Sequence[str | int],
    completions: Sequence[str],
    samples: Sequence[Sample],
    table: ScoreTable,
) -> list[Result]:
    """What is written about answers to therapeutic questions; null where none could be read."""
    rows: list[Result] = []
    for index, (completion, sample) in enumerate(zip(completions, samples, strict=True)):
        parts = {name: _or_null(values[index]) for name, values in table.parts.items()}
        row: Result = {
            "id": ids[index],
            "rewards": parts,
            "total": _or_null(table.total[index]),
            "kind": sample.extra["kind"],
            "answer": answer_of(completion, sample) or None,
        }
        if table.raw:
            row["raw"] = {name: _or_null(values[index]) for name, values in table.raw.items()}
        rows.append({**row, **{name: value for name, value in parts.items() if name not in row}})
    return rows


def answer_summary(results: Sequence[Result]) -> str:
    """A short table: mean of each reward, share of the completions that have an answer."""
    found = [row["answer"] is not None for row in results]
    return "\n".join([*reward_lines(results), f"{'answer found':<28}{_mean(found)}{len(found):>9}"])


def molecule_rows(
    ids: Sequence[str | int],
    molecules: Sequence[Molecule],
    states: Sequence[MoleculeState],
    table: ScoreTable,
) -> list[Result]:
    """What is written about molecules; parts also by their own names where those are free."""
    rows: list[Result] = []
    for index, (molecule, state) in enumerate(zip(molecules, states, strict=True)):
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
    valid = [row["state"] != "invalid" for row in results if row["state"] != "other"]
    distinct = [row["state"] == "valid" for row in results if row["canonical"]]
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
