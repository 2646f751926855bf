"""Recording of a decoding step, with a stand-in for CUDA's streams and graphs that keeps the step.

The stand-in obeys the rules that matter here: a graph runs what was recorded, on the tensors that
it was recorded with; a capture that fails leaves its stream in force and says so a second time.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.engine.cuda import graphs, static_decode
from rl4bio.errors import NonFiniteError
from rl4bio.modules import engine_check
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.sections import AdapterConfig, PolicyConfig
from tests.engine.test_decode import PROMPTS, run


class Card:
    """What `torch.cuda` gives of streams and graphs."""

    def __init__(self) -> None:
        self.streams = 0
        self.captures = 0
        self.capturing = False
        self.replays = 0
        self.pools: list[Any] = []
        self.fault: Callable[[], None] = lambda: None
        """Called in every capture."""
        self.step: Callable[[], None] = lambda: None
        """The one that is recorded now."""
        self.default: Any = Stream(self)
        self.current = self.default
        self.streams = 0

    def set_stream(self, stream: Any) -> None:
        self.current = stream

    @contextlib.contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextlib.contextmanager
    def graph(self, graph: Graph, pool: Any, stream: Any) -> Iterator[None]:
        self.captures += 1
        self.pools.append(pool)
        self.current, self.capturing = stream, True
        try:
            yield  # kernels are noted, not run
            self.fault()
        except BaseException as error:
            # As torch: the end of the capture raises on top, and the stream stays.
            raise RuntimeError("previous error during capture") from error
        finally:
            self.capturing = False
        self.current = self.default


class Stream:
    def __init__(self, card: Card) -> None:
        card.streams += 1

    def wait_stream(self, other: Any) -> None:
        pass


class Graph:
    def __init__(self, card: Card) -> None:
        self.card, self.step = card, card.step

    def replay(self) -> None:
        self.card.replays += 1
        self.step()

    def pool(self) -> str:
        return "pool"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    card = Card()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: card.default)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_stream", card.set_stream)
    monkeypatch.setattr(torch.cuda, "stream", card.on)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(card))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(card))
    monkeypatch.setattr(torch.cuda, "graph", card.graph)
    record = graphs._record

    def noted(step: Callable[[], None], pool: Any) -> Any:
        card.step = step
        return record(lambda: None if card.capturing else step(), pool)

    monkeypatch.setattr(graphs, "_record", noted)
    monkeypatch.setattr(graphs, "_problem", None)
    monkeypatch.setattr(static_decode, "can_record", lambda device: graphs._problem is None)
    monkeypatch.setattr(static_decode, "BUCKET", 4)
    graphs._side_stream.cache_clear()
    yield card
    graphs._side_stream.cache_clear()


def test_replayed_steps_give_the_same_tokens(card: Card, make_model: Callable[..., Any]) -> None:
    """Fourteen tokens: the first from the prompts, thirteen in buckets of 4, 4, 4 and 1 steps."""
    model = make_model("gemma3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static_decode, "can_record", lambda device: False)
        plain = run(model, PROMPTS, [], static=True)
    assert card.captures == 0
    found = run(model, PROMPTS, [], static=True)
    assert torch.equal(found.tokens, plain.tokens)
    assert torch.equal(found.logprobs, plain.logprobs)
    assert (card.captures, card.replays) == (4, 13)
    assert card.pools == [None, "pool", "pool", "pool"]
    run(model, PROMPTS, [], static=True)
    assert card.streams == 1  # whose workspaces stay, so one for all rollouts


def test_checkpointed_policies_are_recorded(card: Card, tiny_folder: Callable[[str], Path]) -> None:
    for adapter in (AdapterConfig(rank=2), None):
        policy = load_policy(
            PolicyConfig(
                checkpoint=str(tiny_folder("gemma3")), adapter=adapter, gradient_checkpointing=True
            )
        )
        card.captures = 0
        run(policy.model, PROMPTS, [], static=True)
        assert card.captures == 4


def test_a_capture_that_fails_is_told_once_and_leaves_the_stream(
    card: Card,
    make_model: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_model("llama")
    expected = run(model, PROMPTS, [], static=False)

    def fault() -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    card.fault = fault
    with caplog.at_level(logging.INFO, "rl4bio"):
        for _ in range(2):
            found = run(model, PROMPTS, [], static=True)
            assert torch.equal(found.tokens, expected.tokens)
            assert card.current is card.default
    said = [record.getMessage() for record in caplog.records if "CUDA graph" in record.msg]
    assert said == [
        "engine: no CUDA graph (RuntimeError: operation not permitted when stream is capturing); "
        "steps are launched one by one"
    ]
    assert card.captures == 1


def test_out_of_memory_is_no_reason_to_go_on(card: Card, make_model: Callable[..., Any]) -> None:
    def fault() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    card.fault = fault
    with pytest.raises(torch.OutOfMemoryError):
        run(make_model("llama"), PROMPTS, [], static=True)
    assert graphs._problem is None
    assert card.current is card.default


def test_out_of_memory_in_the_check_of_the_engine(
    tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(policy: Policy) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine_check, "largest_gap", full)
    policy = load_policy(PolicyConfig(checkpoint=str(tiny_folder("llama"))))
    with pytest.raises(torch.OutOfMemoryError):
        engine_check.engine_serves(policy)


def test_not_finite_logits_stop_a_recorded_rollout(
    card: Card, make_model: Callable[..., Any]
) -> None:
    model = make_model("llama")
    model.get_output_embeddings().weight.data[3] = float("nan")
    with pytest.raises(NonFiniteError):
        run(model, PROMPTS, [], static=True)
