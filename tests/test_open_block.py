"""Answers that prompts begin, through all commands, with the tags of the corpus or the template."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rl4bio.evaluate import main as evaluate
from rl4bio.fit import main as fit
from rl4bio.generate import main as generate

pytestmark = pytest.mark.usefixtures("no_traces")

GENERATION = "<start_of_turn>model\n"
OPTIONS = [
    "task=grpo",
    "data.name=trials",
    "data.options={batch_size: 2, num_train: 8, num_val: 2, num_test: 3, distractors: [0, 0]}",
    "rewards=[{name: structure, options: {graded: true}}, {name: verdict}]",
    "rollout={max_prompt_tokens: 900, max_completion_tokens: 6}",
    "grpo.group_size=2",
    "trainer={max_steps: 1, accelerator: cpu, num_threads: 1, val_every_steps: 1}",
    "evaluation={modes: [greedy, sampled, logprob, direct, no_reasoning], num_samples: 2}",
    "evaluation.bootstrap=20",
]


@pytest.fixture
def checkpoint(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A tiny model whose chat template opens a tag, or none."""

    def make(opened: str) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(tiny_folder("gemma3"), folder)
        for file in ("chat_template.jinja", "tokenizer_config.json"):
            path = folder / file
            if path.is_file():
                text = path.read_text()
                start = GENERATION if file.endswith("jinja") else json.dumps(GENERATION)[1:-1]
                more = opened if file.endswith("jinja") else json.dumps(opened)[1:-1]
                path.write_text(text.replace(start, start + more))
        return folder

    return make


def run_fit(folder: Path, *more: str) -> int:
    config = folder.parent / "run.yaml"
    config.write_text("name: opened\n")
    where = [f"policy.checkpoint={folder}", f"output_dir={folder.parent / 'runs'}"]
    return fit(["--config", str(config), *OPTIONS, *where, *more])


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("opened", "option", "begins"),
    [("", "true", "<thought>"), ("<thought>\n", "false", "<thought>\n")],
    ids=["by the corpus", "by the template"],
)
def test_every_command_sees_whole_answers(
    checkpoint: Callable[[str], Path],
    opened: str,
    option: str,
    begins: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = checkpoint(opened)
    asked = f"data.options.open_block={option}"
    assert run_fit(folder, asked, "--dry-run") == 0
    assert f"completions begin with {begins!r}, which is given" in capsys.readouterr().out
    assert run_fit(folder, asked) == 0
    run = folder.parent / "runs" / "opened"
    assert f"open_block: {option}" in (run / "config.yaml").read_text()
    assert ("begun with `<thought>`" in (run / "README.md").read_text()) == (option == "true")
    rows = [row for file in (run / "completions").glob("*.jsonl") for row in json_lines(file)]
    assert len(rows) == 4
    assert all(row["completion"].startswith(begins) and row["tokens"] <= 6 for row in rows)
    # The opened tag counts as written: 0.2 of graded structure, and no more for nothing behind it.
    assert all(row["rewards"]["structure"] >= 0.2 for row in rows if row["completion"] == begins)

    assert evaluate(["--run", str(run)]) == 0
    modes: dict[str, list[str]] = {}
    for row in json_lines(run / "evaluation" / "items.jsonl"):
        modes.setdefault(row["mode"], []).append(row["completion"])
    for text in [*modes["tagged prompt, generated"]]:
        assert text.startswith(begins)
        assert text.count("<thought>") >= 1
    bare = [text for mode, own in modes.items() if "no reasoning" in mode for text in own]
    assert bare
    assert all(text.startswith("<thought></thought><answer>") for text in bare)
    direct = [
        text for mode, own in modes.items() if mode == "direct prompt, generated" for text in own
    ]
    assert all(text.startswith(opened) for text in direct)

    prompts = folder.parent / "prompts.jsonl"
    turns = [{"role": "user", "content": "Does it work?"}]
    prompts.write_text(f"{json.dumps({'messages': turns})}\n{json.dumps({'prompt': 'yes'})}\n")
    written = folder.parent / "written.jsonl"
    assert generate(["--run", str(run), "--prompts", str(prompts), "--output", str(written)]) == 0
    chat, raw = (row["completion"] for row in json_lines(written))
    assert chat.startswith(begins)
    assert not raw.startswith(begins)
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("Does it work?\nquit\n"))
    assert generate(["--run", str(run), "--chat"]) == 0
    said = capsys.readouterr().out
    assert f"base: {begins}" in said
    assert f"tuned: {begins}" in said


@pytest.mark.parametrize("command", ["fit", "dry run", "sft"])
def test_a_template_that_opens_another_tag(
    checkpoint: Callable[[str], Path], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoint("<think>\n")
    more = {"fit": [], "dry run": ["--dry-run"], "sft": ["task=sft", "rewards=[]"]}[command]
    assert run_fit(folder, "data.options.open_block=false", *more) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "opens <think>, and answers are to begin with <thought>" in said
    assert not (folder.parent / "runs").exists()
    assert run_fit(folder, "data.options.open_block=true", *more) == 0
