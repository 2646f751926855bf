"""What a run is refused for before its model is loaded: packages, hardware, validation, keys."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Sequence

from rl4bio.data import Corpus
from rl4bio.data.base import Split
from rl4bio.errors import DataError, MissingPackageError
from rl4bio.sections import RunConfig, require
from rl4bio.text.near import NearIndex, shingles
from rl4bio.text.redaction import shown
from rl4bio.types import Sample

log = logging.getLogger("rl4bio")

_HELD_OUT: tuple[Split, ...] = ("val", "test")
CONTEXT = 500
"""Characters of a context that are compared; the first sentences of two papers differ."""


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


def check_splits(config: RunConfig, corpus: Corpus) -> None:
    """Refuse a corpus without what a run needs; warn of one that is measured on what it learns.

    Raises:
        DataError, ConfigError: nothing to train on, or to compare.
    """
    train = corpus.samples("train")
    if not train:
        raise DataError("data: the train split is empty; check data.options")
    check_validation(config, corpus)
    warn_of_twins(corpus, train)


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


def warn_of_twins(corpus: Corpus, train: Sequence[Sample]) -> None:
    """Say which training questions are nearly held-out ones, where the corpus leaves that open.

    Other case, marks and blanks make no difference; near is as in `rl4bio.text.near`. The time is
    linear in the training samples.
    """
    if corpus.task != "questions" or corpus.keeps_apart:
        return
    held: list[Sample] = []
    for split in _HELD_OUT:
        with contextlib.suppress(Exception):  # of a split that this run may not need
            held += corpus.samples(split)
    known = NearIndex(shingles(_whole(sample)) for sample in held)
    found = [(s.uid, n) for s in train if (n := known.near(shingles(_whole(s)))) is not None]
    if found:
        first = ", ".join(f"{shown(uid)} and {shown(held[n].uid)}" for uid, n in found[:3])
        log.warning(
            "data: %d of %d training questions are nearly held-out ones (%s); what is measured on "
            "those is memory: leave them out of one split",
            len(found),
            len(train),
            first,
        )


def _whole(sample: Sample) -> str:
    """What tells a question from another: its words, and the start of what it is asked about."""
    prompt = sample.prompt
    text = prompt if isinstance(prompt, str) else "\n".join(turn["content"] for turn in prompt)
    return f"{sample.question} {sample.context[:CONTEXT]}" if sample.question else text[:CONTEXT]


def check_logging(config: RunConfig) -> None:
    """Refuse W&B online without a key.

    Raises:
        ConfigError: names the key of the configuration.
    """
    if "wandb" in config.logging.loggers:
        from rl4bio.callbacks.loggers.wandb_run import wandb_offline

        wandb_offline(config.logging.mode)
