"""Does GRPO teach the nano policy? Three seeds, held-out trials, greedy and sampled.

    python -m experiments.pubmedqa_nano.study --output runs/pubmedqa_nano_study [--seeds 1 2 3]

Trains `configs/pubmedqa_nano.yaml` once a seed and measures warm start and tuned policies on test
sets that share no intervention, condition or outcome with training: `varied`, the wording that
GRPO trains on and the warm start has never read; `plain`, the warm start's own wording; and
`transfer`, a wording that neither has read.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl4bio.answers.verdict import strict_verdict
from rl4bio.config.load import load_config
from rl4bio.data.synthetic.trials import TrialsCorpus
from rl4bio.fit import main as fit
from rl4bio.modules.loading import load_policy, load_tuned
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.statistics.bootstrap import bootstrap_interval
from rl4bio.types import Sample, Scorer

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "pubmedqa_nano.yaml"
WORDINGS = ("varied", "plain", "transfer")


def measure(
    policy: Policy, samples: Sequence[Sample], scorer: Scorer, *, greedy: bool, batch: int = 40
) -> dict[str, Any]:
    """Accuracy, strict format, mean of every reward, and recall of each label."""
    texts: list[str] = []
    for start in range(0, len(samples), batch):
        part = samples[start : start + batch]
        found = sample_completions(
            policy,
            [policy.encode_prompt(sample.prompt) for sample in part],
            group_size=1,
            max_new_tokens=72,
            temperature=1.0,
            seeds=None if greedy else [1000 + start + n for n in range(len(part))],
        )
        texts += found.completions
    table = scorer(texts, samples)
    verdicts = [strict_verdict(text) for text in texts]
    right = [v == s.target for v, s in zip(verdicts, samples, strict=True)]
    result: dict[str, Any] = {
        "items": {"accuracy": [float(r) for r in right], "total": table.total},
        "accuracy": statistics.fmean(right),
        "parsed": statistics.fmean(v is not None for v in verdicts),
        "total": statistics.fmean(table.total),
        "exact_evidence": statistics.fmean(
            f"<thought>{s.extra['evidence']}</thought>" in text
            for s, text in zip(samples, texts, strict=True)
        ),
    }
    result.update({name: statistics.fmean(values) for name, values in table.parts.items()})
    for label in ("yes", "no", "maybe"):
        hits = [r for r, s in zip(right, samples, strict=True) if s.target == label]
        result[f"recall_{label}"] = statistics.fmean(hits)
        result[f"share_{label}"] = statistics.fmean(v == label for v in verdicts)
    return result


def measure_all(policy: Policy, scorer: Scorer, items: int) -> dict[str, Any]:
    """Every wording, greedy and sampled."""
    results: dict[str, Any] = {}
    for wording in WORDINGS:
        samples = list(TrialsCorpus(test_wordings=[wording], num_test=items).samples("test"))
        results[wording] = {
            "greedy": measure(policy, samples, scorer, greedy=True),
            "sampled": measure(policy, samples, scorer, greedy=False),
            "always_yes": statistics.fmean(s.target == "yes" for s in samples),
        }
    return results


def table(before: dict[str, Any], after: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: warm start beside the mean and range of the tuned policies.

    The gain's 95% interval resamples items, each with its mean over the tuned policies.
    """
    lines = [
        "| test wording | decoding | metric | always yes | warm start | tuned, mean (range) "
        "| gain [95%] |",
        "|---|---|---|---|---|---|---|",
    ]
    for wording in WORDINGS:
        for mode in ("greedy", "sampled"):
            for metric in ("accuracy", "total", "parsed", "grounding", "exact_evidence"):
                values = [run[wording][mode][metric] for run in after]
                yes = f"{before[wording]['always_yes']:.3f}" if metric == "accuracy" else ""
                shown = (
                    f"**{statistics.fmean(values):.3f}** ({min(values):.3f} to {max(values):.3f})"
                    if values
                    else ""
                )
                start = before[wording][mode][metric]
                gain = ""
                if values and metric in before[wording][mode]["items"]:
                    base = np.array(before[wording][mode]["items"][metric])
                    tuned = np.mean([run[wording][mode]["items"][metric] for run in after], axis=0)
                    interval = bootstrap_interval((tuned - base).tolist(), seed=0, rounds=4000)
                    low, high = interval
                    gain = f"{(tuned - base).mean():+.3f} [{low:+.3f}, {high:+.3f}]"
                lines.append(
                    f"| {wording} | {mode} | {metric} | {yes} | {start:.3f} | {shown} | {gain} |"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--items", type=int, default=240)
    parser.add_argument("overrides", nargs="*", help="key=value, as for rl4bio fit")
    args = parser.parse_args()
    config = load_config(CONFIG, args.overrides)
    scorer = WeightedRewards.from_config(config.rewards)
    before = measure_all(load_policy(config.policy), scorer, args.items)
    print(table(before, []), flush=True)
    after = []
    for seed in args.seeds:
        name = f"seed{seed}"
        overrides = [*args.overrides, f"seed={seed}", f"name={name}", f"output_dir={args.output}"]
        if not (args.output / name / "model").is_dir():  # else trained by an earlier call
            code = fit(["--config", str(CONFIG), *overrides])
            if code:
                raise SystemExit(code)
        tuned = load_tuned(config.policy, args.output / name / "model")
        after.append(measure_all(tuned, scorer, args.items))
        print(table(before, after), flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    results = {"before": before, "after": dict(zip(map(str, args.seeds), after, strict=True))}
    (args.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
