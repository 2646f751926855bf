"""What a run holds: level over its steps, and about what the dry run has promised."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.memory_estimate import QA, SMALL, run

STEPS, SETTLED = 40, 10
SLACK = 2**25 + 2**24
"""Bytes by which a small process may grow before it gives free pages back, and a block that found
no hole. Kernels that are never let go would be 80 MiB after thirty steps."""
NANO = (
    "rollout.max_completion_tokens=20",
    "grpo.group_size=4",
    "grpo.kl_coef=0",
    "data.options.batch_size=2",
    "data.options.num_train=200",
)
MOLGPT = ("grpo.group_size=16", "grpo.updates_per_rollout=1", "evaluation.num_molecules=8")

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory of a process is read from /proc"
)


@pytest.mark.parametrize(
    ("config", "overrides"),
    [("configs/pubmedqa_nano.yaml", NANO), ("configs/molgpt_qed.yaml", MOLGPT)],
)
def test_a_run_of_changing_lengths_does_not_grow(
    config: str, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    peaks = run(config, [f"trainer.max_steps={STEPS}", *overrides], tmp_path).peaks
    assert len(peaks) == STEPS
    assert peaks[-1] <= 1.05 * peaks[SETTLED - 1] + SLACK


@pytest.mark.real
def test_a_real_checkpoint_needs_what_the_dry_run_says(
    real_model: Callable[[str], Path], shared_data: Path, tmp_path: Path
) -> None:
    """Three steps of Gemma 3 270M: the peak is within a fifth of the estimate."""
    held = run(
        QA,
        [
            f"policy.checkpoint={real_model('gemma3-270m')}",
            f"data.options.source={shared_data / 'medical' / 'pubmedqa' / 'ori_pqal.json'}",
            *SMALL,
            "trainer.max_steps=3",
            "logging.loggers=[csv]",
        ],
        tmp_path,
    )
    assert held.total == pytest.approx(held.peaks[-1], rel=0.2)
