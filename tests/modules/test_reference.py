"""The reference is the policy as it was before training, and stays it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from rl4bio.errors import ModelError
from rl4bio.functional.masking import pad_left, pad_right
from rl4bio.modules.batching import Rows
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.loading import load_policy
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.modules.reference import Reference
from rl4bio.modules.saving import write_policy
from rl4bio.sections import AdapterConfig, OptimConfig, PolicyConfig, ReferenceConfig

KINDS = ("adapter", "adapter from a folder", "full")


def rows_of(policy: Policy) -> Rows:
    prompts = [policy.encode_prompt(text) for text in ("yes", "Does the drug lower it?")]
    prompt_ids, prompt_mask = pad_left(prompts, policy.pad_id)
    ids, mask = pad_right([[40, 41, 42], [43, 44], [45]], policy.pad_id)
    return Rows(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        prompt_index=torch.tensor([0, 1, 1]),
        completion_ids=ids,
        completion_mask=mask,
    )


def own_logprobs(policy: Policy) -> torch.Tensor:
    with torch.no_grad():
        return row_logprobs(policy, rows_of(policy), temperature=0.9)[0]


@pytest.fixture
def trained_adapter(tiny_policy_folder: Path, tmp_path: Path) -> Path:
    """An adapter folder that is far from its base."""
    policy = load_policy(
        PolicyConfig(checkpoint=str(tiny_policy_folder), adapter=AdapterConfig(rank=2))
    )
    torch.manual_seed(5)
    for parameter in policy.trainable_parameters():
        parameter.data.normal_(0, 0.1)
    write_policy(policy, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def policy_of(make_policy: Callable[..., Policy], trained_adapter: Path) -> Callable[[str], Policy]:
    options: dict[str, dict[str, Any]] = {
        "adapter": {"lora": True},
        "adapter from a folder": {"adapter": AdapterConfig(path=str(trained_adapter))},
        "full": {},
    }
    return lambda kind: make_policy(**options[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_reference_stays_while_the_policy_moves(
    kind: str,
    policy_of: Callable[[str], Policy],
    make_grpo: Callable[..., GRPOLightningModule],
    fit: Callable[..., L.Trainer],
) -> None:
    policy = policy_of(kind)
    start = own_logprobs(policy)
    trained = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    module = make_grpo(policy, kl_coef=0.05, optim=OptimConfig(lr=0.02))
    assert module.reference is not None
    first = module.reference.logprobs(rows_of(policy), temperature=0.9)
    torch.testing.assert_close(first, start, rtol=0, atol=1e-6)  # KL 0 at the start
    assert not first.requires_grad
    fit(module, steps=3)
    last = module.reference.logprobs(rows_of(policy), temperature=0.9)
    assert torch.equal(last, first)
    assert (own_logprobs(policy) - start).abs().max() > 0.01
    after = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert after == trained
    assert not any("reference" in name for name in trained)
    assert len(trained) == (28 if kind != "full" else len(list(policy.model.parameters())))
    assert set(module.trainable_state()) == trained


def test_start_from_an_adapter_is_neither_base_nor_zero(
    policy_of: Callable[[str], Policy],
) -> None:
    """With the adapter only switched off the reference would be the base, far away from here."""
    policy = policy_of("adapter from a folder")
    start = own_logprobs(policy)
    with policy.model.disable_adapter():  # type: ignore[operator]
        base = own_logprobs(policy)
    assert (start - base).abs().max() > 0.5
    reference = Reference(policy).logprobs(rows_of(policy), temperature=0.9)
    torch.testing.assert_close(reference, start, rtol=0, atol=1e-6)


def test_policy_adapter_is_back_after_an_exception(policy_of: Callable[[str], Policy]) -> None:
    policy = policy_of("adapter from a folder")
    rows = rows_of(policy)
    rows.completion_ids = rows.completion_ids + 10_000  # no such embeddings
    with pytest.raises(IndexError):
        Reference(policy).logprobs(rows, temperature=1.0)
    assert policy.model.active_adapter == "default"
    assert any(p.requires_grad for p in policy.model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_neither_module_nor_checkpoint_holds_a_second_model(
    kind: str, policy_of: Callable[[str], Policy], make_grpo: Callable[..., GRPOLightningModule]
) -> None:
    policy = policy_of(kind)
    module = make_grpo(policy, kl_coef=0.05)
    assert len(list(module.parameters())) == len(list(policy.model.parameters()))
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    assert len(checkpoint["state_dict"]) == len(policy.trainable_parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_the_policys_weights_are_back_afterwards(
    kind: str, policy_of: Callable[[str], Policy], weights_of: Callable[..., dict[str, Any]]
) -> None:
    """Also where the reference's forward fails, and under autocast, which keeps what it casts."""
    policy = policy_of(kind)
    reference = Reference(policy)
    rows = rows_of(policy)
    before = reference.logprobs(rows, temperature=0.9)
    for parameter in policy.trainable_parameters():
        parameter.data.add_(0.1)
    moved = weights_of(policy.model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own = own_logprobs(policy)
        kept = reference.logprobs(rows, temperature=0.9)
        again = own_logprobs(policy)
    torch.testing.assert_close(own, again)
    torch.testing.assert_close(kept, before, atol=0.1, rtol=0.05)
    assert (own - kept).abs().mean() > 0.1
    with pytest.raises(RuntimeError, match="stop"), reference._active():
        raise RuntimeError("stop")
    for name, value in weights_of(policy.model).items():
        assert torch.equal(value, moved[name])


def test_checkpoint_of_an_adapter_holds_the_adapter_alone(
    policy_of: Callable[[str], Policy], make_grpo: Callable[..., GRPOLightningModule]
) -> None:
    module = make_grpo(policy_of("adapter from a folder"), kl_coef=0.05)
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    assert len(checkpoint["state_dict"]) == 28
    assert all(".default." in name for name in checkpoint["state_dict"])


def test_no_reference_without_a_use(make_grpo: Callable[..., GRPOLightningModule]) -> None:
    assert make_grpo().reference is None
    assert make_grpo(monitor_kl=True).reference is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_refreshed_reference_is_the_policy_of_that_step(
    kind: str, policy_of: Callable[[str], Policy]
) -> None:
    policy = policy_of(kind)
    start = own_logprobs(policy)
    reference = Reference(policy, ReferenceConfig(refresh_every=2))
    move(policy)
    reference.after_step(1)
    torch.testing.assert_close(asked(reference), start, rtol=0, atol=1e-6)
    moved = own_logprobs(policy)
    reference.after_step(2)
    move(policy)
    assert (own_logprobs(policy) - moved).abs().max() > 0.01
    torch.testing.assert_close(asked(reference), moved, rtol=0, atol=1e-6)
    # Another process, whose policy is elsewhere by now, is told all of it.
    other = Reference(policy, ReferenceConfig(refresh_every=2))
    other.load_state_dict({n: t.clone() for n, t in reference.state_dict().items()})
    torch.testing.assert_close(asked(other), moved, rtol=0, atol=1e-6)
    with pytest.raises(ModelError, match="other weights"):
        other.load_state_dict({"0": torch.zeros(1)})


def test_a_mixed_reference_lies_between(policy_of: Callable[[str], Policy]) -> None:
    policy = policy_of("full")
    first = [p.detach().clone() for p in policy.trainable_parameters()]
    reference = Reference(policy, ReferenceConfig(refresh_every=1, mix=0.25))
    move(policy)
    second = [p.detach().clone() for p in policy.trainable_parameters()]
    reference.after_step(1)
    for found, old, new in zip(reference.state_dict().values(), first, second, strict=True):
        torch.testing.assert_close(found, 0.75 * old + 0.25 * new)


def move(policy: Policy) -> None:
    for parameter in policy.trainable_parameters():
        parameter.data.add_(0.05)


def asked(reference: Reference) -> torch.Tensor:
    return reference.logprobs(rows_of(reference.policy), temperature=0.9)
