"""In which phase of a step the memory ran out: what lowers it differs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])

REMEDIES = {
    "rollout": "lower rollout.max_completion_tokens, data.options.batch_size or grpo.group_size",
    "reference": "lower grpo.tokens_per_micro_batch or rollout.max_prompt_tokens, or set "
    "grpo.kl_coef=0",
    "update": "lower grpo.tokens_per_micro_batch or set it to auto (the result stays the same), "
    "lower rollout.max_completion_tokens, or set policy.gradient_checkpointing=true",
    "imitation": "lower sft.tokens_per_micro_batch or set it to auto (the result stays the same), "
    "lower sft.max_tokens, or set policy.gradient_checkpointing=true",
}
"""Of each phase the three settings that take most of its memory."""


GATHERED = ", or set rollout.gather_weights=false"
"""What else lowers that of a rollout for which a sharded model is gathered."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there is no memory left; on CPUs torch says so in words alone."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate" in str(error)


def phase(name: str) -> Callable[[F], F]:
    """Let a method of a module say where it was when the memory ran out.

    Args:
        name: of the phase, a key of `REMEDIES`.
    """

    def decorate(method: F) -> F:
        @functools.wraps(method)
        def run(self: Any, *args: Any, **options: Any) -> Any:
            try:
                return method(self, *args, **options)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                told = getattr(error, "__notes__", None)
                if ran_out(error) and not told:
                    gathers = name == "rollout" and self.sharded and self.rollout.gather_weights
                    remedies = REMEDIES[name] + (GATHERED if gathers else "")
                    error.add_note(f"in the {name} of {self.place}; {remedies}")
                raise

        return run  # type: ignore[return-value]

    return decorate
