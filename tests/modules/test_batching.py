"""Cutting a rollout into micro-batches and putting rollouts together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch

from rl4bio.functional.masking import pad_left, pad_right
from rl4bio.modules.batching import (
    cut,
    join_groups,
    micro_batches,
    take_groups,
    tokens_in_heap,
)
from rl4bio.modules.policy import Policy
from rl4bio.process.memory import MAPPED_FROM
from rl4bio.types import Rollout, Sample, Scores

PROMPTS = [5, 2, 9]
COMPLETIONS = [3, 0, 7, 1, 1, 2]


def make_rollout(prompts: list[int] = PROMPTS, completions: list[int] = COMPLETIONS) -> Rollout:
    """Rows whose tokens are their own row number + 1, two completions a prompt."""
    size = len(completions) // len(prompts)
    heads = [[n + 1] * length for n, length in enumerate(prompts) for _ in range(size)]
    prompt_ids, prompt_mask = pad_left(heads, 0)
    ids, mask = pad_right([[n + 1] * length for n, length in enumerate(completions)], 0)
    return Rollout(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        completion_ids=ids,
        completion_mask=mask,
        logprobs=-ids.float(),
        completions=[f"text {n}" for n in range(len(completions))],
        truncated=torch.tensor([length == 7 for length in completions]),
        samples=[Sample(uid=f"s{n}", prompt="p") for n in range(len(prompts))],
        group_size=size,
        conditions={"properties": torch.arange(len(completions))[:, None] // size * 0.5},
    )


@pytest.mark.parametrize("limit", [1, 12, 25, 40, 10_000])
def test_every_row_is_in_one_micro_batch(limit: int) -> None:
    rollout = make_rollout()
    batches = micro_batches(rollout, limit, packed=False)
    assert sorted(torch.cat(batches).tolist()) == list(range(6))
    for rows in batches:
        groups = {row // 2 for row in rows.tolist()}
        tokens = len(groups) * max(PROMPTS[g] for g in groups)
        tokens += len(rows) * max(COMPLETIONS[row] for row in rows.tolist())
        assert tokens <= limit or len(rows) == 1


def test_sizes_of_micro_batches() -> None:
    """Group costs, prompt once: 5 + 2*3 = 11, 2 + 2*7 = 16 and 9 + 2*2 = 13 (rows 2, 3 are 7, 1).

    At 13 tokens the middle group does not fit; its rows go alone: row 2 costs 2 + 7, row 3 2 + 1,
    together 2 + 2*7 = 16 > 13. The largest comes first.
    """
    rollout = make_rollout()
    assert [rows.tolist() for rows in micro_batches(rollout, 13, packed=False)] == [
        [4, 5],
        [0, 1],
        [2],
        [3],
    ]
    assert [rows.tolist() for rows in micro_batches(rollout, 1, packed=False)] == [
        [n] for n in (5, 4, 2, 0, 1, 3)
    ]
    assert [rows.tolist() for rows in micro_batches(rollout, 10_000, packed=False)] == [
        list(range(6))
    ]


def test_cut_keeps_real_tokens_and_shares_prompts() -> None:
    rollout = make_rollout()
    rows = cut(rollout, torch.tensor([1, 3, 2]))
    assert rows.prompt_ids.tolist() == [[1, 1, 1, 1, 1], [0, 0, 0, 2, 2]]
    assert rows.prompt_mask.sum(-1).tolist() == [5, 2]
    assert rows.prompt_index.tolist() == [0, 1, 1]
    assert rows.completion_mask.sum(-1).tolist() == [0, 1, 7]
    assert rows.completion_ids[2].tolist() == [3] * 7
    assert rows.width == 7
    assert rows.conditions["properties"].tolist() == [[0.0], [0.5]]  # of prompts 0 and 1


def test_cut_of_an_empty_completion_has_a_width() -> None:
    rows = cut(make_rollout(), torch.tensor([1]))
    assert rows.width == 1
    assert not rows.completion_mask.any()


def test_taking_and_joining_groups_round_trips() -> None:
    rollout = make_rollout()
    scores = Scores(total=torch.arange(6.0), parts={"a": torch.arange(6.0) * 2}, weights={"a": 0.5})
    pieces = [take_groups(rollout, [0, 1], 2), take_groups(rollout, [2], 2)]
    again = join_groups(pieces)
    for name in (each.name for each in fields(Rollout)):
        one, other = getattr(again, name), getattr(rollout, name)
        if name == "conditions":
            one, other = one["properties"], other["properties"]
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    joined = join_groups([take_groups(scores, [2], 2), take_groups(scores, [0, 1], 2)])
    assert joined.total.tolist() == [4, 5, 0, 1, 2, 3]
    assert joined.parts["a"].tolist() == [8, 10, 0, 2, 4, 6]


def test_counts_of_failed_rows_outlive_a_join() -> None:
    one = Scores(total=torch.zeros(2), parts={}, weights={}, failures={"dock": 2})
    other = Scores(total=torch.ones(2), parts={}, weights={}, failures={"dock": 1, "sa": 1})
    joined = join_groups([take_groups(one, [0], 2), other])
    assert joined.failures == {"dock": 3, "sa": 1}
    assert joined.total.tolist() == [0, 0, 1, 1]
    assert joined.states is None


def test_joining_pads_the_narrow_one() -> None:
    wide, narrow = make_rollout(), make_rollout([1], [2, 1])
    both = join_groups([narrow, wide])
    assert both.prompt_mask.sum(-1).tolist() == [1, 1, 5, 5, 2, 2, 9, 9]
    assert both.completion_mask.sum(-1).tolist() == [2, 1, *COMPLETIONS]
    assert both.prompt_mask[0].tolist() == [False] * 8 + [True]
    assert both.completion_mask[0].tolist() == [True, True] + [False] * 5
    assert both.completions == ["text 0", "text 1", *(f"text {n}" for n in range(6))]
    assert [sample.uid for sample in both.row_samples][:4] == ["s0", "s0", "s0", "s0"]


def test_packed_micro_batches_count_real_tokens() -> None:
    """Group costs: 5 + 3 + (second row), 2 + 7 + 1 = 10 and so on; padding costs nothing."""
    rollout = make_rollout()
    costs = [PROMPTS[g] + sum(COMPLETIONS[2 * g : 2 * g + 2]) for g in range(3)]
    limit = costs[1]
    batches = micro_batches(rollout, limit, packed=True)
    assert [2, 3] in [rows.tolist() for rows in batches]  # padded, it would have been cut
    assert [2, 3] not in [r.tolist() for r in micro_batches(rollout, limit, packed=False)]
    for rows in batches:
        groups = {row // 2 for row in rows.tolist()}
        tokens = sum(PROMPTS[g] for g in groups) + sum(COMPLETIONS[r] for r in rows.tolist())
        assert tokens <= limit or len(rows) == 1


def test_micro_batches_of_some_groups() -> None:
    found = micro_batches(make_rollout(), 10_000, packed=True, groups=[0, 2])
    assert [rows.tolist() for rows in found] == [[0, 1, 4, 5]]


def test_no_group_joins_beyond_what_is_enough_and_none_is_cut_for_it() -> None:
    rollout = make_rollout()
    alone = [[0, 1], [2, 3], [4, 5]]
    found = micro_batches(rollout, 10_000, packed=True, enough=1)
    assert sorted(rows.tolist() for rows in found) == alone
    small = micro_batches(rollout, 5, packed=True)
    assert [r.tolist() for r in micro_batches(rollout, 5, packed=True, enough=1)] == [
        r.tolist() for r in small
    ]


def test_tokens_whose_states_are_not_mapped(make_policy: Callable[..., Policy]) -> None:
    model: Any = make_policy("llama").model
    tokens = tokens_in_heap(model)
    assert tokens is not None
    assert tokens * model.config.intermediate_size * 4 <= MAPPED_FROM
    assert (tokens + 1) * model.config.intermediate_size * 4 > MAPPED_FROM
    assert tokens_in_heap(model.to("meta")) is None
