"""Rollouts of the engine against plain forward passes with the model's own cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rl4bio.engine import key_values
from rl4bio.engine.decode import Decoded, decode
from rl4bio.modules.policy import evaluating
from rl4bio.functional.masking import pad_left
from rl4bio.modules.rollout import draw_noise
from rl4bio.modules.scoring import completion_logprobs

PROMPTS = [[7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], [5, 9, 4], [6]]
WIDTH, GROUP = 14, 3


def run(
    model: torch.nn.Module, prompts: list[list[int]], stops: list[int], *, greedy: bool = False
) -> Decoded:
    ids, mask = pad_left(prompts, 0)
    noise = draw_noise(list(range(len(prompts))), GROUP, WIDTH)
    with evaluating(model):
        return decode(
            model,
            ids,
            mask,
            group_size=GROUP,
            max_new_tokens=WIDTH,
            temperature=1.1,
            noise=None if greedy else noise,
            stop_ids=stops,
        )


@pytest.mark.parametrize("short", [0, 16])
@pytest.mark.parametrize("even", [False, True])
def test_log_probabilities_are_those_of_a_forward(
    family: str,
    even: bool,
    short: int,
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_values, "SHORT_PROMPT", short)
    model = make_model(family)
    prompts = [PROMPTS[0], PROMPTS[0][::-1], [19, *PROMPTS[0][1:]]] if even else PROMPTS
    stops = list(range(0, model.config.vocab_size, 9))  # rows end one by one and are dropped
    found = run(model, prompts, stops)
    assert len(set(found.lengths.tolist())) > 2
    assert found.ended.any()
    ids, mask = pad_left(prompts, 0)
    rows = torch.arange(WIDTH) < found.lengths[:, None]
    with evaluating(model):
        expected, _ = completion_logprobs(
            model,
            ids.repeat_interleave(GROUP, 0),
            mask.repeat_interleave(GROUP, 0),
            found.tokens,
            rows,
            temperature=1.1,
        )
    torch.testing.assert_close(found.logprobs, expected, atol=1e-5, rtol=1e-5)
    last = found.tokens.gather(1, found.lengths[:, None] - 1).squeeze(1)
    assert torch.isin(last, torch.tensor(stops)).equal(found.ended)
    assert (found.ended | (found.lengths == WIDTH)).all()
