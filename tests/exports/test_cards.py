"""Model cards: one form everywhere, and their code runs where it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl4bio.__main__ import main as rl4bio
from rl4bio.exports.card_code import Loading, literal, text_code
from rl4bio.exports.cards import LONGEST, model_card, shorten

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("no_traces")

LANGUAGE = (
    "rollout.max_completion_tokens=8",
    "grpo.group_size=2",
    "data.options.batch_size=1",
    "data.options.num_train=8",
)
MOLECULES = ("grpo.group_size=4", "grpo.updates_per_rollout=1")


def code_of(card: str) -> str:
    """The one block of Python in a card."""
    (code,) = re.findall(r"^(`{3,4})python\n(.*?)^\1", card, re.DOTALL | re.MULTILINE)
    return code[1]


def run_card_code(card: Path, where: Path, monkeypatch, capsys) -> tuple[str, dict[str, Any]]:
    """What the code of a card prints, run as a reader would, and its names."""
    monkeypatch.chdir(where)
    capsys.readouterr()
    names: dict[str, Any] = {}
    exec(compile(code_of(card.read_text()), str(card), "exec"), names)
    return capsys.readouterr().out, names


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Path]:
    """A run of one step of a shipped configuration; its folder."""

    def run(config: str, *options: str) -> Path:
        arguments = ["--config", str(ROOT / "configs" / f"{config}.yaml")]
        arguments += ["trainer.max_steps=1", "trainer.accelerator=cpu", "trainer.num_threads=1"]
        arguments += ["name=run", f"output_dir={tmp_path / 'runs'}", "callbacks=[]", *options]
        assert rl4bio(["fit", *arguments]) == 0
        return tmp_path / "runs" / "run"

    return run


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_a_language_model_of_a_run(fit, tmp_path, monkeypatch, capsys, kind: str) -> None:
    """The asset's adapter, or the whole model; the prompt is one of training, to the token."""
    adapter = "policy.adapter={rank: 2}" if kind == "adapter" else "policy.adapter=null"
    run = fit("pubmedqa_nano", adapter, *LANGUAGE)
    card = (run / "README.md").read_text()
    assert card == (run / kind / "README.md").read_text()
    out, names = run_card_code(run / "README.md", run, monkeypatch, capsys)
    assert "answer: " in out
    asked = names["tokenizer"].decode(names["ids"]["input_ids"][0])
    assert asked == names["prompt"]
    assert "was trained on, as it saw it." in card
    assert yaml.safe_load(card.split("---\n")[1])["tags"] == ["rl4bio", "grpo"]
    if kind == "adapter":
        stored = json.loads((run / "adapter" / "adapter_config.json").read_text())
        assert Path(stored["base_model_name_or_path"]).is_absolute()
        assert 'locate("rl4bio:gemma3-nano")' in card
        assert str(tmp_path) not in card.replace(str(run), "")


@pytest.mark.parametrize("adapter", [False, True])
def test_a_molgpt_of_a_run(fit, tmp_path, monkeypatch, capsys, adapter: bool) -> None:
    run = fit("molgpt_qed", f"policy.adapter={'{rank: 2}' if adapter else 'null'}", *MOLECULES)
    out, _ = run_card_code(run / "README.md", run, monkeypatch, capsys)
    assert out.count("answer: ") == 10
    monkeypatch.chdir(tmp_path)
    assert rl4bio(["export", "--run", str(run), "--output", str(tmp_path / "tuned")]) == 0
    out, names = run_card_code(tmp_path / "tuned" / "README.md", tmp_path, monkeypatch, capsys)
    assert out.count("answer: ") == 10
    assert type(names["model"]).__name__ == "MolGPTForCausalLM"


def test_a_run_with_a_relative_path_works_from_everywhere(
    tiny_folder, fit, tmp_path, monkeypatch, capsys
) -> None:
    """Its card, its evaluation, its export, whole and as an adapter, and the run itself again."""
    home = tmp_path / "home with blank"
    (home / "models").mkdir(parents=True)
    (home / "models" / "bäse").symlink_to(tiny_folder("llama"))
    monkeypatch.chdir(home)
    options = ("policy.checkpoint=models/bäse", "policy.adapter={rank: 2}", *LANGUAGE)
    run = fit("pubmedqa_nano", *options, "rollout.max_prompt_tokens=1000")
    away = tmp_path / "away"
    away.mkdir()
    run_card_code(run / "README.md", run, monkeypatch, capsys)
    monkeypatch.chdir(away)
    stored = yaml.safe_load((run / "config.yaml").read_text())["policy"]["checkpoint"]
    assert stored == str(home / "models" / "bäse")
    for form, name in (("huggingface", "whole"), ("adapter", "part")):
        arguments = ["--run", str(run), "--output", name, "--format", form]
        assert rl4bio(["export", *arguments]) == 0
        run_card_code(away / name / "README.md", away, monkeypatch, capsys)
        monkeypatch.chdir(away)
    limits = ["evaluation.max_items=2", "evaluation.modes=[greedy]", "evaluation.bootstrap=10"]
    assert rl4bio(["evaluate", "--run", str(run), *limits]) == 0
    again = ["--config", str(run / "config.yaml"), "name=again", f"output_dir={tmp_path}"]
    assert rl4bio(["fit", *again]) == 0
    monkeypatch.chdir(home)
    capsys.readouterr()
    assert rl4bio(["fit", "--config", str(run / "config.yaml"), "--resume"]) == 0


def test_a_base_on_the_hub(tiny_folder, tmp_path: Path) -> None:
    """A stand-in lies in the hub's cache; the code is run by a Python that knows nothing else."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = tiny_folder("llama")
    snapshot = tmp_path / "hub" / "models--lab--tiny" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(source)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "v1").write_text("abc")
    lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(source), lora).save_pretrained(
        tmp_path / "adapter"
    )
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "adapter")
    loading = Loading(kind="adapter", folder="adapter", base="lab/tiny", revision="v1")
    card = model_card("tuned", loading)
    assert yaml.safe_load(card.split("---\n")[1])["base_model"] == "lab/tiny"
    code = code_of(card)
    assert 'from_pretrained("lab/tiny", revision="v1")' in code
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "answer: " in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "one line",
        "with \"quotes\" and 'others'",
        "two\nlines",
        'ends with a quote\n"',
        'three """ of them\n',
        "back\\slash\n",
        "tab\tand\r\nreturn",
        "<bos>\n<start_of_turn>user\nα \u2028 …",
        "",
    ],
)
def test_prompts_are_written_as_python_reads_them(text: str) -> None:
    assert eval(literal(text)) == text
    compile(text_code(Loading(kind="model", folder="m"), {"text": text}), "card", "exec")


def test_a_long_prompt_says_what_is_left_out() -> None:
    facts = shorten("a" * LONGEST + "b" * LONGEST)
    assert facts["left_out"] == LONGEST
    assert f"[{LONGEST:,} characters left out]" in facts["text"]
    card = model_card("x", Loading(kind="model", folder="m"), summary={"prompt": facts})
    assert f"shortened by {LONGEST:,} characters in its middle" in card
    assert shorten("short") == {"text": "short", "left_out": 0}


def test_code_in_a_prompt_does_not_end_the_block() -> None:
    facts = {"text": "Explain:\n```python\nx = 1\n```\n", "left_out": 0}
    card = model_card("x", Loading(kind="model", folder="m"), summary={"prompt": facts})
    names: dict[str, Any] = {}
    first = code_of(card).split("ids =")[0].split("tokenizer =")[1].split("\n", 1)[1]
    exec(first, names)
    assert names["prompt"] == facts["text"]


def test_what_the_prompt_begins_of_an_answer_belongs_to_it() -> None:
    facts = {"text": "<user>x<model><answer>", "begun": "<answer>", "answer_tag": True}
    code = text_code(Loading(kind="model", folder="m"), facts)
    assert 'completion = "<answer>" + tokenizer.decode(' in code
    names = {"completion": "<answer>" + "yes</answer>", "re": re}
    exec(code[code.index("answers = ") :], names)
    assert names["answers"] == ["yes"]


def test_private_prompts_stay_out_of_the_card(fit, monkeypatch, capsys) -> None:
    run = fit("pubmedqa_nano", "policy.adapter=null", "logging.completions=false", *LANGUAGE)
    assert "text" not in json.loads((run / "summary.json").read_text())["prompt"]
    assert "is an example and not the one of training" in (run / "README.md").read_text()
    out, _ = run_card_code(run / "README.md", run, monkeypatch, capsys)
    assert "answer: " in out
