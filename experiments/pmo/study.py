"""How good are the best molecules that a budget of scored molecules finds, task by task of PMO?

    python -m experiments.pmo.study --tasks all --seeds 3 --max-calls 10000 --output runs/pmo
    python -m experiments.pmo.study --tasks celecoxib_rediscovery --variant plain --output runs/pmo

The practical molecular optimisation benchmark (Gao et al., 2022, arXiv:2206.12411), the 20 tasks of
its 23 that RDKit alone scores. One run of `rl4bio fit` a task and seed, with the same settings for
all tasks; a run that is there is not done again.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from rl4bio.chem.objectives import OBJECTIVES
from rl4bio.fit import main as fit

CONFIG = Path(__file__).with_name("config.yaml")
TASKS = [name for name in OBJECTIVES if name not in ("aripiprazole_similarity", "isomers_c11h24")]
"""PMO's tasks without those of its three classifiers; the two are GuacaMol's alone."""
NO_OFFSPRING = ["molecules.offspring=null"]
PLAIN = [*NO_OFFSPRING, "grpo.replay=null"]
VARIANTS: dict[str, list[str]] = {
    "whole": [],
    "no_surrogate": ["molecules.offspring.surrogate=null"],
    "no_offspring": NO_OFFSPRING,
    "plain": PLAIN,
    "rank": ["grpo.advantage_scale=rank"],
    "best_half": ["grpo.best_share=0.5"],
    "reinvent": [
        *NO_OFFSPRING,
        "grpo.loss=luspo",
        "grpo.augmented_sigma=500",
        "grpo.group_size=64",
        "grpo.replay={size: 100, rows: 24, draw: score, min_score: 0}",
        "optim.lr=5e-4",
    ],
}
"""Overrides of the configuration. reinvent: its loss, batch and replay in PMO, on our prior."""
MEASURES = ("auc_top1", "auc_top10", "auc_top100", "top1", "top10")


def run(variant: str, task: str, seed: int, output: Path, more: Sequence[str]) -> Path:
    """The run folder of one task and seed."""
    folder = output / f"{variant}-{task}-{seed}"
    if not (folder / "summary.json").is_file():
        given = [f"name={folder.name}", f"output_dir={output}", f"seed={seed}"]
        given += [f"rewards=[{{name: {task}}}]", *VARIANTS[variant], *more]
        if code := fit(["--config", str(CONFIG), *given]):
            raise SystemExit(code)
    return folder


def measures(folder: Path) -> dict[str, float]:
    """The measures of a finished run, by its last step."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        last = list(csv.DictReader(stream))[-1]
    return {name: float(last[f"molecules/{name}"]) for name in MEASURES}


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """A Markdown table: means over the seeds of each task, the range of the AUC of the best 10, and
    the sums over the tasks."""
    lines = [
        f"| task | {' | '.join(MEASURES)} | auc_top10, range over seeds |",
        f"|---|{'---|' * (len(MEASURES) + 1)}",
    ]
    for task, seeds in results.items():
        means = [statistics.fmean(one[name] for one in seeds) for name in MEASURES]
        tops = [one["auc_top10"] for one in seeds]
        cells = " | ".join(f"{mean:.3f}" for mean in means)
        lines.append(f"| {task} | {cells} | {min(tops):.3f} to {max(tops):.3f} |")
    sums = [
        sum(statistics.fmean(one[name] for one in seeds) for seeds in results.values())
        for name in MEASURES
    ]
    lines.append(f"| sum of {len(results)} | {' | '.join(f'{one:.3f}' for one in sums)} | |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["all"], choices=["all", *TASKS])
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 1 on")
    parser.add_argument("--max-calls", type=int, default=10_000)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--variant", choices=VARIANTS, default="whole")
    parser.add_argument("overrides", nargs="*", help="key=value, as for rl4bio fit")
    args = parser.parse_args(argv)
    tasks = TASKS if "all" in args.tasks else args.tasks
    budget = [f"molecules.max_calls={args.max_calls}", *args.overrides]
    results: dict[str, list[dict[str, float]]] = {}
    for task in tasks:
        started, cpu = time.monotonic(), time.process_time()
        folders = [run(args.variant, task, n + 1, args.output, budget) for n in range(args.seeds)]
        results[task] = [measures(folder) for folder in folders]
        seconds, used = time.monotonic() - started, time.process_time() - cpu
        print(f"{task}: {seconds:.0f} s, {used:.0f} s of CPU, {args.seeds} runs", flush=True)
    print(f"\n## {args.variant}, {args.max_calls:,} calls\n\n{table(results)}", flush=True)


if __name__ == "__main__":
    main()
