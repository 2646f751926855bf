"""`rl4bio affinity`: a table of measured affinities becomes a predictor for a reward."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rl4bio.chem.measurements import Unit
from rl4bio.cli import run_command
from rl4bio.errors import ConfigError
from rl4bio.runs.launchers import alone

if TYPE_CHECKING:
    from rl4bio.predictors.predictor import Target
    from rl4bio.predictors.records import Measured
    from rl4bio.predictors.training import TreeOptions


def command_parser() -> argparse.ArgumentParser:
    """The options of `rl4bio affinity`."""
    parser = argparse.ArgumentParser(
        prog="rl4bio affinity",
        description="Train a binding-affinity predictor from a table of SMILES and measured values "
        "(gradient-boosted trees over counted fragments), say how good it is on molecules and on "
        "scaffolds that it has not seen, and store it for the reward `affinity`.",
        epilog="Several targets go into one folder: --data egfr=egfr.csv --data bace=bace.csv. "
        'Needs lightgbm (pip install "rl4bio[affinity]"); the reward does not.',
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data",
        required=True,
        action="append",
        metavar="[NAME=]FILE",
        help="table of molecules and values (.csv, .tsv, also .gz); once for each target",
    )
    parser.add_argument("--target", metavar="NAME", help="name of the only target, else NAME=FILE")
    parser.add_argument(
        "--label", required=True, metavar="COLUMN", help="of the values, such as pic50, pkd or pki"
    )
    parser.add_argument("--smiles", metavar="COLUMN", help="of the molecules, where unclear")
    parser.add_argument(
        "--unit",
        choices=get_args(Unit),
        help="p: values are -log10 of mol/l already; else the concentration's unit, where no "
        "column of units and not the label's name says it (default: p)",
    )
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="NAME",
        help="of the measurements to take, such as IC50, where a column of types has several",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help="leave out molecules whose values lie more than X apart on the scale -log10 mol/l; "
        "default: take the median of all",
    )
    parser.add_argument(
        "--drop-bad", action="store_true", help="leave out rows that cannot be read, and say so"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="splits of each kind that the report averages; 0 trains without one (default: 3)",
    )
    parser.add_argument("--members", type=int, metavar="K", help="of the ensemble (default: 5)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the training")
    parser.add_argument("--source", default="", metavar="TEXT", help="of the data, for README.md")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("--force", action="store_true", help="replace an existing predictor folder")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(alone(affinity, "affinity"), command_parser(), argv)


def affinity(arguments: argparse.Namespace) -> None:
    """Read, measure on held-out molecules, train on all, store."""
    from rl4bio.storage.folders import check_target

    files = name_targets(arguments.data, arguments.target)
    if arguments.seeds < 0:
        raise ConfigError(f"--seeds: got {arguments.seeds}, needs at least 0")
    output = Path(arguments.output)
    check_target(output, force=arguments.force, marker="predictor.json")

    from rl4bio.predictors.card import reward_line, write_card
    from rl4bio.predictors.records import read_measured
    from rl4bio.predictors.storage import save_predictor
    from rl4bio.predictors.training import TreeOptions, check_lightgbm

    check_lightgbm()
    try:
        given = {"members": arguments.members} if arguments.members is not None else {}
        options = TreeOptions(threads=arguments.threads, **given)
    except ValueError as error:
        raise ConfigError(f"--{error}") from None
    tables = {
        name: read_measured(
            path,
            arguments.label,
            smiles=arguments.smiles,
            unit=arguments.unit,
            types=arguments.type,
            tolerance=arguments.tolerance,
            drop_bad=arguments.drop_bad,
        )
        for name, path in files.items()
    }
    targets: dict[str, Target] = {}
    report: dict[str, Any] = {}
    for name, measured in tables.items():
        print(f"{name}: {measured_line(measured)}", flush=True)
        targets[name], report[name] = learn(measured, options, arguments.seeds)
    for name, measured in tables.items():
        targets[name].unit = unit_name(arguments.label, measured.unit)
    card = write_card(output.name, targets, report, source=arguments.source)
    save_predictor(output, targets, card=card, report=report)
    size = sum(path.stat().st_size for path in output.iterdir())
    print(f"written to {output} ({size / 1e6:.2f} MB); reward it with")
    print(reward_line(str(output), targets))


def learn(measured: Measured, options: TreeOptions, seeds: int) -> tuple[Target, dict[str, Any]]:
    """A target's predictor and its report; prints the table of held-out splits."""
    from rl4bio.predictors import report
    from rl4bio.predictors.training import check_enough, plain_options, train_target

    check_enough(measured.values)
    found: dict[str, Any] = {"data": facts(measured)}
    if seeds:
        scores, held = report.evaluate(measured, options, seeds=range(seeds))
        print(f"held out: a fifth, {seeds} seeds, mean (range)")
        print(report.table(scores), flush=True)
        found |= report.as_json(scores, held)
    start = time.perf_counter()
    target = train_target(measured.molecules, measured.values, options)
    seconds = time.perf_counter() - start
    target.facts = {**facts(measured), "options": plain_options(options)}
    print(f"trained on all {len(measured.molecules):,} molecules in {seconds:.1f} s")
    return target, found


def name_targets(given: Sequence[str], target: str | None) -> dict[str, Path]:
    """The file of each target.

    Raises:
        ConfigError: a name is missing, given twice, or has other characters than [a-z0-9_-].
    """
    files: dict[str, Path] = {}
    for entry in given:
        name, equals, file = entry.partition("=")
        if not equals or "/" in name:
            name, file = target or "", entry
        if not name:
            raise ConfigError(f"--data: {entry} has no name; write --data egfr={entry} or --target")
        if re.fullmatch(r"[A-Za-z0-9_-]+", name) is None:
            raise ConfigError(f"--data: the name {name!r}; use letters, digits, '_' and '-'")
        if name in files:
            raise ConfigError(f"--data: {name!r} is given twice; use one file a target")
        files[name] = Path(file)
    if target is not None and target not in files:
        raise ConfigError(
            f"--target: {target!r}, but --data names {', '.join(files)}; leave it out"
        )
    return files


def unit_name(label: str, unit: str) -> str:
    """What a prediction is called: pIC50, pKd, pKi, else the column's name after -log10."""
    named = {"pic50": "pIC50", "pkd": "pKd", "pki": "pKi"}
    return named.get(label.lower(), label) if unit == "p" else f"-log10({label} in mol/l)"


def facts(measured: Measured) -> dict[str, Any]:
    """What a reader should know of the data."""
    return {
        "rows": measured.rows,
        "molecules": len(measured.molecules),
        "dropped": measured.dropped,
        "repeats": measured.repeats,
        "largest_gap": measured.largest_gap,
        "left_out": measured.left_out,
        "mixtures": len(measured.mixtures),
        "disagreeing": measured.disagreeing,
        "median": float(sorted(measured.values)[len(measured.values) // 2]),
    }


def measured_line(measured: Measured) -> str:
    """One line of it."""
    text = f"{measured.rows:,} rows, {len(measured.molecules):,} molecules"
    if measured.repeats:
        text += (
            f"; {measured.repeats} repeats, of which the median counts, "
            f"at most {measured.largest_gap:.2f} apart"
        )
    if measured.disagreeing:
        text += f"; {measured.disagreeing} molecules left out, whose values lie farther apart"
    if measured.dropped:
        text += f"; {measured.dropped} rows dropped"
    if measured.left_out:
        why = ", ".join(f"{count} {reason}" for reason, count in measured.left_out.items())
        text += f"; rows left out: {why}"
    if measured.mixtures:
        text += (
            f"; {len(measured.mixtures)} rows are mixtures, of which the largest part counts, "
            f"such as {measured.mixtures[0]}"
        )
    return text


if __name__ == "__main__":
    raise SystemExit(main())
