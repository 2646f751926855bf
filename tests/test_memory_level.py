"""What a run holds: level over its steps, and about what the dry run has promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STEPS, SETTLED = 60, 10
SLACK = 12 * 2**20
"""Bytes: a few kernels, logs and completions of fifty steps."""

SCRIPT = """
import json, sys
from rl4bio import fit, memory
from rl4bio.host_memory import resident_bytes

estimate, found = memory.estimate_memory, {"peaks": []}

def noted(*args, **options):
    made = estimate(*args, **options)
    found["total"] = made.total
    return made

memory.estimate_memory = noted
from rl4bio import preflight
preflight.estimate_memory = noted
from rl4bio.modules.grpo import GRPOLightningModule
step = GRPOLightningModule.training_step

def watched(self, *args):
    result = step(self, *args)
    found["peaks"].append(resident_bytes(peak=True))
    return result

GRPOLightningModule.training_step = watched
code = fit.main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
sys.exit(code)
"""

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory of a process is read from /proc"
)

SMALL = ["evaluation.side_by_side=0", "trainer.accelerator=cpu", "trainer.save_every_steps=1000"]


def run(tmp_path: Path, config: str, *overrides: str) -> dict[str, list[int] | int]:
    """A run in a process of its own: its peak after each step, and what was promised."""
    report = tmp_path / "report.json"
    paths = [f"name=level output_dir={tmp_path / 'runs'}".split(), SMALL, overrides]
    command = [sys.executable, "-c", SCRIPT, str(report), "--config", config, *sum(map(list, paths), [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(report.read_text())


@pytest.mark.parametrize(
    "config, overrides",
    [
        (
            "configs/pubmedqa_nano.yaml",
            [
                "rollout.max_completion_tokens=20",
                "grpo.group_size=4",
                "grpo.kl_coef=0",
                "data.options.batch_size=2",
            ],
        ),
        (
            "configs/molgpt_qed.yaml",
            ["grpo.group_size=16", "grpo.kl_coef=0", "grpo.updates_per_rollout=1"],
        ),
    ],
)
def test_a_run_of_changing_lengths_does_not_grow(
    config: str, overrides: list[str], tmp_path: Path
) -> None:
    found = run(tmp_path, config, f"trainer.max_steps={STEPS}", "evaluation.num_molecules=8", *overrides)
    peaks = found["peaks"]
    assert len(peaks) == STEPS
    assert peaks[-1] <= 1.05 * peaks[SETTLED - 1] + SLACK


@pytest.mark.real
def test_a_real_checkpoint_needs_what_the_dry_run_says(
    real_model: Callable[[str], Path], shared_data: Path, tmp_path: Path
) -> None:
    """Three steps: the peak is within a fifth of the estimate."""
    found = run(
        tmp_path,
        "configs/pubmedqa_gemma3.yaml",
        f"policy.checkpoint={real_model('gemma3-270m')}",
        f"data.options.source={shared_data / 'medical' / 'pubmedqa' / 'ori_pqal.json'}",
        "data.options.batch_size=2",
        "grpo.group_size=4",
        "rollout.max_completion_tokens=32",
        "trainer.max_steps=3",
        "logging.loggers=[csv]",
    )
    assert found["total"] == pytest.approx(found["peaks"][-1], rel=0.2)
