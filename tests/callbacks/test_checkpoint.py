"""Saving, stopping on signals, and the random states."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from rl4bio.callbacks.checkpoint import RunCheckpoint
from rl4bio.callbacks.checkpoint_state import load_trainable, random_states, set_random_states
from rl4bio.errors import ModelError
from rl4bio.process.signals import REPEAT_S, Terminated
from rl4bio.storage import flatten_state, latest_checkpoint, load_checkpoint_folder, unflatten_state


class Saved:
    """Weights by name, as a module gives them."""

    def __init__(self, **weights: torch.Tensor) -> None:
        self.weights = weights

    def trainable_state(self) -> dict[str, torch.Tensor]:
        return self.weights


class Send(pl.Callback):
    """Sends this process signals in the middle of step 2."""

    def __init__(self, *numbers: int, pause_s: float = 0.0) -> None:
        self.numbers = numbers
        self.pause_s = pause_s

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.iteration == 1:
            for number in self.numbers:
                os.kill(os.getpid(), number)
                time.sleep(self.pause_s)


@pytest.fixture
def module(step_module: Any) -> Any:
    """The step module with what checkpoints need: its weights and its position."""

    class Stateful(step_module):
        draws = 0

        def trainable_state(self) -> dict[str, torch.Tensor]:
            return {"weight": self.weight.detach()}

    return Stateful([[1.0, 0.0, 1.0, 1.0]], [None])


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


class TestSaving:
    def test_every_few_steps_and_the_last(
        self, run_steps: Callable[..., pl.Trainer], module: Any, tmp_path: Path
    ) -> None:
        checkpoint = RunCheckpoint(folder=str(tmp_path / "c"), every=2, keep=10)
        run_steps([checkpoint, checkpoint.last], steps=5, module=module)
        assert steps_in(tmp_path / "c") == [2, 4, 5]
        tensors, state = load_checkpoint_folder(tmp_path / "c" / "step-00000004")
        # Gradients add up in that module, 1 to 4, at a rate of 0.1: 1 - 0.1 * 10.
        assert tensors["weights"]["weight"].item() == pytest.approx(0.0, abs=1e-6)
        assert (state["iteration"], state["optimizer_steps"]) == (4, 4)
        assert checkpoint.signal is None

    def test_keeps_the_newest(
        self, run_steps: Callable[..., pl.Trainer], module: Any, tmp_path: Path
    ) -> None:
        checkpoint = RunCheckpoint(folder=str(tmp_path / "c"), every=1, keep=2)
        run_steps([checkpoint, checkpoint.last], module=module)
        assert steps_in(tmp_path / "c") == [2, 3]


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_step_is_finished_saved_and_the_last(
        self, run_steps: Callable[..., pl.Trainer], module: Any, tmp_path: Path, number: int
    ) -> None:
        before = signal.getsignal(number)
        checkpoint = RunCheckpoint(folder=str(tmp_path / "c"), every=100)
        run_steps([checkpoint, Send(number), checkpoint.last], steps=50, module=module)
        assert checkpoint.signal == number
        assert module.iteration == 2
        assert steps_in(tmp_path / "c") == [2]
        assert latest_checkpoint(tmp_path / "c")[1] == []
        assert signal.getsignal(number) == before

    def test_repeats_are_one_signal_and_the_first_counts(
        self, run_steps: Callable[..., pl.Trainer], module: Any, tmp_path: Path
    ) -> None:
        checkpoint = RunCheckpoint(folder=str(tmp_path / "c"), every=100)
        send = Send(signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        run_steps([checkpoint, send, checkpoint.last], steps=50, module=module)
        assert checkpoint.signal == signal.SIGTERM
        assert steps_in(tmp_path / "c") == [2]

    def test_a_second_one_later_stops_at_once(
        self, run_steps: Callable[..., pl.Trainer], module: Any, tmp_path: Path
    ) -> None:
        before = signal.getsignal(signal.SIGINT)
        checkpoint = RunCheckpoint(folder=str(tmp_path / "c"), every=100)
        send = Send(signal.SIGTERM, signal.SIGINT, pause_s=REPEAT_S + 0.1)
        with pytest.raises(Terminated) as error:
            run_steps([checkpoint, send, checkpoint.last], steps=50, module=module)
        assert error.value.number == signal.SIGTERM
        assert module.iteration == 1
        assert not (tmp_path / "c").exists()
        assert signal.getsignal(signal.SIGINT) == before

    def test_handlers_are_put_back_after_an_error(
        self, run_steps: Callable[..., pl.Trainer], module: Any, tmp_path: Path
    ) -> None:
        before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
        module.rewards = ["no number"]
        with pytest.raises(TypeError):
            run_steps([RunCheckpoint(folder=str(tmp_path / "c"))], module=module)
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


class TestWeights:
    def test_are_copied_in_place(self) -> None:
        own = {"a": torch.zeros(2, 3), "b": torch.zeros(4)}
        load_trainable(
            Saved(**own), {"a": torch.ones(2, 3), "b": torch.arange(4.0)}, Path("step-1")
        )
        assert own["a"].eq(1).all()
        assert own["b"].tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("stored", "message"),
        [
            ({"a": torch.ones(2, 3)}, "1 weights do not fit the policy, first b: absent"),
            (
                {"a": torch.ones(2, 4), "b": torch.ones(4)},
                r"first a: \(2, 4\) in the checkpoint, \(2, 3\) here",
            ),
            (
                {"a": torch.ones(2, 3), "b": torch.ones(4), "c": torch.ones(1)},
                r"first c: \(1,\) in the checkpoint, absent here",
            ),
        ],
    )
    def test_that_do_not_fit(self, stored: dict[str, torch.Tensor], message: str) -> None:
        own = {"a": torch.zeros(2, 3), "b": torch.zeros(4)}
        with pytest.raises(ModelError, match=message):
            load_trainable(Saved(**own), stored, Path("step-1"))
        assert own["a"].eq(0).all()


def test_random_states_round_trip_through_a_checkpoint() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    tensors, plain = flatten_state(random_states())
    first = draw()
    draw()
    set_random_states(unflatten_state(tensors, plain))
    assert draw() == first
