"""The first minutes on a real card: what runs, how fast, how exact, in how much memory.

    python -m benchmarks.gpu.first_minutes [--output FOLDER]

NOT YET RUN ON A GPU: only its logic has been, by `--device cpu --tiny`.

Each part runs in a process of its own with its own time-out, all together in less than eight
minutes, and what it found is in FOLDER/first_minutes.md and .json at once: a part that fails or is
late costs nothing but itself. A random model of Gemma 3 1B's shape is made on the card.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PARTS = {
    "environment": 30,
    "marked_tests": 60,
    "kernels": 40,
    "steps": 180,
    "agreement": 60,
    "generate": 60,
    "molecules": 40,
}
"""Seconds that each part may take on a card; 470 in all."""
TRIED_OUT = 6
"""Times as many for a try-out, on whatever machine."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path())
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny model; shows that all runs")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--part", choices=PARTS, help="this one alone, as JSON on stdout")
    parser.add_argument("--work", type=Path, help="where the model is kept between parts")
    args = parser.parse_args(argv)
    if unknown := set(args.parts.split(",")) - set(PARTS):
        parser.error(f"--parts: unknown {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    return args


def measure(name: str, args: argparse.Namespace, limit: float) -> dict[str, Any]:
    """A part's rows, or why there are none."""
    command = [sys.executable, "-m", "benchmarks.gpu.first_minutes", "--part", name]
    command += ["--device", args.device, "--work", str(args.work)] + ["--tiny"] * args.tiny
    begin = time.monotonic()
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"problem": f"not done in {limit:g} s", "seconds": limit}
    seconds = round(time.monotonic() - begin, 1)
    if found.returncode:
        last = (found.stderr.strip().splitlines() or ["no message"])[-1]
        return {"problem": f"exit code {found.returncode}: {last}", "seconds": seconds}
    return {"rows": json.loads(found.stdout.strip().splitlines()[-1]), "seconds": seconds}


def markdown(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The parts as tables."""
    lines = []
    for name, result in results.items():
        lines += [f"## {name.replace('_', ' ')} ({result['seconds']:g} s)", ""]
        if problem := result.get("problem"):
            lines += [problem.replace("|", "/"), ""]
            continue
        rows = result["rows"]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        for row in rows:
            cells = (_cell(row.get(column)) for column in columns)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value).replace("|", "/")


def run(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """All wanted parts, each saved when it is done."""
    args.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    for name in args.parts.split(","):
        results[name] = measure(name, args, PARTS[name] * (TRIED_OUT if args.tiny else 1))
        (args.output / "first_minutes.json").write_text(json.dumps(results, indent=1))
        (args.output / "first_minutes.md").write_text(markdown(results))
        print(markdown({name: results[name]}), flush=True)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 1 if a part has found nothing."""
    args = arguments(argv)
    if args.part is None:
        with tempfile.TemporaryDirectory() as folder:
            args.work = args.work or Path(folder)
            return int(any("problem" in found for found in run(args).values()))
    import torch

    from benchmarks.gpu import parts

    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device is visible; `--device cpu --tiny` runs anywhere")
    sizes = parts.Sizes(device=args.device, tiny=args.tiny, folder=args.work)
    print(json.dumps(getattr(parts, args.part)(sizes)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
