"""rl4bio.run and what it gives, as in a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

import rl4bio
from rl4bio.errors import ConfigError, StorageError
from rl4bio.modules.loading import load_policy
from rl4bio.sections import PolicyConfig

pytestmark = pytest.mark.usefixtures("no_traces")

SMALL = {
    "trainer": {"max_steps": 2, "num_threads": 1, "accelerator": "cpu"},
    "rollout": {"max_completion_tokens": 8},
    "grpo": {"group_size": 2, "monitor_kl": False},
    "data.options.batch_size": 2,
    "data.options.num_train": 16,
    "callbacks": [],
}


def test_a_run_and_its_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = rl4bio.run("rl4bio:pubmedqa_nano", name="mine", output_dir=tmp_path, **SMALL)
    assert run.folder == tmp_path / "mine"
    assert run.finished
    assert [row["step"] for row in run.metrics] == [1.0, 2.0]
    assert run.report.is_file()
    assert run.config["grpo"]["group_size"] == 2
    assert repr(run).startswith(f"Run({run.folder}: 2 steps, reward ")
    page = run._repr_html_()
    assert "<svg" in page
    assert "Total reward" in page
    assert repr(rl4bio.load_run(run.folder)) == repr(run)

    found = run.evaluate(evaluation={"max_items": 6, "modes": ["greedy"]})
    assert found.report == run.folder / "evaluation" / "report.html"
    assert {row["model"] for row in found.summary["rows"]} >= {"base", "tuned"}

    again = rl4bio.run("rl4bio:pubmedqa_nano", name="mine", output_dir=tmp_path, **SMALL)
    assert (again.metrics, again.summary) == (run.metrics, run.summary)  # it is finished
    with pytest.raises(StorageError, match="a run of this name exists"):
        rl4bio.run("rl4bio:pubmedqa_nano", name="mine", output_dir=tmp_path, seed=9, **SMALL)
    longer = {**SMALL, "trainer": {**SMALL["trainer"], "max_steps": 3}}  # type: ignore[dict-item]
    more = rl4bio.run(
        "rl4bio:pubmedqa_nano", name="mine", output_dir=tmp_path, resume=True, **longer
    )
    assert len(more.metrics) == 3


def test_mistakes_are_raised(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gruop_size: unknown key"):
        rl4bio.run("rl4bio:pubmedqa_nano", output_dir=tmp_path, grpo={"gruop_size": 2})
    with pytest.raises(ConfigError, match="no run's folder"):
        rl4bio.load_run(tmp_path)


def test_a_policy_says_what_it_is_in_a_line(tiny_policy_folder: Path) -> None:
    policy = load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder)))
    said = repr(policy)
    assert said.startswith(f"Policy({tiny_policy_folder}: gemma")
    assert said.endswith("trained, float32 on cpu)")
    assert "\n" not in said
