"""Compiled layers: the same numbers, and nothing is compiled twice.

No machine code is generated here, so no compiler is needed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import logging
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from rl4bio.engine.cuda import compiled, static_decode, traceable
from rl4bio.engine.cuda.compiled import compiling, decoder_layers
from rl4bio.engine.packed_logprobs import halves
from rl4bio.engine.record import Decoded
from rl4bio.functional.masking import pad_left
from rl4bio.modules.molgpt.model import MolGPTConfig, MolGPTForCausalLM
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.policy import evaluating
from tests.engine.test_decode import GROUP, PROMPTS, WIDTH, run

OTHER_PROMPTS = [[8, 4], list(range(5, 25)), [11, 6, 9, 13]]


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing compiled yet; four buckets in a rollout."""
    monkeypatch.setattr(compiled, "_rows_met", set())
    monkeypatch.setattr(compiled, "_problem", None)
    monkeypatch.setattr(static_decode, "BUCKET", 4)
    yield
    compiled._compiler.cache_clear()
    torch._dynamo.reset()


class Counting:
    """A backend that counts what it compiles: graphs are run as they are, or decomposed first."""

    def __init__(self, *, decomposed: bool = False) -> None:
        self.decomposed = decomposed
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Any:
        from torch._dynamo.backends.debugging import aot_eager

        self.count += 1
        return aot_eager(graph, inputs) if self.decomposed else graph.forward


def rollout(model: nn.Module, backend: Any, prompts: list[list[int]] = PROMPTS) -> Decoded:
    with compiling(backend):
        return run(model, prompts, [0], static=True)


def assert_same(found: Decoded, expected: Decoded) -> None:
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.logprobs, expected.logprobs, atol=1e-5, rtol=1e-5)


def wide_molgpt(layers: int) -> MolGPTForCausalLM:
    torch.manual_seed(0)
    shape = {"vocab_size": 30, "block_size": 40, "width": 32, "num_heads": 2}
    return MolGPTForCausalLM._from_config(MolGPTConfig(**shape, num_layers=layers, dropout=0.0))


def test_same_numbers_from_one_code_for_each_kind_of_layer(
    family: str, make_model: Callable[..., Any]
) -> None:
    """Over four buckets, in three rollouts, with prompts of other lengths."""
    model = make_model(family)
    other = PROMPTS if family == "molgpt" else OTHER_PROMPTS  # its vocabulary has 20 tokens
    expected, elsewhere = rollout(model, None), rollout(model, None, other)
    kinds = 2 if family.startswith("gemma") else 1  # sliding and full attention
    backend = Counting(decomposed=True)
    assert_same(rollout(model, backend), expected)
    assert backend.count == kinds
    assert_same(rollout(model, backend, other), elsewhere)
    assert_same(rollout(model, backend), expected)
    assert backend.count == kinds
    assert compiled._problem is None
    assert not any("forward" in vars(m) for m in model.modules())


def test_many_layers_share_one_code() -> None:
    """Twelve: more than the eight codes that dynamo keeps of a function on its own."""
    model, backend = wide_molgpt(12), Counting()
    expected = rollout(model, None)
    assert_same(rollout(model, backend), expected)
    assert backend.count == 1


@pytest.mark.parametrize("lora", [True, False])
def test_the_next_rollout_has_the_new_weights(lora: bool, make_model: Callable[..., Any]) -> None:
    model, backend = make_model("llama", lora), Counting()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.5)
    before = None
    for _ in range(3):
        expected = rollout(model, None)
        found = rollout(model, backend)
        assert_same(found, expected)
        assert before is None or not torch.equal(found.logprobs, before)
        before = found.logprobs
        with torch.enable_grad():
            model(torch.tensor([PROMPTS[0]])).logits.logsumexp(-1).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert backend.count == 1


@pytest.mark.parametrize("way", ["autocast", "copies"])
def test_half_precision(way: str, make_model: Callable[..., Any]) -> None:
    """As close to the plain forward as rounding lets it be; each precision is compiled once."""
    model, backend = make_model("llama"), Counting(decomposed=True)
    expected = rollout(model, backend)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16)
    ids, mask = pad_left(PROMPTS, 0)
    rows = torch.ones(len(PROMPTS) * GROUP, WIDTH, dtype=torch.bool)
    for _ in range(2):
        if way == "autocast":
            with autocast:
                found = rollout(model, backend)
        else:
            with evaluating(model), compiling(backend):
                found = static_decode_in(torch.bfloat16, model)
        with evaluating(model), autocast if way == "autocast" else contextlib.nullcontext():
            plain, _ = completion_logprobs(
                model,
                ids.repeat_interleave(GROUP, 0),
                mask.repeat_interleave(GROUP, 0),
                found.tokens,
                rows,
                temperature=1.1,
            )
        gap = (found.logprobs - plain).abs()
        assert 1e-5 < float(gap.mean()) < 0.05
        assert_same(rollout(model, backend), expected)
    assert backend.count == 2
    assert compiled._problem is None


@pytest.mark.parametrize(("autocast", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_product_returns_the_type_of_its_input_unless_autocast_is_on(
    autocast: bool, dtype: torch.dtype
) -> None:
    weight = torch.eye(2, dtype=torch.bfloat16)
    y = traceable.Product(weight, weight[0], autocast=autocast)(torch.tensor([2.0, 3.0]))
    assert y.dtype == dtype
    assert y.tolist() == [3.0, 3.0]


def static_decode_in(dtype: torch.dtype, model: nn.Module) -> Decoded:
    from rl4bio.engine.decode import decode
    from rl4bio.modules.rollout import draw_noise

    ids, mask = pad_left(PROMPTS, 0)
    noise = draw_noise([0, 1, 2], GROUP, WIDTH)
    options: dict[str, Any] = {"group_size": GROUP, "max_new_tokens": WIDTH, "temperature": 1.1}
    return decode(model, ids, mask, noise=noise, stop_ids=[], dtype=dtype, static=True, **options)


def test_inference_mode(make_model: Callable[..., Any]) -> None:
    """Lightning validates in it: compiled once more, and right."""
    model, backend = make_model("qwen3"), Counting(decomposed=True)
    expected = rollout(model, backend)
    for _ in range(2):
        with torch.inference_mode():
            found = rollout(model, backend)
        assert_same(found, expected)
    assert backend.count <= 2
    assert compiled._problem is None


def test_nothing_keeps_the_weights_of_a_rollout(
    make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []
    product = traceable._product

    def noting(forward: Any) -> traceable.Product:
        twin = product(forward)
        made.append(weakref.ref(twin.weight))
        return twin

    monkeypatch.setattr(traceable, "_product", noting)
    model, backend = make_model("llama"), Counting()
    for _ in range(2):
        rollout(model, backend)
        gc.collect()
        assert len(made) == 2 * 7  # seven linear layers in each of two
        assert not any(weight() is not None for weight in made)
        made.clear()


def test_private_weights_are_not_made_again(make_model: Callable[..., Any]) -> None:
    """Folded weights, as all are on a GPU, are those that the prompts' pass has made."""
    from rl4bio.engine.cpu.weights import rollout_weights

    model = make_model("llama")
    layer: Any = decoder_layers(halves(model).body)[0]
    with torch.no_grad(), rollout_weights(model, rows=4):
        forward = layer.mlp.up_proj.forward
        assert forward.kind == "folded"
        layer.mlp(torch.randn(4, layer.hidden_size))
        twin: Any = traceable.traceable(layer)
        assert twin.mlp.up_proj.weight is forward.weight
        assert layer.mlp.up_proj.forward is forward
    assert twin.self_attn is not layer.self_attn
    assert twin.input_layernorm.weight is layer.input_layernorm.weight


class Failing:
    """A backend that fails: when it compiles, or in what it has compiled from some call on."""

    def __init__(self, after: int | None) -> None:
        self.after = after
        self.compiled = self.called = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Any:
        self.compiled += 1
        if self.after is None:
            raise OSError("no C compiler\nand more")

        def function(*args: Any) -> Any:
            self.called += 1
            if self.called > self.after:
                raise RuntimeError("launch failed")
            return graph(*args)

        return function


@pytest.mark.parametrize("after", [None, 0, 5])
def test_a_compiler_that_fails_is_tried_once(
    after: int | None, make_model: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    model, backend = make_model("llama"), Failing(after)
    expected = rollout(model, None)
    with caplog.at_level(logging.INFO, logger="rl4bio"):
        for _ in range(2):
            assert_same(rollout(model, backend), expected)
    reason = "OSError: no C compiler" if after is None else "RuntimeError: launch failed"
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"engine: layers are not compiled ({reason})"]
    assert backend.compiled == 1
    assert backend.called == (0 if after is None else after + 1)


def test_an_error_of_the_layer_itself_is_raised(make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    layer: Any = decoder_layers(halves(model).body)[1]
    layer.self_attn.attention_dropout, layer.self_attn.training = 0.5, True
    with (
        torch.no_grad(),
        compiling(Counting()),
        compiled.compiled_layers(halves(model).body, rows=4),
        attending_anything(model),
        pytest.raises(NotImplementedError, match="attention dropout"),
    ):
        model(torch.tensor([[5, 6, 7, 8]]))


@contextlib.contextmanager
def attending_anything(model: nn.Module) -> Iterator[None]:
    from rl4bio.engine.hook import attending

    class Layout:
        def attend(self, layer: int, query: Any, key: Any, value: Any, how: Any) -> Any:
            return query

    with attending(model, Layout()):  # type: ignore[arg-type]
        yield


def test_row_counts_are_limited(
    make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MAX_ROW_COUNTS", 2)
    model, backend = make_model("llama"), Counting()
    for number, count in ((3, 1), (2, 2), (1, 2), (3, 2), (2, 2)):
        prompts = PROMPTS[:number]
        assert_same(rollout(model, backend, prompts), rollout(model, None, prompts))
        assert backend.count == count
    assert compiled._problem is None


def test_more_codes_than_dynamo_keeps_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps eight."""
    monkeypatch.setattr(compiled, "MAX_ROW_COUNTS", 9)
    model, backend = wide_molgpt(1), Counting()
    for number in range(1, 10):
        rollout(model, backend, [[5, 6]] * number)
    assert backend.count == 9
    assert compiled._problem is None


@pytest.mark.parametrize(
    ("device", "triton", "backend"),
    [("cuda", True, "inductor"), ("cuda", False, None), ("cpu", True, None)],
)
def test_compiled_by_default_on_cuda_with_triton(
    device: str, triton: bool, backend: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SimpleNamespace(name="triton") if triton else None
    monkeypatch.setattr(importlib.util, "find_spec", {"triton": spec}.get)
    assert compiled.backend_on(torch.device(device)) == backend
    with compiling(None):
        assert compiled.backend_on(torch.device(device)) is None


def test_decoder_layers_of_every_family(family: str, make_model: Callable[..., Any]) -> None:
    model = make_model(family)
    layers = decoder_layers(halves(model).body)
    assert [compiled._number(layer) for layer in layers] == [0, 1]
    assert len({type(layer) for layer in layers}) == 1
    assert type(layers[0]).__name__.endswith(("DecoderLayer", "Block"))


def test_lists_without_one_attention_each_are_no_decoder_layers() -> None:
    model = wide_molgpt(2)
    model.tower = nn.ModuleList([nn.Linear(1000, 1000)])  # more parameters, no attention
    pair = nn.ModuleList([*model.blocks, model.tower])  # the same, two attentions
    model.pairs = nn.ModuleList([pair])
    assert decoder_layers(model) == list(model.blocks)
    assert decoder_layers(nn.Sequential(nn.Linear(2, 2))) == []
    draft = wide_molgpt(1)
    assert decoder_layers(nn.Sequential(draft, model)) == list(model.blocks)
    assert decoder_layers(nn.Sequential(draft)) == list(draft.blocks)


def test_layers_that_need_pieces_are_not_compiled() -> None:
    class Break(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch._dynamo.graph_break()
            return x

    model, backend = wide_molgpt(2), Counting()
    block: Any = model.blocks[0]
    block.mlp.append(Break())
    expected = rollout(model, None)
    assert_same(rollout(model, backend), expected)
    assert backend.count == 0
    assert str(compiled._problem).startswith("Unsupported: ")


def test_what_cannot_be_traced_is_not_compiled(
    make_model: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    import peft

    model, backend = wide_molgpt(2), Counting()
    config = peft.LoraConfig(r=2, target_modules=["query"], use_dora=True)
    model = peft.get_peft_model(model, config)  # type: ignore[arg-type]
    expected = rollout(model, None)
    with caplog.at_level(logging.INFO, logger="rl4bio"):
        assert_same(rollout(model, backend), expected)
    assert backend.count == 0
    assert "engine: layers are not compiled (CannotTrace: the adapter of a Linear" in caplog.text


def test_reasons_not_to_trace() -> None:
    class Packed4Bit(nn.Parameter):
        pass

    layer: Any = nn.Sequential(nn.Linear(2, 2))
    layer[0].register_forward_hook(lambda *_: None)
    with pytest.raises(traceable.CannotTrace, match="a Linear has hooks"):
        traceable.traceable(layer)
    layer = nn.Sequential(nn.Linear(2, 2))
    layer[0].forward = lambda x: x
    with pytest.raises(traceable.CannotTrace, match="forward of a Linear is replaced"):
        traceable.traceable(layer)
    layer = nn.Sequential(nn.Linear(2, 2))
    layer[0].weight = Packed4Bit(torch.ones(2, 2))
    with pytest.raises(traceable.CannotTrace, match="weights are Packed4Bit"):
        traceable.traceable(layer)


def test_an_adapter_that_is_off_or_merged_leaves_the_base(make_model: Callable[..., Any]) -> None:
    model, backend = make_model("llama"), Counting()
    with model.disable_adapter():
        twin: Any = traceable.traceable(decoder_layers(halves(model).body)[0])
        assert type(twin.mlp.up_proj) is nn.Linear
        expected = rollout(model, None)
        assert_same(rollout(model, backend), expected)
    model.merge_adapter()
    merged = rollout(model, None)
    assert not torch.equal(merged.logprobs, expected.logprobs)
    assert_same(rollout(model, backend), merged)
    assert backend.count <= 2
    assert compiled._problem is None
