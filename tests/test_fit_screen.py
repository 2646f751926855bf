"""What `rl4bio fit` shows, run as people run it: in a terminal of 80 columns, and in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

PLUGIN = '''
import logging
import warnings
from dataclasses import dataclass

from rl4bio.rewards import REWARDS, Reward


@REWARDS.register("noisy")
@dataclass(kw_only=True)
class Noisy(Reward):
    """Its library talks, in all the ways that libraries have."""

    def prepare(self):
        warnings.warn("FOREIGN warning", FutureWarning)
        logging.getLogger("somebody.else").warning("FOREIGN logger")

    def score(self, completion, sample):
        import transformers
        transformers.utils.logging.get_logger("transformers.generation").warning("FOREIGN flags")
        logging.getLogger("lightning.pytorch").warning("FOREIGN tip")
        warnings.warn("FOREIGN at a step", UserWarning)
        return len(completion) / 100
'''
STEPS = 3


@pytest.fixture
def command(tiny_policy_folder: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "noisy.py").write_text(PLUGIN)
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: trial
output_dir: {tmp_path / "runs"}
plugins: [noisy.py]
policy: {{checkpoint: {tiny_policy_folder}, adapter: {{rank: 2, alpha: 4}}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 3, kl_coef: 0.05}}
data:
  name: trials
  options: {{batch_size: 2, num_train: 5, num_val: 3, distractors: [0, 0]}}
rewards: [{{name: noisy, isolation: none}}]
callbacks: [{{name: completion_table, options: {{print_every: 2}}}}]
trainer: {{max_steps: {STEPS}, accelerator: cpu, num_threads: 1}}
"""
    )
    return [sys.executable, "-m", "rl4bio", "fit", "--config", str(path)]


def in_terminal(command: list[str], columns: int) -> str:
    """Everything that the command writes to a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        command, cwd=root, stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    written = b""
    while True:
        try:
            found = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not found:
            break
        written += found
    os.close(master)
    assert process.wait(timeout=60) == 0, written.decode()
    return written.decode()


def screen(written: str) -> list[str]:
    """The lines that a terminal shows in the end; it knows the few sequences that we send."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", written)
    lines = []
    for line in text.split("\r\n"):
        for clearing in ("\r\x1b[2K", "\r\x1b[J"):
            line = line.rpartition(clearing)[2]
        assert "\x1b" not in line, line
        lines.append(line)
    return lines


def test_a_terminal_of_80_columns(command: list[str], tmp_path: Path) -> None:
    lines = screen(in_terminal(command, 80))
    assert lines[0] == "rl4bio: reading data (trials) ..."
    loading = [line.split()[1] for line in lines if line.endswith(" ...")]
    assert loading == ["reading", "loading", "preparing", "loading"]
    progress = [line for line in lines if "reward 0." in line and "·" in line and "/" in line]
    assert len(progress) == 1  # no dead line a step
    assert len(progress[0]) < 80
    assert f"{STEPS}/{STEPS}" in progress[0]
    assert "FOREIGN" not in "\n".join(lines)
    assert not [line for line in lines if "%|" in line or "it/s" in line]  # bars of others
    run = tmp_path / "runs" / "trial"
    assert f"next: rl4bio evaluate --run {run}" in lines
    assert f"      rl4bio generate --run {run} --chat" in lines


def test_a_pipe_and_the_log(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "\x1b" not in done.stderr + done.stdout
    known = r"rl4bio: (reading|loading|preparing|learning_check:) .*|step \d/3 · .*"
    assert [x for x in done.stderr.splitlines() if not re.fullmatch(known, x)] == []
    assert f"step {STEPS}/{STEPS} · " in done.stderr
    log = (tmp_path / "runs" / "trial" / "log.txt").read_text()
    for part in (
        "command: ",
        str(tmp_path / "config.yaml"),
        "versions: rl4bio ",
        "loading model (",
        "FOREIGN warning",
        "FOREIGN logger",
        "FOREIGN flags",
        "FOREIGN tip",
        "FOREIGN at a step",
        f"trained: {STEPS} steps",
        "end: exit code 0",
    ):
        assert part in log, part
