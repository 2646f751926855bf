"""What a run is refused for before its model is loaded: packages, hardware, validation, keys."""

from __future__ import annotations

import importlib.util

from rl4bio.data import Corpus
from rl4bio.errors import DataError, MissingPackageError
from rl4bio.sections import RunConfig, require


def check_packages(config: RunConfig) -> None:
    """Refuse a run that a missing package would stop later; nothing is imported.

    Raises:
        MissingPackageError: names the key that asks for it, and how to install it.
    """
    for key, package, advice in wanted_packages(config):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(f"{key}: needs {package}, which is not installed; {advice}")


def wanted_packages(config: RunConfig) -> list[tuple[str, str, str]]:
    """Key, package and advice of each optional package that the configuration asks for."""
    extra = "run `pip install 'rl4bio[{0}]'`, or leave it out"
    found: list[tuple[str, str, str]] = []
    for logger in config.logging.loggers:
        if logger in ("mlflow", "tensorboard"):
            found.append(("logging.loggers", logger, extra.format(logger)))
        elif logger == "wandb":
            found.append(("logging.loggers", logger, "run `pip install wandb`, or leave it out"))
    install = "run `pip install bitsandbytes`, or take "
    if config.policy.quantization != "none":
        found.append(("policy.quantization", "bitsandbytes", f"{install}none"))
    if config.optim.name not in ("adamw", "muon"):
        found.append(("optim.name", "bitsandbytes", f"{install}adamw"))
    if config.rollout.backend == "vllm" and config.rollout.vllm.url is None:
        advice = "run `pip install vllm`, which brings its own torch, or name a server in "
        found.append(("rollout.backend", "vllm", f"{advice}rollout.vllm.url"))
    return found


def check_validation(config: RunConfig, corpus: Corpus) -> None:
    """Refuse what compares validations where there is none, before there is a run folder."""
    comparing = [
        one.name for one in config.callbacks if one.name in ("early_stopping", "keep_best")
    ]
    if not comparing:
        return
    require(
        config.trainer.val_every_steps > 0,
        "trainer.val_every_steps",
        f"is 0, so callback {comparing[0]} has nothing to compare; set it to a number of steps",
    )
    if not corpus.samples("val"):
        raise DataError(
            f"data: callback {comparing[0]} needs a val split, and it is empty; raise val_fraction "
            "or val_size in data.options"
        )


def check_logging(config: RunConfig) -> None:
    """Refuse W&B online without a key.

    Raises:
        ConfigError: names the key of the configuration.
    """
    if "wandb" in config.logging.loggers:
        from rl4bio.callbacks.loggers.wandb_run import wandb_offline

        wandb_offline(config.logging.mode)
