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
from rl4bio.runs.memory import estimate_memory
from rl4bio.runs.preflight import preview
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


def row(lines: list[str], name: str) -> list[str]:
    """The cells of a row of the table."""
    return next(line.split() for line in lines if line.startswith(name))


def warned(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("WARNING")]


def test_rows_of_the_reward_table(policy: Policy, config: RunConfig) -> None:
    """Four prompts of three completions: rewards 0..11."""
    seen: list[str] = []

    def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        seen.extend(completions)
        assert [sample.uid for sample in samples] == [f"s{n // 3}" for n in range(12)]
        return table({"one": [float(n) for n in range(12)]}, {"one": 0.5})

    lines = preview(policy, scorer, SAMPLES, config)
    # One of the twelve is 0; the median lies between 5 and 6.
    numbers = ["5.500", "0.000", "5.500", "11.000", "8%", "0%", "0%"]
    assert row(lines, "one") == ["one", "0.5", *numbers]
    assert row(lines, "total") == ["total", "2.750", "0.000", "2.750", "5.500", "8%", "0%", "0%"]
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
    assert seen == found.completions
    lengths = sorted(found.lengths.tolist())
    middle = (lengths[5] + lengths[6]) / 2
    cut = found.truncated.float().mean()
    assert (
        f"completion tokens: {lengths[0]} to {lengths[-1]}, median {middle:g}, limit 4, cut off "
        f"by it {cut:.0%}" in lines
    )
    sizes = sorted(policy.count_tokens(sample.prompt) for sample in SAMPLES[:4])
    middle = (sizes[1] + sizes[2]) / 2
    assert f"prompt tokens: {sizes[0]} to {sizes[-1]}, median {middle:g}, limit 1024" in lines
    memory = next(line for line in lines if line.startswith("memory: about"))
    assert "process" in memory  # this one, on the CPU
    unit = {"MiB": 2**20, "GiB": 2**30}[memory.split()[3]]  # by the total, all of this process
    assert f"weights {estimate_memory(policy, config).weights / unit:.1f}" in memory


def test_unscored_completions_are_left_out(policy: Policy, config: RunConfig) -> None:
    def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        values = [math.nan] * 11 + [0.25]
        return ScoreTable(total=values, parts={"one": values}, weights={"one": 1.0})

    lines = preview(policy, scorer, SAMPLES, config)
    # 11 of 12 have no score; a group with one score or none has nothing to compare.
    expected = ["one", "1", "0.250", "0.250", "0.250", "0.250", "0%", "92%", "100%"]
    assert row(lines, "one") == expected


def test_warnings(policy: Policy, config: RunConfig) -> None:
    def equal(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        return table({"one": [float(n // 3) for n in range(12)]}, {"one": 1.0})

    text = "\n".join(preview(policy, equal, SAMPLES, config))
    assert "all equal: 100%" in text
    assert "WARNING: no group has any spread" in text
    assert "WARNING: most completions are cut off" in text

    def one_group_differs(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        return table({"one": [1.0] + [0.0] * 11}, {"one": 1.0})

    lines = preview(policy, one_group_differs, SAMPLES, config)
    assert "groups whose rewards are all equal: 75%" in lines
    assert [line for line in warned(lines) if "cut off" not in line] == []


def test_nothing_scored_and_a_reward_that_says_nothing(policy: Policy, config: RunConfig) -> None:
    def none(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        nothing = [math.nan] * 12
        return ScoreTable(total=nothing, parts={"one": nothing}, weights={"one": 1.0})

    lines = preview(policy, none, SAMPLES, config)
    assert "no completion could be scored, so training would stop" in warned(lines)[0]
    assert row(lines, "total")[1:] == ["nan", "nan", "nan", "nan", "0%", "100%", "100%"]

    def mixed(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        parts = {
            "counts": [float(n) for n in range(12)],
            "absent": [math.nan] * 12,
            "always": [1.0] * 12,
        }
        weights = dict.fromkeys(parts, 1.0)
        return ScoreTable(total=parts["counts"], parts=parts, weights=weights)

    found = [line for line in warned(preview(policy, mixed, SAMPLES, config)) if "cut" not in line]
    assert len(found) == 2
    assert found[0].startswith("WARNING: absent could score no completion")
    assert found[1].startswith("WARNING: always is 1 for every completion")


def test_silent_groups_are_those_without_an_advantage(policy: Policy, config: RunConfig) -> None:
    """Two rewards that cancel out: their sum has no spread, each alone has."""

    def opposed(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        up = [float(n % 3) for n in range(12)]
        down = [-10 * value for value in up]
        return table({"up": up, "down": down}, {"up": 10.0, "down": 1.0})

    assert "all equal: 100%" in "\n".join(preview(policy, opposed, SAMPLES, config))
    config.grpo.combine = "normalize_then_sum"
    shifted = table({"up": [1.0, 2.0, 3.0] * 4, "down": [3.0, 2.0, 2.0] * 4}, {"up": 1, "down": 1})
    lines = preview(policy, lambda completions, samples: shifted, SAMPLES, config)
    assert "groups whose rewards are all equal: 0%" in lines


def test_completions_that_are_cut_off_and_left_out(policy: Policy, config: RunConfig) -> None:
    config.rollout.max_completion_tokens = 1
    config.grpo.mask_truncated = True

    def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        return table({"one": [float(n) for n in range(12)]}, {"one": 1.0})

    lines = preview(policy, scorer, SAMPLES, config)
    assert any("cut off by it 100%" in line for line in lines)
    assert "groups whose rewards are all equal: 100%" in lines
    assert "no group has any spread" in warned(lines)[0]
    assert "grpo.mask_truncated leaves them out" in warned(lines)[1]


def test_fewer_samples_than_it_would_show(policy: Policy, config: RunConfig) -> None:
    def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        values = [float(n) for n in range(len(samples))]
        return ScoreTable(total=values, parts={"one": values}, weights={"one": 1.0})

    lines = preview(policy, scorer, SAMPLES[:1], config)
    assert re.match("1 prompts x 3 completions", lines[0])
