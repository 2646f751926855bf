"""The first hour with a real checkpoint: dry run, GRPO, resume, evaluation, chat, SFT."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.evaluate import main as evaluate
from rl4bio.fit import main as fit
from rl4bio.generate import main as generate

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("no_traces")]

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PUBMEDQA = {
    "tiny-gemma3-1b-it": "pubmedqa_gemma3.yaml",
    "gemma3-270m": "pubmedqa_gemma3.yaml",
}
MEDICAL = {
    "tiny-llama3.1": "medical_reasoning_llama31.yaml",
    "tiny-qwen3": "medical_reasoning_qwen25.yaml",
    "smollm2-135m-instruct": "medical_reasoning_llama31.yaml",
}
SMALL = [
    "rollout.max_completion_tokens=12",
    "rollout.overlong_prompts=shorten",
    "grpo.group_size=2",
    "data.options.batch_size=1",
    "trainer.accelerator=cpu",
    "trainer.num_threads=1",
    "trainer.save_every_steps=1",
    "trainer.val_every_steps=0",
    "logging.loggers=[]",
    "callbacks=[]",
    "optim.warmup_steps=0",
]

Arguments = Callable[[str], list[str]]


@pytest.fixture
def arguments(real_model: Callable[[str], Path], shared_data: Path, tmp_path: Path) -> Arguments:
    """Configuration of a checkpoint's family, on local files, cut down to seconds."""
    medical = shared_data / "medical"

    def build(name: str) -> list[str]:
        own = ["policy.gradient_checkpointing=false", f"output_dir={tmp_path}", "name=trial"]
        own += ["stages=[]"]
        if name in PUBMEDQA:
            file = PUBMEDQA[name]
            records = json.loads((medical / "pubmedqa" / "ori_pqal.json").read_text("utf-8"))
            source = tmp_path / "ori_pqal.json"
            source.write_text(json.dumps(dict(list(records.items())[:60])), "utf-8")
            own += [
                f"data.options.source={source}",
                "data.options.val_size=4",
                "rollout.max_prompt_tokens=300",
            ]
        else:
            file = MEDICAL[name]
            lines = (medical / "mcq" / "mmlu_medical.jsonl").read_text("utf-8").splitlines()
            source = tmp_path / "mmlu.jsonl"
            source.write_text("\n".join(lines[:60]), "utf-8")
            own += [
                f"data.options.sources=[{{source: {source}}}]",
                "data.options.test_sources=[]",
                "data.options.val_fraction=0.0",
                "data.options.test_fraction=0.1",
                "rollout.max_prompt_tokens=256",
                "rollout.overlong_prompts=drop",
                # Without the packages and the downloads of the other two rewards.
                "rewards=[{name: choice}, {name: structure, weight: 0.2, options: "
                "{tags: [reasoning, answer], graded: true}}]",
            ]
        model = f"policy.checkpoint={real_model(name)}"
        small = [o for o in SMALL if o.split("=")[0] not in {p.split("=")[0] for p in own}]
        return ["--config", str(CONFIGS / file), model, *small, *own]

    return build


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as stream:
        return [
            {k: v for k, v in row.items() if not k.startswith("time/")}
            for row in csv.DictReader(stream)
        ]


def weights(run: Path) -> bytes:
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


def check_resume(given: list[str], whole: Path) -> None:
    """Stopped after its first of two steps and continued, a run is the whole one."""
    again = whole.with_name("again")
    assert fit([*given, "name=again", "trainer.max_steps=1"]) == 0
    assert fit([*given, "name=again", "trainer.max_steps=2", "--resume"]) == 0
    assert rows(whole) == rows(again)
    assert weights(whole) == weights(again)


@pytest.mark.parametrize("name", [*PUBMEDQA, *MEDICAL])
def test_grpo_from_dry_run_to_answers(
    name: str,
    arguments: Arguments,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = arguments(name)
    assert fit([*given, "--dry-run"]) == 0
    assert "memory: about" in capsys.readouterr().out

    run = tmp_path / "trial"
    assert fit([*given, "trainer.max_steps=2"]) == 0
    assert len(rows(run)) == 2
    if name in PUBMEDQA:
        check_resume(given, run)

    assert evaluate(["--run", str(run), "evaluation.max_items=2", "evaluation.modes=[greedy]"]) == 0
    assert (run / "evaluation" / "report.html").is_file()

    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "a", "prompt": "Does aspirin thin the blood?"}) + "\n")
    told = tmp_path / "told.jsonl"
    assert generate(["--run", str(run), "--prompts", str(prompts), "--output", str(told)]) == 0
    assert json.loads(told.read_text())["id"] == "a"
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("Is water wet?\nquit\n"))
    assert generate(["--run", str(run), "--chat"]) == 0
    said = capsys.readouterr().out
    assert "base: " in said
    assert "tuned: " in said


@pytest.mark.parametrize("name", ["tiny-gemma3-1b-it", "smollm2-135m-instruct"])
def test_sft_and_its_resume(name: str, arguments: Arguments, tmp_path: Path) -> None:
    given = [
        *arguments(name),
        "task=sft",
        "rewards=[]",
        "sft.max_tokens=700",
    ]
    if name in MEDICAL:
        given.append("data.options.form=direct")
    assert fit([*given, "trainer.max_steps=2"]) == 0
    assert len(rows(tmp_path / "trial")) == 2
    if name == "smollm2-135m-instruct":
        check_resume(given, tmp_path / "trial")
