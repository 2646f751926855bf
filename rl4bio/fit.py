"""`rl4bio fit`: one run from a configuration to a tuned model."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import logging
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config.load import config_dict, load_config, stage_configs, to_yaml
from rl4bio.hardware import CARDS
from rl4bio.process.endings import set_run_folder
from rl4bio.process.signals import ENDING, LISTENER, stopped_by
from rl4bio.runs.begun_answers import write_out
from rl4bio.runs.claim import find_moved, nothing_to_do, stored_config
from rl4bio.runs.companions import part_company, together
from rl4bio.runs.endings import next_commands, say_stopped, say_where
from rl4bio.runs.launchers import settle
from rl4bio.runs.log import close_logging, first_process, log_to, quiet_libraries, stage
from rl4bio.runs.meeting import folder_is_made, wait_for_folder
from rl4bio.runs.parts import (
    build_callbacks,
    build_module,
    build_trainer,
    prepare,
    scores_molecules,
)
from rl4bio.runs.room import check_room, trained_at_least
from rl4bio.runs.screen import lasting_output
from rl4bio.runs.slurm import leave_out_foreign_checkpoints, started_again
from rl4bio.sections import RunConfig
from rl4bio.sections.checks import require
from rl4bio.storage import RunFolder, load_checkpoint_folder
from rl4bio.text.redaction import mask_secrets
from rl4bio.types import RememberingScorer

if TYPE_CHECKING:
    import lightning as L

    from rl4bio.data.module import PromptDataModule
    from rl4bio.modules.base import PolicyModule
    from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    try:
        code = run_command(together(fit), command_parser(), argv, signals=ENDING)
        logging.getLogger("rl4bio").info("end: exit code %d", code)
    finally:
        close_logging()
    return code


def command_parser() -> argparse.ArgumentParser:
    """The options of the command."""
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
    parser.add_argument(
        "--card",
        choices=CARDS,
        help="with --dry-run: whether the run would fit this GPU",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run of this name")
    parser.add_argument(
        "--restart",
        action="store_true",
        help="start over; what is there under this name is kept beside it, as NAME.before-1",
    )
    parser.add_argument("--seeds", metavar="1,2,3", help="a run of each (1-3,8 too), and compare")
    parser.add_argument(
        "--sweep",
        metavar="KEY=A,B",
        action="append",
        default=[],
        help="a run of each value; several make a grid",
    )
    return parser


def fit(arguments: argparse.Namespace) -> int:
    """The whole run; the exit code is 0, or 128 + n after signal n with the state saved."""
    if arguments.seeds is not None or arguments.sweep:
        from rl4bio.comparisons.starting import fit_several

        return fit_several(arguments)
    config = load_config(arguments.config, arguments.overrides)
    task = settle(os.environ, num_nodes=config.trainer.num_nodes)
    if (arguments.print_config or arguments.dry_run) and not first_process():
        return 0
    if arguments.print_config:
        print(to_yaml(config), end="")
        return 0
    if arguments.dry_run:
        stages = stage_configs(config)
        for number, one in enumerate(stages, start=1):
            print(f"stage {number} of {len(stages)}: {one.name}, here from the first weights")
            dry_run(one, card=arguments.card)
        if not stages:
            dry_run(config, card=arguments.card)
        return 0
    require(not arguments.card, "--card", "plans for a card that need not be there; add --dry-run")
    started = time.monotonic()
    write_out(config)
    find_moved(config, arguments)
    arguments.resume = arguments.resume or started_again()
    if task is not None and not config.stages:  # each stage joins by itself
        from rl4bio.runs.ranks import join

        join(config.trainer)
    if done := nothing_to_do(config, arguments):
        print(done)
        return 0
    if config.stages:
        from rl4bio.runs.chain import fit_chain

        open_folder(config, resume=arguments.resume)
        return fit_chain(config, arguments)
    check_room(config, trained_at_least(config))
    policy, data, precision, scorer = prepare(config)
    warn_of_memory(config, policy, data)
    check_room(config, sum(p.numel() for p in policy.trainable_parameters()))
    module = build_module(config, policy, scorer)
    folder = open_folder(config, resume=arguments.resume)
    try:
        with lasting_output():
            return train(config, arguments, folder, module, data, precision, started=started)
    except BaseException as error:
        log.info("error: %s: %s", type(error).__name__, mask_secrets(str(error)))
        if folder.made and not module.iteration:
            forget(folder, error)
        raise


def forget(folder: RunFolder, error: BaseException) -> None:
    """Give the name of a run back in which nothing was trained; its log is kept elsewhere."""
    set_run_folder(None)
    log.info("%s", mask_secrets("".join(traceback.format_exception(error))))
    kept = Path(tempfile.gettempdir()) / f"rl4bio-{folder.root.name}-{os.getpid()}-log.txt"
    with contextlib.suppress(OSError):
        shutil.copy(folder.log, kept)
    folder.discard()
    print(f"nothing was trained: {folder.root} is removed, its log is {kept}", file=sys.stderr)


def train(
    config: RunConfig,
    arguments: argparse.Namespace,
    folder: RunFolder,
    module: PolicyModule,
    data: PromptDataModule,
    precision: str,
    *,
    started: float,
) -> int:
    """The steps, and what they leave in the run's folder; gives the exit code."""
    from rl4bio.callbacks.loggers.build import MetricsCSV, go_back, run_end

    callbacks, checkpoint = build_callbacks(
        config, folder, resume=arguments.resume, molecules=scores_molecules(module)
    )
    leave_out_foreign_checkpoints(folder.root)
    trainer = build_trainer(config, folder, precision, callbacks)
    quiet_libraries()
    with run_end(trainer.loggers, stopped=lambda: checkpoint.signal is not None):
        step = 0
        if checkpoint.resume_from is not None:
            state = load_checkpoint_folder(Path(checkpoint.resume_from))[1]
            data.draws, step = int(state["draws"]), int(state["iteration"])
        if arguments.resume and trainer.is_global_zero:
            sent_to = max(one.newest for one in trainer.loggers if isinstance(one, MetricsCSV))
            for logger in trainer.loggers:
                go_back(logger, step, sent_to)
            folder.go_back(step)
        again = shlex.join(["--config", arguments.config, *arguments.overrides, "--resume"])
        LISTENER.on_leave = functools.partial(say_stopped, checkpoint, again)
        try:
            run_trainer(trainer, module, data)
            part_company()
        except BaseException as error:
            number = stopped_by(error)
            if trainer.is_global_zero and number is not None:
                say_stopped(checkpoint, again, number)
            elif trainer.is_global_zero and checkpoint.saved_step:
                say_where(f"step {checkpoint.saved_step} is saved", again)
            raise
        if checkpoint.signal is None and trainer.is_global_zero:
            from rl4bio.runs.finish import finish

            log.info("trained: %d steps; writing the outputs", module.iteration)
            seconds = time.monotonic() - started
            finish(config, folder, module, seconds=seconds, samples=data.samples("train"))
            molecules = scores_molecules(module) or module.policy.family == "molgpt"
            print(next_commands(folder, molecules=molecules))
    if checkpoint.signal is not None:
        if trainer.is_global_zero:
            say_stopped(checkpoint, again, checkpoint.signal)
        return 128 + checkpoint.signal
    return 0


def warn_of_memory(config: RunConfig, policy: Policy, data: PromptDataModule) -> None:
    """Say before a GRPO run on a CPU that it will not fit: the system would end it silently."""
    from rl4bio.runs.policies import find_device

    if config.task != "grpo" or find_device(config.trainer.accelerator).type != "cpu":
        return
    from rl4bio.runs.memory import memory_warning
    from rl4bio.runs.preflight import memory_of

    memory = memory_of(policy, data.samples("train"), config)
    log.info("%s", memory.describe())
    if text := memory_warning(memory):
        log.warning("%s", text)


def open_folder(config: RunConfig, *, resume: bool) -> RunFolder:
    """The run's folder; only the first process claims it and writes its configuration."""
    from rl4bio.callbacks.loggers.masking import mask_text

    output_dir = Path(config.output_dir)
    if first_process():
        stored = stored_config(config)
        folder = RunFolder.open(output_dir, config.name, stored, resume=resume)
        folder_is_made()
    else:
        folder = RunFolder(output_dir / config.name)
        wait_for_folder(folder.config)
    set_run_folder(folder.root)
    log_to(folder.log)
    log.info("command: %s", mask_text(shlex.join(sys.argv), config_dict(config)))
    packages = ["rl4bio", "torch", "lightning", "transformers", "peft"]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    log.info("versions: %s, Python %s", versions, platform.python_version())
    return folder


def run_trainer(trainer: L.Trainer, module: PolicyModule, data: PromptDataModule) -> None:
    """`trainer.fit`, with Ctrl-C as the exception that it was (Lightning makes it SystemExit)."""
    try:
        trainer.fit(module, datamodule=data)
    except SystemExit as error:
        if stopped_by(error) is not None:
            raise KeyboardInterrupt from None
        raise


def dry_run(config: RunConfig, *, card: str | None = None) -> None:
    """Everything up to the first step, and what the rewards say about the untrained policy."""
    policy, data, precision, scorer = prepare(config)
    samples = data.samples("train")
    trained = sum(p.numel() for p in policy.trainable_parameters())
    total = sum(p.numel() for p in policy.model.parameters())
    print(f"policy: {config.policy.checkpoint}, {trained:,} of {total:,} weights are trained")
    print(f"precision: {precision}; train prompts: {len(samples)}")
    if config.task == "sft":
        for split, count in data.left_out.items():
            kept = len(data.samples("val" if split == "val" else "train"))
            print(
                f"demonstrations: {kept} of {kept + count} in {split} fit "
                f"sft.max_tokens={config.sft.max_tokens}"
            )
    if scorer is None:
        return
    from rl4bio.runs.preflight import plan_for, preview

    if card is not None:
        print("\n".join(plan_for(policy, samples, config, card)))

    stage("sampling and scoring a few completions")
    rewards = RememberingScorer.of(scorer).scorer
    print("\n".join(preview(policy, rewards, samples, config)))


if __name__ == "__main__":
    raise SystemExit(main())
