"""Training that teaches nothing says so, while it runs."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.learning_signs import Row, signs_in
from rl4bio.callbacks.outputs import step_of
from rl4bio.callbacks.progress import planned_steps
from rl4bio.sections.checks import at_least

_LOG = logging.getLogger("rl4bio")

AT_LEAST = 3
"""Steps that a run shorter than `steps` needs for its end to be judged."""


@dataclass(eq=False)
class LearningCheck(pl.Callback):
    """Warns when for `steps` steps on end nothing could be learnt, or the policy falls apart.

    The signs are those of `learning_signs`: no spread in any group, every completion cut off, a
    reward that scores nothing, no gradient, entropy lost, a divergence or a length that runs away.
    Each is said once, in the terminal and in log.txt, and stands in summary.json and report.html.
    Every run has this callback.
    """

    steps: int = 10
    """Consecutive steps that must show a sign; a shorter run is judged at its end. 0 = off."""
    stop: bool = False
    """Stop the run cleanly, with its state and its model saved, at the first sign."""

    def __post_init__(self) -> None:
        at_least(0, steps=self.steps)
        self._first: list[Row] = []
        self._last: deque[Row] = deque(maxlen=max(self.steps, 1))

    def state_dict(self) -> dict[str, Any]:
        """The metrics of the first and of the last steps."""
        return {"first": list(self._first), "last": list(self._last)} if self.steps else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up."""
        self._first = [dict(row) for row in state_dict["first"]][: self.steps]
        self._last.extend(dict(row) for row in state_dict["last"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Look at the newest steps; rank 0 has the means over all ranks."""
        if not self.steps:
            return
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if len(self._first) < self.steps:
            self._first.append(row)
        self._last.append(row)
        found = False
        if trainer.is_global_zero and len(self._last) == self.steps:
            found = self._say(pl_module, step_of(trainer, pl_module))
        if self.stop and trainer.strategy.broadcast(found, 0):
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge a run whose plan was shorter than `steps`, unless a signal has cut it short."""
        step, planned = step_of(trainer, pl_module), planned_steps(trainer, pl_module)
        short = AT_LEAST <= len(self._last) < self.steps and step == planned
        if short and trainer.is_global_zero:
            self._say(pl_module, step)

    def _say(self, module: Any, step: int) -> bool:
        """Warn of what was not said before; whether there is any such sign."""
        rows = list(self._last)
        said: list[dict[str, Any]] | None = getattr(module, "warnings", None)
        if said is None:  # a module of somebody's own
            said = module.warnings = []
        fresh = [s for s in signs_in(self._first, rows) if s.name not in {w["sign"] for w in said}]
        for sign in fresh:
            since = step - len(rows) + 1
            said.append({"sign": sign.name, "from": since, "to": step, "message": sign.message})
            stops = "; the run stops here, as learning_check.stop asks" if self.stop else ""
            _LOG.warning("learning_check: steps %d to %d: %s%s", since, step, sign.message, stops)
        return bool(fresh)
