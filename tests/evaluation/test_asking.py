"""rl4bio.evaluation.asking: completions of questions, greedy and drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rl4bio.answers.kinds import KINDS
from rl4bio.evaluation.asking import Questions, generate_replies
from rl4bio.modules.completing import Sampling
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.reports.answers.cases import Reply
from rl4bio.sections import PolicyConfig
from rl4bio.types import Sample, ScoreTable

GREEDY = Sampling(max_new_tokens=8)
DRAWN = Sampling(max_new_tokens=8, group_size=3, temperature=1.0, seed=1)


@pytest.fixture(scope="module")
def policy(tiny_policy_folder: Path) -> Policy:
    return load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder)), dtype=torch.float32)


def ask(
    policy: Policy,
    uids: Sequence[str],
    *,
    sampling: Sampling,
    batch_size: int = 16,
    context: str = "",
) -> list[Reply]:
    """Replies to the same prompt under several identifiers."""
    samples = [Sample(uid=uid, prompt="Does it?", target="yes", context=context) for uid in uids]
    prompts = [policy.encode_prompt(sample.prompt) for sample in samples]
    questions = Questions(samples=samples, prompts=prompts, form="tags", kind=KINDS["verdict"])
    return generate_replies(
        policy,
        questions,
        sampling,
        batch_size=batch_size,
        scorer=length_scorer,
    )


def length_scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
    lengths = [float(len(text)) for text in completions]
    return ScoreTable(total=lengths, parts={"length": lengths}, weights={"length": 1.0})


def texts(reply: Reply) -> list[str]:
    return [draw.completion for draw in reply.draws]


def test_noise_belongs_to_the_item_and_the_seed(policy: Policy) -> None:
    first, second = ask(policy, ["a", "b"], sampling=DRAWN)
    assert texts(first) != texts(second)
    assert len(set(texts(first))) > 1
    turned = ask(policy, ["b", "c", "a"], sampling=DRAWN, batch_size=1)
    assert texts(turned[2]) == texts(first)
    assert texts(turned[0]) == texts(second)
    other = replace(DRAWN, seed=2)
    assert texts(ask(policy, ["a"], sampling=other)[0]) != texts(first)


def test_one_likely_token_or_no_temperature_is_greedy(policy: Policy) -> None:
    (greedy,) = ask(policy, ["a"], sampling=GREEDY)
    assert greedy.draws == []
    for sampling in (
        replace(DRAWN, temperature=1e-5),
        replace(DRAWN, top_k=1),
    ):
        (drawn,) = ask(policy, ["a"], sampling=sampling)
        assert texts(drawn) == [greedy.completion] * 3
        assert drawn.answer.rewards == greedy.answer.rewards
        assert drawn.answer.tokens == greedy.answer.tokens
        assert drawn.answer.num_draws == 3


def test_rewards_belong_to_their_own_draw(policy: Policy) -> None:
    for reply in ask(policy, ["a", "b"], sampling=DRAWN):
        lengths = [len(text) for text in texts(reply)]
        assert [draw.answer.rewards["length"] for draw in reply.draws] == lengths
        assert reply.answer.rewards["total"] == pytest.approx(sum(lengths) / 3)


def test_grounding_needs_a_context(policy: Policy) -> None:
    (bare,) = ask(policy, ["a"], sampling=GREEDY)
    (given,) = ask(policy, ["a"], sampling=GREEDY, context="It lowered the score by 12 points.")
    assert math.isnan(bare.answer.grounding)
    assert given.answer.grounding == 0  # no tags, so no thought
