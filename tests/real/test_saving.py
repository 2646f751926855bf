"""Real tokenizers and configurations: what a run saves is the same model everywhere."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl4bio.__main__ import main as rl4bio
from rl4bio.modules.loading import load_tuned
from rl4bio.sections import PolicyConfig

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("no_traces")]

MODELS = ("tiny-gemma3-1b-it", "tiny-llama3.1", "tiny-qwen3", "smollm2-135m-instruct")
IDS = torch.arange(300, 340)[None]
CONFIG = """
name: run
policy: {checkpoint: PLACE, adapter: {rank: 2}}
rollout: {max_prompt_tokens: 600, max_completion_tokens: 6}
grpo: {group_size: 2, kl_coef: 0.1}
optim: {lr: 1.0e-3, warmup_steps: 0}
data:
  name: trials
  options: {batch_size: 1, num_train: 8, num_val: 2, num_test: 2, distractors: [0, 1]}
rewards: [{name: length, options: {min_words: 1, max_words: 5}}]
trainer: {max_steps: 2, accelerator: cpu, num_threads: 1, precision: 32-true}
"""
READER = """
import sys
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, text, given = sys.argv[1:]
assert __import__("transformers").__version__.startswith("4.")
expected = load_file(given)
assert AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == expected["text"].tolist()
model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
with torch.no_grad():
    far = (model(input_ids=expected["ids"]).logits - expected["logits"]).abs().max().item()
assert far < 1e-3, far
"""
TEXT = "Does it lower HbA1c?\n<answer>yes</answer>"


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=IDS).logits.float()


def read_adapter(base: Path, folder: Path) -> torch.Tensor:
    """Logits of an adapter in plain peft."""
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return logits(PeftModel.from_pretrained(plain, folder))


@pytest.mark.parametrize("name", MODELS)
def test_sft_then_grpo_then_export(
    real_model: Callable[[str], Path], tmp_path: Path, monkeypatch, capsys, name: str
) -> None:
    base = real_model(name)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("PLACE", str(base)))
    common = ["fit", "--config", str(path), f"output_dir={tmp_path}"]
    assert rl4bio([*common, "name=sft", "task=sft"]) == 0
    start = tmp_path / "sft" / "adapter"
    assert rl4bio([*common, "name=grpo", f"policy.adapter.path={start}"]) == 0
    for run in ("sft", "grpo"):
        adapter = tmp_path / run / "adapter"
        policy = load_tuned(PolicyConfig(checkpoint=str(base)), adapter)
        expected = logits(policy.model)
        torch.testing.assert_close(read_adapter(base, adapter), expected, rtol=0, atol=1e-4)
        files = [p.name for p in base.iterdir() if p.name.startswith(("tokenizer", "chat", "spec"))]
        assert {*files} <= {p.name for p in adapter.iterdir()}
        own = AutoTokenizer.from_pretrained(base)
        read = AutoTokenizer.from_pretrained(adapter)
        assert read.get_vocab() == own.get_vocab()
        assert read.chat_template == own.chat_template
    assert "| started from | the adapter" in (tmp_path / "grpo" / "README.md").read_text()
    monkeypatch.chdir(tmp_path / "grpo")
    card = (tmp_path / "grpo" / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE)
    capsys.readouterr()
    exec(compile(code.replace("max_new_tokens=6", "max_new_tokens=2"), "card", "exec"), {})
    assert "answer: " in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    arguments = ["--run", "grpo", "--output", "whole", "--dtype", "float32"]
    assert rl4bio(["export", *arguments]) == 0
    whole = tmp_path / "whole"
    merged = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
    torch.testing.assert_close(logits(merged), expected, rtol=1e-3, atol=1e-3)
    check_with_transformers_4(whole, expected, AutoTokenizer.from_pretrained(base))


def check_with_transformers_4(folder: Path, expected: torch.Tensor, tokenizer: Any) -> None:
    """The exported folder in an environment that has transformers 4, where there is one."""
    python = os.environ.get("RL4BIO_TRANSFORMERS4_PYTHON")
    if not python:
        return
    given = folder.parent / "expected.safetensors"
    text = torch.tensor(tokenizer(TEXT)["input_ids"])
    save_file({"logits": expected.contiguous(), "ids": IDS.clone(), "text": text}, given)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", READER, str(folder), TEXT, str(given)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
