"""Runs of a tiny policy that cannot learn, and what they say about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.config.load import load_config
from rl4bio.fit import main

pytestmark = pytest.mark.usefixtures("no_traces")

PLUGIN = """
import math
from dataclasses import dataclass

from rl4bio.rewards import REWARDS, Reward


@REWARDS.register("by_length")
@dataclass(kw_only=True)
class ByLength(Reward):
    def score(self, completion, sample):
        return len(completion) / 100


@REWARDS.register("half")
@dataclass(kw_only=True)
class Half(Reward):
    def score(self, completion, sample):
        return 0.5


@REWARDS.register("sees_nothing")
@dataclass(kw_only=True)
class SeesNothing(Reward):
    def score(self, completion, sample):
        return math.nan
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "signs.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def config(tiny_policy_folder: Path, plugin: Path, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: trial
output_dir: {tmp_path / "runs"}
plugins: [{plugin}]
policy: {{checkpoint: {tiny_policy_folder}, adapter: {{rank: 2, alpha: 4}}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 3}}
data:
  name: trials
  options: {{batch_size: 2, num_train: 5, num_val: 3, distractors: [0, 0]}}
rewards: [{{name: by_length, isolation: none}}]
callbacks: [{{name: learning_check, options: {{steps: 3}}}}]
trainer: {{max_steps: 4, accelerator: cpu, num_threads: 1}}
"""
    )
    return path


@pytest.fixture
def fit(config: Path) -> Callable[..., int]:
    return lambda *arguments: main(["--config", str(config), *arguments])


def warnings_of(folder: Path) -> dict[str, dict[str, object]]:
    found = json.loads((folder / "summary.json").read_text())["warnings"]
    assert len({w["sign"] for w in found}) == len(found)
    return {w["sign"]: w for w in found}


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        ("rewards=[{name: half, isolation: none}]", "no_spread"),
        ("rollout.max_completion_tokens=1", "all_truncated"),
        (
            "rewards=[{name: by_length, isolation: none}, {name: sees_nothing, isolation: none}]",
            "unscored",
        ),
        ("grpo.mask_truncated=true", "no_gradient"),
    ],
)
def test_it_is_said_everywhere(
    fit: Callable[..., int],
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: str,
    sign: str,
) -> None:
    assert fit(change) == 0
    folder = tmp_path / "runs" / "trial"
    said = warnings_of(folder)[sign]
    assert (said["from"], said["to"]) == (1, 3)
    message = str(said["message"])
    err = capsys.readouterr().err
    assert err.count(f"learning_check: steps 1 to 3: {message}") == 1
    assert (folder / "log.txt").read_text().count(message) == 1
    page = (folder / "report.html").read_text()
    assert "Steps 1 to 3:" in page
    # The keys that it names can be set.
    for key in re.findall(r"\b(?:grpo|rollout|optim|sft)\.\w+", message):
        section, _, name = key.partition(".")
        assert hasattr(getattr(load_config(config), section), name), key


def test_a_run_that_can_learn_is_not_bothered(fit: Callable[..., int], tmp_path: Path) -> None:
    """A random policy never ends its text, so that alone is said."""
    assert fit() == 0
    assert set(warnings_of(tmp_path / "runs" / "trial")) == {"all_truncated"}


def test_it_may_stop_the_run(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = "callbacks=[{name: learning_check, options: {steps: 2, stop: true}}]"
    assert fit(stop, "rewards=[{name: half, isolation: none}]", "trainer.max_steps=20") == 0
    folder = tmp_path / "runs" / "trial"
    assert json.loads((folder / "summary.json").read_text())["steps"] == 2
    assert (folder / "adapter").is_dir()
    assert "the run stops here, as learning_check.stop asks" in capsys.readouterr().err


def test_every_run_has_it_and_a_resumed_one_remembers(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without being named; three steps are too few for the default of ten, so the end judges."""
    command = ["rewards=[{name: half, isolation: none}]", "callbacks=[]"]
    assert fit(*command, "trainer.max_steps=3") == 0
    assert "no_spread" in warnings_of(tmp_path / "runs" / "trial")
    assert "in no group did the rewards differ" in capsys.readouterr().err


def test_it_can_be_switched_off(fit: Callable[..., int], tmp_path: Path) -> None:
    off = "callbacks=[{name: learning_check, options: {steps: 0}}]"
    assert fit(off, "rewards=[{name: half, isolation: none}]", "trainer.max_steps=3") == 0
    assert warnings_of(tmp_path / "runs" / "trial") == {}
