"""A chain of stages: whole runs of the command on a tiny model, each stage in its own process.

The processes are forked from one that has the libraries, so that each starts in no time.
"""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rl4bio.config import load_config
from rl4bio.fit import main as fit
from rl4bio.runs import chain, children
from rl4bio.runs.chain import stages_of
from rl4bio.runs.chain_pages import joined_metrics
from rl4bio.runs.tuned import run_config
from tests.test_faults import forks

PLUGIN = """
from dataclasses import dataclass
from pathlib import Path

from rl4bio.rewards import REWARDS, Reward

TROUBLE = Path(__file__).with_name("trouble")


@REWARDS.register("share_of_e")
@dataclass(kw_only=True)
class ShareOfE(Reward):
    def prepare(self):
        self.calls = 0

    def __call__(self, completions, samples):
        self.calls += 1
        if TROUBLE.exists() and self.calls == 3:
            raise KeyError("no such thing")
        return [t.count("e") / max(1, len(t)) + len(t) / 1000 for t in completions]
"""


@pytest.fixture
def config(tmp_path: Path, tiny_policy_folder: Path) -> Path:
    plugin = tmp_path / "letters.py"
    plugin.write_text(PLUGIN)
    path = tmp_path / "chain.yaml"
    path.write_text(
        f"""
name: chain
output_dir: {tmp_path / "runs"}
plugins: [{plugin}]
policy: {{checkpoint: {tiny_policy_folder}, adapter: {{rank: 2, alpha: 4}}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 3, kl_coef: 0.05}}
sft: {{max_tokens: 1000}}
optim: {{lr: 0.01}}
data:
  name: trials
  options: {{batch_size: 2, num_train: 5, num_val: 3, distractors: [0, 0]}}
rewards: [{{name: share_of_e}}]
trainer: {{max_steps: 4, accelerator: cpu, save_every_steps: 1, num_threads: 1}}
stages:
  - {{name: warm, task: sft, trainer: {{max_steps: 2}}}}
  - {{name: rl}}
"""
    )
    return path


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stages are forked; the merge between them is a process from the start."""
    forks.load_libraries()
    number = itertools.count()

    def start(command: list[str], group: str, *, alone: bool = False) -> int:
        if command[2] != "rl4bio.fit":
            assert alone  # whatever has started the chain
            return children.start(command, group, alone=alone)
        logs = tmp_path / f"logs{next(number)}"
        return forks.run(command[3:], logs, environment={"WANDB_RUN_GROUP": group}).code

    monkeypatch.setattr(chain, "start", start)


@pytest.mark.slow
def test_a_chain_that_fails_goes_on_inside_its_stage_to_the_same_end(
    config: Path, forked: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(config)]
    assert fit([*arguments, "name=whole"]) == 0
    (tmp_path / "trouble").touch()
    assert fit([*arguments, "name=broken"]) == 6  # a reward raised in the third step of the stage
    assert "the stage rl ended with exit code 6" in capfd.readouterr().err
    runs = tmp_path / "runs"
    assert not (runs / "broken" / "adapter").exists()
    (tmp_path / "trouble").unlink()
    assert fit([*arguments, "name=broken"]) == 7  # the name is taken
    assert fit([*arguments, "name=broken", "--resume"]) == 0
    assert "stage 1 of 2: warm is finished" in capfd.readouterr().err
    one, other = (
        load_file(runs / n / "adapter/adapter_model.safetensors") for n in ("whole", "broken")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)

    rows = [*csv.DictReader((runs / "whole" / "metrics.csv").open(newline=""))]
    assert [(row["step"], row["stage"]) for row in rows] == [
        (str(n), "1" if n <= 2 else "2") for n in range(1, 7)
    ]
    assert abs(float(rows[2]["train/kl"])) < 1e-6  # the reference is the warm start
    assert float(rows[-1]["train/kl"]) > 0
    summary = json.loads((runs / "whole" / "summary.json").read_text())
    assert (summary["name"], summary["steps"]) == ("whole", 6)
    assert [stage["name"] for stage in summary["stages"]] == ["warm", "rl"]
    page = (runs / "whole" / "report.html").read_text()
    assert 'href="./stages/whole-1-warm/report.html"' in page

    # A finished chain is left as it is, and is sampled as its last stage says.
    before = {path: path.stat().st_mtime_ns for path in (runs / "whole").rglob("*")}
    assert fit([*arguments, "name=whole"]) == 0
    assert capfd.readouterr().out.startswith("complete:")
    assert before == {path: path.stat().st_mtime_ns for path in (runs / "whole").rglob("*")}
    assert run_config(load_config(runs / "whole" / "config.yaml")).task == "grpo"


@pytest.mark.slow
def test_a_stage_of_other_weights_starts_from_the_merged_model(
    config: Path, forked: None, tmp_path: Path
) -> None:
    overrides = ["stages.1.policy={adapter: null}", "stages.1.trainer={max_steps: 1}"]
    assert fit(["--config", str(config), *overrides, "stages.0.trainer.max_steps=1"]) == 0
    root = tmp_path / "runs" / "chain"
    merged = root / "stages" / "chain-1-warm-merged"
    assert load_config(root / "stages/chain-2-rl/config.yaml").policy.checkpoint == str(merged)
    assert (root / "model" / "config.json").is_file()
    start, end = (load_file(f / "model.safetensors") for f in (merged, root / "model"))
    assert any(not torch.equal(start[name], end[name]) for name in start.keys() & end.keys())


def test_a_stage_cannot_begin_with_other_weights(config: Path) -> None:
    made = load_config(config, ["stages.1.policy={checkpoint: some/other}"])
    with pytest.raises(Exception, match=r"stages\[1\]\.policy\.checkpoint: each stage goes on"):
        stages_of(made)


def test_metrics_of_all_stages_under_one_header(tmp_path: Path) -> None:
    texts = ["step,train/loss\n1,0.5\n3,0.25\n", "step,train/loss,train/kl\n1,0.125,0.0\n"]
    files = [tmp_path / f"{n}.csv" for n in range(2)]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    assert joined_metrics(files).splitlines() == [
        "step,stage,train/kl,train/loss",
        "1,1,,0.5",
        "3,1,,0.25",
        "4,2,0.0,0.125",
    ]


def test_the_parent_of_the_stages_loads_no_torch(config: Path, tmp_path: Path) -> None:
    """It lives as long as they do."""
    program = (
        "import sys; from rl4bio.config import load_config; from rl4bio.fit import open_folder\n"
        "import rl4bio.runs.chain\n"
        f"open_folder(load_config({str(config)!r}, ['plugins=[]', "
        "'rewards=[{name: verdict}]']), resume=False)\n"
        "print(sorted({'torch', 'lightning', 'transformers'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    assert (tmp_path / "runs" / "chain" / "config.yaml").is_file()
