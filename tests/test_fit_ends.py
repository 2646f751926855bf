"""How runs end: short ones, ones that fail before or after their first step, ones that stop."""

from __future__ import annotations

import csv
import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rl4bio.fit import main
from rl4bio.process.endings import set_run_folder
from rl4bio.storage import latest_checkpoint

pytestmark = pytest.mark.usefixtures("no_traces")

PLUGIN = '''
"""Rewards and callbacks that fail when the file `trouble` beside this one says so."""

import math
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl

from rl4bio.callbacks import CALLBACKS
from rl4bio.errors import DataError
from rl4bio.rewards import REWARDS, Reward

TROUBLE = Path(__file__).with_name("trouble")


def trouble(place):
    return TROUBLE.exists() and TROUBLE.read_text() == place


@REWARDS.register("letters")
@dataclass(kw_only=True)
class Letters(Reward):
    """Share of the letter e, and a little for length."""

    fails_at: int = 0

    def prepare(self):
        self.calls = 0
        if trouble("prepare"):
            raise DataError("letters: a file is missing")

    def __call__(self, completions, samples):
        self.calls += 1
        if trouble("reward") and self.calls > self.fails_at:
            raise KeyError("no such thing")
        if trouble("interrupt"):
            raise KeyboardInterrupt
        return [t.count("e") / max(1, len(t)) + len(t) / 1000 for t in completions]


@REWARDS.register("constant")
@dataclass(kw_only=True)
class Constant(Reward):
    """Half a point for everybody."""

    def score(self, completion, sample):
        return 0.5


@REWARDS.register("blind")
@dataclass(kw_only=True)
class Blind(Reward):
    """Scores nothing."""

    def score(self, completion, sample):
        return math.nan


@CALLBACKS.register("brittle")
@dataclass(eq=False)
class Brittle(pl.Callback):
    """Fails in the hook that the file names."""

    def setup(self, *_, **__):
        self.on_hook("setup")

    def on_fit_start(self, *_):
        self.on_hook("on_fit_start")

    def on_train_start(self, *_):
        self.on_hook("on_train_start")

    def on_train_batch_start(self, *_):
        self.on_hook("on_train_batch_start")

    def on_hook(self, name):
        if trouble(name):
            raise RuntimeError(f"trouble in {name}")
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin's file."""
    path = tmp_path_factory.mktemp("plugin") / "ends.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def trouble(plugin: Path) -> Iterator[Path]:
    path = plugin.with_name("trouble")
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def fit(tiny_policy_folder: Path, plugin: Path, tmp_path: Path, runs: Path) -> Callable[..., int]:
    """Runs the command on a tiny configuration, as if in a new process."""
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: trial
output_dir: {runs}
plugins: [{plugin}]
policy: {{checkpoint: {tiny_policy_folder}, adapter: {{rank: 2, alpha: 4}}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 3}}
sft: {{max_tokens: 1000}}
optim: {{lr: 0.01}}
data:
  name: trials
  options: {{batch_size: 2, num_train: 5, num_val: 3, distractors: [0, 0]}}
rewards: [{{name: letters, isolation: none}}]
trainer: {{max_steps: 2, accelerator: cpu, save_every_steps: 50, num_threads: 1}}
"""
    )

    def run(*arguments: str) -> int:
        set_run_folder(None)
        return main(["--config", str(path), *arguments])

    return run


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


class TestSteps:
    @pytest.mark.parametrize("task", ["grpo", "sft"])
    def test_a_run_shorter_than_its_logging(
        self, fit: Callable[..., int], runs: Path, task: str
    ) -> None:
        assert fit(f"task={task}", "trainer.log_every_steps=10") == 0
        folder = runs / "trial"
        assert [row["step"] for row in rows_of(folder)] == ["2"]
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["steps"] == 2
        assert summary["last"]["train/loss"] == float(rows_of(folder)[0]["train/loss"])
        assert "step 2" in (folder / "report.html").read_text()
        assert (folder / "adapter").is_dir()

    def test_a_step_is_a_rollout_in_every_place(
        self, fit: Callable[..., int], runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        updates = ["grpo.updates_per_rollout=3", "optim.schedule=linear", "optim.warmup_steps=1"]
        assert fit("trainer.max_steps=3", *updates) == 0
        folder = runs / "trial"
        rows = rows_of(folder)
        assert [row["step"] for row in rows] == ["1", "2", "3"]
        # The rate rises in the three updates of the first step and falls to 0 in the other six.
        assert [float(row["train/lr"]) for row in rows] == pytest.approx([0.01, 0.006, 0.0])
        assert json.loads((folder / "summary.json").read_text())["steps"] == 3
        assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000003"]
        assert len(list((folder / "completions").iterdir())) == 3
        streams = capsys.readouterr()
        assert re.findall(r"^step (\S+) ", streams.err, re.MULTILINE) == ["1/3", "3/3"]
        assert "3 steps" in (folder / "README.md").read_text()

    def test_a_resumed_run_logs_and_validates_at_the_same_steps(
        self, fit: Callable[..., int], runs: Path
    ) -> None:
        """Every second step of five, with a stop behind the third."""
        every = ["trainer.log_every_steps=2", "trainer.val_every_steps=2"]
        assert fit("name=whole", *every, "trainer.max_steps=5") == 0
        assert fit("name=parts", *every, "trainer.max_steps=3") == 0
        assert [row["step"] for row in rows_of(runs / "parts")] == ["2", "3"]
        assert fit("name=parts", *every, "trainer.max_steps=5", "--resume") == 0
        whole, parts = rows_of(runs / "whole"), rows_of(runs / "parts")
        assert [row["step"] for row in whole] == ["2", "4", "5"]
        assert [row["step"] for row in whole if row["val/reward_mean"]] == ["2", "4"]
        assert [row for row in parts if row["step"] != "3"] == whole

    def test_resumed_without_a_checkpoint_it_starts_anew(
        self, fit: Callable[..., int], runs: Path
    ) -> None:
        """A kill before the first checkpoint: no step is in metrics.csv twice."""
        assert fit() == 0
        rows = rows_of(runs / "trial")
        (runs / "trial" / "checkpoints" / "step-00000002").rename(runs / "gone")
        assert fit("--resume") == 0
        assert rows_of(runs / "trial") == rows


class TestNothingTrained:
    @pytest.mark.parametrize(
        ("place", "code"),
        [
            ("setup", 1),
            ("on_fit_start", 1),
            ("on_train_start", 1),
            ("on_train_batch_start", 1),
            ("reward", 6),
            ("interrupt", 130),
        ],
    )
    def test_the_same_command_can_be_given_again(
        self,
        fit: Callable[..., int],
        runs: Path,
        trouble: Path,
        capsys: pytest.CaptureFixture[str],
        place: str,
        code: int,
    ) -> None:
        command = ["callbacks=[{name: brittle}]", "trainer.max_steps=1"]
        trouble.write_text(place)
        assert fit(*command) == code
        assert not (runs / "trial").exists()
        err = capsys.readouterr().err
        assert "Traceback" not in err
        kept = re.search(r"nothing was trained: \S+ is removed, its log is (\S+)", err)
        assert kept is not None
        log = Path(kept[1])
        text = log.read_text()
        log.unlink()
        assert "Traceback" in text
        assert "versions: rl4bio" in text
        trouble.unlink()
        assert fit(*command) == 0
        assert [row["step"] for row in rows_of(runs / "trial")] == ["1"]

    def test_an_error_later_saves_what_was_done(
        self,
        fit: Callable[..., int],
        runs: Path,
        trouble: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The reward fails in step 3; resumed, the run is the uninterrupted one."""
        steps = ["trainer.max_steps=4", "rewards.0.options={fails_at: 2}"]
        assert fit("name=whole", *steps) == 0
        trouble.write_text("reward")
        assert fit("name=parts", *steps) == 6
        *_, where, line = capsys.readouterr().err.strip().splitlines()
        assert where.startswith("step 2 is saved; continue with: rl4bio fit --config")
        assert "error[reward]" in line
        folder = runs / "parts"
        assert latest_checkpoint(folder / "checkpoints")[0] == (
            folder / "checkpoints" / "step-00000002"
        )
        log = (folder / "log.txt").read_text()
        assert "Traceback" in log
        assert "end: exit code 6" in log
        trouble.unlink()
        assert fit("name=parts", *steps, "--resume") == 0
        assert rows_of(folder) == rows_of(runs / "whole")


class TestCheapFirst:
    """What is refused does not wait for the model, which here could not be loaded at all."""

    @pytest.fixture
    def broken_model(self, tmp_path: Path) -> str:
        folder = tmp_path / "broken"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
        return f"policy.checkpoint={folder}"

    def test_the_model_would_be_refused(self, fit: Callable[..., int], broken_model: str) -> None:
        assert fit(broken_model) == 4

    @pytest.mark.parametrize(
        ("change", "code", "line"),
        [
            (
                "rewards=[{name: letters, isolation: none}, {name: constant, isolation: none}]",
                3,
                "letters: a file is missing",
            ),
            ("trainer.accelerator=gpu", 2, r"trainer\.accelerator: gpu, but torch finds none here"),
            ("callbacks=[{name: kl_monitor, options: {ceiling: -1}}]", 2, "ceiling: got -1"),
            ("logging={loggers: [wandb], mode: online}", 2, "online needs a W&B key"),
        ],
    )
    def test_it_is_refused_first(
        self,
        fit: Callable[..., int],
        broken_model: str,
        trouble: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
        change: str,
        code: int,
        line: str,
    ) -> None:
        monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        monkeypatch.setenv("NETRC", str(tmp_path / "none"))
        trouble.write_text("prepare")
        assert fit(broken_model, change) == code
        assert re.search(line, capsys.readouterr().err.splitlines()[-1])

    def test_a_name_that_is_taken(
        self,
        fit: Callable[..., int],
        broken_model: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert fit("trainer.max_steps=1") == 0
        assert fit(broken_model) == 7
        assert "a run of this name exists" in capsys.readouterr().err
