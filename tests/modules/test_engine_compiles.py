"""Compiled layers in rollouts of a policy: when they are used, and what is done if they are wrong.

Steps of fixed shapes, which a GPU takes by default, are asked for here.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from rl4bio.engine.cuda import compiled
from rl4bio.engine.cuda.compiled import compiling
from rl4bio.modules import engine_check, rollout
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions

MakePolicy = Callable[..., Policy]


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (engine_check, rollout):
        monkeypatch.setattr(module, "decode", functools.partial(module.decode, static=True))
    monkeypatch.setattr(compiled, "_rows_met", set())
    monkeypatch.setattr(compiled, "_problem", None)
    yield
    torch._dynamo.reset()


class Wrong:
    """A backend whose code is wrong by a factor; 1 is right."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Any:
        self.count += 1
        return lambda *args: [y * self.factor for y in graph(*args)]


def on_engine(make_policy: MakePolicy) -> Policy:
    policy = make_policy()
    policy.backend = "engine"
    return policy


def sample(policy: Policy, backend: Any) -> Any:
    prompts = [policy.encode_prompt(text) for text in ("Does the drug work?", "yes")]
    with compiling(backend):
        return sample_completions(
            policy, prompts, group_size=3, max_new_tokens=12, temperature=0.9, seeds=[1, 2]
        )


@pytest.mark.parametrize("compile_layers", [False, True])
def test_the_policy_decides(compile_layers: bool, make_policy: MakePolicy) -> None:
    """The check has four rows and the rollout six; there are two kinds of layers."""
    policy, backend = on_engine(make_policy), Wrong()
    plain = sample(policy, None)
    policy.compile, policy.engine_problem = compile_layers, None
    found = sample(policy, backend)
    assert policy.engine_problem == ""
    assert backend.count == (2 * 2 if compile_layers else 0)
    assert found.completions == plain.completions
    torch.testing.assert_close(found.logprobs, plain.logprobs, atol=1e-5, rtol=1e-5)


def test_wrong_code_is_left_and_the_engine_kept(
    make_policy: MakePolicy, caplog: pytest.LogCaptureFixture
) -> None:
    policy, backend = on_engine(make_policy), Wrong(3.0)
    plain = sample(policy, None)
    policy.compile, policy.engine_problem = True, None
    with caplog.at_level(logging.INFO, logger="rl4bio"):
        found = sample(policy, backend)
    assert policy.engine_problem == ""
    assert not policy.compile
    assert found.completions == plain.completions
    messages = [record.getMessage() for record in caplog.records]
    lines = [line for line in messages if line.startswith("engine: ")]
    assert len(lines) == 1
    assert lines[0].startswith("engine: layers are not compiled (they would differ by")


def test_a_compiler_that_fails_in_the_check(make_policy: MakePolicy) -> None:
    policy = on_engine(make_policy)
    policy.compile = True

    def failing(graph: Any, inputs: Any) -> Any:
        raise OSError("no C compiler")

    with compiling(failing):
        assert engine_serves(policy)
    assert compiled._problem == "OSError: no C compiler"
