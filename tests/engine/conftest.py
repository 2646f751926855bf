"""Fixtures: tiny random models of every family, with an adapter that is not zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.modules.dropout import switch_off_dropout
from rl4bio.modules.molgpt.model import MolGPTConfig, MolGPTForCausalLM

FAMILIES = ("gemma3", "gemma2", "llama", "qwen2", "qwen3", "mistral", "phi3", "gpt2", "molgpt")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Every architecture that the engine is exact for."""
    return request.param


@pytest.fixture
def make_model(tiny_folder: Callable[[str], Path]) -> Callable[..., Any]:
    """Makes the random model of a family, float32, with a LoRA adapter unless lora=False."""
    return lambda family, lora=True: build(family, tiny_folder, lora=lora)


def build(family: str, tiny_folder: Callable[[str], Path], *, lora: bool) -> Any:
    import peft
    import transformers as hf

    if family == "molgpt":
        torch.manual_seed(0)
        model: Any = MolGPTForCausalLM._from_config(
            MolGPTConfig(
                vocab_size=20, block_size=40, width=32, num_layers=2, num_heads=2, dropout=0.0
            )
        )
        with torch.no_grad():  # large enough that a wrong position shows
            for parameter in model.parameters():
                parameter.normal_(std=0.3)
    else:
        attention = "eager" if family == "gemma2" else "sdpa"
        model = hf.AutoModelForCausalLM.from_pretrained(
            tiny_folder(family), dtype=torch.float32, attn_implementation=attention
        )
    switch_off_dropout(model)
    if not lora:
        return model
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(1)
    model = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model
