"""`rl4bio fit`: one run from a configuration to a tuned model."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio.cli import add_config_arguments, run_command, set_run_folder
from rl4bio.config import load_config, to_yaml
from rl4bio.parts import build_callbacks, build_module, build_trainer, prepare, scores_molecules
from rl4bio.run_log import log_to
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder

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
    from rl4bio.callbacks.loggers import run_end

    started = time.monotonic()
    policy, data, precision = prepare(config)
    warn_of_memory(config, policy, data)
    module = build_module(config, policy)
    folder = open_folder(config, resume=arguments.resume)
    callbacks, checkpoint = build_callbacks(
        config, folder, resume=arguments.resume, molecules=scores_molecules(module)
    )
    trainer = build_trainer(config, folder, precision, callbacks)
    with run_end(trainer.loggers, stopped=lambda: checkpoint.signal is not None):
        if checkpoint.resume_from is not None:
            data.draws = position(checkpoint.resume_from)
        run_trainer(trainer, module, data)
        if checkpoint.signal is None and trainer.is_global_zero:
            from rl4bio.outputs import finish

            finish(config, folder, module, seconds=time.monotonic() - started)
    if checkpoint.signal is not None:
        again = shlex.join(["--config", arguments.config, *arguments.overrides, "--resume"])
        print(
            f"stopped after step {module.iteration}; continue with: rl4bio fit {again}",
            file=sys.stderr,
        )
        return 128 + checkpoint.signal
    return 0


def warn_of_memory(config: RunConfig, policy: Policy, data: PromptDataModule) -> None:
    """Say before a GRPO run on a CPU that it will not fit: the system would end it silently."""
    from rl4bio.inference import find_device

    if config.task != "grpo" or find_device(config.trainer.accelerator).type != "cpu":
        return
    from rl4bio.memory import memory_warning
    from rl4bio.preflight import memory_of

    memory = memory_of(policy, data.samples("train"), config)
    log.info("%s", memory.describe())
    if text := memory_warning(memory):
        log.warning("%s", text)


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
