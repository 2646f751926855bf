"""What a finished run leaves behind: the tuned model, verified; summary, model card and report."""

from __future__ import annotations

import csv
import importlib.metadata
import math
import platform
import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.config import config_dict
from rl4bio.errors import StorageError
from rl4bio.evaluation.run_report import write_run_report
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder, write_atomic, write_json

if TYPE_CHECKING:
    from rl4bio.modules.base import PolicyModule
    from rl4bio.modules.policy import Policy

PACKAGES = ("rl4bio", "torch", "lightning", "transformers", "peft")
WINDOW = 10
"""Steps at the start and at the end of a run whose means the summary compares."""


def finish(config: RunConfig, folder: RunFolder, module: PolicyModule, *, seconds: float) -> None:
    """Save and verify the model, then write summary.json, README.md and report.html.

    Raises:
        StorageError: something cannot be written, or the saved model does not read back.
    """
    saved = save_policy(module.policy, folder)
    summary = summarize_run(config, folder, module, seconds=seconds)
    write_json(folder.summary, summary)
    write_atomic(folder.card, model_card(config, module.policy, saved.name, summary))
    write_run_report(
        folder.report,
        title=config.name,
        config=config_dict(config),
        summary=summary,
        metrics=read_metrics(folder.metrics),
        completions=folder.completions,
        molecules=folder.molecules,
    )
    print(f"{saved.name}: {saved}\nreport: {folder.report}")


def save_policy(policy: Policy, folder: RunFolder) -> Path:
    """Write `adapter/` or `model/` beside its place, read it back, then move it there."""
    target = folder.adapter if policy.adapter is not None else folder.model
    building = target.with_name(f".saving-{target.name}")
    shutil.rmtree(building, ignore_errors=True)
    try:
        policy.save(building)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error}); free some space") from error
    verify_saved(policy, building)
    shutil.rmtree(target, ignore_errors=True)
    building.rename(target)
    return target


def verify_saved(policy: Policy, folder: Path) -> None:
    """Compare the written weights with those in memory.

    Raises:
        StorageError: a tensor is missing, differs, or is not finite.
    """
    import torch
    from safetensors.torch import load_file

    stored = {k: v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}
    own = {
        name.replace(".default.", "."): parameter.detach().cpu()
        for name, parameter in policy.model.named_parameters()
        if parameter.requires_grad
    }
    for name, tensor in own.items():
        if name not in stored or not torch.equal(stored[name], tensor):
            raise StorageError(f"{folder}: {name} was not written as it is; check the disk")
        if not bool(torch.isfinite(tensor).all()):
            raise StorageError(f"{folder}: {name} is not finite; use an earlier checkpoint")


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv, none where nothing was logged; empty cells are left out."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            {key: float(value) for key, value in row.items() if key and value}
            for row in csv.DictReader(stream)
        ]


def summarize_run(
    config: RunConfig, folder: RunFolder, module: PolicyModule, *, seconds: float
) -> dict[str, Any]:
    """Facts of the run, and each metric's mean over its first and its last few steps."""
    rows = read_metrics(folder.metrics)
    names = sorted({name for row in rows for name in row} - {"step"})

    def mean(part: list[dict[str, float]], name: str) -> float | None:
        known = [row[name] for row in part if name in row and math.isfinite(row[name])]
        return statistics.fmean(known) if known else None

    return {
        "name": config.name,
        "task": config.task,
        "seed": config.seed,
        "base": config.policy.checkpoint,
        "steps": module.iteration,
        "prompts": module.draws,
        "warnings": getattr(module, "warnings", []),
        "seconds": round(seconds, 1),
        "window_steps": WINDOW,
        "first": {name: mean(rows[:WINDOW], name) for name in names},
        "last": {name: mean(rows[-WINDOW:], name) for name in names},
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }


def model_card(config: RunConfig, policy: Policy, kind: str, summary: dict[str, Any]) -> str:
    """The README.md of a run folder, with the metadata block that the hub reads."""
    base = config.policy.checkpoint
    rewards = "\n".join(f"- {r.name}, weight {r.weight:g}" for r in config.rewards) or "- none"
    shown = ("reward/total_mean", "train/kl", "rollout/completion_tokens_mean", "train/loss")
    rows = "\n".join(
        f"| {name} | {summary['first'][name]:.4f} | {summary['last'][name]:.4f} |"
        for name in shown
        if summary["first"].get(name) is not None and summary["last"].get(name) is not None
    )
    load = (
        "model = PeftModel.from_pretrained(\n"
        f'    AutoModelForCausalLM.from_pretrained("{base}"), "adapter"\n)'
        if kind == "adapter"
        else 'model = AutoModelForCausalLM.from_pretrained("model")'
    )
    library = "peft" if kind == "adapter" else "transformers"
    hub_base = f"base_model: {base}\n" if base.count("/") == 1 and not Path(base).exists() else ""
    return f"""---
library_name: {library}
{hub_base}tags: [rl4bio, {config.task}]
---

# {config.name}

**Research use only.** Not a medical device; not for diagnosis, treatment or advice.

| | |
|---|---|
| base model | {base} |
| method | {config.task.upper()}, {summary["steps"]} steps, seed {config.seed} |
| data | {config.data.name} `{config.data.options}` |
| trained | {kind} |
| time | {summary["seconds"]:.0f} s |

Rewards:

{rewards}

| metric | first {WINDOW} steps | last {WINDOW} steps |
|---|---|---|
{rows}

These are training batches. For held-out figures run
`rl4bio evaluate --run <this folder>`, which writes `evaluation/`.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
{"from peft import PeftModel" if kind == "adapter" else ""}
{load}
tokenizer = AutoTokenizer.from_pretrained("{kind}")
```

`config.yaml` repeats the run: `rl4bio fit --config config.yaml name=<new name>`.
"""
