"""Does GRPO raise the predicted EGFR affinity of fresh molecules inside the predictor's domain?

    python -m experiments.molgpt_egfr.study --output runs/egfr_study [--seeds 1 2 3]
    python -m experiments.molgpt_egfr.study --output runs/egfr_study --variant no_domain --seeds 1

Trains `configs/molgpt_egfr.yaml` once a seed, then samples 1,000 fresh molecules from the prior and
from the tuned policy with the same noise (`rl4bio evaluate`). The variants change what the reward
asks for and keep everything else.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl4bio.evaluate import main as evaluate
from rl4bio.fit import main as fit

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "molgpt_egfr.yaml"
NO_DOMAIN = [f"rewards.0.options.parts.0.options.domain_{end}=0" for end in ("low", "high")]
VARIANTS: dict[str, list[str]] = {
    "whole": [],
    "no_domain": NO_DOMAIN,
    "bare": [*NO_DOMAIN, *(f"rewards.0.options.parts.{k}.weight=1.0e-6" for k in (1, 2))],
}
"""Overrides of the configuration; bare is paid for the predicted affinity alone."""
AFFINITY = "combined.affinity"
ROWS = {
    "predicted pIC50, inside the domain": ("raw", AFFINITY, "value"),
    "share inside the domain": ("inside", AFFINITY, "value"),
    "similarity to the nearest training molecule": ("raw", f"{AFFINITY}_similarity", "value"),
    "SA": ("properties", "sa", "value"),
    "IntDiv": ("internal_diversity",),
    "hits: pIC50 >= 7 inside, SA <= 4": ("hits", "value"),
    "refused by the rules (alerts)": ("refused", "any", "value"),
    "validity": ("validity", "value"),
    "unique@1k": ("unique",),
    "QED": ("properties", "qed", "value"),
    "molecular weight (g/mol)": ("properties", "molecular_weight", "value"),
}
ROUNDS = 2000


def run(variant: str, seed: int, output: Path, overrides: Sequence[str]) -> Path:
    """The evaluation folder of one seed, by the configuration's own rewards for all variants; what
    is there is not done again."""
    folder = output / f"{variant}{seed}"
    if not (folder / "model").is_dir():
        named = [f"seed={seed}", f"name={folder.name}", f"output_dir={output}"]
        if code := fit(["--config", str(CONFIG), *named, *VARIANTS[variant], *overrides]):
            raise SystemExit(code)
    done = folder / "evaluation"
    if not (done / "summary.json").is_file():
        given = ["--tuned", str(folder / "model"), "--output", str(done), f"seed={seed}"]
        if code := evaluate(["--config", str(CONFIG), *given]):
            raise SystemExit(code)
    return done


def models_of(folder: Path) -> dict[str, Any]:
    """Each model's numbers."""
    return dict(json.loads((folder / "summary.json").read_text("utf-8"))["models"])


def number(cell: str) -> float:
    """Of a cell; NaN where it is empty, as of molecules that the rules refuse."""
    return float(cell or "nan")


def inside_values(folder: Path, model: str) -> np.ndarray[Any, Any]:
    """Predictions of a model's distinct valid molecules inside the domain."""
    with (folder / "molecules.csv").open(encoding="utf-8", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if (r["model"], r["state"]) == (model, "valid")]
    inside = [row for row in rows if number(row[f"raw_{AFFINITY}_domain"]) > 0]
    return np.array([float(row[f"raw_{AFFINITY}"]) for row in inside])


def gain(folder: Path) -> str:
    """Tuned minus prior of the mean prediction inside the domain, with its 95% bootstrap interval.

    The two sets are resampled apart: they are different molecules.
    """
    base, tuned = (inside_values(folder, model) for model in ("base", "tuned"))
    noise = np.random.default_rng(1)
    draws = [
        noise.choice(tuned, len(tuned)).mean() - noise.choice(base, len(base)).mean()
        for _ in range(ROUNDS)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{tuned.mean() - base.mean():.2f} [{low:.2f}, {high:.2f}]"


def known_share(folder: Path) -> float:
    """Share of the tuned model's distinct molecules with the fingerprint of a training molecule."""
    with (folder / "molecules.csv").open(encoding="utf-8", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if (r["model"], r["state"]) == ("tuned", "valid")]
    return statistics.fmean(number(r[f"raw_{AFFINITY}_similarity"]) > 0.9999 for r in rows)


def table(folders: Sequence[Path]) -> str:
    """A Markdown table: prior and tuned, mean over the seeds and their range; then the gains."""
    runs = [models_of(folder) for folder in folders]

    def shown(model: str, path: Sequence[str]) -> str:
        values = []
        for models in runs:
            value: Any = models[model]
            for key in path:
                value = value[key]
            values.append(float(value))
        return f"{statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"

    lines = ["| | prior, mean (range) | tuned, mean (range) |", "|---|---|---|"]
    for name, path in ROWS.items():
        lines.append(f"| {name} | {shown('base', path)} | {shown('tuned', path)} |")
    known = ", ".join(f"{100 * known_share(folder):.1f} %" for folder in folders)
    lines += [
        f"\nGain in predicted pIC50 inside the domain, by seed: {', '.join(map(gain, folders))}",
        f"\nTuned molecules with the fingerprint of a training molecule, by seed: {known}",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variant", choices=VARIANTS, default="whole")
    parser.add_argument("overrides", nargs="*", help="key=value, as for rl4bio fit")
    args = parser.parse_args()
    folders = [run(args.variant, seed, args.output, args.overrides) for seed in args.seeds]
    print(f"\n## {args.variant}\n\n{table(folders)}", flush=True)


if __name__ == "__main__":
    main()
