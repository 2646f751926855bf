"""A run's configuration: defaults, then the YAML, then overrides, all checked without torch."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from rl4bio.callbacks import CALLBACKS
from rl4bio.config.plugins import import_plugins
from rl4bio.config.schema import (
    LARGEST_NUMBER,
    check_numbers,
    check_references,
    check_tree,
    check_types,
    reason,
)
from rl4bio.config.shared_weights import check_shared_weights, check_stage_weights
from rl4bio.config.shipped import config_path
from rl4bio.config.stages import check_stages, stage_tree
from rl4bio.config.tree import ConfigTree
from rl4bio.config.yaml_reader import dump_yaml
from rl4bio.data import CORPORA
from rl4bio.errors import ConfigError, DataError
from rl4bio.registry import option_hint
from rl4bio.rewards.build import build_rewards
from rl4bio.sections import RunConfig, require
from rl4bio.text.redaction import remember_secrets

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of a run, complete and checked.

    Args:
        path: YAML file, or `rl4bio:NAME` of one that ships; None uses the overrides alone.
        overrides: `key=value`, later ones win; the value is YAML.

    Raises:
        ConfigError: `file:line: full.key: reason`, or the override that is wrong.
    """
    file = None if path is None else config_path(path)
    tree = ConfigTree(file)
    for override in overrides:
        tree.override(override)
    try:
        check_tree(tree.value)
        config = _typed(tree.value)
        check_numbers(config_dict(config))
        check_masked(config_dict(config))
        remember_secrets(config_dict(config))
        folder = None if file is None else file.parent
        config.plugins = import_plugins(config.plugins, folder)
        check_run(config)
        stage_configs(config)
    except ConfigError as error:
        raise tree.located(error) from error.__cause__
    return config


def stage_configs(config: RunConfig) -> list[RunConfig]:
    """The configuration of each stage, checked; [] for a run without stages.

    Raises:
        ConfigError: `stages[0].full.key: reason`.
    """
    check_stages(config.stages)
    base, found = config_dict(config), []
    for index, stage in enumerate(config.stages):
        try:
            value = stage_tree(base, stage)
            check_tree(value)
            made = _typed(value)
            check_numbers(config_dict(made))
            check_run(made)
            check_stage_weights(made)
        except ConfigError as error:
            last = f"callbacks[{len(base['callbacks'])}].options."
            message = str(error).replace(last, "until.", 1) if stage.get("until") else str(error)
            raise ConfigError(f"stages[{index}].{message}") from error.__cause__
        found.append(made)
    return found


def config_dict(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain dicts, lists and scalars."""
    return dataclasses.asdict(config)


def check_masked(value: Any, key: str = "") -> None:
    """Refuse a value that was masked when a run stored its configuration."""
    if isinstance(value, dict):
        for name, child in value.items():
            check_masked(child, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            check_masked(child, f"{key}.{number}")
    elif isinstance(value, str) and (value == "***" or "://***@" in value):
        raise ConfigError(f"{key}: its secret is masked in a stored file; add {key}=... here")


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration as YAML; `load_config` reads an equal one from it."""
    return dump_yaml(config_dict(config))


def check_run(config: RunConfig) -> None:
    """What one section cannot check alone. Builds the corpus and the rewards, reading no data.

    Raises:
        ConfigError: message starts with the full key.
    """
    require(
        _NAME.fullmatch(config.name) is not None,
        "name",
        f"{config.name!r} is no folder name; use letters, digits, '.', '-' and '_', first a "
        "letter or digit",
    )
    require(
        config.grpo.reference.mix == 1 or config.policy.adapter is None,
        "grpo.reference.mix",
        f"got {config.grpo.reference.mix:g} with an adapter, whose mean with another is not the "
        "mean of the models; leave it at 1, or train all weights (policy.adapter=null)",
    )
    check_shared_weights(config)
    require(config.seed >= 0, "seed", f"got {config.seed}, needs 0 to {LARGEST_NUMBER}")
    try:
        CORPORA.build(config.data.name, config.data.options, where="data")
    except DataError as error:
        raise ConfigError(f"data.options: {error}") from error
    _check_rewards(config)
    for index, callback in enumerate(config.callbacks):
        name, where = callback.name, f"callbacks[{index}]"
        unknown = f"unknown callback {name!r}{CALLBACKS.hint(name)}"
        require(name in CALLBACKS.names(), f"{where}.name", unknown)
        options = CALLBACKS.option_names(name)
        for option in callback.options:
            unknown = f"unknown option{option_hint(option, options)}"
            require(option in options, f"{where}.options.{option}", unknown)


def _check_rewards(config: RunConfig) -> None:
    """What rewards need of each other, and what a run by rewards needs of them."""
    rewards = build_rewards(config.rewards)
    if config.task == "grpo":
        some = "task grpo needs at least one, such as `rewards: [{name: verdict}]`"
        require(bool(config.rewards), "rewards", some)
        guarded = any(reward.reads_molecules for reward in rewards.values())
        _check_molecules(config, guarded=guarded)


def _check_molecules(config: RunConfig, *, guarded: bool) -> None:
    """The options of `molecules`, which need a reward that reads them, and each other's.

    Args:
        config: of a run by rewards.
        guarded: whether a reward reads molecules.
    """
    zeroes = "zero" in (config.molecules.batch_repeats, config.molecules.seen_before)
    require(
        not (guarded and zeroes and config.grpo.combine == "normalize_then_sum"),
        "grpo.combine",
        "normalize_then_sum reads each reward by itself, so that the zero total of repeated "
        "molecules would have no effect; write sum_then_normalize, or molecules.batch_repeats=keep "
        "and molecules.seen_before=keep",
    )
    require(
        guarded or config.molecules.diversity is None,
        "molecules.diversity",
        "is for molecules, but no reward reads any; leave it out",
    )
    replay = config.grpo.replay
    teaching = {"offspring": config.molecules.offspring, "inception": config.molecules.inception}
    for name, wanted in teaching.items():
        key = f"molecules.{name}"
        require(guarded or wanted is None, key, "is for molecules, but no reward reads any")
        require(
            replay is not None or wanted is None,
            key,
            "goes through the memory of the best molecules; add grpo.replay: {} for it",
        )
    require(
        replay is None or replay.advantage != "stored" or config.molecules.offspring is None,
        "grpo.replay.advantage",
        "stored has no advantage for bred molecules (molecules.offspring); write mean_abs or unit",
    )
    budget = config.molecules.max_calls is not None
    offspring = config.molecules.offspring
    require(
        budget or offspring is None or offspring.surrogate is None,
        "molecules.offspring.surrogate",
        "learns from the account of scored molecules; add molecules.max_calls for it",
    )
    require(
        guarded or not budget,
        "molecules.max_calls",
        "counts molecules, but no reward reads any; end the run by trainer.max_steps",
    )
    require(
        not (budget and config.grpo.refill_rounds),
        "molecules.max_calls",
        "cannot be kept with grpo.refill_rounds, in which ranks score at different times; leave "
        "one of them out",
    )


@functools.cache
def _schema() -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.structured(RunConfig)


def _typed(tree: dict[str, Any]) -> RunConfig:
    """The tree merged into the dataclasses, references resolved, `__post_init__` checks run."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        config = OmegaConf.merge(_schema(), tree)
    except OmegaConfBaseException as error:
        check_types(tree)
        raise ConfigError(f"{error.full_key}: {reason(error)}") from None
    try:
        check_references(tree, config)
        missing = sorted(map(str, OmegaConf.missing_keys(config)))
        if missing:
            raise ConfigError(
                f"these keys need a value: {', '.join(missing)}; add them to the file, or as "
                f"{missing[0]}=... on the command line"
            )
        for index, reward in enumerate(config.rewards):
            try:
                OmegaConf.to_object(reward)
            except ConfigError as error:
                raise ConfigError(str(error).replace("[]", f"[{index}]", 1)) from None
        return cast(RunConfig, OmegaConf.to_object(config))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'references'}: {reason(error)}") from None
