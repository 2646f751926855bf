"""Where in a step the memory ran out, and what to lower."""

from __future__ import annotations

import re

import pytest
import torch

from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.phases import REMEDIES, phase
from rl4bio.sections import RolloutConfig


class Step:
    place = "step 3"

    @phase("update")
    def update(self, error: BaseException | None) -> int:
        if error is not None:
            raise error
        return 7

    @phase("rollout")
    def outer(self, error: BaseException) -> int:
        return self.update(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_it_is_said_once_with_what_lowers_it(error: BaseException) -> None:
    with pytest.raises(type(error)) as found:
        Step().outer(error)
    assert found.value is error
    (note,) = error.__notes__
    assert note == f"in the update of step 3; {REMEDIES['update']}"


@pytest.mark.parametrize(("sharded", "gathers"), [(True, True), (True, False), (False, True)])
def test_a_model_that_is_gathered_for_a_rollout_need_not_be(sharded: bool, gathers: bool) -> None:
    class Sampling(Step):
        rollout = RolloutConfig(gather_weights=gathers)

        @phase("rollout")
        def generate(self) -> None:
            raise MemoryError

    step = Sampling()
    step.sharded = sharded  # type: ignore[attr-defined]
    with pytest.raises(MemoryError) as found:
        step.generate()
    (note,) = found.value.__notes__
    assert note.endswith("set rollout.gather_weights=false") is (sharded and gathers)


def test_other_errors_and_results_pass_as_they_are() -> None:
    assert Step().update(None) == 7
    error = RuntimeError("shapes")
    with pytest.raises(RuntimeError):
        Step().update(error)
    assert not hasattr(error, "__notes__")


def test_the_phases_of_a_training_step_are_covered() -> None:
    for name in ("generate", "reference_logprobs", "update"):
        assert hasattr(getattr(GRPOLightningModule, name), "__wrapped__")
    for remedy in REMEDIES.values():
        assert len(re.findall(r"[a-z]+\.[a-z_.]+", remedy)) == 3  # settings
