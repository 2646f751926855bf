"""Stages of a configuration: what each becomes, and what is refused, with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl4bio.config import load_config
from rl4bio.config.load import stage_configs
from rl4bio.errors import ConfigError

TEXT = """\
name: chain
policy: {checkpoint: some/model, adapter: {rank: 4}}
data: {name: trials, options: {batch_size: 2}}
rewards: [{name: verdict}]
callbacks: [{name: kl_monitor}]
stages:
  - {name: warm, task: sft, trainer: {max_steps: 3}}
  - name: easy
    data: {name: pubmedqa, options: {source: x.json}}
    optim.lr: 2.0e-5
  - name: rl
    rewards: [{name: verdict}, {name: structure, weight: 0.5}]
    until: {metric: reward/total_mean, above: 0.8}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "chain.yaml"
    path.write_text(TEXT)
    return path


def test_a_stage_is_the_file_with_its_keys(file: Path) -> None:
    config = load_config(file, ["trainer.max_steps=50", "stages.0.trainer.max_steps=7"])
    warm, easy, rl = stage_configs(config)
    assert [stage.name for stage in (warm, easy, rl)] == ["warm", "easy", "rl"]
    assert (warm.task, warm.trainer.max_steps, easy.trainer.max_steps) == ("sft", 7, 50)
    # A part with a name replaces the one that was there, options and all.
    assert (easy.data.name, easy.data.options) == ("pubmedqa", {"source": "x.json"})
    assert (easy.optim.lr, rl.optim.lr) == (2e-5, 1e-5)
    assert rl.data.options == {"batch_size": 2}
    assert [reward.name for reward in rl.rewards] == ["verdict", "structure"]
    assert [callback.name for callback in easy.callbacks] == ["kl_monitor"]
    assert [callback.name for callback in rl.callbacks] == ["kl_monitor", "stop_at"]
    assert rl.callbacks[1].options == {"metric": "reward/total_mean", "above": 0.8}
    assert all(stage.stages == [] for stage in (warm, easy, rl))


def test_a_file_without_stages_has_none(file: Path) -> None:
    assert stage_configs(load_config(file, ["stages=[]"])) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.0.name=tuned", r"stages\[0\]\.name: got 'tuned', needs a word"),
        ("stages.1.trainer.strategy=fsdp", r"stages\[1\]\.trainer\.strategy: fsdp knows no stages"),
        ("stages.1.name=warm", r"stages\[1\]\.name: 'warm' is there twice"),
        ("stages=[rl]", r"stages\[0\]: got 'rl', needs a mapping"),
        ("stages=[{task: sft}]", r"stages\[0\]\.name: got None"),
        ("stages.0.trainer.max_stepz=3", r"stages\[0\]\.trainer\.max_stepz: unknown key"),
        ("stages.0.task=ppo", r"stages\[0\]\.task: "),
        ("stages.0.seed=2", r"stages\[0\]\.seed: is one of the whole run"),
        ("stages.0.stages=[]", r"stages\[0\]\.stages: is one of the whole run"),
        ("stages.2.until=0.8", r"stages\[2\]\.until: got 0\.8, needs a metric and one limit"),
        (
            "stages.2.until.windo=1",
            r"stages\[2\]\.until\.windo: unknown option; did you mean 'window'",
        ),
        ("stages.2.until.below=1", r"stages\[2\]\.until: .* one limit, above or below"),
        ("stages.2.rewards.1.weight=0", r"stages\[2\]\.rewards\[1\]\.weight: got 0"),
    ],
)
def test_what_is_wrong_in_a_stage_is_told_with_its_place(
    file: Path, override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(file, [override])
