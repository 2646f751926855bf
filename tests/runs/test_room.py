"""What a run trains, and so writes, is known before its weights are read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rl4bio.config.load import load_config
from rl4bio.errors import ModelError
from rl4bio.modules.loading import load_policy
from rl4bio.runs.room import trained_at_least

CONFIG = """
name: trial
output_dir: {runs}
policy: {{checkpoint: {model}}}
rollout: {{max_prompt_tokens: 900, max_completion_tokens: 6}}
grpo: {{group_size: 2}}
data: {{name: trials, options: {{batch_size: 1, num_train: 2, num_val: 1}}}}
rewards: [{{name: length}}]
trainer: {{max_steps: 1, accelerator: cpu}}
"""


def write_config(place: Path, model: Path) -> str:
    path = place / "config.yaml"
    path.write_text(CONFIG.format(runs=place / "runs", model=model))
    return str(path)


@pytest.mark.parametrize(
    "change",
    [
        "policy.adapter=null",
        "policy.adapter={rank: 3, alpha: 3}",
        "policy.adapter={rank: 2, alpha: 3, targets: [q_proj, down_proj]}",
    ],
)
def test_headers_tell_what_is_trained(
    tiny_policy_folder: Path, tmp_path: Path, change: str
) -> None:
    config = load_config(write_config(tmp_path, tiny_policy_folder), [change])
    policy = load_policy(config.policy)
    assert trained_at_least(config) == sum(p.numel() for p in policy.trainable_parameters()) > 0


def test_nothing_is_guessed_of_files_that_are_not_here(tmp_path: Path) -> None:
    here = write_config(tmp_path, tmp_path)
    assert trained_at_least(load_config(here, ["policy.checkpoint=somebody/missing"])) == 0
    new = ["policy={checkpoint: new, molgpt: {}}", "data={name: smiles, options: {batch_size: 1}}"]
    assert trained_at_least(load_config(here, new)) == 0


def test_a_damaged_file_is_named(tiny_policy_folder: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_policy_folder, tmp_path / "model")
    with (model / "model.safetensors").open("r+b") as stream:
        stream.truncate(2000)
    with pytest.raises(ModelError, match=r"model\.safetensors: damaged"):
        trained_at_least(load_config(write_config(tmp_path, model), []))
