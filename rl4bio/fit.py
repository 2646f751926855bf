"""`rl4bio fit`: one run from a configuration to a tuned model."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.cli import add_config_arguments, run_command, set_run_folder
from rl4bio.config import config_dict, load_config, to_yaml
from rl4bio.data import CORPORA, Corpus
from rl4bio.errors import DataError
from rl4bio.sections import NEW, RunConfig, require
from rl4bio.storage import RunFolder, latest_checkpoint

if TYPE_CHECKING:
    import lightning as L

    from rl4bio.data.module import PromptDataModule
    from rl4bio.modules.base import PolicyModule
    from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="rl4bio fit", description="Train a policy by GRPO or supervised fine-tuning."
    )
    add_config_arguments(parser)
    parser.add_argument("--print-config", action="store_true", help="print the resolved config")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="read data and model, show the untrained policy's rewards, train nothing",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run of this name")
    return run_command(fit, parser, argv)


def fit(arguments: argparse.Namespace) -> int:
    """The whole run; the exit code is 0, or 128 + n after signal n with the state saved."""
    config = load_config(arguments.config, arguments.overrides)
    if arguments.print_config:
        print(to_yaml(config), end="")
        return 0
    if arguments.dry_run:
        dry_run(config)
        return 0
    started = time.monotonic()
    policy, data, precision = prepare(config)
    module = build_module(config, policy)
    folder = open_folder(config, resume=arguments.resume)
    callbacks, checkpoint = build_callbacks(
        config, folder, resume=arguments.resume, molecules=scores_molecules(module)
    )
    trainer = build_trainer(config, folder, precision, callbacks)
    if checkpoint.resume_from is not None:
        data.draws = position(checkpoint.resume_from)
    run_trainer(trainer, module, data)
    if checkpoint.signal is not None:
        again = shlex.join(["--config", arguments.config, *arguments.overrides, "--resume"])
        print(
            f"stopped after step {module.iteration}; continue with: rl4bio fit {again}",
            file=sys.stderr,
        )
        return 128 + checkpoint.signal
    if trainer.is_global_zero:
        from rl4bio.outputs import finish

        finish(config, folder, module, seconds=time.monotonic() - started)
    return 0


def open_folder(config: RunConfig, *, resume: bool) -> RunFolder:
    """The run's folder; only the first process claims it and writes its configuration."""
    from lightning.pytorch.utilities import rank_zero_only

    output_dir = Path(config.output_dir)
    if getattr(rank_zero_only, "rank", 0) == 0:
        folder = RunFolder.open(output_dir, config.name, to_yaml(config), resume=resume)
    else:
        folder = RunFolder(output_dir / config.name)
    set_run_folder(folder.root)
    log_to(folder.log)
    return folder


def set_up_logging() -> None:
    """Warnings to the terminal, all of our log kept for log.txt; others' tips silenced."""
    import warnings

    log.setLevel(logging.INFO)
    log.propagate = False
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    terminal.setFormatter(logging.Formatter("rl4bio: %(message)s"))
    kept = logging.handlers.MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
    log.handlers = [terminal, kept]
    # Lightning's import, which comes later, sets the level of "lightning.pytorch" itself.
    tips = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")
    for name in (*tips, "lightning_utilities.core.rank_zero", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        ".*treespec.*",
        ".*in eval mode at the start.*",
        ".*no `val_dataloader`.*",
        ".*is_gradient_checkpointing.*",
        ".*sync_dist=True.*",  # our means are reduced before they are logged
        ".*functional.all_gather.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def log_to(file: Path) -> None:
    """Send the log to a file, what was kept so far first."""
    to_file = logging.FileHandler(file, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for handler in log.handlers:
        if isinstance(handler, logging.handlers.MemoryHandler):
            handler.setTarget(to_file)
            handler.flush()
            log.removeHandler(handler)
    log.addHandler(to_file)


def prepare(config: RunConfig) -> tuple[Policy, PromptDataModule, str]:
    """Policy, data and precision; what can fail does so before a run folder exists.

    The cheap checks come first: is the checkpoint there, and do the data files read.
    """
    from rl4bio.modules.checkpoints import locate

    set_up_logging()
    if config.policy.checkpoint != NEW:
        locate(config.policy.checkpoint)
    corpus = CORPORA.build(config.data.name, config.data.options, where="data")
    if not corpus.samples("train"):
        raise DataError("data: the train split is empty; check data.options")
    check_validation(config, corpus)
    policy, precision = prepare_policy(config, getattr(corpus, "vocabulary", None))
    bind_corpus(corpus, policy)
    data = build_data(config, corpus, policy)
    samples = data.samples("train")  # measures the prompts
    if config.task == "grpo":
        from rl4bio.modules.rollout import check_positions

        validated = data.samples("val") if config.trainer.val_every_steps else []
        check_positions(policy, [*samples, *validated], config.rollout)
    return policy, data, precision


def check_validation(config: RunConfig, corpus: Corpus) -> None:
    """Refuse early stopping without validation, before there is a run folder."""
    if all(part.name != "early_stopping" for part in config.callbacks):
        return
    require(
        config.trainer.val_every_steps > 0,
        "trainer.val_every_steps",
        "is 0, so callback early_stopping has nothing to compare; set it to a number of steps",
    )
    if not corpus.samples("val"):
        raise DataError(
            "data: callback early_stopping needs a val split, and it is empty; raise val_fraction "
            "or val_size in data.options"
        )


def prepare_policy(
    config: RunConfig, vocabulary: Callable[[], Mapping[str, int]] | None = None
) -> tuple[Policy, str]:
    """The policy, loaded in the dtype that the precision asks for, and that precision."""
    import lightning as L
    import torch

    from rl4bio.inference import choose_precision
    from rl4bio.modules.loading import load_policy

    trainer = config.trainer
    L.seed_everything(config.seed, verbose=False)
    if trainer.num_threads is not None:
        torch.set_num_threads(trainer.num_threads)
    gpu = trainer.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    precision, dtype = choose_precision(config, cuda=gpu)
    log.info("precision: %s (%s)", precision.value, precision.reason)
    return load_policy(config.policy, dtype=dtype, vocabulary=vocabulary), precision.value


def bind_corpus(corpus: Corpus, policy: Policy) -> None:
    """Tell a corpus what the policy can read: its tokens, its positions, its conditions."""
    start = policy.tokenizer.bos_token_id is not None
    positions = policy.max_positions
    corpus.bind(
        policy.tokenizer.get_vocab(),
        max_tokens=None if positions is None else positions - start,
    )
    wanted = getattr(policy.model.config, "property_names", None)
    given = getattr(corpus, "conditions", None)
    if wanted and given is not None and [name.lower() for name in wanted] != given:
        raise DataError(
            f"data.options.properties: the model is conditioned on {', '.join(wanted)}, in this "
            f"order, the data on {', '.join(given) or 'nothing'}; name the model's in properties "
            "or targets"
        )


def build_data(config: RunConfig, corpus: Corpus, policy: Policy) -> PromptDataModule:
    """The data module of a corpus; prompts are measured in the policy's tokens."""
    from rl4bio.data.module import PromptDataModule

    return PromptDataModule(
        corpus,
        seed=config.seed,
        max_prompt_tokens=config.rollout.max_prompt_tokens,
        overlong_prompts=config.rollout.overlong_prompts,
        count_tokens=policy.count_tokens,
        length_window=config.sft.length_window if config.task == "sft" else 1,
    )


def build_module(config: RunConfig, policy: Policy) -> PolicyModule:
    """The LightningModule of the configured task."""
    from rl4bio.modules.grpo import GRPOLightningModule
    from rl4bio.modules.sft import SFTLightningModule
    from rl4bio.rewards.build import build_scorer

    steps = config.trainer.max_steps
    if config.task == "sft":
        return SFTLightningModule(policy, sft=config.sft, optim=config.optim, max_steps=steps)
    return GRPOLightningModule(
        policy,
        build_scorer(config),
        rollout=config.rollout,
        grpo=config.grpo,
        optim=config.optim,
        max_steps=steps,
        seed=config.seed,
    )


def scores_molecules(module: PolicyModule) -> bool:
    """Whether the rewards of a run read its completions as molecules."""
    from rl4bio.rewards.repeats import RepeatGuard

    return isinstance(getattr(module, "scorer", None), RepeatGuard)


def build_callbacks(
    config: RunConfig, folder: RunFolder, *, resume: bool, molecules: bool = False
) -> tuple[list, Any]:
    """The configured callbacks with those that every run has, and the checkpoint one of them.

    A run that writes molecules also has a monitor of them and, unless completions are not to be
    recorded, a table; both stand before the checkpoint, so that what it saves is in the table.
    """
    from rl4bio.callbacks import CALLBACKS
    from rl4bio.callbacks.checkpoint import RunCheckpoint
    from rl4bio.callbacks.completions import CompletionWriter
    from rl4bio.callbacks.progress import RewardProgressBar

    found: Path | None = None
    if resume:
        found, warnings = latest_checkpoint(folder.checkpoints)
        for warning in warnings:
            log.warning("%s", warning)
    checkpoint = RunCheckpoint(
        folder=str(folder.checkpoints),
        every=config.trainer.save_every_steps,
        keep=config.trainer.keep_checkpoints,
        resume_from=None if found is None else str(found),
    )
    chosen = [
        CALLBACKS.build(part.name, part.options, where=f"callbacks[{n}]")
        for n, part in enumerate(config.callbacks)
    ]
    named = {part.name for part in config.callbacks}
    usual = ["molecule_monitor", *(["molecule_table"] if config.logging.completions else [])]
    for name in usual if molecules else []:
        if name not in named:
            chosen.append(CALLBACKS.build(name, {}, where="callbacks"))
    callbacks = [*chosen, RewardProgressBar(every=config.trainer.log_every_steps * 5), checkpoint]
    if config.logging.completions and config.task == "grpo":
        callbacks.append(CompletionWriter(folder=str(folder.completions)))
    return callbacks, checkpoint


def build_trainer(
    config: RunConfig, folder: RunFolder, precision: str, callbacks: list[Any]
) -> L.Trainer:
    """The Trainer; clipping, accumulation and checkpoints are ours, so its own are off."""
    import lightning as L

    from rl4bio.callbacks.loggers import build_loggers

    section = config.trainer
    devices: Any = section.devices if section.devices == "auto" else int(section.devices)
    val_every = section.val_every_steps
    return L.Trainer(
        accelerator=section.accelerator,
        devices=devices,
        num_nodes=section.num_nodes,
        strategy=section.strategy,
        precision=precision,  # type: ignore[arg-type]
        max_steps=section.max_steps,
        max_epochs=-1,
        val_check_interval=val_every or 1,
        check_val_every_n_epoch=None,
        limit_val_batches=None if val_every else 0,
        num_sanity_val_steps=0,
        inference_mode=False,
        logger=build_loggers(config.logging, folder.root, config_dict(config)),
        log_every_n_steps=section.log_every_steps,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder.root,
    )


def position(checkpoint: str) -> int:
    """Training prompts that a checkpoint's run had used up."""
    from rl4bio.storage import load_checkpoint_folder

    return int(load_checkpoint_folder(Path(checkpoint))[1]["draws"])


def run_trainer(trainer: L.Trainer, module: PolicyModule, data: PromptDataModule) -> None:
    """`trainer.fit`, with Ctrl-C as the exception that it was (Lightning makes it SystemExit)."""
    try:
        trainer.fit(module, datamodule=data)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def dry_run(config: RunConfig) -> None:
    """Everything up to the first step, and what the rewards say about the untrained policy."""
    policy, data, precision = prepare(config)
    samples = data.samples("train")
    trained = sum(p.numel() for p in policy.trainable_parameters())
    total = sum(p.numel() for p in policy.model.parameters())
    print(f"policy: {config.policy.checkpoint}, {trained:,} of {total:,} weights are trained")
    print(f"precision: {precision}; train prompts: {len(samples)}")
    if config.task == "sft":
        return
    from rl4bio.preflight import preview
    from rl4bio.rewards.combine import WeightedRewards

    scorer = WeightedRewards.from_config(config.rewards)
    print("\n".join(preview(policy, scorer, samples, config)))


if __name__ == "__main__":
    raise SystemExit(main())
