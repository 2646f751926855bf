"""`rl4bio compare`: finished runs beside each other."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rl4bio.cli import run_command
from rl4bio.runs.launchers import alone


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="rl4bio compare",
        description="Lay finished runs beside each other: what differs in their configurations, "
        "how each ended, their curves on one axis, and a paired test where they were evaluated on "
        "the same items. Runs that differ in their seed alone are put together.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", metavar="FOLDER", help="of finished runs, first the one "
                        "that the others are compared with")  # fmt: skip
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="where the page goes; default `comparison` beside the first",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return run_command(alone(compare, "compare"), parser, argv)


def compare(arguments: argparse.Namespace) -> None:
    """Write the comparison and print it."""
    from rl4bio.comparisons.comparing import compare_runs

    folders = [Path(name) for name in arguments.runs]
    output = arguments.output or folders[0].absolute().parent / "comparison"
    print(compare_runs(folders, Path(output)))


if __name__ == "__main__":
    sys.exit(main())
