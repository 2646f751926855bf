"""Where the first number that is none comes from, and an update that destroys the policy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.engine.sharding import own_share
from rl4bio.errors import NonFiniteError
from rl4bio.text.redaction import one_line
from rl4bio.types import Rollout

FIRST_STEPS = 3
"""Steps at the full learning rate after which it is known not to destroy the policy."""
DESTROYED_NATS = 5.0
"""An update after which what was just likely is so much less likely, a token, has destroyed it."""
SHOWN_CHARACTERS = 80


def bad_weight(model: Any) -> str:
    """Says which weight is the first with a NaN or infinite value; "" where none is."""
    for name, weight in model.named_parameters():
        own = own_share(weight.detach())
        if own.is_floating_point() and not bool(torch.isfinite(own).all()):
            return f"weight {name} is not finite"
    return ""


def bad_gradient(model: nn.Module) -> str:
    """Says where a gradient is NaN or infinite, nearest to the loss; "" where none is."""
    for name, weight in reversed(list(model.named_parameters())):
        if weight.grad is not None and not bool(torch.isfinite(own_share(weight.grad)).all()):
            return f"the gradient of {name} is not finite"
    return ""


class Doubts:
    """What must not be so, looked at together: the host waits for the device once."""

    def __init__(self) -> None:
        self._found: list[tuple[Tensor, Callable[[], NonFiniteError]]] = []

    def add(self, bad: Tensor, error: Callable[[], NonFiniteError]) -> None:
        """Note a bool [] on any device, and what makes the error where it is True."""
        self._found.append((bad, error))

    def settle(self) -> None:
        """Raise the error of the first that is so.

        Raises:
            NonFiniteError: see `add`.
        """
        found, self._found = self._found, []
        if not found:
            return
        bad = torch.stack([one for one, _ in found]).tolist()
        for is_bad, (_, error) in zip(bad, found, strict=True):
            if is_bad:
                raise error()


def require_finite(
    values: Tensor,
    mask: Tensor,
    rollout: Rollout,
    rows: Tensor | None = None,
    *,
    where: str,
    doubts: Doubts | None = None,
) -> None:
    """Refuse log-probabilities of a rollout's tokens that are NaN or infinite.

    Args:
        values: float [n, C].
        mask: bool [n, C], True = real token.
        rollout: N rows.
        rows: int [n], their numbers in the rollout; None is all.
        where: whose they are, and the step.
        doubts: where it is only noted, to be looked at later; None looks at once.

    Raises:
        NonFiniteError: names the prompt.
    """
    bad = (~torch.isfinite(values) & mask).any(-1)

    def error() -> NonFiniteError:
        first = int(bad.nonzero()[0])
        sample = rollout.row_samples[first if rows is None else int(rows[first])]
        text = sample.prompt if isinstance(sample.prompt, str) else sample.prompt[-1]["content"]
        return NonFiniteError(
            f"the log-probabilities of {where} are not finite for sample {sample.uid} "
            f"({one_line(text, SHOWN_CHARACTERS)!r}); use trainer.precision=32-true, or lower "
            "optim.lr"
        )

    noted = Doubts() if doubts is None else doubts
    noted.add(bad.any(), error)
    if doubts is None:
        noted.settle()


@contextlib.contextmanager
def weight_named(model: Any) -> Iterator[None]:
    """Add the bad weight to a NonFiniteError from inside, if a weight is what is bad."""
    try:
        yield
    except NonFiniteError as error:
        weight = bad_weight(model)
        if not weight or weight in str(error):
            raise
        raise NonFiniteError(f"{error}; {weight}") from error


def require_survival(before: float, after: float, *, place: str) -> None:
    """Refuse an update that makes the policy's own text unlikely, before the weights are kept.

    Args:
        before: mean negative log-likelihood of some tokens, in nats, before the update.
        after: of the same tokens, behind it.
        place: the step, for the message.

    Raises:
        NonFiniteError: it has grown by DESTROYED_NATS a token or is no number.
    """
    if not after - before < DESTROYED_NATS:
        raise NonFiniteError(
            f"{place} destroyed the policy: tokens that had {before:.3g} nats on average have "
            f"{after:.3g} behind its update; these weights are not saved; lower optim.lr (a tenth "
            "to begin with), or set optim.warmup_steps and optim.max_grad_norm"
        )
