"""The frozen model that the KL term pulls toward."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.engine.sharding import as_shared, own_share, shards_of
from rl4bio.errors import ModelError
from rl4bio.modules.batching import Rows
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import Policy, evaluating
from rl4bio.sections import ReferenceConfig


class Reference:
    """The policy as it was before training, or at its last refresh.

    - a new adapter: the same model with the adapter switched off, no second copy;
    - an adapter that training starts from, of any kind, full fine-tuning, or a reference that was
      refreshed: a copy of the trained weights as they were, which stand in for them while the
      reference is asked. The optimiser does not know of the copy.

    Args:
        policy: before its first update.
        renewal: when the policy of that moment takes the reference's place (TR-DPO, Gorbatovski et
            al., 2024, arXiv:2404.09656; TRL's `sync_ref_model`).
    """

    def __init__(self, policy: Policy, renewal: ReferenceConfig | None = None) -> None:
        self.policy = policy
        self.renewal = renewal or ReferenceConfig()
        self._start: list[Tensor] | None = None
        self._exchanged = False
        self.begin()

    def begin(self) -> None:
        """Become the policy of this moment, by a copy where one is needed."""
        if self.policy.adapter is None or self.policy.adapter.path is not None:
            self._start = self._copy()

    def _copy(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.policy.trainable_parameters()]

    @torch.no_grad()
    def after_step(self, iteration: int) -> None:
        """Become `mix` times the policy and 1 - `mix` times what was, where it is time."""
        every, mix = self.renewal.refresh_every, self.renewal.mix
        if not every or iteration % every:
            return
        if self._start is None or mix == 1.0:
            self._start = self._copy()
            return
        for kept, parameter in zip(self._start, self.policy.trainable_parameters(), strict=True):
            kept.lerp_(parameter.detach().to(kept.device), mix)

    @property
    def moves(self) -> bool:
        """Whether a checkpoint has to hold it."""
        return self.renewal.refresh_every > 0

    def state_dict(self) -> dict[str, Tensor]:
        """Its weights by number; {} where it is the base without the new adapter. Each rank's
        shares where the policy is sharded."""
        return {str(n): one for n, one in enumerate(self._start or ())}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """What `state_dict` gave.

        Raises:
            ModelError: it is of other weights.
        """
        if not state:
            return
        trained = self.policy.trainable_parameters()
        if [state[str(n)].shape for n in range(len(state))] != [p.shape for p in trained]:
            raise ModelError(
                "the checkpoint's reference has other weights than the policy; resume with the "
                "run's own config.yaml"
            )
        self._start = [as_shared(state[str(n)], p.detach()) for n, p in enumerate(trained)]

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
    def in_force(self) -> Iterator[None]:
        """Inside, all that is gathered of a sharded policy is the reference's.

        Layers are gathered from where their shares lie, so it is values that change places, one
        share at a time. What ranks gather together must be of one model, so none may leave before
        all are through. A policy that is whole is left to `logprobs`.
        """
        if self._start is None or self._exchanged or shards_of(self.policy.model) is None:
            yield
            return
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        self._exchanged = not self._exchanged
        for parameter, tensor in zip(
            self.policy.trainable_parameters(), self._start or (), strict=True
        ):
            now, then = own_share(parameter), own_share(tensor)
            kept = now.clone()
            now.copy_(then)
            then.copy_(kept)

    @contextlib.contextmanager
    def _active(self) -> Iterator[nn.Module]:
        model: Any = self.policy.model
        if self._start is None:
            with model.disable_adapter():
                yield model
            return
        if shards_of(model) is not None:
            with self.in_force():
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
