"""Killed at file operations of a step, and taken up: the run is the one that was left alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.test_faults.conftest import REWARD
from tests.test_faults.forks import Ended, differences, truth
from tests.tiny_molgpt import tiny_molgpt

KINDS: dict[str, list[str]] = {
    "grpo": [],
    "sft": ["task=sft", "policy.adapter.dropout=0.3"],
    "molecules": [
        "policy={checkpoint: MOLGPT}",  # all of its weights are trained
        "data={name: smiles, options: {batch_size: 1}}",
        "rewards=[{name: qed}]",
        "grpo.group_size=6",
        "rollout={max_prompt_tokens: 8, max_completion_tokens: 8}",
        "optim.lr=0.0001",
        "trainer.val_every_steps=0",
        "trainer.max_steps=4",
        "callbacks=[]",
    ],
}
GUEST = [
    "plugins=[LETTERS]",
    "rewards=[{name: letters, isolation: process}]",
    "callbacks=[]",
]
LONG_KINDS = {**KINDS, "a reward as a guest": GUEST}
"""Those of `make test-faults`; a guest takes a while to start."""


def kinds(base: Path, found: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The kinds with a tiny MolGPT, which is written to `base`, and a plugin beside it."""
    tiny_molgpt(base)
    letters = base.with_name("letters.py")
    letters.write_text(REWARD)
    places = {"MOLGPT": str(base), "LETTERS": str(letters)}

    def placed(change: str) -> str:
        for word, place in places.items():
            change = change.replace(word, place)
        return change

    return {kind: [placed(change) for change in found[kind]] for kind in found}


def places(rng: random.Random, operations: int, most: int) -> list[int]:
    """Before which file operations of a run, and of each that takes it up, it is killed.

    A run that is taken up has at least the operations that were not reached, so each kill happens.
    """
    drawn: list[int] = []
    for _ in range(rng.randint(1, most)):
        left = operations - sum(drawn)
        if left > 1:
            drawn.append(rng.randrange(1, left))
    return drawn


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return kinds(tmp_path_factory.mktemp("molgpt") / "base", KINDS)


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
    changed: dict[str, list[str]],
    kind: str,
) -> None:
    changes = changed[kind]
    whole, left_alone = finished(*changes)
    operations = left_alone.operations
    folder = tmp_path / "runs" / "parts"
    kills = [rng.randrange(1, operations), rng.randrange(1, operations // 2)]
    ended = killed_and_resumed(fit, folder, changes, kills)
    assert ended.code == 0, (kills, ended.err)
    assert differences(truth(whole), truth(folder)) == [], kills
