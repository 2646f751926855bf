"""The frozen model that the KL term pulls toward."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.modules.batching import Rows
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import Policy, evaluating


class Reference:
    """The policy as it was before training.

    - a new adapter: the same model with the adapter switched off, no second copy;
    - an adapter that training starts from, of any kind, or full fine-tuning: a copy of the trained
      weights as they were, which stand in for them while the reference is asked. Neither
      checkpoints nor the optimiser know of the copy.

    Args:
        policy: before its first update.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._start: list[Tensor] | None = None
        if policy.adapter is None or policy.adapter.path is not None:
            self._start = [p.detach().clone() for p in policy.trainable_parameters()]

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
        if self._start is None:
            with model.disable_adapter():
                yield model
            return
        self._start = [tensor.to(self.policy.device) for tensor in self._start]
        trained = self.policy.trainable_parameters()
        now = [parameter.data for parameter in trained]
        try:
            _put(trained, self._start)
            yield model
        finally:
            _put(trained, now)


def _put(parameters: list[nn.Parameter], tensors: list[Tensor]) -> None:
    """Let parameters hold other tensors; autocast must not go on with what it cast before."""
    for parameter, tensor in zip(parameters, tensors, strict=True):
        parameter.data = tensor
    torch.clear_autocast_cache()
