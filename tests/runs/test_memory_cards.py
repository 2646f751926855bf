"""The estimate for cards that are not there, against what torch's CUDA allocator held.

The figures are peaks of allocated memory of one GRPO step at full-length completions, from the CUDA
build of torch 2.13 over a runtime without a card, as an A100 (sm_80): LoRA of rank 16 on all linear
layers, bf16-mixed, KL on, prompts of 400 tokens.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rl4bio.errors import ConfigError
from rl4bio.hardware import CARDS, model_family
from rl4bio.runs.activations import micro_batch_tokens, norms_of_layer
from rl4bio.runs.memory import estimate_memory
from rl4bio.sections import AdapterConfig, GRPOConfig, PartConfig, RolloutConfig, RunConfig

GEMMA3: dict[str, Any] = {
    "vocab_size": 262144,
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "sliding_window": 512,
}
LLAMA: dict[str, Any] = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
QWEN: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
GEMMA2: dict[str, Any] = {
    "vocab_size": 256000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
}


def adapted(kind: str, shape: dict[str, Any], layers: int, dtype: torch.dtype) -> Any:
    """A model without memory, as much of a policy as the estimate reads."""
    import transformers as hf
    from peft import LoraConfig, get_peft_model

    config = getattr(hf, kind)(**shape, num_hidden_layers=layers)
    with torch.device("meta"):
        plain = hf.AutoModelForCausalLM.from_config(config, dtype=dtype)
        lora = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model: Any = get_peft_model(plain, lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    family = model_family(config.model_type)
    return SimpleNamespace(model=model, adapter=AdapterConfig(rank=16), family=family)


def step(prompts: int = 8, completion: int = 256, micro: int = 8192) -> RunConfig:
    return RunConfig(
        name="x",
        rollout=RolloutConfig(max_prompt_tokens=400, max_completion_tokens=completion),
        grpo=GRPOConfig(group_size=16, kl_coef=0.04, tokens_per_micro_batch=micro),
        data=PartConfig(name="trials", options={"batch_size": prompts}),
    )


@pytest.mark.parametrize(
    ("kind", "shape", "layers", "config", "held_gib"),
    [
        ("Gemma3TextConfig", GEMMA3, 26, step(), 13.90),
        ("Gemma3TextConfig", GEMMA3, 6, step(completion=1024), 6.51),
        ("Gemma3TextConfig", GEMMA3, 6, step(micro=40_000), 22.91),
        ("LlamaConfig", LLAMA, 8, step(prompts=2), 14.80),
        ("Qwen2Config", QWEN, 24, step(), 8.86),
        ("Gemma2Config", GEMMA2, 8, step(), 8.44),
    ],
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_within_15_percent_of_what_torch_held(
    kind: str,
    shape: dict[str, Any],
    layers: int,
    config: RunConfig,
    held_gib: float,
    dtype: torch.dtype,
) -> None:
    """Also from a model that is loaded in float32 here and would be in bfloat16 there."""
    found = estimate_memory(adapted(kind, shape, layers, dtype), config, card=CARDS["a100-80"])
    assert found.total / 2**30 == pytest.approx(held_gib, rel=0.15)
    assert found.attention == {"Gemma2Config": "products", "Gemma3TextConfig": "efficient"}.get(
        kind, "flash/efficient"
    )
    assert found.most >= found.total


def test_a_card_without_bfloat16_takes_what_its_family_allows() -> None:
    """Gemma overflows float16, so a T4 computes it in float32: twice the bytes of weights."""
    half, card = torch.bfloat16, CARDS["t4"]
    llama = adapted("LlamaConfig", {**LLAMA, "hidden_size": 1024}, 2, torch.float32)
    there, here = (estimate_memory(llama, step(), card=c) for c in (card, CARDS["l4"]))
    assert there.weights == here.weights
    assert there.attention == "efficient"
    gemma = adapted("Gemma3TextConfig", GEMMA3, 2, torch.float32)
    there, here = (estimate_memory(gemma, step(), card=c) for c in (card, CARDS["l4"]))
    assert there.weights > 1.9 * here.weights
    config = step()
    config.trainer.precision = "bf16-mixed"
    with pytest.raises(ConfigError, match="sm_75"):
        estimate_memory(adapted("LlamaConfig", LLAMA, 1, torch.float32), config, card=card)
    assert half.itemsize == 2


def test_norms_of_a_layer() -> None:
    assert norms_of_layer(adapted("LlamaConfig", LLAMA, 2, torch.bfloat16).model) == 2
    assert norms_of_layer(adapted("Gemma3TextConfig", GEMMA3, 1, torch.bfloat16).model) == 4


def test_micro_batches_hold_whole_groups() -> None:
    """A group is 400 + 16 * 256 = 4,496 tokens: one fits 8,192, two fit 9,000, all eight 40,000."""
    assert micro_batch_tokens(step()) == 4496
    assert micro_batch_tokens(step(), full=True) == 8192
    assert micro_batch_tokens(step(micro=9000)) == 8992
    assert micro_batch_tokens(step(micro=40_000)) == 8 * 4496
    assert micro_batch_tokens(step(micro=9000), enough=5000) == 4496
    # A group that does not fit is cut: a prompt and four completions.
    assert micro_batch_tokens(step(micro=1500)) == 400 + 4 * 256
    assert micro_batch_tokens(step(micro=10)) == 656
