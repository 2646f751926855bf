"""Two real processes under each launcher: one run, the same for all, and that of one process."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.test_faults import forks
from tests.test_fit import PLUGIN

ROOT = Path(__file__).parents[1]
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
rewards: [{{name: share_of_e, isolation: none}}, {{name: structure, weight: 0.5}}]
trainer: {{max_steps: 2, accelerator: cpu, save_every_steps: 1, num_threads: 1}}
"""


def start(arguments: list[str], **more: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not forks.LAUNCHERS.match(k)}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **more}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], within: float) -> tuple[int, str]:
    """Exit code and messages; nothing is left running."""
    try:
        _, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        pytest.fail("processes wait for each other")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, err


def torchrun(fit: list[str], logs: Path) -> list[int]:
    command = ["torch.distributed.run", "--nproc-per-node=2", "--master-port", forks.free_port()]
    return [ended(start([*command, "-m", "rl4bio", "fit", *fit]), 400)[0]]


def slurm(fit: list[str], logs: Path) -> list[int]:
    """In a shell where a single process has left its numbers."""
    left = {"RANK": "0", "WORLD_SIZE": "1"}
    return [one.code for one in forks.wait_pair(forks.start_pair(fit, logs, **left))]


def devices(fit: list[str], logs: Path) -> list[int]:
    """In a shell that remembers a run of several machines."""
    left = {"LOCAL_RANK": "0", "NODE_RANK": "1", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1"}
    return [ended(start(["rl4bio", "fit", *fit, "trainer.devices=2"], **left), 400)[0]]


def alone(fit: list[str], logs: Path) -> list[int]:
    return [forks.run([*fit, "data.options.batch_size=4"], logs).code]


WAYS: dict[str, Callable[[list[str], Path], list[int]]] = {
    "alone": alone,
    "devices": devices,
    "torchrun": torchrun,
    "slurm": slurm,
}


@pytest.fixture(scope="module")
def config(tiny_policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    forks.load_libraries()
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
        codes = way([str(config), f"name={name}"], config.parent / "logs" / name)
        assert set(codes) == {0}, (name, codes)
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
    """With the same global batch."""
    two, one = metrics(runs["torchrun"]), metrics(runs["alone"])
    assert [row.keys() for row in two] == [row.keys() for row in one]
    for mine, theirs in zip(two, one, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-6)
    tuned, wanted = weights(runs["torchrun"]), weights(runs["alone"])
    for key, weight in tuned.items():
        torch.testing.assert_close(weight, wanted[key], rtol=0, atol=1e-6, msg=key)


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


@pytest.fixture
def pair(config: Path, tmp_path: Path) -> Callable[..., list[forks.Ended]]:
    """Two tasks of a SLURM step that run the command with these changes."""

    def run(*changes: str, **more: str) -> list[forks.Ended]:
        return forks.wait_pair(forks.start_pair([str(config), *changes], tmp_path, **more), 100)

    return run


def test_processes_that_see_one_card_each_are_told_by_rank(
    config: Path, pair: Callable[..., list[forks.Ended]]
) -> None:
    """No card here: what the plan says of them is in tests/runs/test_launch.py."""
    for run in pair("name=wrong", "trainer.devices=3"):
        assert run.code == 2
        assert "slurm has started 2 processes on this machine" in run.err
    assert not (config.parent / "runs" / "wrong").exists()


def test_a_job_script_without_srun_is_refused(config: Path, tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "x", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
    run = forks.run([str(config), "name=script"], tmp_path, environment=job)
    assert run.code == 2
    assert "put srun in front of rl4bio" in run.err


def test_a_rank_that_never_comes_can_be_interrupted(config: Path, tmp_path: Path) -> None:
    first, second = forks.start_pair([str(config), "name=lonely"], tmp_path)
    os.kill(second.number, signal.SIGKILL)
    until = time.monotonic() + 60
    while not waits_for_others(first.number):
        assert time.monotonic() < until, "it asks nobody to come"
        time.sleep(0.1)
    os.kill(first.number, signal.SIGTERM)
    one, _ = forks.wait_pair([first, second], 30)
    assert one.code == 143
    assert not (config.parent / "runs" / "lonely").exists()


def waits_for_others(process: int) -> bool:
    """Whether a process listens on a port: it has asked the others to come."""
    links = Path(f"/proc/{process}/fd")
    sockets = {os.readlink(link) for link in links.iterdir() if link.is_symlink()}
    rows = [line.split() for line in Path(f"/proc/{process}/net/tcp6").read_text().splitlines()]
    rows += [line.split() for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()]
    return any(len(r) > 9 and r[3] == "0A" and f"socket:[{r[9]}]" in sockets for r in rows)


def test_a_refusal_of_the_first_process_ends_the_others(
    config: Path, runs: dict[str, Path], pair: Callable[..., list[forks.Ended]]
) -> None:
    before: dict[str, Any] = {path: path.stat().st_mtime for path in runs["slurm"].iterdir()}
    first, second = pair("name=slurm", "seed=7")  # exists
    assert first.code == 7
    assert "a run of this name exists" in first.err
    assert second.code == 7, second.err
    assert {path: path.stat().st_mtime for path in runs["slurm"].iterdir()} == before
