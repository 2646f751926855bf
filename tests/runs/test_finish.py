"""What a finished run leaves: the verified model, the summary, the model card."""

from __future__ import annotations

import argparse
import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from rl4bio.cli import run_command
from rl4bio.config.load import config_dict
from rl4bio.errors import DataError, StorageError
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.saving import verify_policy
from rl4bio.reports.run.report import run_report
from rl4bio.runs.finish import finish, read_metrics, run_card, save_policy, summarize_run
from rl4bio.sections import AdapterConfig, PartConfig, PolicyConfig, RewardConfig, RunConfig
from rl4bio.storage import RunFolder

KINDS = ("adapter", "model")


@pytest.fixture
def policy_of(tiny_folder: Callable[[str], Path]) -> Callable[..., Policy]:
    def load(kind: str, family: str = "gemma3") -> Policy:
        adapter = AdapterConfig(rank=2) if kind == "adapter" else None
        return load_policy(PolicyConfig(checkpoint=str(tiny_folder(family)), adapter=adapter))

    return load


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["gemma3", "gpt2", "llama"])
def test_saved_and_verified(
    policy_of: Callable[..., Policy], folder: RunFolder, kind: str, family: str
) -> None:
    policy = policy_of(kind, family)
    target = save_policy(policy, folder)
    assert target.name == kind
    verify_policy(policy, target)
    assert [path.name for path in folder.root.iterdir()] == [kind]  # no half-written sibling
    # Saving once more replaces it.
    with torch.no_grad():
        policy.trainable_parameters()[0].add_(1.0)
    assert save_policy(policy, folder) == target
    verify_policy(policy, target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["value", "missing"])
def test_a_file_that_differs_is_noticed(
    policy_of: Callable[..., Policy], folder: RunFolder, kind: str, damage: str
) -> None:
    policy = policy_of(kind)
    target = save_policy(policy, folder)
    path = next(target.glob("*.safetensors"))
    weights = load_file(path)
    name = sorted(weights)[-1]
    if damage == "value":
        weights[name].view(-1)[0] += 1e-3
    else:
        del weights[name]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(StorageError, match="was not written as it is"):
        verify_policy(policy, target)


def test_weights_that_are_not_finite_are_not_handed_out(
    policy_of: Callable[..., Policy], folder: RunFolder
) -> None:
    policy = policy_of("adapter")
    save_policy(policy, folder)
    with torch.no_grad():
        policy.trainable_parameters()[0][0, 0] = torch.inf
    before = (folder.adapter / "adapter_model.safetensors").read_bytes()
    with pytest.raises(StorageError, match="is not finite"):
        save_policy(policy, folder)
    # The good one of before is still there.
    assert (folder.adapter / "adapter_model.safetensors").read_bytes() == before


def make_config(**options: Any) -> RunConfig:
    return RunConfig(
        name="trial",
        policy=PolicyConfig(checkpoint="lab/model"),
        data=PartConfig(name="trials", options={"batch_size": 2}),
        rewards=[RewardConfig(name="verdict", weight=1.0), RewardConfig(name="structure")],
        **options,
    )


def write_metrics(folder: RunFolder, rows: int) -> None:
    """reward/total_mean is the step's number; train/kl is missing in the first row."""
    lines = ["step,reward/total_mean,train/kl"]
    lines += [f"{n},{float(n)},{'' if n == 1 else 0.5}" for n in range(1, rows + 1)]
    folder.metrics.write_text("\n".join(lines) + "\n")


def test_summary_compares_first_and_last_steps(folder: RunFolder) -> None:
    write_metrics(folder, 30)
    module: Any = SimpleNamespace(iteration=30, draws=60, warnings=[])
    summary = summarize_run(make_config(), folder, module, seconds=12.34)
    # Means of 1..10 and of 21..30.
    assert summary["first"] == {"reward/total_mean": 5.5, "train/kl": 0.5}
    assert summary["last"] == {"reward/total_mean": 25.5, "train/kl": 0.5}
    assert (summary["steps"], summary["prompts"], summary["seconds"]) == (30, 60, 12.3)
    assert summary["versions"]["torch"] == torch.__version__.split("+")[0] or (
        summary["versions"]["torch"] == torch.__version__
    )


def test_a_short_run_is_compared_by_its_halves(folder: RunFolder) -> None:
    """A step that counted on both sides would hide what changed."""
    write_metrics(folder, 5)
    module: Any = SimpleNamespace(iteration=5, draws=10, warnings=[])
    summary = summarize_run(make_config(), folder, module, seconds=1)
    assert summary["window_steps"] == 2
    assert summary["first"]["reward/total_mean"] == 1.5  # of 1 and 2
    assert summary["last"]["reward/total_mean"] == 4.5  # of 4 and 5


def test_metrics_leave_empty_cells_out(folder: RunFolder) -> None:
    write_metrics(folder, 2)
    assert read_metrics(folder.metrics) == [
        {"step": 1.0, "reward/total_mean": 1.0},
        {"step": 2.0, "reward/total_mean": 2.0, "train/kl": 0.5},
    ]


@pytest.mark.parametrize("rows", [0, 1])
def test_hardly_any_metrics(policy_of: Callable[..., Policy], folder: RunFolder, rows: int) -> None:
    """Summary, card and report of a run that logged one step, or none."""
    if rows:
        write_metrics(folder, rows)
    said = [{"sign": "no_spread", "from": 1, "to": 1, "message": "nothing <is> learnt"}]
    module: Any = SimpleNamespace(iteration=1, draws=2, warnings=said)
    config = make_config()
    summary = summarize_run(config, folder, module, seconds=1)
    assert summary["steps"] == 1
    assert summary["last"] == ({"reward/total_mean": 1.0} if rows else {})
    assert "GRPO, 1 steps" in run_card(config, policy_of("adapter"), "adapter", summary)
    page = run_report(
        title="t",
        config=config_dict(config),
        summary=summary,
        metrics=read_metrics(folder.metrics),
        completions=folder.completions,
    )
    assert "Steps 1 to 1:" in page
    assert "nothing &lt;is&gt; learnt" in page


@pytest.mark.parametrize("kind", KINDS)
def test_model_card(policy_of: Callable[..., Policy], folder: RunFolder, kind: str) -> None:
    write_metrics(folder, 3)
    module: Any = SimpleNamespace(iteration=3, draws=6, warnings=[])
    config = make_config()
    card = run_card(config, policy_of(kind), kind, summarize_run(config, folder, module, seconds=1))
    _, metadata, text = card.split("---\n", 2)
    block = yaml.safe_load(metadata)
    assert block["library_name"] == ("peft" if kind == "adapter" else "transformers")
    assert block["base_model"] == "lab/model"
    assert "Research use only" in text
    assert "- structure, weight 1" in text
    assert "| reward/total_mean | 1.0000 | 3.0000 |" in text
    # Its code is Python.
    code = text.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert ("PeftModel" in code) == (kind == "adapter")


def finished(tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch, error: Exception):
    """`finish` of a run whose report cannot be made."""
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    write_metrics(folder, 3)
    module: Any = SimpleNamespace(iteration=3, draws=6, policy=policy, warnings=[])

    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("rl4bio.runs.finish.write_run_report", fail)
    finish(make_config(), folder, module, seconds=1.0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyError("reward/total_mean"), 1),
        (OSError(errno.ENOSPC, "No space left on device"), 7),
        (DataError("completions: line 3 is cut off"), 3),
    ],
)
def test_a_report_that_fails_does_not_lose_the_model(
    policy_of, tmp_path: Path, monkeypatch, capsys, error: Exception, code: int
) -> None:
    """One line, with the folder of the model; the exit code is the error's own."""

    policy = policy_of("adapter")

    def run(_: argparse.Namespace) -> None:
        finished(tmp_path, policy, monkeypatch, error)

    assert run_command(run, argparse.ArgumentParser(), []) == code
    adapter = tmp_path / "run" / "adapter"
    (line,) = capsys.readouterr().err.splitlines()
    assert f"the trained model is whole in {adapter}" in line
    verify_policy(policy, adapter)


def test_the_adapter_that_a_run_went_on_from_is_named(policy_of, folder: RunFolder) -> None:
    write_metrics(folder, 3)
    module: Any = SimpleNamespace(iteration=3, draws=6, warnings=[])
    config = make_config()
    config.policy.adapter = AdapterConfig(path="runs/sft/adapter")
    summary = summarize_run(config, folder, module, seconds=1)
    assert summary["start"] == "runs/sft/adapter"
    card = run_card(config, policy_of("adapter"), "adapter", summary)
    assert "| started from | the adapter `runs/sft/adapter` |" in card
