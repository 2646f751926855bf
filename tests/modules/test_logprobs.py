"""rl4bio.modules.logprobs: continuations of each prompt's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rl4bio.modules.batching import Rows
from rl4bio.modules.logprobs import continuation_logprobs, row_logprobs
from rl4bio.modules.policy import Policy


def by_hand(policy: Policy, prompt: list[int], continuation: list[int]) -> list[float]:
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*prompt, *continuation]])).logits[0].double()
    steps = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
    return steps.gather(-1, torch.tensor(continuation)[:, None])[:, 0].tolist()


@pytest.mark.parametrize("family", ["gemma3", "llama", "gpt2"])
@pytest.mark.parametrize("backend", ["engine", "generate"])
def test_every_prompt_has_its_own_continuations(
    make_policy: Callable[..., Policy], family: str, backend: str
) -> None:
    policy = make_policy(family)
    policy.backend = backend  # type: ignore[assignment]
    policy.model.eval()
    prompts = [[2, 30, 31, 32, 33, 34, 35, 36, 37, 38], [2, 40], [2, 50, 51]]
    continuations = [[[40], [41, 42, 43]], [[60, 61]], [[70], [71, 72], [73, 74, 75, 76]]]
    found = continuation_logprobs(policy, prompts, continuations)
    assert [[len(tokens) for tokens in own] for own in found] == [[1, 3], [2], [1, 2, 4]]
    for prompt, own, values in zip(prompts, continuations, found, strict=True):
        for continuation, steps in zip(own, values, strict=True):
            assert steps == pytest.approx(by_hand(policy, prompt, continuation), abs=1e-4)


def test_entropies_have_the_same_gradient_on_both_paths(
    make_policy: Callable[..., Policy],
) -> None:
    found = []
    for backend in ("engine", "generate"):
        policy = make_policy("gemma3")
        policy.backend = backend  # type: ignore[assignment]
        policy.model.eval()
        rows = Rows(
            prompt_ids=torch.tensor([[2, 30, 31]]),
            prompt_mask=torch.ones(1, 3, dtype=torch.bool),
            prompt_index=torch.tensor([0, 0]),
            completion_ids=torch.tensor([[40, 41], [42, 0]]),
            completion_mask=torch.tensor([[True, True], [True, False]]),
        )
        _, entropy = row_logprobs(policy, rows, temperature=1.0, entropy_gradient=True)
        entropy.sum().backward()
        weights = dict(policy.model.named_parameters())
        found.append({k: v.grad for k, v in weights.items() if v.grad is not None})
        assert not row_logprobs(policy, rows, temperature=1.0)[1].requires_grad
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], atol=1e-5, rtol=1e-3)
