"""rl4bio.runs.pages: a run and its evaluation lead to each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rl4bio.evaluation.outputs import training_page
from rl4bio.runs.pages import link_evaluation

SUMMARY = {
    "name": "mine",
    "task": "grpo",
    "base": "rl4bio:gemma3-nano",
    "seed": 1,
    "steps": 2,
    "seconds": 3.0,
    "window_steps": 10,
    "warnings": [],
    "first": {"reward/total_mean": 0.1},
    "last": {"reward/total_mean": 0.2},
}


def run_folder(root: Path, summary: dict[str, object]) -> Path:
    (root / "evaluation").mkdir(parents=True)
    (root / "completions").mkdir()
    for step in (1, 2):
        lines = [
            {"prompt": "p", "completion": "c", "rewards": {"verdict": total}, "total": total}
            | {"advantage": 0.0, "tokens": 1, "truncated": False}
            for total in (0.0, step / 2)
        ]
        text = "\n".join(json.dumps(line) for line in lines)
        (root / f"completions/step-{step:06d}.jsonl").write_text(text + "\n")
    (root / "metrics.csv").write_text("step,reward/total_mean\n1,0.1\n2,0.2\n")
    (root / "config.yaml").write_text("name: mine\nrewards: [{name: verdict, weight: 1.0}]\n")
    (root / "summary.json").write_text(json.dumps(summary))
    (root / "report.html").write_text("as it was")
    return root


def test_the_page_of_a_run_leads_to_its_evaluation_and_back(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "mine", SUMMARY)
    link_evaluation(run, [run / "evaluation/report.html"])
    page = (run / "report.html").read_text()
    assert '<a href="./evaluation/report.html">evaluation</a>' in page
    assert "Completions by total reward" in page
    names = {path.name for path in (run / "figures").iterdir()}
    assert "completions_by_total_reward.svg" in names
    assert training_page(run / "evaluation") == "../report.html"


def test_several_tasks_are_told_apart(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "mine", SUMMARY)
    link_evaluation(run, [run / f"evaluation/{task}/report.html" for task in ("BBB", "AMES")])
    page = (run / "report.html").read_text()
    assert '<a href="./evaluation/AMES/report.html">evaluation: AMES</a>' in page


def test_the_page_of_a_chain_too(tmp_path: Path) -> None:
    stage = {**SUMMARY, "name": "imitation", "folder": "stages/imitation"}
    run = run_folder(tmp_path / "mine", {**SUMMARY, "stages": [stage]})
    link_evaluation(run, [run / "evaluation/report.html"])
    assert '<a href="./evaluation/report.html">evaluation</a>' in (run / "report.html").read_text()


@pytest.mark.parametrize("lost", ["summary.json", "config.yaml", "elsewhere", "half a file"])
def test_a_report_that_cannot_be_made_again_stays(tmp_path: Path, lost: str) -> None:
    run = run_folder(tmp_path / "mine", SUMMARY)
    page = run / "evaluation/report.html"
    if lost == "elsewhere":
        page = tmp_path / "other/report.html"
    elif lost == "half a file":
        (run / "summary.json").write_text('{"name": ')
    else:
        (run / lost).unlink()
    link_evaluation(run, [page])
    assert (run / "report.html").read_text() == "as it was"
