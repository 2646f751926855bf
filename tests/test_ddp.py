"""Two processes train as one does: the same gradient of the same global batch."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("ddp_script.py")


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("ddp_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ranks(tiny_policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What rank 0 and rank 1 saw and ended with."""
    root = tmp_path_factory.mktemp("ddp")
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "WORLD_SIZE")},
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[1]), *sys.path]),
    }
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tiny_policy_folder), str(root)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        pytest.fail("the ranks wait for each other")
    finally:
        with contextlib.suppress(ProcessLookupError):  # the second rank too
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err[-4000:]
    return [torch.load(root / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(tiny_policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same run in this process, with all four prompts of a step on one rank."""
    return load_script().run(str(tiny_policy_folder), 1, tmp_path_factory.mktemp("alone"))


def test_ranks_share_the_global_batch(ranks: list[Any], alone: Any) -> None:
    one, two = (rank["seen"] for rank in ranks)
    assert one["uids"] + two["uids"] == alone["seen"]["uids"]
    assert one["completions"] + two["completions"] == alone["seen"]["completions"]
    assert one["micro_batches"] != two["micro_batches"]
    assert sum(map(len, one["completions"])) != sum(map(len, two["completions"]))


@pytest.mark.parametrize("loss", [0, 1, 2], ids=["dapo", "grpo", "dr_grpo"])
def test_gradient_is_that_of_one_process(ranks: list[Any], alone: Any, loss: int) -> None:
    wanted = alone["gradients"][loss]
    assert max(float(grad.abs().max()) for grad in wanted.values()) > 1e-3
    for rank in ranks:
        assert rank["gradients"][loss].keys() == wanted.keys()
        for name, grad in rank["gradients"][loss].items():
            torch.testing.assert_close(grad, wanted[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("combine", ["sum_then_normalize", "normalize_then_sum"])
def test_batch_moments_run_over_all_ranks(ranks: list[Any], alone: Any, combine: str) -> None:
    both = torch.cat([rank["seen"][combine] for rank in ranks])
    torch.testing.assert_close(both, alone["seen"][combine])


@pytest.mark.parametrize("task", ["grpo", "sft"])
def test_ranks_end_with_equal_weights_which_are_those_of_one_process(
    ranks: list[Any], alone: Any, task: str
) -> None:
    one, two = (rank[task] for rank in ranks)
    assert one.keys() == two.keys() == alone[task].keys()
    for name, weight in one.items():
        assert torch.equal(weight, two[name])
        torch.testing.assert_close(weight, alone[task][name], rtol=0, atol=1e-6)


def test_a_rank_whose_memory_runs_out_goes_on_alone(ranks: list[Any]) -> None:
    """With `auto`; the weights are those of one process all the same."""
    assert ranks[0]["halvings"] == [0, 0]
    assert min(ranks[1]["halvings"]) > 0


@pytest.mark.parametrize(
    ("task", "num_steps", "some"),
    [
        ("grpo", 2, ["reward/total_mean", "reward/total_std", "train/kl", "val/reward_mean"]),
        ("sft", 2, ["train/loss", "val/loss"]),
    ],
)
def test_metrics_are_those_of_one_process(
    ranks: list[Any], alone: Any, task: str, num_steps: int, some: list[str]
) -> None:
    found, wanted = ranks[0][f"{task}_metrics"], alone[f"{task}_metrics"]
    assert len(found) == len(wanted) == 2 * num_steps  # each step has its validation
    assert set(some) <= found[-1].keys() == wanted[-1].keys()
    for one, other in zip(found, wanted, strict=True):
        for name, value in one.items():
            if not name.startswith("time/"):
                assert value == pytest.approx(other[name], rel=1e-5, abs=1e-6, nan_ok=True), name
