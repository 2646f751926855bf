"""The rewards of the untrained policy, shown before a run."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.preflight import preview
from rl4bio.sections import GRPOConfig, PolicyConfig, RolloutConfig, RunConfig
from rl4bio.types import Sample, ScoreTable

SAMPLES = [Sample(uid=f"s{n}", prompt=text) for n, text in enumerate(("yes", "no", "a", "b", "c"))]


@pytest.fixture(scope="module")
def policy(tiny_policy_folder: Path) -> Policy:
    return load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder)))


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(
        name="x",
        seed=5,
        rollout=RolloutConfig(max_completion_tokens=4, temperature=0.7),
        grpo=GRPOConfig(group_size=3),
    )


def table(parts: dict[str, list[float]], weights: dict[str, float]) -> ScoreTable:
    total = [sum(weights[n] * v[i] for n, v in parts.items()) for i in range(12)]
    return ScoreTable(total=total, parts=parts, weights=weights)


def test_rows_of_the_reward_table(policy: Policy, config: RunConfig) -> None:
    """Four prompts of three completions: rewards 0..11 have mean 5.5 and std sqrt(143/12)."""
    seen: list[str] = []

    def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        seen.extend(completions)
        assert [sample.uid for sample in samples] == [f"s{n // 3}" for n in range(12)]
        return table({"one": [float(n) for n in range(12)]}, {"one": 0.5})

    lines = preview(policy, scorer, SAMPLES, config)
    one = next(line.split() for line in lines if line.startswith("one"))
    assert one == ["one", "0.5", "5.500", f"{math.sqrt(143 / 12):.3f}", "0.000", "11.000"]
    total = next(line.split() for line in lines if line.startswith("total"))
    assert total == ["total", "2.750", f"{math.sqrt(143 / 12) / 2:.3f}", "0.000", "5.500"]
    assert "groups whose rewards are all equal: 0%" in lines
    assert f"best completion: {seen[11]!r}" in lines
    # It is the policy at the run's own settings.
    found = sample_completions(
        policy,
        [policy.encode_prompt(sample.prompt) for sample in SAMPLES[:4]],
        group_size=3,
        max_new_tokens=4,
        temperature=0.7,
        seeds=[5, 6, 7, 8],
    )
    assert seen == found.texts
    assert f"completion tokens: mean {found.lengths.float().mean():.0f}, " in "\n".join(lines)


def test_unscored_completions_are_left_out(policy: Policy, config: RunConfig) -> None:
    def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        values = [math.nan] * 11 + [0.25]
        return ScoreTable(total=values, parts={"one": values}, weights={"one": 1.0})

    lines = preview(policy, scorer, SAMPLES, config)
    one = next(line.split() for line in lines if line.startswith("one"))
    assert one == ["one", "1", "0.250", "0.000", "0.250", "0.250"]


def test_warnings(policy: Policy, config: RunConfig) -> None:
    def equal(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        return table({"one": [float(n // 3) for n in range(12)]}, {"one": 1.0})

    text = "\n".join(preview(policy, equal, SAMPLES, config))
    assert "all equal: 100%" in text
    assert "WARNING: no group has any spread" in text
    assert "WARNING: most completions are cut off" in text

    def one_group_differs(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        return table({"one": [1.0] + [0.0] * 11}, {"one": 1.0})

    text = "\n".join(preview(policy, one_group_differs, SAMPLES, config))
    assert "all equal: 75%" in text
    assert "no group has any spread" not in text


def test_fewer_samples_than_it_would_show(policy: Policy, config: RunConfig) -> None:
    def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        values = [float(n) for n in range(len(samples))]
        return ScoreTable(total=values, parts={"one": values}, weights={"one": 1.0})

    lines = preview(policy, scorer, SAMPLES[:1], config)
    assert re.match("1 prompts x 3 completions", lines[0])
