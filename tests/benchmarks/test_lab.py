"""The lab model: prompts of exact length, an end token that comes never or as often as asked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.lab import (
    CONSTANT,
    NUM_PROMPTS,
    TINY,
    borrow_checkpoint,
    letter_share,
    read_prompts,
    write_checkpoint,
)

PROMPT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("lab") / "plain", TINY, prompt_tokens=PROMPT)


def load(folder: Path) -> tuple[Any, Any, Tensor]:
    """Model, tokenizer and the ids of 8 prompts."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer(prompt)["input_ids"] for prompt in read_prompts(folder)[:8]])
    return AutoModelForCausalLM.from_pretrained(folder), tokenizer, ids


def test_prompts_have_the_asked_length_and_differ(folder: Path) -> None:
    _, tokenizer, ids = load(folder)
    assert ids.shape == (8, PROMPT)
    assert bool((ids[:, 0] == tokenizer.bos_token_id).all())
    assert len(set(read_prompts(folder))) == NUM_PROMPTS


def test_a_borrowed_checkpoint_is_the_same_with_prompts_of_records(
    folder: Path, tmp_path: Path
) -> None:
    records = {
        "1": {"CONTEXTS": ["babe bace.", "bafe"], "QUESTION": "bage?"},
        "2": {"CONTEXTS": ["babe " * PROMPT], "QUESTION": "too long?"},
    }
    texts = tmp_path / "records.json"
    texts.write_text(json.dumps(records))
    borrowed = borrow_checkpoint(tmp_path / "links", folder, texts, prompt_tokens=PROMPT)
    assert read_prompts(borrowed) == ["babe bace. bafe bage?"]
    assert len(read_prompts(folder)) == NUM_PROMPTS  # the lender's own are as they were
    assert torch.equal(*(load(f)[0].get_input_embeddings().weight for f in (folder, borrowed)))


def test_every_sampled_token_has_a_text(folder: Path) -> None:
    model, tokenizer, _ = load(folder)
    assert len(tokenizer) == model.get_input_embeddings().weight.shape[0] == TINY.vocabulary
    padding = TINY.vocabulary - 1
    assert tokenizer.decode([padding]) == f"w{padding:x}"


@torch.no_grad()
def test_no_layer_writes_to_the_constant_dimension_whatever_the_adapter(folder: Path) -> None:
    model, _, ids = load(folder)
    tuned = get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.normal_()
    first, second, _ = tuned(input_ids=ids, output_hidden_states=True).hidden_states
    # Gemma multiplies embeddings by the square root of the width.
    for hidden in (first, second):
        torch.testing.assert_close(
            hidden[..., CONSTANT], torch.full(ids.shape, 0.5 * math.sqrt(TINY.width))
        )
    assert not torch.allclose(first[..., 1], second[..., 1])


@torch.no_grad()
def test_the_end_token_practically_never_comes(folder: Path) -> None:
    model, tokenizer, ids = load(folder)
    logprobs = model(input_ids=ids).logits.log_softmax(-1)
    end = logprobs[..., tokenizer.eos_token_id]
    assert float(end.max()) < logprobs.mean() - 10


@torch.no_grad()
def test_the_end_token_comes_as_often_as_asked(tmp_path: Path) -> None:
    made = write_checkpoint(tmp_path / "ragged", TINY, prompt_tokens=PROMPT, mean_tokens=16)
    model, tokenizer, ids = load(made)
    chance = model(input_ids=ids).logits.softmax(-1)[..., tokenizer.eos_token_id]
    assert float(chance.mean()) == pytest.approx(1 / 16, rel=0.15)


def test_the_reward_is_a_share_of_characters() -> None:
    assert letter_share("eel") == pytest.approx(2 / 3)
    assert letter_share("") == 0.0
