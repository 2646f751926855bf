"""Two ranks of which one fails, is killed, or is sent a signal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_faults import forks


@pytest.fixture
def pair(config: Path, tmp_path: Path) -> Callable[..., list[forks.Ended]]:
    """Two tasks of a SLURM step that run the command with these changes."""

    def run(*changes: str, **more: str) -> list[forks.Ended]:
        started = forks.start_pair([str(config), *changes], tmp_path / "logs", **more)
        return forks.wait_pair(started, 100)

    return run


def last_line(run: forks.Ended) -> str:
    assert "Traceback" not in run.err
    return run.err.strip().splitlines()[-1]


FAILING = '''
import os
from dataclasses import dataclass

import lightning.pytorch as pl

from rl4bio.callbacks import CALLBACKS
from rl4bio.errors import DataError


@CALLBACKS.register("fails_on_one")
@dataclass(eq=False)
class FailsOnOne(pl.Callback):
    """At step 2 something happens to the rank that FAILS names; the other goes on into it."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if module.iteration != 1 or str(trainer.global_rank) != os.environ["FAILS"]:
            return
        what = os.environ["HOW"]
        if what == "data":
            raise DataError("rows.jsonl:7: no question")
        if what == "memory":
            raise MemoryError("planted")
        os.kill(os.getpid(), 9)
'''

ENDS = {"data": (3, "error[data]", "rows.jsonl:7: no question"), "memory": (9, "", "planted")}


@pytest.mark.parametrize(("how", "rank"), [("data", 1), ("memory", 0)])
def test_all_end_with_the_cause_of_the_first(
    config: Path,
    plugin: Path,
    tmp_path: Path,
    pair: Callable[..., list[forks.Ended]],
    how: str,
    rank: int,
) -> None:
    failing = tmp_path / "failing.py"
    failing.write_text(FAILING)
    plugins = f"plugins=[{plugin}, {failing}]"
    both = pair(
        f"name={how}{rank}", plugins, "callbacks=[{name: fails_on_one}]", FAILS=str(rank), HOW=how
    )
    code, kind, text = ENDS[how]
    for number, run in enumerate(both):
        assert run.code == code, (number, run.err)
        assert text in last_line(run)
        assert kind in last_line(run)
    assert f"process {rank} of 2 failed first" in last_line(both[1 - rank])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_takes_the_other_with_it(
    config: Path, plugin: Path, tmp_path: Path, pair: Callable[..., list[forks.Ended]], rank: int
) -> None:
    failing = tmp_path / "failing.py"
    failing.write_text(FAILING)
    plugins = f"plugins=[{plugin}, {failing}]"
    both = pair(
        f"name=dies{rank}", plugins, "callbacks=[{name: fails_on_one}]", FAILS=str(rank), HOW="kill"
    )
    assert both[rank].code == 137
    assert both[1 - rank].code == 8, both[1 - rank].err
    assert "error[rank]: " in last_line(both[1 - rank])
    assert both[1 - rank].seconds < 60


def test_sft_with_dropout_and_validation_is_taken_up_to_the_byte(
    config: Path, plugin: Path, tmp_path: Path, pair: Callable[..., list[forks.Ended]]
) -> None:
    """Two ranks, stopped by a signal to one of them, or left alone."""
    changes = ["task=sft", "policy.adapter.dropout=0.3", "trainer.max_steps=4", "rewards=[]"]
    changes += ["trainer.val_every_steps=2", "grpo.kl_coef=0"]
    assert [run.code for run in pair("name=sft_whole", *changes)] == [0, 0]
    runs = config.parent / "runs"
    started = forks.start_pair([str(config), "name=sft_parts", *changes], tmp_path)
    rows = runs / "sft_parts" / "metrics.csv"
    while not (rows.exists() and rows.read_text().count("\n") > 1):
        assert time.monotonic() - started[0].since < 100, "it does not begin"
        time.sleep(0.01)
    os.kill(started[1].number, signal.SIGTERM)
    stopped = forks.wait_pair(started, 60)
    assert {run.code for run in stopped} <= {143, 0}, [run.err for run in stopped]
    assert [run.code for run in pair("name=sft_parts", *changes, "--resume")] == [0, 0]
    whole, parts = (forks.truth(runs / name) for name in ("sft_whole", "sft_parts"))
    assert forks.differences(whole, parts) == []
