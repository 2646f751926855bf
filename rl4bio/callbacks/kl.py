"""How far the policy has moved from the reference."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import lightning.pytorch as pl
import torch
from torch import Tensor

from rl4bio.callbacks.outputs import log_histogram, over_ranks, quantiles, say
from rl4bio.callbacks.step import Step, StepCallback
from rl4bio.functional.kl import kl_terms
from rl4bio.sections.checks import at_least

_LOG = logging.getLogger(__name__)


def completion_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Mean k3 estimate of each completion's tokens; NaN for a completion without tokens.

    Args:
        logprobs: float [N, C], of the sampling policy.
        ref_logprobs: float [N, C], of the reference.
        mask: bool [N, C], True = real token.

    Returns:
        float [N], at least 0, in nats a token.
    """
    terms = torch.where(mask, kl_terms(logprobs, ref_logprobs), 0.0)
    return terms.sum(dim=1) / mask.sum(dim=1)


@dataclass(eq=False)
class KLMonitor(StepCallback):
    """Logs each completion's divergence from the reference; may stop a run that drifts away.

    It reads the log-probabilities that the step computed, so it needs `grpo.kl_coef` above 0 (or
    another reason for the module to run its reference); without them it says so once.
    """

    warn_above: float | None = None
    """Warn when the mean over a step's completions passes this, in nats a token."""
    ceiling: float | None = None
    """Stop the run cleanly, with its state saved, when the mean passes this."""
    histogram_every: int = 10
    """Steps between histograms."""

    def __post_init__(self) -> None:
        for name in ("warn_above", "ceiling"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: got {value}, needs a number above 0")
        at_least(1, histogram_every=self.histogram_every)
        self.stop_reason = ""
        self._above = False
        self._blind = False

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """Log, then compare with the limits; every rank sees the same values and decides alike."""
        experience = step.experience
        if experience is None or experience.ref_logprobs is None:
            self.on_other_step(trainer, module)
            return
        rollout = experience.rollout
        own = completion_kl(rollout.logprobs, experience.ref_logprobs, rollout.completion_mask)
        values = over_ranks(module, own)
        mean = float(values.nanmean())
        metrics = {"kl/completion_mean": mean, **quantiles("kl/completion", values)}
        for name, value in metrics.items():
            module.log(name, value, rank_zero_only=True)
        if step.number % self.histogram_every == 0:
            log_histogram(trainer, "kl/completion", values, step.number)
        self._compare(trainer, mean, step.number)

    def on_other_step(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Say once that there is nothing to log."""
        if not self._blind:
            self._blind = True
            say(trainer, "kl_monitor: this run computes no reference, so there is no KL to log")

    def _compare(self, trainer: pl.Trainer, mean: float, step: int) -> None:
        above = self.warn_above is not None and mean > self.warn_above
        if above and not self._above:
            _LOG.warning(
                "kl_monitor: KL %.4g nats a token at step %d passes warn_above; lower optim.lr or "
                "raise grpo.kl_coef if it goes on",
                mean,
                step,
            )
        self._above = above
        if self.ceiling is not None and mean > self.ceiling:
            self.stop_reason = (
                f"kl_monitor: stopped at step {step}, KL {mean:.4g} nats a token passes the "
                f"ceiling {self.ceiling:g}; lower optim.lr or raise grpo.kl_coef"
            )
            _LOG.warning(self.stop_reason)
            trainer.should_stop = True
