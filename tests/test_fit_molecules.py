"""A GRPO run that writes molecules: its table, monitor and report; resumed, then evaluated."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from rl4bio import evaluate, fit
from tests.tiny_molgpt import tiny_molgpt

pytestmark = pytest.mark.usefixtures("no_traces")

GROUP = 16


@pytest.fixture
def config(tmp_path: Path) -> Path:
    tiny_molgpt(tmp_path / "base")
    (tmp_path / "known.smi").write_text("CCO\nCCN\nNCCO\n")
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: tiny
output_dir: {tmp_path}
policy: {{checkpoint: {tmp_path / "base"}}}
rollout: {{max_prompt_tokens: 4, max_completion_tokens: 9}}
data: {{name: smiles, options: {{source: {tmp_path / "known.smi"}, batch_size: 1, val_fraction: 0,
  test_fraction: 0}}}}
rewards: [{{name: validity, weight: 0.5}}, {{name: qed}}]
grpo: {{group_size: {GROUP}, kl_coef: 0.01}}
optim: {{lr: 1.0e-3}}
evaluation: {{num_molecules: 12, bootstrap: 20}}
trainer: {{accelerator: cpu, precision: 32-true, max_steps: 2, save_every_steps: 1}}
"""
    )
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_run_leaves_its_molecules_and_goes_on_with_them(config: Path, tmp_path: Path) -> None:
    root = tmp_path / "tiny"
    assert fit.main(["--config", str(config)]) == 0
    before = (root / "molecules.csv").read_text()
    # As if the run had been killed after a third step that was not saved.
    (root / "molecules.csv").write_text(before + "3,C,C,valid,1,1,1,1,1,-1,-1\n3,CC,")
    assert fit.main(["--config", str(config), "trainer.max_steps=4", "--resume"]) == 0
    text = (root / "molecules.csv").read_text()
    assert text.startswith(before)
    rows = read(root / "molecules.csv")
    assert Counter(row["step"] for row in rows) == {str(k): GROUP for k in range(1, 5)}
    for row in rows:
        valid = row["state"] != "invalid"
        assert bool(row["canonical"]) == valid
        assert float(row["reward_validity"]) == valid
        total = 0.5 * float(row["reward_validity"]) + float(row["reward_qed"])
        assert float(row["total"]) == pytest.approx(
            total if row["state"] == "valid" else 0, abs=1e-5
        )
    # Before the first update policy and reference are one.
    for row in rows[:GROUP]:
        assert float(row["logprob_policy"]) == pytest.approx(float(row["logprob_prior"]), abs=1e-3)
    metrics = read(root / "metrics.csv")
    assert [row["step"] for row in metrics] == ["1", "2", "3", "4"]
    assert [bool(row["molecules/snn"]) for row in metrics] == [True, False, False, False]
    share = sum(row["state"] != "invalid" for row in rows[:GROUP]) / GROUP
    assert float(metrics[0]["molecules/valid_fraction"]) == pytest.approx(share)
    report = (root / "report.html").read_text()
    assert "<h2>Molecules</h2>" in report
    assert "Step 4: 16 completions" in report

    assert evaluate.main(["--run", str(root)]) == 0
    summary = json.loads((root / "evaluation" / "summary.json").read_text())
    assert list(summary["models"]) == ["base", "tuned", "corpus"]
    assert len(read(root / "evaluation" / "molecules.csv")) == 24


def test_private_runs_record_no_molecules(config: Path, tmp_path: Path) -> None:
    assert fit.main(["--config", str(config), "logging.completions=false"]) == 0
    assert not (tmp_path / "tiny" / "molecules.csv").exists()
    assert "Sample completions" in (tmp_path / "tiny" / "report.html").read_text()
