"""A policy that is only asked: loaded for inference, on its device, in the run's precision."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from rl4bio.engine.cpu.products import settle_products
from rl4bio.errors import ConfigError
from rl4bio.hardware import Decision, cpu_bfloat16, lowest_capability, resolve_precision
from rl4bio.modules.loading import load_policy, load_tuned, read_family
from rl4bio.modules.policy import Policy
from rl4bio.modules.quantized import freeze
from rl4bio.sections import PolicyConfig, RunConfig, TrainerConfig

log = logging.getLogger("rl4bio")


HALF = {"bf16": torch.bfloat16, "16": torch.float16}


def choose_precision(
    config: RunConfig, *, cuda: bool, trained: bool = False, family: str | None = None
) -> tuple[Decision, torch.dtype]:
    """Precision of a run, and the dtype that its base weights are loaded in.

    Half-precision weights only where they are frozen under an adapter, or asked for to infer with.
    Weights that are trained stay in float32, as do the optimiser's sums, or small updates would be
    rounded away: with bf16-true asked for, products alone are in bfloat16.

    Args:
        config: policy and trainer sections.
        cuda: whether it runs on CUDA devices.
        trained: whether the policy is trained.
        family: of the model, where it is loaded; None reads it from the checkpoint.

    Raises:
        ConfigError: the requested precision does not fit this machine.
        ModelError: the checkpoint cannot be read.
    """
    precision = resolve_precision(
        config.trainer.precision,
        family=read_family(config.policy) if family is None else family,
        capability=lowest_capability() if cuda else None,
        fast_cpu_bfloat16=cpu_bfloat16(),
    )
    if trained and precision.value == "16-mixed" and config.trainer.strategy == "fsdp":
        reason = f"{precision.reason}, but 16-mixed has no shared weights (fsdp)"
        precision = Decision("32-true", reason)
    half = HALF.get(precision.value.split("-")[0], torch.float32)
    frozen = config.policy.adapter is not None
    if trained and precision.value == "bf16-true":
        reason = "requested bf16-true; what is trained stays in float32"
        precision = Decision("bf16-mixed", reason)
    return precision, half if frozen or precision.value.endswith("-true") else torch.float32


@contextlib.contextmanager
def opened_policy(config: RunConfig, tuned: Path | None = None) -> Iterator[Policy]:
    """A policy for inference, on its device and in the run's precision.

    The base is the checkpoint without an adapter, held in the bits that it was trained in, like the
    base under a tuned adapter.

    Args:
        config: of the run; policy and trainer sections.
        tuned: adapter folder or whole model of a finished run; None is the base.

    Raises:
        ModelError: the checkpoint or the folder cannot be read.
        ConfigError: precision or accelerator do not fit this machine.
    """
    gc.collect()  # of the policy before this one
    trainer, section = config.trainer, config.policy
    device = find_device(trainer.accelerator)
    settle_cpu(trainer, device)
    precision, dtype = choose_precision(config, cuda=device.type == "cuda")
    log.info("%s on %s (%s)", precision.value, device, precision.reason)
    half = HALF.get(precision.value.split("-")[0])
    mixed = precision.value.endswith("-mixed")
    how: dict[str, Any] = {"dtype": dtype, "precision": precision.value}
    how["cuda"] = device.type == "cuda"
    if tuned is None:
        plain = PolicyConfig(
            checkpoint=section.checkpoint,
            revision=section.revision,
            attention=section.attention,
            date=section.date,
        )
        plain.quantization = section.quantization
        policy = load_policy(plain, **how)
        if section.quantization != "none":
            freeze(policy.model)  # as under an adapter
    else:
        policy = load_tuned(section, tuned, **how)
    torch.nn.Module.to(policy.model, device)  # transformers' own refuses quantised models
    policy.backend = config.rollout.backend
    with torch.autocast(device.type, dtype=half or torch.bfloat16, enabled=mixed):
        yield policy


def settle_cpu(trainer: TrainerConfig, device: torch.device) -> None:
    """Threads, and what multiplies matrices where the run computes on the CPU."""
    if trainer.num_threads is not None:
        torch.set_num_threads(trainer.num_threads)
    if device.type == "cpu":
        log.info("float32 products: %s", settle_products())


def find_device(accelerator: Literal["auto", "cpu", "gpu", "mps"]) -> torch.device:
    """The device that `trainer.accelerator` means on this machine.

    Raises:
        ConfigError: the named accelerator is not there.
    """
    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if accelerator in there and not there[accelerator]:
        raise ConfigError(
            f"trainer.accelerator: {accelerator} is not available here; use auto or cpu"
        )
    name = accelerator if accelerator != "auto" else "gpu" if there["gpu"] else "cpu"
    return torch.device("cuda" if name == "gpu" else name)
