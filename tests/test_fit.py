"""rl4bio fit: whole runs on a tiny policy."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rl4bio.callbacks.checkpoint_state import load_trainable
from rl4bio.config.load import load_config, to_yaml
from rl4bio.errors import ModelError
from rl4bio.fit import main
from rl4bio.hardware import CARDS, Card
from rl4bio.modules.loading import load_policy
from rl4bio.process.endings import set_run_folder
from rl4bio.runs.parts import build_module
from rl4bio.sections import RolloutConfig
from rl4bio.storage import latest_checkpoint, load_checkpoint_folder

pytestmark = pytest.mark.usefixtures("no_traces")

PLUGIN = '''
"""Rewards that a random policy can earn, and one that fails."""

from dataclasses import dataclass

from rl4bio.rewards import REWARDS, Reward


@REWARDS.register("share_of_e")
@dataclass(kw_only=True)
class ShareOfE(Reward):
    """Share of the letter e, and a little for length."""

    def score(self, completion, sample):
        return completion.count("e") / max(1, len(completion)) + len(completion) / 1000


@REWARDS.register("always_raises")
@dataclass(kw_only=True)
class AlwaysRaises(Reward):
    """A bug."""

    def score(self, completion, sample):
        raise KeyError("no such thing")
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin's file."""
    path = tmp_path_factory.mktemp("plugin") / "letters.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def config(tiny_policy_folder: Path, plugin: Path, tmp_path: Path, runs: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: trial
output_dir: {runs}
plugins: [{plugin}]
policy: {{checkpoint: {tiny_policy_folder}, adapter: {{rank: 2, alpha: 4}}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 3, kl_coef: 0.05}}
sft: {{max_tokens: 1000}}
optim: {{lr: 0.01, warmup_steps: 1}}
data:
  name: trials
  options: {{batch_size: 2, num_train: 5, num_val: 3, distractors: [0, 0]}}
rewards: [{{name: share_of_e}}, {{name: structure, weight: 0.5}}]
callbacks: [{{name: kl_monitor}}]
trainer: {{max_steps: 3, accelerator: cpu, save_every_steps: 2, num_threads: 1}}
"""
    )
    return path


@pytest.fixture
def fit(config: Path) -> Callable[..., int]:
    """Runs the command on the tiny configuration."""
    return lambda *arguments: main(["--config", str(config), *arguments])


def rows_of(folder: Path) -> list[dict[str, str]]:
    """metrics.csv without what the clock decides."""
    with (folder / "metrics.csv").open(newline="") as stream:
        return [
            {name: value for name, value in row.items() if not name.startswith("time/")}
            for row in csv.DictReader(stream)
        ]


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(30, 60)[None]).logits


def checkpointed_model(folder: Path) -> Any:
    """The run's policy with the weights of its last checkpoint, by way of `--resume`'s code."""
    config = load_config(folder / "config.yaml")
    policy = load_policy(config.policy)
    found, _ = latest_checkpoint(folder / "checkpoints")
    assert found is not None
    tensors, _ = load_checkpoint_folder(found)
    load_trainable(build_module(config, policy), tensors["weights"], found)
    return policy.model


def assert_same_run(one: Path, other: Path) -> None:
    """The same weights, optimiser and generators to the byte, the same metrics and completions."""
    name = latest_checkpoint(other / "checkpoints")[0].name  # type: ignore[union-attr]
    for file in ("weights", "optimizer", "generators"):
        path = Path("checkpoints") / name / f"{file}.safetensors"
        assert (one / path).read_bytes() == (other / path).read_bytes(), file
    assert rows_of(one) == rows_of(other)
    wanted = {path.name: path.read_text() for path in (other / "completions").iterdir()}
    assert {path.name: path.read_text() for path in (one / "completions").iterdir()} == wanted


class TestWholeRun:
    @pytest.mark.parametrize("task", ["grpo", "sft"])
    @pytest.mark.parametrize("kind", ["adapter", "model"])
    def test_leaves_a_complete_folder(
        self,
        fit: Callable[..., int],
        runs: Path,
        tiny_policy_folder: Path,
        task: str,
        kind: str,
    ) -> None:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        base_file = tiny_policy_folder / "model.safetensors"
        base_bytes = base_file.read_bytes()
        arguments = [f"task={task}", *(["policy.adapter=null"] if kind == "model" else [])]
        assert fit(*arguments) == 0
        folder = runs / "trial"
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        assert names == {
            *("config.yaml", "metrics.csv", "completions", "checkpoints", "log.txt"),
            *("summary.json", "report.html", "figures", "README.md", kind),
        }
        # The configuration is accepted again and says the same.
        again = load_config(folder / "config.yaml")
        assert to_yaml(again) == (folder / "config.yaml").read_text()
        assert again.task == task
        assert [row["step"] for row in rows_of(folder)] == ["1", "2", "3"]
        assert len(list((folder / "completions").iterdir())) == (3 if task == "grpo" else 0)
        checkpoints = sorted(path.name for path in (folder / "checkpoints").iterdir())
        assert checkpoints == ["step-00000002", "step-00000003"]
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["steps"], summary["prompts"], summary["task"]) == (3, 6, task)
        card = (folder / "README.md").read_text()
        assert "Research use only" in card
        assert "share_of_e, weight 1" in card
        # Plain transformers and peft read the result.
        base = AutoModelForCausalLM.from_pretrained(tiny_policy_folder).eval()
        untrained = logits_of(base)
        if kind == "adapter":
            weights = {n: p.clone() for n, p in base.named_parameters()}
            tuned = PeftModel.from_pretrained(base, folder / "adapter").eval()
            for name, parameter in tuned.get_base_model().named_parameters():
                if "lora_" not in name:
                    assert torch.equal(parameter, weights[name.replace(".base_layer", "")])
            with tuned.disable_adapter():
                assert torch.equal(logits_of(tuned), untrained)
        else:
            tuned = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
        logits = logits_of(tuned)
        assert torch.equal(logits, logits_of(checkpointed_model(folder).eval()))
        assert (logits - untrained).abs().max() > 1e-3
        text = "Does it, yes or no?"
        ids = [
            AutoTokenizer.from_pretrained(f)(text)["input_ids"]
            for f in (folder / kind, base_file.parent)
        ]
        assert ids[0] == ids[1]
        assert base_file.read_bytes() == base_bytes

    def test_validation_while_training(self, fit: Callable[..., int], runs: Path) -> None:
        assert fit("trainer.val_every_steps=1", "trainer.max_steps=2") == 0
        rows = rows_of(runs / "trial")
        assert [row["step"] for row in rows] == ["1", "2"]
        assert all(row["val/reward_mean"] for row in rows)
        assert all(row["reward/total_mean"] for row in rows)

    def test_same_seed_same_run(self, fit: Callable[..., int], runs: Path) -> None:
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            assert fit(f"name={name}", f"seed={seed}", "trainer.max_steps=2") == 0
        assert_same_run(runs / "a", runs / "b")
        assert rows_of(runs / "a") != rows_of(runs / "c")

    def test_half_precision_base(self, fit: Callable[..., int], runs: Path) -> None:
        assert fit("trainer.precision=bf16-mixed", "trainer.max_steps=2") == 0
        weights = load_file(runs / "trial" / "adapter" / "adapter_model.safetensors")
        assert all(tensor.dtype == torch.float32 for tensor in weights.values())
        assert any(tensor.abs().max() > 0 for n, tensor in weights.items() if "lora_B" in n)


class TestResume:
    @pytest.mark.parametrize(
        ("arguments", "steps"),
        [
            (["grpo.refill_rounds=1", "grpo.reference.refresh_every=1"], 4),
            (
                [
                    "policy.adapter=null",
                    "grpo.updates_per_rollout=2",
                    "grpo.reference={refresh_every: 2, mix: 0.5}",
                ],
                4,
            ),
            (["task=sft", "policy.adapter.dropout=0.5"], 4),
        ],
        ids=["lora, moving reference", "full, two updates a rollout", "sft with dropout"],
    )
    def test_is_the_uninterrupted_run(
        self, fit: Callable[..., int], runs: Path, arguments: list[str], steps: int
    ) -> None:
        """Stopped at half of the steps; the corpus of 5 prompts is passed in between."""
        last = f"trainer.max_steps={steps}"
        assert fit("name=whole", *arguments, last) == 0
        assert fit("name=parts", *arguments, f"trainer.max_steps={steps // 2}") == 0
        assert len(rows_of(runs / "parts")) == 2
        assert fit("name=parts", *arguments, last, "--resume") == 0
        assert_same_run(runs / "parts", runs / "whole")
        assert len(rows_of(runs / "whole")) == 4

    def test_lost_steps_are_repeated(self, fit: Callable[..., int], runs: Path) -> None:
        """A kill after step 4 with a whole checkpoint of step 2: rows 3 and 4 come once."""
        assert fit("name=whole", "trainer.max_steps=5") == 0
        assert fit("name=killed", "trainer.max_steps=4") == 0
        newest = runs / "killed" / "checkpoints" / "step-00000004"
        (newest / "weights.safetensors").write_bytes(b"cut off")
        assert fit("name=killed", "trainer.max_steps=5", "--resume") == 0
        assert_same_run(runs / "killed", runs / "whole")
        assert "step-00000004" in (runs / "killed" / "log.txt").read_text()

    def test_a_finished_run_stays_as_it_is(self, fit: Callable[..., int], runs: Path) -> None:
        assert fit() == 0
        adapter = runs / "trial" / "adapter" / "adapter_model.safetensors"
        before, rows = adapter.read_bytes(), rows_of(runs / "trial")
        assert fit("--resume") == 0
        assert adapter.read_bytes() == before
        assert rows_of(runs / "trial") == rows

    def test_without_a_run_starts_one(self, fit: Callable[..., int], runs: Path) -> None:
        assert fit("--resume", "trainer.max_steps=1") == 0
        assert len(rows_of(runs / "trial")) == 1

    def test_other_settings_are_refused(
        self, fit: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fit("trainer.max_steps=1") == 0
        assert fit("--resume", "grpo.kl_coef=0.1") == 2
        assert "grpo.kl_coef: 0.05 -> 0.1" in capsys.readouterr().err

    def test_other_policy_does_not_take_the_weights(
        self, fit: Callable[..., int], runs: Path
    ) -> None:
        assert fit("trainer.max_steps=1") == 0
        folder = runs / "trial"
        config = load_config(folder / "config.yaml", ["policy.adapter.rank=3"])
        module = build_module(config, load_policy(config.policy))
        found, _ = latest_checkpoint(folder / "checkpoints")
        assert found is not None
        with pytest.raises(ModelError, match=r"28 weights do not fit the policy.*\(2, "):
            load_trainable(module, load_checkpoint_folder(found)[0]["weights"], found)


class TestRefusals:
    def last_line(self, capsys: pytest.CaptureFixture[str]) -> str:
        return capsys.readouterr().err.strip().splitlines()[-1]

    def test_a_name_that_exists(
        self, fit: Callable[..., int], runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def files() -> dict[Path, tuple[bytes, int]]:
            found = [p for p in (runs / "trial").rglob("*") if p.is_file()]
            return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in found}

        assert fit("trainer.max_steps=1") == 0
        before = files()
        set_run_folder(None)  # as in a new process
        for more in ([], ["--resume"], ["trainer.log_every_steps=2", "--resume"]):
            capsys.readouterr()
            assert fit("trainer.max_steps=1", *more) == 0
            said = capsys.readouterr().out
            assert said.startswith(f"complete: {runs / 'trial'} is finished, 1 steps")
            assert ("not used: trainer.log_every_steps: 1 -> 2" in said) == (len(more) == 2)
        assert fit("trainer.max_steps=2", "optim.lr=0.5") == 7
        line = self.last_line(capsys)
        assert line.startswith("rl4bio: error[storage]: ")
        assert "optim.lr: 0.01 -> 0.5; trainer.max_steps: 1 -> 2" in line
        assert "--resume" in line
        assert files() == before

    @pytest.mark.parametrize(
        ("override", "code", "line"),
        [
            ("grpo.group_sise=4", 2, r"error\[config\].*group_sise.*group_size"),
            ("grpo.group_size=1", 2, r"error\[config\].*grpo\.group_size: got 1"),
            ("rewards.0.name=share_of_x", 2, r"error\[config\].*unknown reward 'share_of_x'"),
            ("rollout.max_completion_tokens=2000", 2, r"got 2000, but .* 1024 positions"),
            ("rollout.max_prompt_tokens=20", 3, r"error\[data\].*5 of 5 prompts.*20 tokens"),
            ("policy.checkpoint=/no/model", 4, r"error\[model\].*no folder /no/model"),
            ("policy.checkpoint=some-lab/none", 4, r"error\[model\].*hf auth login.*hf download"),
        ],
    )
    def test_leaves_no_folder(
        self,
        fit: Callable[..., int],
        runs: Path,
        capsys: pytest.CaptureFixture[str],
        override: str,
        code: int,
        line: str,
    ) -> None:
        started = time.thread_time()
        assert fit(override) == code
        assert time.thread_time() - started < 10
        assert re.search(line, self.last_line(capsys))
        assert not (runs / "trial").exists()

    def test_data_that_is_not_there(
        self, config: Path, runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = config.read_text()
        options = text[text.index("  name: trials") : text.index("rewards:")]
        source = config.parent / "no.json"
        config.write_text(
            text.replace(options, f"  name: pubmedqa\n  options: {{source: {source}}}\n")
        )
        assert main(["--config", str(config)]) == 3
        assert re.search(r"error\[data\].*no\.json", self.last_line(capsys))
        assert not (runs / "trial").exists()

    def test_a_reward_that_raises(
        self, fit: Callable[..., int], runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fit("rewards.0.name=always_raises") == 6
        line = self.last_line(capsys)
        assert "error[reward]: reward 'always_raises' raised KeyError" in line
        assert not (runs / "trial").exists()  # the same command can be given again

    def test_weights_that_are_not_finite(
        self,
        fit: Callable[..., int],
        tiny_policy_folder: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        broken = Path(shutil.copytree(tiny_policy_folder, tmp_path / "broken"))
        weights = load_file(broken / "model.safetensors")
        next(iter(weights.values())).fill_(torch.nan)
        save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
        assert fit(f"policy.checkpoint={broken}") == 5
        assert "error[numbers]" in self.last_line(capsys)


class TestDryRun:
    def test_shows_rewards_and_leaves_nothing(
        self, fit: Callable[..., int], runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fit("--dry-run") == 0
        out = capsys.readouterr().out
        assert re.search(r"^share_of_e +1 +\d\.\d{3}", out, re.MULTILINE)
        assert re.search(r"^structure +0\.5 +0\.000", out, re.MULTILINE)
        assert re.search(r"^total +\d\.\d{3}", out, re.MULTILINE)
        assert "train prompts: 5" in out
        assert "4 prompts x 3 completions" in out
        assert "groups whose rewards are all equal: 0%" in out
        assert "no group has any spread" not in out
        assert not runs.exists()

    def test_warns_of_a_run_that_could_not_learn(
        self, fit: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fit("--dry-run", "rewards=[{name: structure}]") == 0
        out = capsys.readouterr().out
        assert "WARNING: no group has any spread" in out
        assert "WARNING: most completions are cut off" in out

    def test_says_whether_it_would_fit_a_card(
        self,
        fit: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert fit("--dry-run", "--card", "a100-40") == 0
        out = capsys.readouterr().out
        assert re.search(r"^a100-40: bf16-mixed \(sm_80 ", out, re.MULTILINE)
        assert re.search(r"^fits: 3\d\.\d GiB to spare \(39\.4 GiB", out, re.MULTILINE)
        monkeypatch.setitem(CARDS, "t4", Card((7, 5), 1.5))
        assert fit("--dry-run", "--card", "t4") == 0
        out = capsys.readouterr().out
        assert re.search(r"^does not fit: \d", out, re.MULTILINE)
        ways = re.findall(r"^  ([a-z_.]+)=\w+: \d+\.\d GiB$", out, re.MULTILINE)
        assert len(set(ways)) == 3
        assert fit("--card", "t4") == 2

    def test_sft_reads_data_and_model(
        self, fit: Callable[..., int], runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fit("--dry-run", "task=sft") == 0
        assert "weights are trained" in capsys.readouterr().out
        assert not runs.exists()

    def test_shows_every_stage(
        self, fit: Callable[..., int], runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stages = "stages=[{name: warm, task: sft}, {name: rl, task: grpo}]"
        assert fit("--dry-run", stages) == 0
        out = capsys.readouterr().out
        warm, rl = out.index("stage 1 of 2: warm"), out.index("stage 2 of 2: rl")
        assert warm < rl < out.index("4 prompts x 3 completions")
        assert not runs.exists()

    def test_print_config_is_accepted_again(
        self,
        fit: Callable[..., int],
        runs: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert fit("--print-config", "grpo.kl_coef=0.125") == 0
        printed = capsys.readouterr().out
        (tmp_path / "printed.yaml").write_text(printed)
        assert main(["--config", str(tmp_path / "printed.yaml"), "--print-config"]) == 0
        assert capsys.readouterr().out == printed
        assert load_config(tmp_path / "printed.yaml").grpo.kl_coef == 0.125
        assert not runs.exists()


class TestSignals:
    def test_sigterm_saves_and_a_resumed_run_is_the_same(
        self, fit: Callable[..., int], config: Path, runs: Path
    ) -> None:
        """In a process of its own: exit 143, a checkpoint of the last whole step."""
        folder = runs / "killed"
        command = [sys.executable, "-m", "rl4bio", "fit", "--config", str(config), "name=killed"]
        command += [f"rollout.backend={RolloutConfig().backend}"]
        process = subprocess.Popen(
            [*command, "trainer.max_steps=100000", "trainer.save_every_steps=100000"],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            for _ in range(1800):  # a loaded machine is slow to start
                if (folder / "metrics.csv").exists() and len(rows_of(folder)) >= 2:
                    break
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 143
        saved, _ = latest_checkpoint(folder / "checkpoints")
        assert saved is not None
        step = int(saved.name.removeprefix("step-"))
        assert step == len(rows_of(folder))
        assert f"stopped after step {step}; continue with: rl4bio fit --config" in err
        loaded = re.compile(
            r"|rl4bio: ((reading|loading|preparing) .* \.\.\.|SIGTERM: .*)|(step|stopped) .*"
        )
        assert all(loaded.fullmatch(line) for line in err.splitlines()), err
        assert not (folder / "adapter").exists()
        steps = f"trainer.max_steps={step + 2}"
        assert fit("name=killed", steps, "--resume") == 0
        assert fit("name=whole", steps) == 0
        assert_same_run(folder, runs / "whole")

    def test_handlers_are_put_back(self, fit: Callable[..., int]) -> None:
        before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
        assert fit("trainer.max_steps=1") == 0
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
