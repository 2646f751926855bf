"""4-bit layers between evaluation and training, alone and in a Gemma 2 under LoRA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rl4bio.modules.batching import Rows
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.loading import load_policy
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.modules.quantized import keep_unpacked
from rl4bio.modules.rollout import sample_completions
from rl4bio.sections import AdapterConfig, PolicyConfig
from tests.conftest import build_tokenizer


def test_gradients_after_an_evaluation() -> None:
    """They are those of the dequantised matrix; no packed product takes their place."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    layer = bitsandbytes.nn.Linear4bit(128, 64, bias=False, quant_type="nf4").to("cpu")
    model = torch.nn.Sequential(layer)
    keep_unpacked(model)
    state = layer.weight.quant_state
    matrix = bitsandbytes.functional.dequantize_4bit(layer.weight.data, state)
    x = torch.randn(5, 128)
    with torch.no_grad():
        evaluated = model.eval()(x)
    torch.testing.assert_close(evaluated, x @ matrix.T, rtol=1e-4, atol=1e-4)
    x.requires_grad_()
    model.train()(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, matrix.sum(0).expand(5, -1), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def wide_gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Gemma 2 whose rows fill blocks of 64 weights, which nf4 is made of; caps bite."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        query_pre_attn_scalar=32,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
        max_position_embeddings=1024,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("wide") / "gemma2"
    Gemma2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def qlora(wide_gemma: Path) -> Callable[..., Policy]:
    pytest.importorskip("bitsandbytes")

    def load(dtype: torch.dtype = torch.float32) -> Policy:
        config = PolicyConfig(
            checkpoint=str(wide_gemma),
            quantization="nf4",
            adapter=AdapterConfig(rank=4, alpha=8),
            gradient_checkpointing=True,
        )
        return load_policy(config, dtype=dtype)

    return load


def test_what_is_quantised_and_what_is_trained(qlora: Callable[..., Policy]) -> None:
    """Embeddings and head stay as they came, which for 256,000 words is gigabytes."""
    model = qlora(torch.bfloat16).model
    found = {
        kind: {p.dtype for name, p in model.named_parameters() if kind in name}
        for kind in ("base_layer.weight", "norm", "embed_tokens", "lora_")
    }
    assert found == {
        "base_layer.weight": {torch.uint8},
        "norm": {torch.float32},
        "embed_tokens": {torch.bfloat16},
        "lora_": {torch.float32},
    }
    assert model.get_output_embeddings().weight.dtype == torch.bfloat16  # type: ignore[operator]
    learns = {name.split(".")[-3] for name, p in model.named_parameters() if p.requires_grad}
    assert learns == {"lora_A", "lora_B"}


def test_a_quantised_gemma_2_in_the_engine(qlora: Callable[..., Policy]) -> None:
    """After a rollout, log-probabilities and gradients are those of the plain logits."""
    policy = qlora()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    policy.backend = "engine"
    assert engine_serves(policy), policy.engine_problem
    prompts = [list(range(20, 34)), [5, 9, 4]]
    found = sample_completions(
        policy, prompts, group_size=2, max_new_tokens=12, temperature=0.7, seeds=[1, 2]
    )
    rows = Rows(
        prompt_ids=found.prompt_ids[::2],
        prompt_mask=found.prompt_mask[::2],
        prompt_index=torch.tensor([0, 0, 1, 1]),
        completion_ids=found.completion_ids,
        completion_mask=found.completion_mask,
    )
    policy.model.train()
    weights = torch.linspace(-1.0, 1.0, int(found.completion_mask.sum()))
    plain = []
    for n, length in enumerate(found.lengths.tolist()):
        prompt, own = prompts[n // 2], found.completion_ids[n, :length]
        ids = torch.tensor([prompt + own.tolist()])
        logits = policy.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
        plain.append(torch.log_softmax(logits / 0.7, -1)[torch.arange(length), own])
    gradients = []
    for logprobs in (
        torch.cat(plain),
        row_logprobs(policy, rows, temperature=0.7)[0][found.completion_mask],
    ):
        policy.model.zero_grad()
        (logprobs * weights).sum().backward()
        gradients.append([p.grad.clone() for p in policy.trainable_parameters()])  # type: ignore
        torch.testing.assert_close(logprobs, torch.cat(plain), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            found.logprobs[found.completion_mask], logprobs, atol=1e-5, rtol=0
        )
    for one, other in zip(*gradients, strict=True):
        assert float(one.norm()) > 1e-3
        assert float((one - other).norm() / one.norm()) < 1e-4
