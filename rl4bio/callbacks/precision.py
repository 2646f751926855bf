"""The precision of a run, checked against its hardware and its model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision

from rl4bio.callbacks.outputs import say
from rl4bio.errors import ConfigError
from rl4bio.hardware import Capability, Decision, model_family, resolve_precision

_LOG = logging.getLogger(__name__)

UNKNOWN_FAMILY = "gemma"
"""A model that does not tell its family is treated like the most delicate one."""


@dataclass(eq=False)
class PrecisionByCapability(pl.Callback):
    """Logs the Trainer's precision with a reason, and refuses one that would overflow.

    `rl4bio fit` resolves `auto` before it builds the Trainer; people who build their own Trainer
    set `precision="auto"` here and leave the Trainer's at its default.
    """

    precision: str = "trainer"
    """trainer: check what the Trainer has; otherwise auto, 32-true, bf16-mixed or 16-mixed, which
    replaces it."""
    family: str = ""
    """Model family such as gemma3; empty = read from the policy's configuration."""

    def __post_init__(self) -> None:
        known = ("trainer", "auto", "32-true", "bf16-mixed", "16-mixed")
        if self.precision not in known:
            raise ValueError(f"precision: got {self.precision!r}, needs one of {', '.join(known)}")
        self.choice: Decision | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Runs before the strategy is set up, the last moment at which the plugin may change.

        Raises:
            ConfigError: the precision is not safe for this model on this hardware.
        """
        capability = _capability(trainer)
        family = self.family or family_of(pl_module) or UNKNOWN_FAMILY
        if self.precision == "trainer":
            best = resolve_precision("auto", family=family, capability=capability)
            current = str(trainer.precision)
            chosen = resolve_precision(current, family=family, capability=capability)
            self.choice = best if best.value == current else chosen
        else:
            self.choice = resolve_precision(self.precision, family=family, capability=capability)
            self._replace(trainer, self.choice.value)
        _LOG.info("precision %s: %s", self.choice.value, self.choice.reason)
        say(trainer, f"precision {self.choice.value}: {self.choice.reason}")

    def _replace(self, trainer: pl.Trainer, value: str) -> None:
        if trainer.precision == value:
            return
        if trainer.precision != "32-true":
            raise ConfigError(
                f"precision_by_capability.precision: {value} here, but the Trainer was built with "
                f"precision={trainer.precision!r}; leave one of them out"
            )
        plugin: Precision = Precision()
        if value.endswith("-mixed"):
            device = trainer.strategy.root_device.type
            plugin = MixedPrecision(value, device)  # type: ignore[arg-type]
        trainer.strategy.precision_plugin = plugin


def family_of(module: Any) -> str:
    """The family of the model that a module holds as `policy.model` or `model`; empty if none."""
    for path in (("policy", "model"), ("model",), ("policy",)):
        found = module
        for name in path:
            found = getattr(found, name, None)
        model_type = getattr(getattr(found, "config", None), "model_type", None)
        if isinstance(model_type, str):
            return model_family(model_type)
    return ""


def _capability(trainer: pl.Trainer) -> Capability | None:
    """The lowest capability over the ranks' own devices; None where they run on no CUDA device."""
    device = trainer.strategy.root_device
    if device.type != "cuda":
        return None
    own = torch.cuda.get_device_capability(device)
    if not torch.distributed.is_initialized():
        return own
    found = [own] * trainer.world_size
    torch.distributed.all_gather_object(found, own)
    return min(found)
