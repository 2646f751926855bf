"""Hits per 1,000 scored molecules: the policy alone, and with memory, offspring, surrogate, filter.

    python -m experiments.molgpt_egfr.few_calls --output runs/egfr_few_calls [--seeds 1 2 3]

Both arms may score the same number of molecules. A hit has a predicted pIC50 of at least 7 inside
the predictor's domain, and an SA of at most 4, as in `configs/molgpt_egfr.yaml`.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

from experiments.molgpt_egfr.study import CONFIG, number
from rl4bio.chem.diversity import internal_diversity
from rl4bio.chem.fingerprints import folded_ecfp4
from rl4bio.chem.identity import parent_scaffold
from rl4bio.chem.reading import read_smiles
from rl4bio.fit import main as fit

FEW = CONFIG.with_name("molgpt_egfr_few_calls.yaml")
ARMS: dict[str, tuple[Path, list[str]]] = {
    "policy": (CONFIG, []),
    "no_surrogate": (FEW, ["molecules.offspring.surrogate=null"]),
    "no_filter": (FEW, ["molecules.diversity=null"]),
    "whole": (FEW, []),
}
LARGEST = 1000
"""Hits that the diversity is taken of: the first ones."""


def run(arm: str, seed: int, output: Path, more: Sequence[str]) -> Path:
    """The run folder of an arm; one that is there is not made again."""
    folder = output / f"{arm}{seed}"
    if not (folder / "summary.json").is_file():
        config, changes = ARMS[arm]
        named = [f"name={folder.name}", f"output_dir={output}", f"seed={seed}"]
        if code := fit(["--config", str(config), *named, *changes, *more]):
            raise SystemExit(code)
    return folder


def measures(folder: Path) -> dict[str, float]:
    """Of the calls of a run: hits per 1,000, and how different they are."""
    with (folder / "calls.csv").open(encoding="utf-8", newline="") as stream:
        calls = list(csv.DictReader(stream))
    hits = [read_smiles(row["smiles"]) for row in calls if is_hit(row)]
    first = hits[:LARGEST]
    scaffolds = {parent_scaffold(molecule) for molecule in hits}
    return {
        "hits per 1,000 calls": 1000 * len(hits) / len(calls),
        "scaffolds of hits per 1,000 calls": 1000 * len(scaffolds) / len(calls),
        "scaffolds per hit": len(scaffolds) / len(hits) if hits else float("nan"),
        f"IntDiv of the first {LARGEST} hits": internal_diversity(list(map(folded_ecfp4, first))),
    }


def is_hit(row: dict[str, str]) -> bool:
    """Whether a row of calls.csv is one; what the filters refuse has empty cells."""
    names = ("affinity", "affinity_domain", "sa")
    affinity, domain, sa = (number(row[f"raw_combined.{name}"]) for name in names)
    return affinity >= 7 and domain > 0 and sa <= 4


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """A Markdown table: means over the seeds and their range."""
    lines = [f"| | {' | '.join(results)} |", f"|---|{'---|' * len(results)}"]
    for name in next(iter(results.values()))[0]:
        cells = []
        for seeds in results.values():
            values = [one[name] for one in seeds]
            cells.append(f"{statistics.fmean(values):.3g} ({min(values):.3g} to {max(values):.3g})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--max-calls", type=int, default=5000)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("overrides", nargs="*", help="key=value, as for rl4bio fit")
    args = parser.parse_args(argv)
    more = [f"molecules.max_calls={args.max_calls}", *args.overrides]
    results = {
        arm: [measures(run(arm, seed, args.output, more)) for seed in args.seeds]
        for arm in args.arms
    }
    print(f"\n{args.max_calls:,} calls\n\n{table(results)}", flush=True)


if __name__ == "__main__":
    main()
