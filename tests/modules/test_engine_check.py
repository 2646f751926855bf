"""When the engine is used, and when plain forward passes take over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rl4bio.engine import attention, hook
from rl4bio.modules import engine_check
from rl4bio.modules.engine_check import engine_serves, find_problem
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions

MakePolicy = Callable[..., Policy]


def sample(policy: Policy) -> Any:
    prompts = [policy.encode_prompt(text) for text in ("Does the drug work?", "yes")]
    return sample_completions(
        policy, prompts, group_size=3, max_new_tokens=12, temperature=0.9, seeds=[1, 2]
    )


@pytest.mark.parametrize("family", ["gemma3", "gemma2", "gpt2"])
def test_both_backends_sample_the_same(make_policy: MakePolicy, family: str) -> None:
    policy = make_policy(family)
    policy.backend = "engine"
    fast = sample(policy)
    assert policy.engine_problem == ""
    policy.backend = "generate"
    slow = sample(policy)
    assert fast.completions == slow.completions
    torch.testing.assert_close(fast.logprobs, slow.logprobs, atol=1e-5, rtol=1e-5)


def test_generate_backend_asks_nothing(make_policy: MakePolicy) -> None:
    policy = make_policy()
    policy.backend = "generate"
    assert not engine_serves(policy)
    assert policy.engine_problem is None


def test_a_wrong_attention_is_found_and_replaced(
    make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An attention that forgets the prompt: the engine is left, with one line, results stay."""
    policy, right = make_policy(), make_policy()
    policy.backend, right.backend = "engine", "generate"

    def without_prompt(*args: Any, **options: Any) -> torch.Tensor:
        query, key, value, front, back = args
        nothing = torch.full_like(front, -1e4)
        return plain(query, key, value, nothing, back, **options)

    plain = attention.group_attention
    monkeypatch.setattr(attention, "group_attention", without_prompt)
    with caplog.at_level(logging.INFO, logger="rl4bio"):
        found = sample(policy)
        sample(policy)
    assert "log-probabilities differ" in policy.engine_problem
    assert len([r for r in caplog.records if "engine: not used" in r.getMessage()]) == 1
    assert found.completions == sample(right).completions
    assert policy.model.config._attn_implementation != hook.NAME


@torch.no_grad()
def test_in_half_precision_float32_tells_an_error_from_rounding(
    make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores a twentieth too large pass for rounding in bfloat16, and are found in float32."""

    def too_sharp(query: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        return plain(query * 1.05, *args, **options)

    plain = attention.group_attention
    with torch.autocast("cpu", torch.bfloat16):
        policy = make_policy()
        assert find_problem(policy) == ""
        monkeypatch.setattr(attention, "group_attention", too_sharp)
        assert engine_check.largest_gap(policy) < engine_check.LIMIT_NATS[torch.bfloat16]
        assert "log-probabilities differ" in find_problem(policy)
        policy.model.to(torch.bfloat16)
        assert find_problem(policy) == ""  # nothing to compare with


def test_refused_models(make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy()
    policy.model.config.layer_types[0] = "chunked_attention"
    assert "chunked_attention" in find_problem(policy)
    policy.model.config.layer_types[0] = "sliding_attention"
    assert find_problem(policy) == ""
    monkeypatch.setattr(type(policy.model), "_supports_attention_backend", False)
    assert "attention of its own" in find_problem(policy)


def test_errors_of_a_model_mean_the_plain_path(
    make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = make_policy()

    def broken(*args: Any, **options: Any) -> None:
        raise RuntimeError("no such kernel\nmore")

    monkeypatch.setattr(engine_check, "packed_logprobs", broken)
    assert find_problem(policy).endswith("does not run in it (no such kernel)")


def test_short_contexts_are_not_exceeded(make_policy: MakePolicy) -> None:
    policy = make_policy("gpt2")
    policy.model.config.n_positions = 6
    assert find_problem(policy) == ""


@pytest.mark.parametrize(
    ("family", "dtype", "gap", "serves"),
    [
        ("gemma3", torch.bfloat16, 0.2, True),
        ("gemma3", torch.bfloat16, 0.28, False),
        ("gemma2", torch.bfloat16, 0.28, True),  # its plain forward rounds soft caps
        ("gemma2", torch.bfloat16, 0.35, False),
        ("gemma2", torch.float32, 0.0015, False),
    ],
)
def test_gaps_that_rounding_explains(
    make_policy: MakePolicy,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    dtype: torch.dtype,
    gap: float,
    serves: bool,
) -> None:
    policy = make_policy(family)
    policy.model.to(dtype)
    policy.backend = "engine"
    monkeypatch.setattr(engine_check, "largest_gap", lambda policy: gap)
    assert engine_serves(policy) == serves
