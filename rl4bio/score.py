"""`rl4bio score`: apply the rewards of a configuration to completions in a file. No torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rl4bio.answers.asked import Asked
from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config.load import load_config
from rl4bio.errors import ConfigError, DataError
from rl4bio.files.rows import listed
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.repeats import read_molecules, reads_molecules, row_states
from rl4bio.runs.claim import check_target
from rl4bio.runs.launchers import alone
from rl4bio.scoring.results import (
    answer_summary,
    molecule_summary,
    of_answer,
    of_molecule,
    of_verdict,
    result_rows,
    summary,
)
from rl4bio.scoring.rows import read_completions
from rl4bio.storage.files import write_atomic
from rl4bio.text.redaction import mask_secrets, one_line


def command_parser() -> argparse.ArgumentParser:
    """The options of `rl4bio score`."""
    parser = argparse.ArgumentParser(
        prog="rl4bio score",
        description="Apply the rewards of a configuration to completions in a file.",
        epilog="Each input line is an object (a row of a .csv has the same columns) with id, "
        "question, context (a text or a list of sections), completion, and, where known, label and "
        "long_answer. The output has one line for each, in the same order: id, every reward by "
        "name (under rewards too), total, verdict, verdict_lenient, format_ok. Where a reward "
        "reads molecules, a line needs id and completion (the SMILES, behind the optional prefix, "
        "or the pieces for the attachment points of the optional scaffold) or smiles, and the "
        "output has id, the "
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
    """Run the command; returns its exit code."""
    return run_command(alone(score, "score"), command_parser(), argv)


def score(arguments: argparse.Namespace) -> None:
    """Read, score, write, and print the summary."""
    source, target = Path(arguments.completions), Path(arguments.output)
    config = load_config(arguments.config, arguments.overrides)
    scorer = WeightedRewards.from_config(config.rewards)
    if not source.is_file():
        what = "is a folder" if source.is_dir() else "no such file"
        raise DataError(f"{source}: {what}; give --completions a JSON lines file")
    if target.exists() and target.samefile(source):
        raise ConfigError(f"--output: {target} is the input file; choose another name")
    check_target(target)
    ids, samples, completions, problems = read_completions(
        source, molecules=reads_molecules(scorer), skip=arguments.bad_lines == "skip"
    )
    table = scorer(completions, samples)
    molecules = read_molecules(scorer, completions, samples)
    if molecules is not None:
        results = result_rows(
            ids, table, map(of_molecule, molecules, row_states(molecules, samples))
        )
        lines = molecule_summary(results)
    elif any(Asked.of(sample).kind for sample in samples):
        results = result_rows(ids, table, map(of_answer, completions, samples))
        lines = answer_summary(results)
    else:
        results = result_rows(ids, table, map(of_verdict, completions))
        lines = summary(results, [sample.target for sample in samples])
    # ASCII, so that no character of an id can end a line early.
    write_atomic(target, "".join(json.dumps(row, allow_nan=False) + "\n" for row in results))
    print(lines)
    if problems:
        print(f"{len(problems)} of {len(problems) + len(results)} lines skipped:")
        print("\n".join(f"  {one_line(mask_secrets(problem))}" for problem in listed(problems)))
    print(f"{len(results)} rows written to {target}")


if __name__ == "__main__":
    raise SystemExit(main())
