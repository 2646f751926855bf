"""Small runs that are hurt: a policy, a plugin with randomness, configurations of all kinds."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_faults import forks

REWARD = '''
from dataclasses import dataclass

from rl4bio.rewards import REWARDS, Reward


@REWARDS.register("letters")
@dataclass(kw_only=True)
class Letters(Reward):
    """Share of the letter e, and a little for length."""

    def score(self, completion, sample):
        return completion.count("e") / max(1, len(completion)) + len(completion) / 1000
'''
"""A plugin that imports nothing heavy, so that a process for it starts quickly."""

PLUGIN = (
    REWARD
    + '''
import os
import random
import time
from pathlib import Path

import lightning.pytorch as pl
import torch

from rl4bio.callbacks import CALLBACKS


@CALLBACKS.register("gambler")
@dataclass(eq=False)
class Gambler(pl.Callback):
    """Draws from every generator at some steps, and logs what it drew."""

    every: int = 2

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if module.iteration % self.every == 1:
            random.random()
            torch.rand(3)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        module.log("gambler", torch.rand(()) + random.random())


@CALLBACKS.register("slow")
@dataclass(eq=False)
class Slow(pl.Callback):
    """Waits in the hook that the variable WAIT_IN names, from step 2 on, and says so in a file."""

    def wait(self, hook, module):
        if os.environ.get("WAIT_IN") == hook and module.iteration >= 2:
            Path(os.environ["WAITING"]).touch()
            end = time.monotonic() + float(os.environ.get("WAIT_S", "1000"))
            while time.monotonic() < end:
                time.sleep(0.05)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.wait("on_train_batch_start", module)

    def on_validation_start(self, trainer, module):
        self.wait("on_validation_start", module)
'''
)

CONFIG = """
name: trial
output_dir: {runs}
plugins: [{plugin}]
policy: {{checkpoint: {model}, adapter: {{rank: 2, alpha: 4, dropout: {dropout}}}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 3}}
sft: {{max_tokens: 1000}}
optim: {{lr: 0.01, warmup_steps: 1}}
data:
  name: trials
  options: {{batch_size: 2, num_train: 5, num_val: 3, distractors: [0, 0]}}
rewards: [{{name: letters, isolation: none}}]
callbacks: [{{name: gambler}}, {{name: slow}}]
logging: {{keep_steps: 3}}
trainer:
  {{max_steps: 5, accelerator: cpu, save_every_steps: 2, val_every_steps: 2, num_threads: 1}}
"""


@pytest.fixture(scope="session")
def libraries() -> None:
    forks.load_libraries()


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "gamble.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture(scope="session")
def write_config(tiny_policy_folder: Path, plugin: Path, libraries: None) -> Callable[[Path], Path]:
    """Writes the configuration of a tiny run, whose folder is `<place>/runs/<name>`."""

    def write(place: Path) -> Path:
        path = place / "config.yaml"
        places = {"runs": place / "runs", "plugin": plugin, "model": tiny_policy_folder}
        path.write_text(CONFIG.format(**places, dropout=0.0))
        return path

    return write


@pytest.fixture
def config(write_config: Callable[[Path], Path], tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture
def fit(config: Path, tmp_path: Path) -> Callable[..., forks.Ended]:
    """Runs the command in a child; options are those of `forks.run`."""

    def run(*arguments: str, **options: object) -> forks.Ended:
        return forks.run([str(config), *arguments], tmp_path / "logs", **options)  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="session")
def finished(
    write_config: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, forks.Ended]]:
    """The folder of a run with these changes that nobody disturbed, made once; read only."""
    root = tmp_path_factory.mktemp("finished")
    config = write_config(root)
    made: dict[tuple[str, ...], tuple[Path, forks.Ended]] = {}

    def run(*changes: str) -> tuple[Path, forks.Ended]:
        if changes not in made:
            folder = root / "runs" / f"whole{len(made)}"
            command = [str(config), f"name={folder.name}", *changes]
            ended = forks.run(command, root / "logs", count_in=folder)
            assert ended.code == 0, ended.err
            made[changes] = folder, ended
        return made[changes]

    return run


@pytest.fixture(scope="session")
def whole(finished: Callable[..., tuple[Path, forks.Ended]]) -> dict[str, object]:
    """What the run of the configuration says of itself when nobody disturbs it."""
    return forks.truth(finished()[0])


@pytest.fixture
def rng(record_property: Callable[[str, object], None]) -> random.Random:
    """Draws what is hurt; the seed is printed, RL4BIO_FAULT_SEED repeats it."""
    number = forks.seed()
    record_property("seed", number)
    print(f"RL4BIO_FAULT_SEED={number}")
    return random.Random(number)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def folder(tiny_policy_folder: Path, tmp_path: Path) -> Path:
    """A model folder that a test may spoil."""
    return Path(shutil.copytree(tiny_policy_folder, tmp_path / "model"))
