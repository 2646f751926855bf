"""Two processes with a share of the weights each train as one process with all of them does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file

from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.sft import SFTLightningModule
from rl4bio.sections import OptimConfig, SFTConfig
from tests.ddp_script import load, make_grpo, train
from tests.test_faults import forks
from tests.test_faults.test_ranks import FAILING
from tests.test_fit import PLUGIN

pytestmark = pytest.mark.slow

CONFIG = """
output_dir: {runs}
plugins: [{plugin}]
policy: {{checkpoint: {model}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 3, kl_coef: 0.05, tokens_per_micro_batch: 700}}
optim: {{lr: 0.01, warmup_steps: 1}}
data:
  name: trials
  options: {{batch_size: 2, num_train: 9, num_val: 3, distractors: [0, 0]}}
rewards: [{{name: share_of_e, isolation: none}}, {{name: structure, weight: 0.5}}]
trainer: {{max_steps: 3, accelerator: cpu, save_every_steps: 1, num_threads: 1, strategy: fsdp}}
"""


class Counted:
    """Notes how much each rank has to do."""

    def optimizer_step_over(self, micro_batches: Sequence[Any], loss_of: Any) -> None:
        self.counts = [*getattr(self, "counts", []), len(micro_batches)]
        super().optimizer_step_over(micro_batches, loss_of)  # type: ignore[misc]


class CountedGRPO(Counted, GRPOLightningModule):
    def generate(self, *args: Any, **options: Any) -> Any:
        with mock.patch.object(
            torch.distributed, "all_gather_single", wraps=torch.distributed.all_gather_single
        ) as gather:
            rollout = super().generate(*args, **options)
        self.widths = [*getattr(self, "widths", []), rollout.completion_mask.shape[1]]
        self.gathers = [*getattr(self, "gathers", []), gather.call_count]
        return rollout


class CountedSFT(Counted, SFTLightningModule):
    pass


def make_full(folder: str) -> CountedGRPO:
    return make_grpo(load(folder), cls=CountedGRPO, updates_per_rollout=2)  # type: ignore[return-value]


def make_thrifty(folder: str) -> CountedGRPO:
    """Gathers layer by layer in rollouts, too."""
    module = make_grpo(load(folder), cls=CountedGRPO, refill_rounds=2)
    module.rollout.gather_weights = False
    return module  # type: ignore[return-value]


def make_adapted(folder: str) -> CountedGRPO:
    policy = load(folder, lora=True)
    return make_grpo(policy, cls=CountedGRPO, refill_rounds=2)  # type: ignore[return-value]


def make_imitating(folder: str) -> CountedSFT:
    sft, optim = SFTConfig(tokens_per_micro_batch=18), OptimConfig(lr=0.01)
    return CountedSFT(load(folder), sft=sft, optim=optim, max_steps=10)


MODULES: dict[str, tuple[str, Callable[[str], Any], int]] = {
    "adapter": ("gemma3", make_adapted, 3),
    "all weights": ("gemma3", make_full, 4),
    "layer by layer": ("llama", make_thrifty, 3),
    "demonstrations": ("llama", make_imitating, 2),
}
"""Family, what is trained in float64, and for how many optimiser steps."""


def train_modules(models: dict[str, str], devices: int, output: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (family, make, steps) in MODULES.items():
        module = make(models[family])
        options = {"limit_val_batches": 1.0, "val_check_interval": 1}
        metrics = train(module, devices, output, steps=steps, shared=True, **options)
        found[name] = {
            "weights": module.trainable_state(),
            "metrics": metrics,
            "counts": module.counts,
            "widths": getattr(module, "widths", []),
            "gathers": getattr(module, "gathers", []),
        }
    return found


def train_in_a_pair(arguments: Sequence[str]) -> int:
    """What each process of a pair does: a folder for its results, and those of models."""
    output, models = Path(arguments[0]), json.loads(arguments[1])
    rank = os.environ["SLURM_PROCID"]
    found = train_modules(models, 2, output)
    if rank != "0":
        found = {name: {**own, "weights": {}} for name, own in found.items()}
    torch.save(found, output / f"rank{rank}.pt")
    return 0


@pytest.fixture(scope="module")
def models(tiny_folder: Callable[[str], Path]) -> dict[str, str]:
    forks.load_libraries()
    return {family: str(tiny_folder(family)) for family in ("gemma3", "llama")}


@pytest.fixture(scope="module")
def pair(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    root = tmp_path_factory.mktemp("pair")
    started = forks.start_pair([str(root), json.dumps(models)], root, command=train_in_a_pair)
    for one in forks.wait_pair(started, 300):
        assert one.code == 0, one.err[-4000:]
    return [torch.load(root / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train_modules(models, 1, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("name", MODULES)
def test_weights_are_those_of_one_process(pair: list[Any], alone: Any, name: str) -> None:
    found, wanted = pair[0][name]["weights"], alone[name]["weights"]
    assert found.keys() == wanted.keys()
    for key, weight in wanted.items():
        torch.testing.assert_close(found[key], weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MODULES)
def test_metrics_are_those_of_one_process(pair: list[Any], alone: Any, name: str) -> None:
    """Losses, gradient norms, rewards and validations, after every step."""
    found, wanted = pair[0][name]["metrics"], alone[name]["metrics"]
    assert len(found) == len(wanted) > 2
    assert "train/grad_norm" in found[-1]
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            if not key.startswith("time/"):
                assert value == pytest.approx(other[key], rel=1e-5, abs=1e-6, nan_ok=True), key


def test_the_processes_had_different_amounts_to_do(pair: list[Any]) -> None:
    """Micro-batches, rounds of sampling, and tokens until all completions had ended."""
    for what in ("counts", "widths"):
        one, two = ({name: own[what] for name, own in rank.items()} for rank in pair)
        assert one.keys() == two.keys()
        assert any(one[name] != two[name] for name in one), (what, one, two)
    rounds = [[len(own["widths"]) for own in rank.values()] for rank in pair]
    assert rounds[0] != rounds[1]


def test_rollouts_gather_once_or_for_every_token(pair: list[Any]) -> None:
    """Two layers, and what is outside of them."""
    assert set(pair[0]["all weights"]["gathers"]) == {1 + 2}
    both = [rank["layer by layer"] for rank in pair]
    tokens = max(one["widths"][0] for one in both)
    assert [one["gathers"][0] for one in both] == [1 + 2 * tokens] * 2


@pytest.fixture(scope="module")
def config(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    (root / "letters.py").write_text(PLUGIN)
    places = {"runs": root / "runs", "plugin": root / "letters.py", "model": models["llama"]}
    (root / "config.yaml").write_text(CONFIG.format(**places))
    return root / "config.yaml"


def fit_pair(config: Path, *more: str) -> None:
    logs = config.parent / "logs" / more[0]
    for one in forks.wait_pair(forks.start_pair([str(config), *more], logs), 200):
        assert one.code == 0, one.err[-4000:]


@pytest.fixture(scope="module")
def runs(config: Path) -> Path:
    """Runs of all weights and of an adapter, each in a pair and in one process."""
    one = ("trainer.strategy=auto", "data.options.batch_size=4")
    for name, more in {
        "full": [],
        "lora": ["policy.adapter.rank=2", "rollout.gather_weights=false"],
    }.items():
        fit_pair(config, f"name={name}", *more)
        logs = config.parent / "logs" / f"{name}-alone"
        ended = forks.run([str(config), f"name={name}-alone", *more, *one], logs)
        assert ended.code == 0, ended.err[-4000:]
    return config.parent / "runs"


@pytest.mark.parametrize("name", ["full", "lora"])
def test_files_are_those_of_one_process(runs: Path, name: str) -> None:
    """By what else there is to read them: plain transformers and peft."""
    found, wanted = (whole_model(runs, run) for run in (name, f"{name}-alone"))
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        torch.testing.assert_close(found(ids).logits, wanted(ids).logits, rtol=1e-4, atol=1e-4)
    folders = sorted((runs / name / "checkpoints").iterdir())
    assert [folder.name for folder in folders] == ["step-00000002", "step-00000003"]
    for part in ("weights", "optimizer"):
        file = f"checkpoints/{folders[-1].name}/{part}.safetensors"
        own, other = (load_file(runs / run / file) for run in (name, f"{name}-alone"))
        assert own.keys() == other.keys()
        for key, tensor in own.items():
            torch.testing.assert_close(tensor, other[key], rtol=0, atol=1e-5)


def whole_model(runs: Path, name: str) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = runs / name
    if (folder / "model").is_dir():
        return AutoModelForCausalLM.from_pretrained(folder / "model")
    checkpoint = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(checkpoint["base_model_name_or_path"])
    return PeftModel.from_pretrained(base, folder / "adapter")


def test_a_resumed_run_ends_as_one_that_was_never_stopped(runs: Path, config: Path) -> None:
    """From the checkpoint before the last, in a copy of the run."""
    copy = runs.with_name("copied")
    shutil.copytree(runs / "full", copy / "full")
    for gone in ("model", "checkpoints/step-00000003"):
        shutil.rmtree(copy / "full" / gone)
    (copy / "full" / "summary.json").unlink()
    fit_pair(config, "name=full", f"output_dir={copy}", "--resume")
    one, other = (forks.truth(folder / "full") for folder in (runs, copy))
    assert forks.differences(one, other) == []


def test_a_process_that_fails_ends_the_one_that_gathers(config: Path, tmp_path: Path) -> None:
    failing = tmp_path / "failing.py"
    failing.write_text(FAILING)
    more = ["name=fails", f"plugins=[{config.parent / 'letters.py'}, {failing}]"]
    more.append("callbacks=[{name: fails_on_one}]")
    both = forks.wait_pair(
        forks.start_pair([str(config), *more], tmp_path / "logs", FAILS="1", HOW="data"), 100
    )
    assert [one.code for one in both] == [3, 3]
    assert (
        both[0]
        .err.splitlines()[-1]
        .endswith("error[data]: process 1 of 2 failed first: rows.jsonl:7: no question")
    )
