"""Stages of a run: each a set of keys on top of the file, as a tree of plain values.

stages:
  - {name: warm, task: sft, trainer: {max_steps: 100}}
  - {name: rl, task: grpo, until: {metric: reward/total_mean, above: 0.8}}
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rl4bio.config.tree import ConfigTree
from rl4bio.errors import ConfigError

OWN = ("name", "until")
"""Keys of a stage that are not keys of a configuration."""
OF_THE_CHAIN = ("output_dir", "stages", "plugins", "seed")
"""Keys that all stages share."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_MODELS = ("base", "start", "tuned")
"""Names that reports give to other models."""


def stage_tree(base: Mapping[str, Any], stage: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of one stage.

    Args:
        base: the file with its overrides.
        stage: an entry of `stages`; mappings merge key by key, and one that names a part replaces
            it, as on the command line. Dotted keys are keys too (`trainer.max_steps: 5`).

    Raises:
        ConfigError: a key is none of a stage.
    """
    tree = ConfigTree()
    tree.value = copy.deepcopy({key: value for key, value in base.items() if key != "stages"})
    for key, value in stage.items():
        if key in OWN:
            continue
        if key.partition(".")[0] in OF_THE_CHAIN:
            raise ConfigError(f"{key}: is one of the whole run; write it beside stages")
        tree.put(key, copy.deepcopy(value), "stages")
    tree.value["name"] = stage["name"]
    if until := stage.get("until"):
        callbacks = list(tree.value.get("callbacks") or [])
        tree.value["callbacks"] = [*callbacks, {"name": "stop_at", "options": dict(until)}]
    return tree.value


def check_stages(stages: Sequence[Any]) -> None:
    """Refuse stages without a name of their own.

    Raises:
        ConfigError: message starts with the full key.
    """
    seen: set[str] = set()
    for index, stage in enumerate(stages):
        where = f"stages[{index}]"
        if not isinstance(stage, Mapping):
            raise ConfigError(f"{where}: got {stage!r}, needs a mapping such as {{name: warm}}")
        name = stage.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _MODELS:
            raise ConfigError(
                f"{where}.name: got {name!r}, needs a word of letters, digits, '-' and '_' that is "
                f"none of {', '.join(_MODELS)}"
            )
        if name in seen:
            raise ConfigError(f"{where}.name: {name!r} is there twice; each stage has its own")
        seen.add(name)
        until = stage.get("until")
        limits = {"above", "below"} & {*(until if isinstance(until, Mapping) else ())}
        if until is not None and (len(limits) != 1 or "metric" not in until):
            raise ConfigError(
                f"{where}.until: got {until!r}, needs a metric and one limit, above or below, such "
                "as {metric: reward/total_mean, above: 0.8}"
            )
