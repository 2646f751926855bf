"""rl4bio fit --seeds: whole runs, one after the other, stopped and continued."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl4bio.runs.children import start


def test_a_run_knows_its_group(tmp_path: Path) -> None:
    program = (
        f"import os; open({str(tmp_path / 'group')!r}, 'w').write(os.environ['WANDB_RUN_GROUP'])"
    )
    assert start([sys.executable, "-c", program], "qed-seeds") == 0
    assert (tmp_path / "group").read_text() == "qed-seeds"
    assert start([sys.executable, "-c", "raise SystemExit(5)"], "x") == 5


@pytest.mark.slow
def test_stopped_by_a_signal_and_continued(tiny_policy_folder: Path, tmp_path: Path) -> None:
    """SIGTERM ends the first seed with its state saved; --resume finishes it and the second one."""
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""
name: trial
output_dir: {tmp_path / "runs"}
policy: {{checkpoint: {tiny_policy_folder}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 2, monitor_kl: false}}
data: {{name: trials, options: {{batch_size: 2, num_train: 5, num_val: 3, distractors: [0, 0]}}}}
rewards: [{{name: structure, options: {{graded: true}}}}]
trainer: {{max_steps: 100000, accelerator: cpu, save_every_steps: 50, num_threads: 1}}
"""
    )
    command = [sys.executable, "-m", "rl4bio", "fit", str(config), "--seeds", "1,2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "runs" / "trial-seed1" / "metrics.csv"
    deadline = time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "trial-seed1 ended with exit code 143, 1 more were not started; continue with" in err
    assert f"rl4bio fit --config {config} --resume --seeds=1,2" in err
    assert not (tmp_path / "runs" / "trial-seed2").exists()

    reached = len(metrics.read_text().splitlines()) - 1
    more = ["--resume", f"trainer.max_steps={reached + 2}"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "setting" in done.stdout
    record = json.loads((tmp_path / "runs" / "trial-seeds" / "summary.json").read_text())
    assert [run["seed"] for runs in record["settings"].values() for run in runs.values()] == [1, 2]

    again = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60)
    assert again.returncode == 0
    assert again.stderr.count("is finished") == 2
