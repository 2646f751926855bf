"""Sample completions of a training run: best, median and worst of its first and its last step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rl4bio.errors import StorageError
from rl4bio.reports.html.page import part
from rl4bio.storage.step_records import step_files

Record = dict[str, Any]
"""One line of a step's file: prompt, completion, rewards, total, advantage, tokens, truncated; the
first of a prompt also question and target."""


def step_completions(path: Path) -> list[Record]:
    """The completions of one step.

    Raises:
        StorageError: the file cannot be read, or is not what a run writes.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        records = [json.loads(line) for line in lines if line]
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path}: cannot be read ({error}); remove the file, then finish the run with --resume"
        ) from error
    return records


def chosen(records: list[Record]) -> dict[str, Record]:
    """Best, median and worst by total reward, fewer where fewer completions could be scored.

    Of an even number the lower median is taken; ties go by the order in the file.
    """
    scored = [record for record in records if record["total"] is not None]
    ranked = sorted(scored, key=lambda record: -record["total"])
    places = {len(ranked) // 2: "median", len(ranked) - 1: "worst", 0: "best"}
    return {places[k]: ranked[k] for k in sorted(places)} if ranked else {}


def sample_sections(folder: Path) -> list[str]:
    """A heading and up to three cards for the first and for the last recorded step, as HTML."""
    steps = step_files(folder)
    if not steps:
        return [
            '<p class="note">No completions were recorded '
            "(this run has none, or logging.completions is off).</p>"
        ]
    sections = []
    for step in dict.fromkeys((min(steps), max(steps))):
        records = step_completions(steps[step])
        asked = {r["prompt"]: r for r in records if "question" in r or "target" in r}
        cards = [
            _card(name, record, asked.get(record["prompt"], {}))
            for name, record in chosen(records).items()
        ]
        sections.append(part("sample_step", step, len(records), cards))
    return sections


def _card(name: str, record: Record, asked: Record) -> dict[str, object]:
    facts = [f"prompt {record['prompt']}", f"{record['tokens']} tokens"]
    if record["advantage"] is not None:
        facts.append(f"advantage {record['advantage']:+.2f}".replace("-", "−"))
    if record["truncated"]:
        facts.append("cut off at the length limit")
    rewards = {**record["rewards"], "total": record["total"]}
    return {
        "name": name.capitalize(),
        "facts": " · ".join(facts),
        "question": asked.get("question"),
        "gold": asked.get("target"),
        "completion": record["completion"],
        "rewards": {name: math.nan if value is None else value for name, value in rewards.items()},
    }
