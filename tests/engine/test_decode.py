"""Rollouts of the engine against plain forward passes with the model's own cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rl4bio.engine import decode as engine_decode
from rl4bio.engine import key_values, layer_states
from rl4bio.engine.cpu.tape import CannotRecord, Tape
from rl4bio.engine.cuda import static_decode
from rl4bio.engine.cuda.static_decode import StaticLoop
from rl4bio.engine.decode import decode
from rl4bio.engine.record import Decoded
from rl4bio.errors import NonFiniteError
from rl4bio.functional.masking import pad_left
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.policy import evaluating
from rl4bio.modules.rollout import draw_noise

PROMPTS = [[7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], [5, 9, 4], [6]]
WIDTH, GROUP = 14, 3


def run(
    model: torch.nn.Module,
    prompts: list[list[int]],
    stops: list[int],
    *,
    greedy: bool = False,
    static: bool = False,
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
            static=static,
        )


@pytest.mark.parametrize("sealed", [1, 2**21])
@pytest.mark.parametrize("short", [0, 16])
@pytest.mark.parametrize("even", [False, True])
def test_log_probabilities_are_those_of_a_forward(
    family: str,
    even: bool,
    short: int,
    sealed: int,
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keys and values in one part that grows by 4 places, and in parts of 4."""
    monkeypatch.setattr(key_values, "SHORT_PROMPT", short)
    monkeypatch.setattr(key_values, "BLOCK", 4)
    monkeypatch.setattr(layer_states, "SEALED", sealed)
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


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("short", [0, 16])
def test_fixed_shapes_give_the_same_tokens(
    family: str,
    short: int,
    greedy: bool,
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The steps that a GPU records, here called one by one, over several buckets."""
    monkeypatch.setattr(key_values, "SHORT_PROMPT", short)
    monkeypatch.setattr(static_decode, "BUCKET", 4)
    monkeypatch.setattr(static_decode, "CHECK_EVERY", 3)
    model = make_model(family)
    stops = list(range(0, model.config.vocab_size, 9))
    plain, fixed = (
        run(model, PROMPTS, stops, static=static, greedy=greedy) for static in (False, True)
    )
    assert torch.equal(plain.lengths, fixed.lengths)
    assert torch.equal(plain.tokens, fixed.tokens)
    assert torch.equal(plain.ended, fixed.ended)
    torch.testing.assert_close(plain.logprobs, fixed.logprobs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sealed", [1, 2**21])
@pytest.mark.parametrize("short", [0, 16])
def test_recorded_steps_are_bit_for_bit_those_of_the_code(
    family: str,
    short: int,
    sealed: int,
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over growing stores, windows that prompts leave and rows that are dropped."""
    monkeypatch.setattr(key_values, "SHORT_PROMPT", short)
    monkeypatch.setattr(key_values, "BLOCK", 4)
    monkeypatch.setattr(layer_states, "SEALED", sealed)
    model = make_model(family)
    replays = []

    class Counted(Tape):
        def replay(self) -> tuple[torch.Tensor, ...]:
            replays.append(len(self.result[0]))
            return super().replay()

    def refuse(function: object) -> Tape:
        raise CannotRecord("not this time")

    monkeypatch.setattr(engine_decode, "Tape", Counted)
    stops = [3, 11]
    recorded = run(model, PROMPTS, stops)
    assert len(replays) > 4
    assert len(set(replays)) > 1 or recorded.lengths.min() == WIDTH  # again with fewer rows
    monkeypatch.setattr(engine_decode, "Tape", refuse)
    plain = run(model, PROMPTS, stops)
    assert torch.equal(recorded.tokens, plain.tokens)
    assert torch.equal(recorded.logprobs, plain.logprobs)
    assert torch.equal(recorded.lengths, plain.lengths)


@pytest.mark.parametrize("hooked", [False, True])
def test_steps_of_a_model_with_hooks_are_not_recorded_for_a_gpu(
    hooked: bool, make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Noted(StaticLoop):
        def recorded(self, bucket: int) -> Callable[[], None]:
            asked.append(self.may_record)
            return super().recorded(bucket)

    monkeypatch.setattr(engine_decode, "StaticLoop", Noted)
    model = make_model("llama")
    seen = []
    if hooked:
        model.get_base_model().model.norm.register_forward_hook(lambda *_: seen.append(1))
    run(model, PROMPTS, [0], static=True)
    assert asked == [not hooked]
    assert len(seen) == (WIDTH if hooked else 0)


def test_a_step_that_looks_at_values_is_run_as_it_is(
    make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("llama")
    expected = run(model, PROMPTS, [0])
    norm = model.get_base_model().model.norm
    looks, own = [], norm.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        looks.append(float(x.abs().max()))
        return own(x)

    monkeypatch.setattr(norm, "forward", forward)
    found = run(model, PROMPTS, [0])
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.logprobs, expected.logprobs)
    assert len(looks) >= WIDTH - 1


@pytest.mark.parametrize("static", [False, True])
def test_not_finite_logits_stop_the_rollout(static: bool, make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    with torch.no_grad():
        model.get_output_embeddings().weight[3] = float("nan")
    with pytest.raises(NonFiniteError, match=r"not finite at completion token .*32-true"):
        run(model, PROMPTS, [0], static=static)


def test_another_dtype_of_the_weights(make_model: Callable[..., Any]) -> None:
    """bfloat16 copies under a float32 policy: close, not equal, and the policy stays float32."""
    model = make_model("llama")
    ids, mask = pad_left(PROMPTS, 0)
    with evaluating(model):
        found = decode(
            model,
            ids,
            mask,
            group_size=1,
            max_new_tokens=4,
            temperature=1.0,
            noise=torch.full((3, 4), 0.4, dtype=torch.float64),
            stop_ids=[],
            dtype=torch.bfloat16,
        )
        everything = torch.ones(3, 4, dtype=torch.bool)
        exact, _ = completion_logprobs(model, ids, mask, found.tokens, everything, temperature=1.0)
    gap = (found.logprobs - exact).abs()
    assert 1e-4 < float(gap.mean()) < 0.1
    assert {p.dtype for p in model.parameters()} == {torch.float32}
