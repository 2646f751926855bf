"""What a policy loss is made of: the tokens of a micro-batch, the objective, the whole window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from rl4bio.sections import KLEstimator, Level, LossKind


class Objective(Protocol):
    """What is minimised; `rl4bio.sections.GRPOConfig` is one, and says what each value means."""

    @property
    def loss(self) -> LossKind: ...
    @property
    def level(self) -> Level: ...
    @property
    def clip_low(self) -> float: ...
    @property
    def clip_high(self) -> float: ...
    @property
    def ratio_cap(self) -> float | None: ...
    @property
    def sapo_temperatures(self) -> Sequence[float]: ...
    @property
    def kl_coef(self) -> float: ...
    @property
    def kl_estimator(self) -> KLEstimator: ...
    @property
    def kl_ratio_weight(self) -> bool: ...
    @property
    def kl_floor(self) -> float: ...
    @property
    def entropy_coef(self) -> float: ...
    @property
    def entropy_floor(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Counts of everything that one optimiser step takes in, divided by the number of ranks."""

    num_rows: float
    """Rows, empty ones included."""
    num_tokens: float
    """True entries of the masks."""
    max_tokens: int
    """The configured completion length, not the padded one, which differs by batch."""

    def __post_init__(self) -> None:
        for name in ("num_rows", "num_tokens", "max_tokens"):
            count = getattr(self, name)
            if not count >= 0:
                raise ValueError(f"Window: {name} is {count}, needs a number of at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """The completion tokens of a micro-batch of N rows, padded to C."""

    logprobs: Tensor
    """float [N, C], of the policy; with `entropy` the only one that gets a gradient."""
    old_logprobs: Tensor
    """float [N, C], of the policy that sampled; may be `logprobs` itself."""
    advantages: Tensor
    """float [N]."""
    mask: Tensor
    """bool [N, C], True = counts in the loss; values where it is False are never read."""
    ref_logprobs: Tensor | None = None
    """float [N, C], of the reference; without it there is no KL term."""
    entropy: Tensor | None = None
    """float [N, C], to be logged, and kept above its floor where that is asked for."""
    correction: Tensor | None = None
    """float [N, C], from `sampling_correction`, token level for vespo; None = 1."""
