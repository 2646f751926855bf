"""Small runs that are hurt: a policy, a plugin with randomness, configurations of all kinds."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_faults import forks

PLUGIN = '''
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import torch

from rl4bio.callbacks import CALLBACKS
from rl4bio.rewards import REWARDS, Reward


@REWARDS.register("letters")
@dataclass(kw_only=True)
class Letters(Reward):
    """Share of the letter e, and a little for length."""

    def score(self, completion, sample):
        return completion.count("e") / max(1, len(completion)) + len(completion) / 1000


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
rewards: [{{name: letters}}]
callbacks: [{{name: gambler}}, {{name: slow}}]
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


@pytest.fixture
def config(tiny_policy_folder: Path, plugin: Path, tmp_path: Path, libraries: None) -> Path:
    """The configuration of a tiny run, whose folder is `tmp_path / "runs" / name`."""
    path = tmp_path / "config.yaml"
    text = CONFIG.format(
        runs=tmp_path / "runs", plugin=plugin, model=tiny_policy_folder, dropout=0.0
    )
    path.write_text(text)
    return path


@pytest.fixture
def fit(config: Path, tmp_path: Path) -> Callable[..., forks.Ended]:
    """Runs the command in a child; options are those of `forks.run`."""

    def run(*arguments: str, **options: object) -> forks.Ended:
        return forks.run([str(config), *arguments], tmp_path / "logs", **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def rng(record_property: Callable[[str, object], None]) -> random.Random:
    """Draws what is hurt; the seed is printed, RL4BIO_FAULT_SEED repeats it."""
    number = forks.seed()
    record_property("seed", number)
    print(f"RL4BIO_FAULT_SEED={number}")
    return random.Random(number)
