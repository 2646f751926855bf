"""rl4bio.modules.completing: the loop that every completion comes from."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rl4bio.modules.completing import Progress, Sampling, by_length, complete_all, in_turn
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sampling_seed
from rl4bio.sections import PolicyConfig
from rl4bio.types import Sample

DRAWN = Sampling(max_new_tokens=6, temperature=1.0, group_size=2, seed=3)
TEXTS = ["Does it?", "A longer question, of which there are some", "And", "Is it so, then?", "No"]
SAMPLES = [Sample(uid=str(n), prompt=text) for n, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def policy(tiny_policy_folder: Path) -> Policy:
    return load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder)), dtype=torch.float32)


def texts(policy: Policy, batches: list[range] | list[list[int]], sampling: Sampling) -> list[str]:
    """The completions of all samples, in the samples' order."""
    found: dict[int, list[str]] = {}
    numbers = [10 * n for n in range(len(SAMPLES))]
    for rows, out in complete_all(policy, SAMPLES, sampling, batches=batches, numbers=numbers):
        size = sampling.group_size
        for place, row in enumerate(rows):
            found[row] = out.completions[place * size : (place + 1) * size]
    return [text for row in sorted(found) for text in found[row]]


def test_batches_change_nothing(policy: Policy) -> None:
    prompts = [policy.encode_prompt(text) for text in TEXTS]
    whole = texts(policy, in_turn(5, 5), DRAWN)
    assert len(whole) == 10
    assert texts(policy, in_turn(5, 2), DRAWN) == whole
    assert texts(policy, by_length(prompts, 3), DRAWN) == whole
    assert texts(policy, in_turn(5, 5), replace(DRAWN, seed=4)) != whole
    assert texts(policy, in_turn(5, 5), replace(DRAWN, round_number=1)) != whole


def test_batches() -> None:
    assert in_turn(5, 2) == [range(2), range(2, 4), range(4, 5)]
    assert by_length([[1], [1, 2, 3], [1, 2], [4, 5]], 3) == [[1, 2, 3], [0]]


def test_seeds_and_room(policy: Policy) -> None:
    assert DRAWN.seeds([7, 8]) == [sampling_seed(3, 7, 0), sampling_seed(3, 8, 0)]
    assert replace(DRAWN, temperature=0.0).seeds([7]) is None
    positions = policy.max_positions
    assert positions is not None
    assert DRAWN.room(policy, 10) == 6
    assert DRAWN.room(policy, positions - 1) == 2  # the last token is never fed
    assert replace(DRAWN, max_new_tokens=None).room(policy, 10) == positions - 9


def test_progress_counts_what_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "rl4bio"):
        named = Progress(4, "answered", name="base, direct prompt", ends=True)
        named.add(3)  # within five seconds there is no line but the last
        named.add(1)
        rare = Progress(4, "completions", each=2)
        rare.add(3)
    assert caplog.messages == ["base, direct prompt: 4 of 4 answered"]
    assert (rare.done, rare.total) == (6, 8)
