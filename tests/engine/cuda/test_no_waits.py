"""The step that is recorded as a CUDA graph makes no host wait, which a capture would refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rl4bio.engine.cuda.static_decode import StaticLoop
from tests.engine.test_decode import PROMPTS, run

WAITING = {
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim"),
    *("unique_consecutive", "bincount", "equal", "is_nonzero", "lift_fresh"),
}
"""Operators whose result, or its shape, is read from the device, or made from host numbers."""


class NoHostWait(TorchDispatchMode):
    """Refuses operators for which the host would wait for a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        by_mask = name in ("index", "index_put", "index_put_") and any(
            isinstance(one, torch.Tensor) and one.dtype in (torch.bool, torch.uint8)
            for one in args[1]
        )
        counted = name == "repeat_interleave" and len(args) == 1
        if name in WAITING or by_mask or counted:
            raise AssertionError(f"{func} in a recorded step")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps that ran without a wait."""
    found: list[int] = []
    advance = StaticLoop.advance

    def watched(self: StaticLoop) -> None:
        with NoHostWait():
            advance(self)
        found.append(1)

    monkeypatch.setattr(StaticLoop, "advance", watched)
    return found


@pytest.mark.parametrize("family", ["gemma3", "gemma2", "llama", "qwen2", "gpt2", "molgpt"])
@pytest.mark.parametrize("greedy", [False, True])
def test_a_step_waits_for_nothing(
    family: str, greedy: bool, make_model: Callable[..., Any], steps: list[int]
) -> None:
    run(make_model(family), PROMPTS, [], static=True, greedy=greedy)
    assert len(steps) == 13


def test_a_planted_look_at_a_value_is_found(
    make_model: Callable[..., Any], steps: list[int]
) -> None:
    model = make_model("llama", lora=False)
    mlp = model.model.layers[0].mlp
    forward = mlp.forward
    mlp.forward = lambda x: forward(x) * (1.0 if bool(x.isfinite().all()) else 0.0)
    with pytest.raises(AssertionError, match="_local_scalar_dense"):
        run(model, PROMPTS, [], static=True)
