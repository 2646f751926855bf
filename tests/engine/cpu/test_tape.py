"""Recorded operators do what the recorded code does, with whatever its inputs hold by then."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from rl4bio.engine.cpu.tape import CannotRecord, Tape, live

X = torch.arange(12.0).view(3, 4) - 5
Tensors = tuple[Tensor, ...]


def replayed(tape: Tape) -> list[str]:
    """The operators of a replay."""

    class Count(TorchDispatchMode):
        names: list[str] = []  # noqa: RUF012

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    with Count():
        tape.replay()
    return Count.names


def views(x: Tensor) -> Tensors:
    first, second = x.split([1, 3], dim=-1)
    return (first.transpose(0, 1) @ second[:, 1:], second.reshape(-1))


def in_place(x: Tensor) -> Tensors:
    total = torch.zeros(3)  # made anew each time, or it would grow
    total.add_(x.sum(-1))
    x.view(4, 3)[0] *= 2  # and the input changes with every run
    return (total * 2, x.clone())


def several_outputs(x: Tensor) -> Tensors:
    values, places = x.max(dim=-1)
    parts = torch.nn.functional.layer_norm(x, (4,)), values.cumsum(0)
    return (torch.cat([*parts[0].unbind(-1), parts[1]]), places)


def views_of_views(x: Tensor) -> Tensors:
    whole = torch.stack([x, x * 2])  # [2, 3, 4]
    corner = whole.transpose(0, 2)[1:].flatten(1, 2).unbind(0)[1].view(3, 2).mT[None, 1:]
    corner += 1  # seen through the others
    wide = whole.select(0, 1).diagonal().unsqueeze(-1).expand(-1, 5)
    given = x.view(2, 6)[1].view(2, 3).mT
    given *= 1.5
    return (corner.squeeze(0), wide, whole, given.sum(-1), whole.view(torch.int32)[0, 1:])


def numbers(x: Tensor) -> Tensors:
    index = torch.tensor([2, 0])
    return (x[index] / 3 + torch.arange(4), torch.where(x > 0, x, -1.5).softmax(-1, torch.float64))


@pytest.mark.parametrize("function", [views, in_place, several_outputs, views_of_views, numbers])
def test_replays_are_what_the_code_would_do(function: Callable[[Tensor], Tensors]) -> None:
    given, own = X.clone(), X.clone()
    tape = Tape(lambda: function(own))
    for found, expected in zip(tape.result, function(given), strict=True):
        assert torch.equal(found, expected)
    for n in range(3):
        given.add_(n)
        own.add_(n)
        for found, expected in zip(tape.replay(), function(given), strict=True):
            assert torch.equal(found, expected)
        assert torch.equal(own, given)


def test_casts_of_autocast_are_on_the_tape() -> None:
    layer, x = nn.Linear(4, 5), X.clone()

    def run() -> Tensors:
        return (layer(x).float() + layer.weight.sum(),)

    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        tape = Tape(run)
        x.add_(0.7)
        expected = run()[0]
        assert torch.equal(tape.replay()[0], expected)
    assert torch.equal(tape.replay()[0], expected)  # outside, too
    with torch.no_grad():
        assert not torch.equal(run()[0], expected)


def test_a_live_call_runs_each_time_with_the_tensors_of_the_step() -> None:
    x, calls, factor = X.clone(), [], 1.0

    def scaled(source: Tensor) -> Tensor:
        calls.append(factor)
        if len(calls) % 2:  # other operators each time
            return source * factor
        return torch.zeros(3).add_(source, alpha=factor)

    def run() -> Tensors:
        return (live(scaled, (x + 1).sum(-1)) * 10,)

    tape = Tape(run)
    for factor in (2.0, 3.0, 4.0):
        x.add_(1)
        assert torch.equal(tape.replay()[0], (x + 1).sum(-1) * factor * 10)
    assert calls == [1.0, 2.0, 3.0, 4.0]
    factor = 5.0
    assert torch.equal(live(scaled, X), X * 5.0)


def test_what_nothing_reads_is_not_done_again() -> None:
    x = X.clone()

    def run() -> Tensors:
        (x @ x.T).exp().sum()
        return (x + 1,)

    tape = Tape(run)
    assert replayed(tape) == ["aten.add.Tensor"]


def test_a_view_of_views_is_one_call() -> None:
    x = X.clone()
    weight = torch.ones(4, 8)

    tape = Tape(lambda: ((x + 1).view(3, 2, 2).transpose(0, 1)[1].mT @ weight.T[:3, :2],))
    assert replayed(tape) == ["aten.add.Tensor", "aten.as_strided.default", "aten.mm.default"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.clone().unsqueeze_(0) + 1,),
        lambda x: (x * x.max().item(),),
        lambda x: (x if bool(x.sum() > 0) else -x,),
        lambda x: (x[x > 0],),
        lambda x: (x.nonzero() + 1,),
        lambda x: (x.unique() + 1,),
    ],
)
def test_what_depends_on_values_is_refused(function: Callable[[Tensor], Tensors]) -> None:
    with pytest.raises(CannotRecord):
        Tape(lambda: function(X))
    assert torch.equal((X > 0).nonzero(), (X > 0).nonzero())  # nothing is left recording
    assert live(torch.neg, X)[0, 0] == 5


def test_a_tensor_made_past_the_operators_is_refused() -> None:
    """What shares memory with a tensor of the step would keep the recording's numbers."""

    def run() -> Tensors:
        y = X * 2
        return (torch.from_numpy(y.numpy()) + 1,)

    with pytest.raises(CannotRecord, match="past the operators"):
        Tape(run)


def test_nothing_of_the_step_outlives_the_tape() -> None:
    def make() -> tuple[Tape, Callable[[], Tensor | None]]:
        weight = torch.ones(1000)
        return Tape(lambda: (weight * 2 + 1,)), weakref.ref(weight)

    tape, weight = make()
    tape.replay()
    gc.collect()
    assert weight() is not None  # the tape reads it
    del tape
    gc.collect()
    assert weight() is None
