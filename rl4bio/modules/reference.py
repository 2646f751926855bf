"""The frozen model that the KL term pulls toward."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from rl4bio.modules.batching import Rows
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import REFERENCE_ADAPTER, Policy, evaluating


class Reference:
    """The policy as it was before training.

    - a new adapter: the same model with the adapter switched off, no second copy;
    - an adapter that training starts from: its frozen twin `reference` on the same base;
    - full fine-tuning: a frozen copy, kept out of the policy's module tree so that neither
      checkpoints nor `.train()` reach it.

    Args:
        policy: before its first update.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._copy: nn.Module | None = None
        if policy.adapter is None:
            self._copy = copy.deepcopy(policy.model).eval().requires_grad_(False)

    def logprobs(self, rows: Rows, *, temperature: float, top_k: int | None = None) -> Tensor:
        """Log-probabilities of the rows' completion tokens, float32 [n, c], without gradient.

        `top_k` truncates the reference's own distribution, as it does the policy's.
        """
        with self._active() as model, evaluating(model):
            logprobs, _ = row_logprobs(
                self.policy, rows, temperature=temperature, top_k=top_k, model=model
            )
        return logprobs

    @contextlib.contextmanager
    def _active(self) -> Iterator[nn.Module]:
        model: Any = self.policy.model
        if self._copy is not None:
            yield self._copy.to(self.policy.device)
        elif self.policy.adapter is not None and self.policy.adapter.path is None:
            with model.disable_adapter():
                yield model
        else:
            model.set_adapter(REFERENCE_ADAPTER)
            try:
                yield model
            finally:
                model.set_adapter("default")
