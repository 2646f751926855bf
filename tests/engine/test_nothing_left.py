"""A rollout is gone when it ends: what waits for the cyclic collector piles up until it comes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rl4bio.engine import key_values, layer_states
from rl4bio.engine.cpu import siblings, tape, weights
from rl4bio.engine.decode import decode
from rl4bio.modules.policy import evaluating
from rl4bio.modules.rollout import draw_noise

PARTS = (
    tape.Tape,
    key_values.DecodeAttention,
    layer_states.LayerStates,
    siblings.Merged,
    weights._Forward,
)


class Made(TorchDispatchMode):
    """Weak references to every tensor that operators return inside."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[weakref.ref[torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.tensors += [weakref.ref(one) for one in tape._tensors([found])]
        return found


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("family", ["gemma3", "gemma2", "llama", "gpt2"])
@pytest.mark.parametrize("static", [False, True])
def test_nothing_of_a_rollout_waits_for_the_collector(
    family: str,
    static: bool,
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    no_collector: None,
) -> None:
    made: list[tuple[str, weakref.ref[Any]]] = []
    for part in PARTS:

        def watched(self: Any, *args: Any, _init: Any = part.__init__, **options: Any) -> None:
            made.append((type(self).__name__, weakref.ref(self)))
            _init(self, *args, **options)

        monkeypatch.setattr(part, "__init__", watched)
    monkeypatch.setattr(weights, "MIN_PACKED_FLOAT32", 0)
    model, width = make_model(family), 20
    ids = torch.arange(40).view(2, 20) + 10
    with evaluating(model), Made() as operators:
        decoded = decode(
            model,
            ids,
            ids > 0,
            group_size=3,
            max_new_tokens=width,
            temperature=1.0,
            noise=draw_noise([1, 2], 3, width),
            stop_ids=[],
            static=static,
        )
    weights._FROZEN.clear()  # the head's packed form stays on purpose
    names = {name for name, _ in made}
    assert {"LayerStates", "_Forward"} < names
    assert ("Tape" in names) is not static
    assert [name for name, ref in made if ref() is not None] == []
    kept = {
        id(value) for value in (decoded.tokens, decoded.logprobs, decoded.lengths, decoded.ended)
    }
    left = [one for one in (ref() for ref in operators.tensors) if one is not None]
    assert [tuple(one.shape) for one in left if id(one) not in kept] == []
