"""Does GRPO move the MolGPT prior, and does the prior's quality survive? Three seeds, two tasks.

    python -m experiments.molgpt_qed.study --output runs/molgpt_study [--seeds 1 2 3]

Trains a task's configuration once a seed, then samples 1,000 fresh molecules from the prior and
from the tuned policy with the same noise (`rl4bio evaluate`). Rewards count invalid molecules as 0,
and repeats in full: the guards that act in training play no part in the measurement.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl4bio.evaluate import main as evaluate
from rl4bio.fit import main as fit

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TASKS = ("qed", "albuterol")
ROWS = {
    "mean reward, invalid = 0": ("reward_all", "value"),
    "mean reward of valid ones": ("reward_valid", "value"),
    "validity": ("validity", "value"),
    "unique@1k": ("unique",),
    "share with QED > 0.9": ("high_qed", "value"),
    "IntDiv": ("internal_diversity",),
    "QED": ("properties", "qed", "value"),
    "logP": ("properties", "logp", "value"),
    "SA": ("properties", "sa", "value"),
    "TPSA": ("properties", "tpsa", "value"),
}


def run(task: str, seed: int, output: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The evaluation's summary of one seed; a run that is there is not trained again."""
    folder = output / f"{task}{seed}"
    if not (folder / "model").is_dir():
        config = str(CONFIGS / f"molgpt_{task}.yaml")
        named = [f"seed={seed}", f"name={folder.name}", f"output_dir={output}"]
        if code := fit(["--config", config, *named, *overrides]):
            raise SystemExit(code)
    summary = folder / "evaluation" / "summary.json"
    if not summary.is_file() and (code := evaluate(["--run", str(folder)])):
        raise SystemExit(code)
    return json.loads(summary.read_text("utf-8"))["models"]


def pick(summary: dict[str, Any], path: Sequence[str]) -> float:
    """A number of a summary by its path."""
    value: Any = summary
    for key in path:
        value = value[key]
    return float(value)


def table(runs: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: prior and tuned, mean over the seeds and their range."""

    def shown(model: str, path: Sequence[str]) -> str:
        values = [pick(models[model], path) for models in runs]
        return f"{statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"

    lines = ["| | prior, mean (range) | tuned, mean (range) |", "|---|---|---|"]
    for name, path in ROWS.items():
        lines.append(f"| {name} | {shown('base', path)} | {shown('tuned', path)} |")
    lines.append(
        "\nMean reward with invalid = 0, by seed, with 95% intervals over the molecules:\n"
    )
    for model in ("base", "tuned"):
        found = [models[model]["reward_all"] for models in runs]
        values = (f"{v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]" for v in found)
        lines.append(f"- {model}: {', '.join(values)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("overrides", nargs="*", help="key=value, as for rl4bio fit")
    args = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    for task in args.tasks:
        for seed in args.seeds:
            results.setdefault(task, []).append(run(task, seed, args.output, args.overrides))
        print(f"\n## {task}\n\n{table(results[task])}", flush=True)
    (args.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
