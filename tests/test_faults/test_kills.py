"""Killed at file operations of a step, and taken up: the run is the one that was left alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_faults.forks import Ended, differences, truth

KINDS: dict[str, list[str]] = {
    "grpo": [],
    "sft": ["task=sft", "policy.adapter.dropout=0.3"],
    "molecules": [
        "policy={checkpoint: 'rl4bio:molgpt-moses'}",
        "data={name: smiles, options: {batch_size: 1}}",
        "rewards=[{name: qed}]",
        "grpo.group_size=6",
        "rollout={max_prompt_tokens: 8, max_completion_tokens: 30}",
        "optim.lr=0.0001",
        "trainer.val_every_steps=0",
        "trainer.max_steps=4",
        "callbacks=[]",
    ],
}
LONG_KINDS = {**KINDS, "a reward as a guest": ["rewards=[{name: letters, isolation: process}]"]}
"""Those of `make test-faults`; a guest takes seconds to start."""


def killed_and_resumed(
    fit: Callable[..., Ended], folder: Path, changes: list[str], kills: list[int]
) -> Ended:
    """A run that is killed at these operations, one after the other, and goes on each time."""
    for number in kills:
        ended = fit(f"name={folder.name}", *changes, "--resume", kill_at=number, count_in=folder)
        if ended.code != 137:
            assert ended.code == 0, ended.err
            return ended
    return fit(f"name={folder.name}", *changes, "--resume")


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_tells_the_same(
    fit: Callable[..., Ended],
    finished: Callable[..., tuple[Path, Ended]],
    tmp_path: Path,
    rng: random.Random,
    kind: str,
) -> None:
    changes = KINDS[kind]
    whole, left_alone = finished(*changes)
    operations = left_alone.operations
    folder = tmp_path / "runs" / "parts"
    kills = [rng.randrange(1, operations), rng.randrange(1, operations // 2)]
    ended = killed_and_resumed(fit, folder, changes, kills)
    assert ended.code == 0, (kills, ended.err)
    assert differences(truth(whole), truth(folder)) == [], kills
