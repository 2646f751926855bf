"""From a configuration to the parts of a run: policy, data, module, callbacks, trainer."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rl4bio.config.load import config_dict
from rl4bio.data import CORPORA, Corpus
from rl4bio.runs.binding import bind_corpus
from rl4bio.runs.breeding import budget_callbacks, build_breeder
from rl4bio.runs.early_checks import check_logging, check_packages, check_splits
from rl4bio.runs.log import quiet_libraries, set_up_logging, stage
from rl4bio.sections import NEW, RunConfig
from rl4bio.storage import RunFolder, usable_checkpoint

if TYPE_CHECKING:
    import lightning as L
    import torch

    from rl4bio.callbacks.checkpoint import RunCheckpoint
    from rl4bio.data.module import PromptDataModule
    from rl4bio.modules.base import PolicyModule
    from rl4bio.modules.policy import Policy
    from rl4bio.types import Scorer

log = logging.getLogger("rl4bio")


class Prepared(NamedTuple):
    """What a run needs before it may have a folder."""

    policy: Policy
    data: PromptDataModule
    precision: str
    scorer: Scorer | None
    """None for sft."""


def prepare(config: RunConfig) -> Prepared:
    """Policy, data, rewards and precision; what can fail does so before a run folder exists.

    What is cheap to find out comes first: are the packages and the checkpoint there, do the data
    files read, do the rewards have what they need. The policy is loaded last.
    """
    from rl4bio.modules.locate import locate
    from rl4bio.modules.saving import check_savable

    set_up_logging()
    check_packages(config)
    if config.policy.checkpoint != NEW:
        locate(config.policy.checkpoint)
    stage(f"reading data ({config.data.name})")
    corpus = CORPORA.build(config.data.name, config.data.options, where="data")
    check_splits(config, corpus)
    load_libraries()
    check_callbacks(config)
    check_logging(config)
    from rl4bio.runs.ranks import own_launch

    log.info("launch: %s", own_launch(config.trainer).describe())
    scorer = None
    if config.task == "grpo":
        from rl4bio.rewards.repeats import build_scorer

        stage(f"preparing rewards ({', '.join(reward.name for reward in config.rewards)})")
        scorer = build_scorer(config)
    stage(f"loading model ({config.policy.checkpoint})")
    policy, precision = prepare_policy(config, corpus.vocabulary)
    check_savable(policy)
    bind_corpus(corpus, policy, learns=config.task == "sft")
    data = build_data(config, corpus, policy)
    data.samples("train")  # measures the prompts
    if config.trainer.val_every_steps:
        data.samples("val")
    if config.task == "grpo" and data.longest is not None:
        from rl4bio.modules.rollout import check_room

        check_room(policy, *data.longest, config.rollout)
    quiet_libraries()
    return Prepared(policy, data, precision, scorer)


def load_libraries() -> None:
    """Import what takes seconds, and take it off the screen."""
    stage("loading libraries (torch, lightning, transformers)")
    import lightning  # noqa: F401
    import transformers  # noqa: F401

    quiet_libraries()


def prepare_policy(
    config: RunConfig, vocabulary: Callable[[], Mapping[str, int] | None] | None = None
) -> tuple[Policy, str]:
    """The policy, loaded in the dtype that the precision asks for, and that precision."""
    import lightning as L

    from rl4bio.modules.loading import load_policy
    from rl4bio.runs.policies import choose_precision, find_device, settle_cpu

    trainer = config.trainer
    L.seed_everything(config.seed, verbose=False)
    device = find_device(trainer.accelerator)
    settle_cpu(trainer, device)
    precision, dtype = choose_precision(config, cuda=device.type == "cuda", trained=True)
    log.info("precision: %s (%s)", precision.value, precision.reason)
    policy = load_policy(
        config.policy,
        dtype=dtype,
        precision=precision.value,
        vocabulary=vocabulary,
        cuda=device.type == "cuda",
    )
    policy.backend = config.rollout.backend
    log_kernel(policy, device)
    return policy, precision.value


def log_kernel(policy: Policy, device: torch.device) -> None:
    """Say what the engine's attention will run."""
    from rl4bio.runs.memory import kernel_of

    width = 2 if next(policy.model.parameters()).element_size() == 2 else 4
    kernel = kernel_of(policy, cpu=device.type != "cuda", card=None, width=width)
    log.info("attention of the engine: %s (%s)", kernel.value, kernel.reason)


def build_data(config: RunConfig, corpus: Corpus, policy: Policy) -> PromptDataModule:
    """The data module of a corpus; prompts are measured in the policy's tokens."""
    from rl4bio.data.module import PromptDataModule
    from rl4bio.modules.demonstrations import fit_demonstrations

    imitates = config.task == "sft"
    return PromptDataModule(
        corpus,
        seed=config.seed,
        max_prompt_tokens=config.rollout.max_prompt_tokens,
        overlong_prompts=config.rollout.overlong_prompts,
        count_tokens=policy.count_tokens,
        length_window=config.sft.length_window if imitates else 1,
        fit_demonstrations=(
            functools.partial(fit_demonstrations, policy, config=config.sft) if imitates else None
        ),
    )


def build_module(config: RunConfig, policy: Policy, scorer: Scorer | None = None) -> PolicyModule:
    """The LightningModule of the configured task; it makes the scorer where none is given."""
    from rl4bio.modules.grpo import GRPOLightningModule
    from rl4bio.modules.sft import SFTLightningModule
    from rl4bio.rewards.repeats import build_scorer

    steps = config.trainer.max_steps
    if config.task == "sft":
        return SFTLightningModule(
            policy, sft=config.sft, optim=config.optim, max_steps=steps, seed=config.seed
        )
    return GRPOLightningModule(
        policy,
        scorer or build_scorer(config),
        rollout=config.rollout,
        grpo=config.grpo,
        optim=config.optim,
        max_steps=steps,
        seed=config.seed,
        breeder=build_breeder(config.molecules),
    )


def scores_molecules(module: PolicyModule) -> bool:
    """Whether the rewards of a run read its completions as molecules."""
    from rl4bio.rewards.repeats import RepeatGuard

    return isinstance(module.scorer, RepeatGuard)


def check_callbacks(config: RunConfig) -> list[Any]:
    """The configured callbacks, made from their options."""
    from rl4bio.callbacks import CALLBACKS

    return [
        CALLBACKS.build(part.name, part.options, where=f"callbacks[{n}]")
        for n, part in enumerate(config.callbacks)
    ]


def build_callbacks(
    config: RunConfig, folder: RunFolder, *, resume: bool, molecules: bool = False
) -> tuple[list[L.Callback], RunCheckpoint]:
    """The configured callbacks with those that every run has, and the checkpoint one of them.

    Every run watches whether it learns. One that writes molecules also has a monitor of them and,
    unless completions are not to be recorded, a table. The checkpoint is the first, and its `last`
    the last: a step is saved when all of it is written.

    Raises:
        ModelError: a run that goes on has checkpoints, and none can be used.
    """
    from rl4bio.callbacks import CALLBACKS
    from rl4bio.callbacks.checkpoint import RunCheckpoint
    from rl4bio.callbacks.checkpoint_state import what_is_missing
    from rl4bio.callbacks.completions import CompletionWriter
    from rl4bio.callbacks.progress import RewardProgressBar
    from rl4bio.callbacks.step_logging import StepLogging

    found: Path | None = None
    if resume:
        refuse = functools.partial(what_is_missing, run=folder.identity)
        found, warnings = usable_checkpoint(folder.checkpoints, refuse)
        for warning in warnings:
            log.warning("%s", warning)
    checkpoint = RunCheckpoint(
        folder=str(folder.checkpoints),
        every=config.trainer.save_every_steps,
        keep=config.trainer.keep_checkpoints,
        resume_from=None if found is None else str(found),
        deadline_s=config.trainer.stop_deadline_s,
        run=folder.identity,
    )
    chosen, named = check_callbacks(config), {part.name for part in config.callbacks}
    usual: dict[str, dict[str, Any]] = {"learning_check": {}}
    keep = {"keep_steps": config.logging.keep_steps}
    if molecules:
        usual["molecule_monitor"] = {}
        if config.logging.completions:
            usual |= {"molecule_table": keep, "molecule_pictures": {}}
    for name, options in usual.items():
        if name not in named:
            chosen.append(CALLBACKS.build(name, options, where="callbacks"))
    every = config.trainer.log_every_steps
    callbacks = [checkpoint, *chosen, RewardProgressBar(every=every * 5)]
    if config.logging.completions and config.task == "grpo":
        callbacks.append(CompletionWriter(folder=str(folder.completions), **keep))
    callbacks += budget_callbacks(config, folder)
    callbacks.append(StepLogging(every=every))  # behind all that may stop the run
    if config.logging.live_page_every_steps:
        from rl4bio.runs.live_page import LivePage

        callbacks.append(LivePage(config, folder, config.logging.live_page_every_steps))
    callbacks.append(checkpoint.last)
    return callbacks, checkpoint


def build_trainer(
    config: RunConfig, folder: RunFolder, precision: str, callbacks: list[Any]
) -> L.Trainer:
    """The Trainer; clipping, accumulation and checkpoints are ours, so its own are off."""
    import lightning as L

    from rl4bio.callbacks.loggers.build import build_loggers
    from rl4bio.runs.ranks import trainer_options

    section = config.trainer
    val_every = section.val_every_steps
    updates = config.grpo.updates_per_rollout if config.task == "grpo" else 1
    return L.Trainer(
        **trainer_options(section),
        precision=precision,  # type: ignore[arg-type]
        max_steps=section.max_steps * updates,  # Lightning counts optimiser steps
        max_epochs=-1,
        val_check_interval=val_every or 1,
        check_val_every_n_epoch=None,
        limit_val_batches=None if val_every else 0,
        num_sanity_val_steps=0,
        inference_mode=False,
        logger=build_loggers(config.logging, folder.root, config_dict(config)),
        log_every_n_steps=section.log_every_steps,  # StepLogging decides
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder.root,
    )
