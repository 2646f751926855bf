"""No host wait where a GPU would stand still for it: in a recorded step, and in an update's rows.

A recorded step is watched operator by operator. An update runs on the device `meta`, whose tensors
have no values: what looks at one, or at a shape that depends on one, is an error there, as is an
operator that mixes devices.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rl4bio.engine.cuda.static_decode import StaticLoop
from rl4bio.engine.layout import pack
from rl4bio.engine.packed_logprobs import halves, packed_logprobs
from rl4bio.functional.correction import sampling_correction
from rl4bio.functional.losses import grpo_loss
from rl4bio.functional.objective import TokenBatch, Window
from rl4bio.sections import GRPOConfig, LossKind
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


META = torch.device("meta")


@pytest.fixture
def meta_has_no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch does not know the device there, and says so by an error."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device=None: False)


def learn_from_a_micro_batch(model: Any, loss: LossKind = "dapo") -> None:
    """Layout on the host, then forward, objective and backward without values."""
    index = torch.tensor([0, 0, 1, 1])
    prompts = torch.randint(5, 19, (2, 7))
    prompt_mask = torch.arange(7) >= torch.tensor([[2], [0]])
    completions = torch.randint(5, 19, (4, 5))
    mask = torch.arange(5) < torch.tensor([[5], [3], [1], [4]])
    packed = pack(prompts, prompt_mask, index, completions, mask, front=halves(model).front)
    shape = (4, 5)
    packed = packed.to(META)
    found = packed_logprobs(model.to(META), packed, temperature=0.7)
    logprobs, entropy = (packed.unpack(values, shape) for values in found)
    old = torch.empty(shape, device=META)
    tokens = TokenBatch(
        logprobs=logprobs,
        old_logprobs=old,
        advantages=torch.empty(4, device=META),
        mask=mask.to(META),
        ref_logprobs=old,
        entropy=entropy,
        correction=sampling_correction(old, old, mask.to(META), cap=2.0),
    )
    clip = 5.0 if loss == "cispo" else 0.28
    objective = GRPOConfig(loss=loss, kl_coef=0.1, kl_floor=0.01, clip_high=clip)
    window = Window(num_rows=4.0, num_tokens=13.0, max_tokens=5)
    grpo_loss(tokens, objective, window).total.backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert grads
    assert all(grad is not None and grad.device == META for grad in grads)


@pytest.mark.usefixtures("meta_has_no_autocast")
@pytest.mark.parametrize("family", ["gemma3", "gemma2", "llama", "qwen2", "phi3", "gpt2", "molgpt"])
@pytest.mark.parametrize("lora", [False, True])
def test_a_micro_batch_waits_for_nothing(
    family: str, lora: bool, make_model: Callable[..., Any]
) -> None:
    learn_from_a_micro_batch(make_model(family, lora=lora))


@pytest.mark.usefixtures("meta_has_no_autocast")
@pytest.mark.parametrize("loss", typing.get_args(LossKind))
def test_no_loss_waits(loss: LossKind, make_model: Callable[..., Any]) -> None:
    learn_from_a_micro_batch(make_model("llama"), loss)


@pytest.mark.usefixtures("meta_has_no_autocast")
def test_a_look_in_a_micro_batch_is_found(make_model: Callable[..., Any]) -> None:
    model = make_model("llama", lora=False)
    mlp = model.model.layers[0].mlp
    forward = mlp.forward
    mlp.forward = lambda x: forward(x) * (1.0 if bool(x.isfinite().all()) else 0.0)
    with pytest.raises(RuntimeError, match="meta"):
        learn_from_a_micro_batch(model)


def test_a_planted_look_at_a_value_is_found(
    make_model: Callable[..., Any], steps: list[int]
) -> None:
    model = make_model("llama", lora=False)
    mlp = model.model.layers[0].mlp
    forward = mlp.forward
    mlp.forward = lambda x: forward(x) * (1.0 if bool(x.isfinite().all()) else 0.0)
    with pytest.raises(AssertionError, match="_local_scalar_dense"):
        run(model, PROMPTS, [], static=True)
