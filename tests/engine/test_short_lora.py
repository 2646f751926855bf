"""LoRA layers in two products: PEFT's numbers, fewer tensors kept, PEFT's own way for the rest."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
)

from rl4bio.engine.cpu.layers import linear_layers
from rl4bio.engine.short_lora import short_class, shorten_adapters

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES),
    "gemma3": Gemma3TextConfig(**SIZES, head_dim=8),
    "gpt2": GPT2Config(vocab_size=40, n_embd=32, n_head=4, n_layer=2, n_positions=32),
}
IDS = torch.arange(24).reshape(2, 12) % 40


def adapted(family: str = "llama", dtype: torch.dtype = torch.float64, **options: Any) -> Any:
    """A model with PEFT's own adapter, none of whose weights is zero, in eval mode."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(CONFIGS[family]).to(dtype)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    model = get_peft_model(base, lora)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.2)
    return model.eval()


def shortened(model: Any) -> Any:
    found = copy.deepcopy(model)
    shorten_adapters(found)
    return found


def outcome(model: Any, *, autocast: bool = False) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of the adapter."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(input_ids=IDS).logits
    logits.double().log_softmax(-1)[..., 3].sum().backward()
    grads = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return logits.detach().double(), torch.cat(grads).double()


@pytest.mark.parametrize("family", CONFIGS)
def test_outputs_and_gradients_are_pefts_in_double_precision(family: str) -> None:
    model = adapted(family)
    short = shortened(model)
    layers = [module for module in short.modules() if isinstance(module, Linear)]
    assert layers
    assert all(type(layer) is short_class() for layer in layers)
    for ours, theirs in zip(outcome(short), outcome(model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_under_autocast_it_is_nearer_to_double_precision_than_peft() -> None:
    model = adapted(dtype=torch.float32)
    exact = outcome(copy.deepcopy(model).double())
    ours, theirs = outcome(shortened(model), autocast=True), outcome(model, autocast=True)
    for short, long, true in zip(ours, theirs, exact, strict=True):
        assert (short - true).norm() <= 1.05 * (long - true).norm()
        assert (short - true).norm() < 0.05 * true.norm()


def half_precision() -> Any:
    """A base in bfloat16, the adapter in float32."""
    model = adapted(dtype=torch.bfloat16)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.float()
    return model


def kept_bytes(model: Any) -> int:
    """Bytes that the backward keeps, weights apart, each storage once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # alive, so no address comes twice
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        model(input_ids=IDS)
    return sum(size for size, _ in kept.values())


def test_under_autocast_an_input_is_kept_once_for_all_layers_that_read_it() -> None:
    # By PEFT's cast q, k and v keep a copy each of one input of 32 numbers a token, and gate and up
    # of another: three copies too many in each of two layers.
    model = half_precision()
    saved = kept_bytes(model) - kept_bytes(shortened(model))
    assert saved >= 2 * (2 * 24 * (32 * 3))


@pytest.mark.parametrize(
    "options", [{"use_dora": True}, {"lora_bias": True, "bias": "none"}], ids=["dora", "bias"]
)
def test_an_adapter_that_is_more_goes_pefts_way(options: dict[str, Any]) -> None:
    model = adapted(**options)
    for ours, theirs in zip(outcome(shortened(model)), outcome(model), strict=True):
        assert torch.equal(ours, theirs)


def test_active_dropout_goes_pefts_way() -> None:
    model = adapted(lora_dropout=0.5).train()
    short = shortened(model)
    torch.manual_seed(1)
    theirs = outcome(model)
    torch.manual_seed(1)
    assert torch.equal(outcome(short)[0], theirs[0])
    assert not torch.equal(outcome(short)[0], theirs[0])  # other noise
    assert torch.allclose(outcome(short.eval())[0], outcome(model.eval())[0], rtol=1e-10)


def test_disabled_merged_and_several_adapters_go_pefts_way() -> None:
    model = adapted()
    short = shortened(model)
    with model.disable_adapter(), short.disable_adapter(), torch.no_grad():
        assert torch.equal(short(input_ids=IDS).logits, model(input_ids=IDS).logits)
    for each in (model, short):
        each.add_adapter("second", LoraConfig(r=2, target_modules="all-linear"))
        each.base_model.set_adapter(["default", "second"])
    with torch.no_grad():
        assert torch.equal(short(input_ids=IDS).logits, model(input_ids=IDS).logits)
        names = {"adapter_names": ["default", "__base__"]}
        assert torch.equal(
            short(input_ids=IDS, **names).logits, model(input_ids=IDS, **names).logits
        )
    merged, theirs = (each.merge_and_unload() for each in (short, model))
    assert torch.equal(merged(input_ids=IDS).logits, theirs(input_ids=IDS).logits)


def test_a_base_in_half_precision_without_autocast_goes_pefts_way() -> None:
    model = half_precision()
    assert torch.equal(outcome(shortened(model))[0], outcome(model)[0])


def test_the_engine_still_folds_such_layers_into_its_packed_weights() -> None:
    model = adapted()
    before = [type(layer).__mro__[-2] for layer, _ in linear_layers(model)]
    assert [type(layer).__mro__[-2] for layer, _ in linear_layers(shortened(model))] == before
    assert sum(isinstance(layer, Linear) for layer, _ in linear_layers(shortened(model))) == 14


def test_names_of_weights_stay() -> None:
    model = adapted()
    assert list(shortened(model).state_dict()) == list(model.state_dict())
