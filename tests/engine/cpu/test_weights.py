"""The private weights of a rollout: equal to the model's own, gone afterwards, never in its way."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl4bio.engine.cpu import weights
from rl4bio.engine.cpu.weights import can_pack, rollout_weights

IDS = torch.tensor([[5, 17, 33, 64, 100, 2], [9, 9, 250, 3, 41, 77]])


@pytest.fixture(autouse=True)
def _pack_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny matrices are packed too, and nothing is kept from another test."""
    monkeypatch.setattr(weights, "MIN_PACKED_FLOAT32", 0)
    weights._FROZEN.clear()


def unpackable(_: torch.dtype) -> bool:
    return False


needs_packing = pytest.mark.skipif(
    not can_pack(torch.float32), reason="this build of torch has no packed product"
)


@pytest.fixture(scope="module")
def load(tiny_folder: Callable[[str], Path]) -> Callable[..., Any]:
    """Loads a tiny model: plain, or under LoRA adapters that change its output."""

    def loaded(family: str, *adapters: str, **options: Any) -> Any:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(tiny_folder(family), dtype=torch.float32)
        if not adapters:
            return model.eval()
        linear = {"target_modules": "all-linear", "fan_in_fan_out": family == "gpt2"}
        config = LoraConfig(
            **{"r": 4, "lora_alpha": 12, "task_type": "CAUSAL_LM"} | linear | options
        )
        model = get_peft_model(model, config, adapter_name=adapters[0])
        for name in adapters[1:]:
            model.add_adapter(name, config)
        torch.manual_seed(3)
        for name, parameter in model.named_parameters():
            if "lora_" in name:  # a new adapter's B is zero, and would hide every mistake
                nn.init.normal_(parameter, std=0.1)
        return model.eval()

    return loaded


def logits(model: nn.Module) -> Tensor:
    return model(input_ids=IDS).logits


def patched(model: nn.Module) -> list[str]:
    """Names of the replaced layers."""
    return [name for name, module in model.named_modules() if "forward" in vars(module)]


@torch.no_grad()
def check_equal(model: nn.Module, *, atol: float = 1e-5) -> str:
    """Logits inside equal those outside, which every layer's own forward gives; the description."""
    before = logits(model)
    with rollout_weights(model, rows=8) as description:
        inside, count = logits(model), len(patched(model))
    assert count > 0
    torch.testing.assert_close(inside, before, rtol=1e-5, atol=atol)
    assert torch.equal(logits(model), before)
    return description


@pytest.mark.parametrize("kind", ["packed", "folded"])
@pytest.mark.parametrize("family", ["gemma3", "llama", "gpt2", "phi3"])
def test_an_adapter_counts_as_it_does_unmerged(
    load: Callable[..., Any], family: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "folded":
        monkeypatch.setattr(weights, "can_pack", unpackable)
    elif not can_pack(torch.float32):
        pytest.skip("this build of torch has no packed product")
    model = load(family, "default")
    with torch.no_grad():
        change = (logits(model) - logits(load(family))).abs().max()
    assert change > 0.1  # the adapter is seen at all
    assert check_equal(model).startswith(f"{kind} float32, ")


def test_a_folded_weight_is_the_base_plus_scaling_times_b_a(load: Callable[..., Any]) -> None:
    # Llama's q_proj, y = (W + 12/4 * B A) x in float64.
    layer = load("llama", "default").base_model.model.model.layers[0].self_attn.q_proj
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    a, b = layer.lora_A["default"].weight.double(), layer.lora_B["default"].weight.double()
    expected = x.double() @ (layer.base_layer.weight.double() + 3 * b @ a).T
    with torch.no_grad(), rollout_weights(layer, rows=5):
        assert patched(layer) == [""]
        torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-5)


@needs_packing
@pytest.mark.parametrize("family", ["gemma3", "gpt2"])
def test_full_weights_are_packed_and_a_tied_embedding_stays(
    load: Callable[..., Any], family: str
) -> None:
    # Two layers: gemma3 has q k v o gate up down, gpt2 two products in each half; one head.
    layers = {"gemma3": 2 * 7 + 1, "gpt2": 2 * 4 + 1}[family]
    model = load(family)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert check_equal(model) == f"packed float32, {layers} layers"


@needs_packing
def test_layers_are_called_on_any_shape() -> None:
    layer = nn.Linear(16, 8)
    wide = torch.randn(4, 6, 32)
    inputs = [
        wide[0, 0, :16],
        wide[:, 1:3, 4:20],
        wide[:0, :, :16],
        wide[:1, :1, :16].expand(2, 5, 16),
    ]
    with torch.no_grad():
        expected = [layer(x) for x in inputs]
        with rollout_weights(layer, rows=1):
            for x, want in zip(inputs, expected, strict=True):
                torch.testing.assert_close(layer(x), want)


@torch.no_grad()
def test_nothing_of_the_model_changes_even_where_the_rollout_fails(
    load: Callable[..., Any],
) -> None:
    model = load("gemma3", "default")
    before = {name: (p, p.data_ptr(), p.clone()) for name, p in model.named_parameters()}

    def fail() -> None:
        with rollout_weights(model, dtype=torch.bfloat16, rows=8):
            assert patched(model)
            logits(model)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert patched(model) == []
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    for name, (parameter, pointer, value) in before.items():
        assert after[name] is parameter
        assert parameter.data_ptr() == pointer
        assert torch.equal(parameter, value)


@torch.no_grad()
def test_a_disabled_adapter_leaves_the_base(load: Callable[..., Any]) -> None:
    model, base = load("gemma3", "default"), logits(load("gemma3"))
    with model.disable_adapter(), rollout_weights(model, rows=8) as description:
        inside = logits(model)
    torch.testing.assert_close(inside, base, rtol=1e-5, atol=1e-5)
    if can_pack(torch.float32):
        assert description == "packed float32, 15 layers"
    assert not any("layers" in name for name in kept_names(model))
    assert (logits(model) - base).abs().max() > 0.1


def kept_names(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter in weights._FROZEN]


@torch.no_grad()
def test_only_active_adapters_count(load: Callable[..., Any]) -> None:
    model = load("llama", "default", "reference")
    check_equal(model)
    one = logits(model)
    model.set_adapter("reference")
    assert (logits(model) - one).abs().max() > 0.1
    check_equal(model)
    model.base_model.set_adapter(["default", "reference"])
    check_equal(model)


@torch.no_grad()
@pytest.mark.parametrize(
    ("base", "autocast"), [(torch.bfloat16, False), (torch.float32, True), (torch.bfloat16, True)]
)
def test_folding_is_done_in_float32_and_rounded_once(base: torch.dtype, autocast: bool) -> None:
    from peft import LoraConfig, get_peft_model

    linear = nn.Sequential(nn.Linear(16, 16, bias=False, dtype=base))
    model = get_peft_model(linear, LoraConfig(r=1, lora_alpha=1, target_modules=["0"])).eval()
    layer: Any = model.base_model.model[0]
    layer.base_layer.weight.fill_(-1.0)
    layer.lora_A["default"].weight.fill_(1.0)
    layer.lora_B["default"].weight.fill_(1 + 2.0**-10)  # 1 in bfloat16, so W' would be 0
    with (
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
        rollout_weights(model, rows=8),
    ):
        y = layer(torch.eye(16, dtype=base))
    assert torch.equal(y, torch.full((16, 16), 2.0**-10, dtype=torch.bfloat16))


@torch.no_grad()
@pytest.mark.parametrize("packs", [True, False])
def test_another_dtype_computes_there_and_returns_the_inputs(
    load: Callable[..., Any], packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packs:
        monkeypatch.setattr(weights, "can_pack", unpackable)
    layer = load("llama", "default").base_model.model.model.layers[1].mlp.up_proj
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    lora_a, lora_b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    weight = (layer.base_layer.weight + 3 * lora_b @ lora_a).bfloat16()
    with rollout_weights(layer, dtype=torch.bfloat16, rows=64):
        y = layer(x)
    assert y.dtype == torch.float32
    reference = F.linear(x.bfloat16().double(), weight.double())
    # One rounding of the result to bfloat16 (2^-9 relative), sums in float32.
    torch.testing.assert_close(y.double(), reference, rtol=2**-8, atol=1e-4)
    assert (y - layer(x)).abs().max() > 1e-3  # it did not compute in float32


@torch.no_grad()
def test_a_cast_copy_stands_in_where_nothing_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "can_pack", unpackable)
    layer = nn.Linear(16, 8)
    x = torch.randn(4, 16)
    with rollout_weights(layer, dtype=torch.bfloat16, rows=4) as description:
        assert description == "cast bfloat16, 1 layers"
        y = layer(x)
    assert torch.equal(
        y, F.linear(x.bfloat16(), layer.weight.bfloat16(), layer.bias.bfloat16()).float()
    )
    with rollout_weights(layer, rows=4) as description:
        assert patched(layer) == []
    assert description == "no private copies"


@torch.no_grad()
@pytest.mark.parametrize("family", ["gemma3", "gpt2"])
def test_autocast_sets_the_dtype_as_for_the_layers_own_forward(
    load: Callable[..., Any], family: str
) -> None:
    model = load(family, "default")
    exact = logits(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outside = logits(model)
        with rollout_weights(model, rows=8) as description:
            inside = logits(model)
    assert "bfloat16" in description
    assert inside.dtype == outside.dtype == torch.bfloat16
    # Folding rounds once where the adapter's own path rounds three times: no further from exact.
    spread = (outside.float() - exact).square().mean()
    assert (inside.float() - exact).square().mean() < 2 * spread


def test_gradients_are_refused(load: Callable[..., Any]) -> None:
    model = load("llama", "default")
    with pytest.raises(RuntimeError, match=r"torch\.no_grad"), rollout_weights(model, rows=8):
        pass
    assert patched(model) == []
    with torch.no_grad(), rollout_weights(model, rows=8):
        with torch.enable_grad(), pytest.raises(RuntimeError, match=r"torch\.no_grad"):
            logits(model)
        logits(model)
    with torch.inference_mode(), rollout_weights(model, rows=8):
        logits(model)


@torch.no_grad()
def test_small_float32_matrices_are_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MIN_PACKED_FLOAT32", 16 * 16)
    model = nn.Sequential(nn.Linear(16, 15), nn.Linear(15, 16), nn.Linear(16, 16))
    with rollout_weights(model, rows=8):
        assert patched(model) == (["2"] if can_pack(torch.float32) else [])
    with rollout_weights(model, dtype=torch.bfloat16, rows=8):
        assert patched(model) == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["_reorder_linear_weight", "_linear_pointwise"])
@pytest.mark.parametrize("fault", ["missing", "raises", "wrong"])
def test_packing_is_tried_before_it_is_used(
    name: str, fault: str, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(x: Tensor, *rest: Any) -> Tensor:
        if fault == "raises":
            raise RuntimeError("no kernel")
        return x.new_zeros(3, 8) if name == "_linear_pointwise" else x * 2

    class Namespace:
        def __getattr__(self, asked: str) -> Any:
            if asked == name:
                if fault == "missing":
                    raise AttributeError(asked)
                return broken
            return {"_reorder_linear_weight": lambda w, _: w, "_linear_pointwise": plain}[asked]

    def plain(x: Tensor, w: Tensor, b: Tensor, *rest: Any) -> Tensor:
        return F.linear(x, w, b)

    monkeypatch.setattr(weights.torch.ops, "mkldnn", Namespace())
    can_pack.cache_clear()
    try:
        assert not can_pack(torch.float32)
        assert check_equal(load("llama", "default")).startswith("folded float32")
    finally:
        can_pack.cache_clear()


@torch.no_grad()
@needs_packing
def test_a_frozen_matrix_is_packed_once_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    folds: list[nn.Module] = []
    own = weights._Forward.folded
    monkeypatch.setattr(
        weights._Forward, "folded", lambda self: folds.append(self.source) or own(self)
    )
    frozen, trained = nn.Linear(16, 8).requires_grad_(False), nn.Linear(8, 8)
    model, x = nn.Sequential(frozen, trained), torch.randn(4, 16)

    def rollout(rows: int = 4) -> list[nn.Module]:
        folds.clear()
        with rollout_weights(model, rows=rows):
            inside = model(x)
            assert torch.equal(model(x), inside)
        torch.testing.assert_close(inside, model(x))
        return folds

    assert rollout() == [frozen, trained]
    assert rollout() == [trained]
    trained.weight.add_(1)
    assert rollout(rows=5) == [trained]  # the same layout
    frozen.weight.mul_(2)
    assert rollout() == [frozen, trained]
    frozen.weight.data = frozen.weight.data * 2
    assert rollout() == [frozen, trained]
    frozen.weight = nn.Parameter(frozen.weight * 2, requires_grad=False)
    assert rollout() == [frozen, trained]
    assert rollout(rows=65) == [frozen, trained]
    assert len(weights._FROZEN) == 1
    model[0] = nn.Identity()
    del frozen
    folds.clear()
    gc.collect()
    assert len(weights._FROZEN) == 0  # gone with the layer


@torch.no_grad()
@needs_packing
def test_only_the_frozen_head_is_kept_under_an_adapter(load: Callable[..., Any]) -> None:
    model = load("gemma3", "default")
    check_equal(model)
    assert kept_names(model) == ["base_model.model.model.embed_tokens.weight"]  # the tied head


@torch.no_grad()
def test_a_layer_that_is_never_called_costs_nothing() -> None:
    used, unused = nn.Linear(16, 16), nn.Linear(16, 16)
    with rollout_weights(nn.ModuleList([used, unused]), dtype=torch.bfloat16, rows=8):
        used(torch.randn(2, 16))
        assert used.forward.weight is not None
        assert unused.forward.weight is None


@torch.no_grad()
@pytest.mark.parametrize(
    "options", [{"use_dora": True}, {"lora_bias": True}, {"lora_dropout": 0.5}]
)
def test_odd_adapters_are_left_alone(load: Callable[..., Any], options: dict[str, Any]) -> None:
    family = "gpt2" if "lora_bias" in options else "llama"  # whose layers have biases
    model = load(family, "default", **options)
    if "lora_dropout" in options:
        check_equal(model)  # without effect in eval mode
        model.train()
    with rollout_weights(model, rows=8):
        assert [name for name in patched(model) if "lm_head" not in name] == []


@torch.no_grad()
def test_other_layers_and_weights_are_left_alone() -> None:
    from peft import LoHaConfig, get_peft_model

    class Doubling(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    class Marked(nn.Parameter):
        pass

    marked = nn.Linear(16, 16)
    marked.weight = Marked(marked.weight.data)
    model = nn.Sequential(Doubling(16, 16), marked, nn.Linear(16, 16, device="meta"))
    tuned = get_peft_model(nn.Sequential(nn.Linear(16, 16)), LoHaConfig(target_modules=["0"]))
    for other in (model, tuned):
        with rollout_weights(other, dtype=torch.bfloat16, rows=8) as description:
            assert patched(other) == []
            assert description == "no private copies"


@torch.inference_mode()
def test_weights_made_in_inference_mode_are_not_kept() -> None:
    layer = nn.Linear(16, 16).requires_grad_(False)  # its weight counts no versions
    x = torch.randn(2, 16)
    with rollout_weights(layer, rows=8):
        inside = layer(x)
    torch.testing.assert_close(inside, layer(x))
    assert len(weights._FROZEN) == 0


@torch.no_grad()
def test_merged_adapters_are_left_alone(load: Callable[..., Any]) -> None:
    model = load("llama", "default")
    model.merge_adapter()
    with rollout_weights(model, rows=8):
        assert [name for name in patched(model) if "lm_head" not in name] == []


@torch.no_grad()
def test_a_saved_copy_of_the_head_is_the_one_that_counts(load: Callable[..., Any]) -> None:
    model = load("llama", "default", modules_to_save=["lm_head"])
    model.base_model.model.lm_head.modules_to_save["default"].weight.mul_(2)
    check_equal(model)


@torch.no_grad()
def test_a_forward_that_is_replaced_already_stays() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    model[0].forward = own = lambda x: x
    with rollout_weights(model, dtype=torch.bfloat16, rows=8):
        assert model[0].forward is own
        with rollout_weights(model, rows=8) as inner:
            assert inner == "no private copies"
        assert patched(model) == ["0", "1"]
    assert patched(model) == ["0"]


@torch.no_grad()
def test_hooks_still_run() -> None:
    layer, seen = nn.Linear(16, 16), []
    layer.register_forward_hook(lambda module, args, output: seen.append(output))
    with rollout_weights(layer, dtype=torch.bfloat16, rows=8):
        y = layer(torch.randn(2, 16))
    assert seen[0] is y


@torch.no_grad()
def test_quantised_layers_keep_their_own_product() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from peft import LoraConfig, get_peft_model

    nf4 = bitsandbytes.nn.Linear4bit(128, 64, quant_type="nf4", compute_dtype=torch.float32)
    model = nn.Sequential(nf4.to("cpu"))
    config = LoraConfig(r=4, target_modules=["0"], init_lora_weights=False)
    model = get_peft_model(model, config).eval()
    x = torch.randn(4, 128)
    before = model(x)
    for context in (contextlib.nullcontext, model.disable_adapter):
        with context(), rollout_weights(model, rows=8) as description:
            assert patched(model) == []
            assert description == "no private copies"
    with rollout_weights(model, rows=8):
        assert torch.equal(model(x), before)


@needs_packing
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_a_gelu_behind_a_packed_layer_is_computed_with_it(
    approximate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(approximate), nn.Linear(32, 8), nn.Tanh())
    x = 3 * torch.randn(5, 16)
    calls = []
    monkeypatch.setattr(F, "gelu", lambda *args, **options: calls.append(1))
    with torch.no_grad(), rollout_weights(model, rows=5):
        inside = model(x)
    monkeypatch.undo()
    assert not calls
    with torch.no_grad():
        torch.testing.assert_close(inside, model(x), atol=1e-5, rtol=1e-5)
    assert all("forward" not in vars(module) for module in model)


def test_a_gelu_behind_another_layer_stays() -> None:
    model = nn.Sequential(nn.LayerNorm(16), nn.GELU())
    x = torch.randn(5, 16)
    with torch.no_grad(), rollout_weights(model, rows=5):
        assert "forward" not in vars(model[1])
        inside = model(x)
    torch.testing.assert_close(inside, model(x))
