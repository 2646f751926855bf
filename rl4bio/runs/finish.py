"""What a finished run leaves behind: the tuned model, verified; summary, model card and report."""

from __future__ import annotations

import csv
import importlib.metadata
import math
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.config.load import config_dict
from rl4bio.errors import Rl4bioError, StorageError
from rl4bio.exports.card_code import Loading
from rl4bio.exports.cards import model_card, prompt_facts
from rl4bio.reports.run.report import run_report, write_run_report
from rl4bio.sections import NEW, RunConfig
from rl4bio.storage import RunFolder, write_atomic, write_json
from rl4bio.storage.folders import new_folder
from rl4bio.types import Sample

if TYPE_CHECKING:
    from rl4bio.modules.base import PolicyModule
    from rl4bio.modules.policy import Policy

PACKAGES = ("rl4bio", "torch", "lightning", "transformers", "peft")
WINDOW = 10
"""Steps at the start and at the end of a run whose means the summary compares."""


def finish(
    config: RunConfig,
    folder: RunFolder,
    module: PolicyModule,
    *,
    seconds: float,
    samples: Sequence[Sample] = (),
) -> None:
    """Save and verify the model, then write summary.json, the cards and report.html.

    The model comes first and stays: an error behind it names the folder that it is in.

    Args:
        config: of the run.
        folder: of the run.
        module: that was trained.
        seconds: since the start.
        samples: of the training split; the cards show the prompt of the first.

    Raises:
        StorageError: something cannot be written, or the saved model does not read back.
    """
    saved = save_policy(module.policy, folder)
    try:
        write_pages(config, folder, module, saved, seconds=seconds, samples=samples)
    except Exception as error:  # whatever fails here, the model is there
        kept = f"the trained model is whole in {saved}"
        if isinstance(error, Rl4bioError):
            raise type(error)(f"{error}; {kept}") from error
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise StorageError(f"{folder.root}: cannot be written ({reason}); {kept}") from error
        name = type(error).__name__
        raise RuntimeError(f"{kept}, its report cannot be made ({name}: {error})") from error
    print(f"{saved.name}: {saved}\nreport: {folder.report}")


def write_pages(
    config: RunConfig,
    folder: RunFolder,
    module: PolicyModule,
    saved: Path,
    *,
    seconds: float,
    samples: Sequence[Sample] = (),
) -> None:
    """What people read of a run: summary.json, the card beside the model and in it, the report."""
    policy = module.policy
    summary = summarize_run(config, folder, module, seconds=seconds)
    summary["prompt"] = prompt_facts(policy, samples[0] if samples else None, config)
    card = run_card(config, policy, saved.name, summary)
    for path in (folder.card, saved / folder.card.name):
        write_atomic(path, card)
    page = run_report(
        title=config.name,
        config=config_dict(config),
        summary=summary,
        metrics=read_metrics(folder.metrics),
        completions=folder.completions,
        molecules=folder.molecules,
    )
    write_run_report(folder.report, page, molecules=folder.molecules)
    write_json(folder.summary, summary)  # last: it says that the run is finished


def save_policy(policy: Policy, folder: RunFolder) -> Path:
    """Write `adapter/` or `model/` beside its place, read it back, then move it there.

    Raises:
        StorageError: it cannot be written; or it does not read back as it is, and is then kept
            under a name that the message says.
    """
    from rl4bio.modules.saving import verify_policy, write_policy

    target = folder.adapter if policy.adapter is not None else folder.model
    doubtful = target.with_name(f"{target.name}-not-verified")
    try:
        with new_folder(target, doubtful=doubtful) as building:
            write_policy(policy, building)
            verify_policy(policy, building, where=target)
    except StorageError as error:
        steps = sorted(path.name for path in folder.checkpoints.glob("step-*"))
        if not steps:
            raise
        again = f"`rl4bio export --run {folder.root} --step latest` takes those of {steps[-1]}"
        raise StorageError(f"{error}; the weights are in checkpoints/ too: {again}") from error
    return target


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
    """Facts of the run, and each metric's mean over its first and its last few steps.

    Of a short run these are its two halves, so that none of its steps is both.
    """
    rows = read_metrics(folder.metrics)
    window = max(1, min(WINDOW, len(rows) // 2))
    names = sorted({name for row in rows for name in row} - {"step"})

    def mean(part: list[dict[str, float]], name: str) -> float | None:
        known = [row[name] for row in part if name in row and math.isfinite(row[name])]
        return statistics.fmean(known) if known else None

    adapter = config.policy.adapter
    started = None if adapter is None else adapter.path
    return {
        "name": config.name,
        "task": config.task,
        "seed": config.seed,
        "base": config.policy.checkpoint,
        **({"start": started} if started else {}),
        "steps": module.iteration,
        "prompts": module.draws,
        "warnings": module.warnings,
        "seconds": round(seconds, 1),
        "window_steps": window,
        "first": {name: mean(rows[:window], name) for name in names},
        "last": {name: mean(rows[-window:], name) for name in names},
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }


def run_card(config: RunConfig, policy: Policy, kind: str, summary: dict[str, Any]) -> str:
    """The README.md of a run folder, and of the model in it."""
    section = config.policy
    adapter = section.adapter
    loading = Loading(
        kind=kind,
        folder=kind,
        base="" if section.checkpoint == NEW else section.checkpoint,
        revision=section.revision,
        start=(adapter.path or "") if adapter is not None else "",
    )
    start = "" if policy.tokenizer.bos_token is not None else "C"
    return model_card(
        config.name,
        loading,
        config=config,
        summary=summary,
        model_config=policy.model.config,
        start=start,
    )
