"""What an update asks of its device: one look at what may be wrong, however many micro-batches.

A micro-batch of the modules themselves runs on the device `meta`, whose tensors have no values, so
that every look is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rl4bio.errors import NonFiniteError
from rl4bio.functional.objective import Window
from rl4bio.modules.bad_numbers import Doubts
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.sft import SFTLightningModule, demonstration_loss, encode_demonstrations
from rl4bio.modules.update import Part
from rl4bio.sections import OptimConfig, SFTConfig
from rl4bio.types import Experience, PromptBatch, Sample

META = torch.device("meta")


@pytest.fixture(autouse=True)
def meta_has_no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch does not know the device there, and says so by an error."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device=None: False)


def on_meta(parts: Any) -> Any:
    """A dataclass whose tensors have no values any more."""
    own = {f.name: getattr(parts, f.name) for f in fields(parts)}
    return replace(parts, **{k: v.to(META) for k, v in own.items() if isinstance(v, Tensor)})


@pytest.mark.parametrize("family", ["gemma3", "gemma2", "llama", "gpt2"])
@pytest.mark.parametrize("lora", [False, True])
def test_a_micro_batch_of_the_module_looks_at_nothing(
    family: str,
    lora: bool,
    make_policy: Callable[..., Any],
    make_grpo: Callable[..., Any],
    inside: Callable[..., Any],
    four_samples: list[Sample],
) -> None:
    module = make_grpo(make_policy(family, lora=lora), kl_coef=0.1)
    batch = PromptBatch(samples=four_samples[:2], indices=[0, 1])
    host = inside(module, lambda module: module.generate(batch))
    assert engine_serves(module.policy)
    module.model.to(META)
    rollout = on_meta(host)
    experience = Experience(
        rollout=rollout,
        advantages=torch.empty(8, device=META),
        ref_logprobs=torch.empty_like(rollout.logprobs),
    )
    part = Part(
        experience=experience,
        host=host,
        mask=rollout.completion_mask,
        old=torch.zeros_like(rollout.logprobs),
        groups=None,
    )
    window = Window(num_rows=8.0, num_tokens=30.0, max_tokens=8)
    module.doubts = Doubts()
    for numbers in module.micro_batches(host):
        for is_first in (True, False):
            module._terms(part, numbers, window, is_first=is_first).total.backward()
    with pytest.raises(RuntimeError, match="meta"):  # what is looked at, is looked at here
        module.doubts.settle()


@pytest.mark.parametrize("family", ["gemma3", "llama"])
def test_a_micro_batch_of_demonstrations_looks_at_nothing(
    family: str, make_policy: Callable[..., Any], four_samples: list[Sample]
) -> None:
    policy = make_policy(family)
    rows = encode_demonstrations(policy, four_samples, SFTConfig(prompt_loss_weight=0.5))
    assert engine_serves(policy)
    for piece in rows.micro_batches(60, packed=True):
        demonstration_loss(policy.model.to(META), piece, packed=True).backward()


class Looks(TorchDispatchMode):
    """Counts the values that are read one by one."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.__name__.startswith("_local_scalar_dense")
        return func(*args, **(kwargs or {}))


def test_more_micro_batches_are_no_more_looks(
    make_policy: Callable[..., Any], inside: Callable[..., Any]
) -> None:
    def looks(count: int) -> int:
        policy = make_policy()
        module = SFTLightningModule(policy, sft=SFTConfig(), optim=OptimConfig(), max_steps=4)
        weight = policy.trainable_parameters()[0]

        def step(module: Any) -> int:
            with Looks() as found:
                module.optimizer_step_over(range(count), lambda n: weight.pow(2).sum() * n)
            return int(found.count)

        return int(inside(module, step))

    assert looks(1) == looks(7)


def test_the_first_doubt_is_the_one_that_is_told() -> None:
    doubts, asked = Doubts(), []
    for number, bad in enumerate((False, True, True)):

        def error(number: int = number) -> NonFiniteError:
            asked.append(number)
            return NonFiniteError(f"number {number}")

        doubts.add(torch.tensor(bad), error)
    with pytest.raises(NonFiniteError, match="number 1"):
        doubts.settle()
    assert asked == [1]
    doubts.settle()  # forgotten


def test_nothing_is_updated_by_a_micro_batch_before_the_bad_one(
    make_policy: Callable[..., Any], inside: Callable[..., Any], weights_of: Callable[..., Any]
) -> None:
    policy = make_policy()
    module = SFTLightningModule(policy, sft=SFTConfig(), optim=OptimConfig(), max_steps=4)
    before = weights_of(policy.model)
    weight = policy.trainable_parameters()[0]

    def step(module: Any) -> str:
        scale = [1.0, float("nan"), 1.0]
        with pytest.raises(NonFiniteError) as caught:
            module.optimizer_step_over(scale, lambda x: weight.pow(2).sum() * x)
        return str(caught.value)

    assert inside(module, step).startswith("the loss is nan in step 1; nothing was updated")
    after = weights_of(policy.model)
    assert all(torch.equal(after[name], before[name]) for name in before)
