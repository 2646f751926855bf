"""Two real processes under each launcher: one run, the same for all, and that of one process."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.test_fit import PLUGIN

ROOT = Path(__file__).parents[1]
SURROUNDINGS = re.compile("SLURM|RANK|WORLD|MASTER|TORCHELASTIC|OMPI|PMI|NODE_|CUDA_VISIBLE")
CONFIG = """
name: trial
output_dir: {runs}
plugins: [{plugin}]
policy: {{checkpoint: {model}, adapter: {{rank: 2, alpha: 4}}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 3, kl_coef: 0.05}}
optim: {{lr: 0.01, warmup_steps: 1}}
data:
  name: trials
  options: {{batch_size: 2, num_train: 9, num_val: 3, distractors: [0, 0]}}
rewards: [{{name: share_of_e}}, {{name: structure, weight: 0.5}}]
trainer: {{max_steps: 2, accelerator: cpu, save_every_steps: 1, num_threads: 1}}
"""


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def start(arguments: list[str], **more: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not SURROUNDINGS.match(k)}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **more}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(processes: list[subprocess.Popen[str]], within: float) -> list[tuple[int, str]]:
    """Exit codes and messages; nothing is left running."""
    found = []
    try:
        until = time.monotonic() + within
        for process in processes:
            _, err = process.communicate(timeout=max(1.0, until - time.monotonic()))
            found.append((process.returncode, err))
    except subprocess.TimeoutExpired:
        pytest.fail("processes wait for each other")
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return found


def torchrun(fit: list[str]) -> list[subprocess.Popen[str]]:
    command = ["torch.distributed.run", "--nproc-per-node=2", "--master-port", free_port()]
    return [start([*command, "-m", *fit])]


def slurm(fit: list[str], **more: str) -> list[subprocess.Popen[str]]:
    """Two tasks of a step, as srun starts them."""
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", **more}
    job |= {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
    job |= {"SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": free_port()}
    return [start(fit, **job, SLURM_PROCID=str(n), SLURM_LOCALID=str(n)) for n in (0, 1)]


def devices(fit: list[str]) -> list[subprocess.Popen[str]]:
    return [start([*fit, "trainer.devices=2"])]


def alone(fit: list[str]) -> list[subprocess.Popen[str]]:
    return [start([*fit, "data.options.batch_size=4"])]


WAYS: dict[str, Callable[[list[str]], list[subprocess.Popen[str]]]] = {
    "alone": alone,
    "devices": devices,
    "torchrun": torchrun,
    "slurm": slurm,
}


@pytest.fixture(scope="module")
def config(tiny_policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("launched")
    file = root / "config.yaml"
    (root / "letters.py").write_text(PLUGIN)
    places = {"runs": root / "runs", "model": tiny_policy_folder, "plugin": root / "letters.py"}
    file.write_text(CONFIG.format(**places))
    return file


@pytest.fixture(scope="module")
def runs(config: Path) -> dict[str, Path]:
    """The folder of the run under each way of starting it."""
    found = {}
    for name, way in WAYS.items():
        fit = ["rl4bio", "fit", "--config", str(config), f"name={name}"]
        results = ended(way(fit), 150)
        assert [code for code, _ in results] == [0] * len(results), results
        found[name] = config.parent / "runs" / name
    return found


def metrics(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return [
            {
                name: float(value)
                for name, value in row.items()
                if value and not name.startswith("time/")
            }
            for row in csv.DictReader(stream)
        ]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["torchrun", "slurm"])
def test_every_launcher_makes_the_same_run(runs: dict[str, Path], name: str) -> None:
    one, other = runs["devices"], runs[name]
    assert files(one) == files(other)
    assert metrics(one) == metrics(other)
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_it_is_that_of_one_process(runs: dict[str, Path]) -> None:
    """With the same global batch; Adam's first steps are near sign(gradient) * lr."""
    two, one = metrics(runs["torchrun"]), metrics(runs["alone"])
    assert [row.keys() for row in two] == [row.keys() for row in one]
    for name, value in one[0].items():
        assert two[0][name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    mine, theirs = weights(runs["torchrun"]), weights(runs["alone"])
    for key, weight in mine.items():
        assert float(((weight - theirs[key]).abs() > 1e-5).float().mean()) < 0.02, key


def test_every_completion_is_there(runs: dict[str, Path]) -> None:
    """Two prompts with three completions a rank and step, in the order of one process."""
    for name in ("devices", "torchrun", "slurm"):
        for step in ("step-000001.jsonl", "step-000002.jsonl"):
            one, two = (
                [json.loads(line) for line in (runs[n] / "completions" / step).open()]
                for n in ("alone", name)
            )
            assert len(two) == 12
            for key in ("id", "prompt"):
                assert [row[key] for row in two] == [row[key] for row in one]
            if step == "step-000001.jsonl":
                assert [row["completion"] for row in two] == [row["completion"] for row in one]


def test_each_run_is_one_run(runs: dict[str, Path]) -> None:
    for name, folder in runs.items():
        log = (folder / "log.txt").read_text()
        assert ("of 2, started by" in log) is (name != "alone")
        assert len(metrics(folder)) == 2


def test_processes_that_see_one_card_each_are_told_by_rank(config: Path) -> None:
    """No card here: what the plan says of them is in tests/runs/test_launch.py."""
    fit = ["rl4bio", "fit", "--config", str(config), "name=wrong", "trainer.devices=3"]
    for code, err in ended(slurm(fit), 60):
        assert code == 2
        assert "slurm has started 2 processes on this machine" in err
    assert not (config.parent / "runs" / "wrong").exists()


def test_a_job_script_without_srun_is_refused(config: Path) -> None:
    fit = ["rl4bio", "fit", "--config", str(config), "name=script"]
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "x", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
    ((code, err),) = ended([start(fit, **job)], 60)
    assert code == 2
    assert "put srun in front of rl4bio" in err


def test_a_rank_that_never_comes_can_be_interrupted(config: Path) -> None:
    first, second = slurm(["rl4bio", "fit", "--config", str(config), "name=lonely"])
    second.kill()
    time.sleep(12)  # torch is imported, and the first one waits
    first.terminate()
    (code, _), _ = ended([first, second], 20)
    assert code in (-signal.SIGTERM, 143)
    assert not (config.parent / "runs" / "lonely").exists()


def test_a_refusal_of_the_first_process_ends_the_others(
    config: Path, runs: dict[str, Path]
) -> None:
    fit = ["rl4bio", "fit", "--config", str(config), "name=slurm", "seed=7"]  # exists
    before: dict[str, Any] = {path: path.stat().st_mtime for path in runs["slurm"].iterdir()}
    (first, told), (second, other) = ended(slurm(fit), 60)
    assert first == 7
    assert "a run of this name exists" in told
    assert second in (7, 8), other  # it sees the folder too, or that the first has left
    assert {path: path.stat().st_mtime for path in runs["slurm"].iterdir()} == before


def test_a_process_that_dies_takes_the_other_with_it(config: Path) -> None:
    fit = ["rl4bio", "fit", "--config", str(config), "name=dies", "trainer.max_steps=500"]
    first, second = slurm(fit)
    metrics_file = config.parent / "runs" / "dies" / "metrics.csv"
    until = time.monotonic() + 120
    while not (metrics_file.exists() and metrics_file.read_text().count("\n") > 1):
        assert time.monotonic() < until, "it does not begin"
        time.sleep(0.5)
    second.kill()
    ((code, err),) = ended([first], 60)
    assert code == 8, err
    assert "error[rank]" in err.strip().splitlines()[-1]
