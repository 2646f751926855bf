"""Log-probabilities from hidden states against float64 softmaxes of the whole logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl4bio.engine import vocabulary_tiles
from rl4bio.engine.linear_logprob import linear_logprobs
from rl4bio.errors import ShapeError
from rl4bio.functional import logprobs as functional
from rl4bio.functional.logprobs import logprobs_and_entropy

FORMS = ["frozen", "trained", "wrapped"]
Form = Literal["frozen", "trained", "wrapped"]
# rows and logits of a tile: one word of one row, some of each, all
TILES = [(1, 1), (3, 20), (3, 1000), (10**6, 10**6)]


class Wrapped(nn.Module):
    """A head that tells nothing of what it does."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Tensor) -> Tensor:
        return self.inner(hidden)


def make(
    form: Form = "frozen",
    *,
    rows: int = 7,
    width: int = 6,
    vocabulary: int = 23,
    bias: bool = False,
    spread: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, nn.Module, Tensor]:
    """Random hidden states that want a gradient, a head and ids."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(width, vocabulary, bias=bias, dtype=dtype)
    for parameter in head.parameters():
        values = spread * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data.copy_(values)
    head.requires_grad_(form == "trained")
    hidden = torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)
    ids = torch.randint(vocabulary, (rows,), generator=generator)
    return hidden.requires_grad_(), Wrapped(head) if form == "wrapped" else head, ids


def linear(head: nn.Module) -> nn.Linear:
    inner = head.inner if isinstance(head, Wrapped) else head
    assert isinstance(inner, nn.Linear)
    return inner


def oracle(
    hidden: Tensor,
    head: nn.Module,
    ids: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The textbook, in float64 and with the whole logits; top_k by comparing with the k-th."""
    inner = linear(head)
    bias = None if inner.bias is None else inner.bias.double()
    logits = F.linear(hidden.double(), inner.weight.double(), bias)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    logits = logits / temperature
    if top_k is not None:
        kth = logits.sort(dim=-1, descending=True).values[:, top_k - 1 : top_k]
        kept = (logits >= kth) | F.one_hot(ids, logits.shape[-1]).bool()
        logits = torch.where(kept, logits, -1e9)
    log_p = torch.log_softmax(logits, dim=-1)
    return log_p.gather(1, ids[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


def gradient(hidden: Tensor, value: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(value, hidden)
    return found


def small_tiles(monkeypatch: pytest.MonkeyPatch, rows: int, elements: int) -> None:
    """Tiles and recomputed chunks of about this size."""
    monkeypatch.setitem(vocabulary_tiles.TILE_ROWS, "cpu", rows)
    monkeypatch.setitem(vocabulary_tiles.TILE_ELEMENTS, "cpu", elements)
    monkeypatch.setattr(vocabulary_tiles, "WHOLE_ROWS", rows)
    monkeypatch.setattr(functional, "BLOCK_ELEMENTS", elements)


@contextmanager
def saved_elements() -> Iterator[list[int]]:
    """The sizes of what autograd saves inside."""
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


@pytest.mark.parametrize("form", FORMS)
def test_by_hand(form: Form) -> None:
    # h = ln 2, W = (1, 0, 0): at T = 1/2 the weights are 4, 1, 1 and p = (2/3, 1/6, 1/6);
    # d log p[0] / dh = (W[0] - 2/3) / T = 2/3, and for a token of W = 0: -(2/3) / T = -4/3
    _, head, _ = make(form, width=1, vocabulary=3)
    linear(head).weight.data = torch.tensor([[1.0], [0.0], [0.0]], dtype=torch.float64)
    hidden = torch.full((2, 1), math.log(2), dtype=torch.float64, requires_grad=True)
    logprobs, entropy = linear_logprobs(hidden, head, torch.tensor([0, 2]), temperature=0.5)
    assert logprobs.tolist() == pytest.approx([math.log(2 / 3), math.log(1 / 6)], abs=1e-14)
    expected = 2 / 3 * math.log(3 / 2) + 1 / 3 * math.log(6)
    assert entropy.tolist() == pytest.approx([expected, expected], abs=1e-14)
    assert gradient(hidden, logprobs.sum())[:, 0].tolist() == pytest.approx([2 / 3, -4 / 3])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(
    ("temperature", "top_k", "softcap", "bias"),
    [
        (1.0, None, None, False),
        (0.7, None, None, True),
        (1.0, None, 2.5, False),
        (1.3, None, 1.5, True),
        (0.8, 4, None, False),
        (1.3, 1, 1.5, True),
        (1.0, 23, None, False),
    ],
)
def test_values_and_gradients(
    monkeypatch: pytest.MonkeyPatch,
    form: Form,
    tile: tuple[int, int],
    temperature: float,
    top_k: int | None,
    softcap: float | None,
    bias: bool,
) -> None:
    small_tiles(monkeypatch, *tile)
    hidden, head, ids = make(form, bias=bias)
    options = {"temperature": temperature, "top_k": top_k, "softcap": softcap}
    logprobs, entropy = linear_logprobs(hidden, head, ids, **options)
    expected_logprobs, expected_entropy = oracle(hidden, head, ids, **options)
    torch.testing.assert_close(logprobs, expected_logprobs)
    torch.testing.assert_close(entropy, expected_entropy)
    assert not entropy.requires_grad
    weights = torch.linspace(-1, 2, len(ids), dtype=torch.float64)
    expected = gradient(hidden, (expected_logprobs * weights).sum())
    torch.testing.assert_close(gradient(hidden, (logprobs * weights).sum()), expected)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_by_differences(monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    small_tiles(monkeypatch, 3, 15)
    hidden, head, ids = make(form, rows=4, vocabulary=9)

    def logprobs(states: Tensor) -> Tensor:
        return linear_logprobs(states, head, ids, temperature=0.7, softcap=2.0)[0]

    def entropies(states: Tensor) -> Tensor:
        options = {"temperature": 0.7, "softcap": 2.0, "entropy_gradient": True}
        return linear_logprobs(states, head, ids, **options)[1]

    assert torch.autograd.gradcheck(logprobs, hidden)
    assert torch.autograd.gradcheck(entropies, hidden)


@pytest.mark.parametrize("tile", TILES)
def test_a_trained_head_gets_its_gradient(
    monkeypatch: pytest.MonkeyPatch, tile: tuple[int, int]
) -> None:
    small_tiles(monkeypatch, *tile)
    hidden, head, ids = make("trained", bias=True)
    options = {"temperature": 0.9, "softcap": 3.0}
    leaves = [hidden, *head.parameters()]
    for entropy_gradient in (False, True):
        logprobs, entropy = linear_logprobs(
            hidden, head, ids, entropy_gradient=entropy_gradient, **options
        )
        expected = sum(oracle(hidden, head, ids, **options)[: 1 + entropy_gradient], torch.zeros(7))
        value = logprobs + entropy if entropy_gradient else logprobs
        for found, right in zip(
            torch.autograd.grad(value.sum(), leaves),
            torch.autograd.grad(expected.sum(), leaves),
            strict=True,
        ):
            torch.testing.assert_close(found, right)


@pytest.mark.parametrize("form", FORMS)
def test_entropies_with_a_gradient_are_the_same_entropies(form: Form) -> None:
    hidden, head, ids = make(form, dtype=torch.float32)
    plain = linear_logprobs(hidden, head, ids, temperature=0.9)
    both = linear_logprobs(hidden, head, ids, temperature=0.9, entropy_gradient=True)
    assert both[1].requires_grad
    for found, expected in zip(plain, both, strict=True):
        torch.testing.assert_close(found, expected)
    expected = gradient(hidden, oracle(hidden, head, ids, temperature=0.9)[1].sum())
    torch.testing.assert_close(gradient(hidden, both[1].sum()), expected)


@pytest.mark.parametrize("form", FORMS)
def test_top_k_keeps_ties_and_the_given_token(monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    # weights 4, 2, 2, 1: k = 2 keeps the tie as well, 4 + 2 + 2; token 3 joins as a fourth
    small_tiles(monkeypatch, 1, 2)
    _, head, _ = make(form, width=1, vocabulary=4)
    logits = torch.tensor([4.0, 2.0, 2.0, 1.0], dtype=torch.float64).log()
    linear(head).weight.data = logits[:, None]
    hidden = torch.ones(4, 1, dtype=torch.float64, requires_grad=True)
    logprobs, _ = linear_logprobs(hidden, head, torch.arange(4), top_k=2)
    assert logprobs.exp().tolist() == pytest.approx([4 / 8, 2 / 8, 2 / 8, 1 / 9])


@pytest.mark.parametrize("form", FORMS)
def test_a_large_vocabulary_in_float32(form: Form) -> None:
    # a running float32 sum of 50,000 terms would be off by 1e-5; 1e-6 is one step of a number of 11
    hidden, head, ids = make(
        form, rows=16, width=64, vocabulary=50_000, spread=0.05, dtype=torch.float32
    )
    logprobs, entropy = linear_logprobs(hidden, head, ids)
    expected_logprobs, expected_entropy = oracle(hidden, head, ids)
    assert logprobs.dtype == entropy.dtype == torch.float32
    torch.testing.assert_close(logprobs.double(), expected_logprobs, atol=1e-6, rtol=0)
    torch.testing.assert_close(entropy.double(), expected_entropy, atol=1e-6, rtol=0)
    expected = gradient(hidden, expected_logprobs.sum())
    torch.testing.assert_close(gradient(hidden, logprobs.sum()), expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_logits_far_from_zero(form: Form) -> None:
    # the constant input of 1 adds 300 to each logit, which changes nothing; float32 rounds 300 to
    # 1.5e-5, so the expectation starts from the rounded logits
    hidden, head, ids = make(form, vocabulary=200, dtype=torch.float32)
    linear(head).weight.data[:, 0] = 300.0
    hidden.data[:, 0] = 1.0
    logits = linear(head)(hidden).double()
    expected = torch.log_softmax(logits, -1).gather(1, ids[:, None])[:, 0]
    logprobs, _ = linear_logprobs(hidden, head, ids)
    torch.testing.assert_close(logprobs.double(), expected, atol=1e-4, rtol=0)
    assert logprobs.max() < 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("bias", "softcap"), [(False, None), (True, None), (False, 3.0)])
def test_half_precision(
    monkeypatch: pytest.MonkeyPatch,
    form: Form,
    dtype: torch.dtype,
    bias: bool,
    softcap: float | None,
) -> None:
    """The softmax of the rounded logits in float32; the gradient rounded a few times."""
    small_tiles(monkeypatch, 3, 100)
    hidden, head, ids = make(form, rows=8, width=32, vocabulary=300, bias=bias, dtype=dtype)
    logits = linear(head)(hidden).double()
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    expected = torch.log_softmax(logits, -1).gather(1, ids[:, None])[:, 0]
    logprobs, _ = linear_logprobs(hidden, head, ids, softcap=softcap)
    assert logprobs.dtype == torch.float32
    torch.testing.assert_close(logprobs.double(), expected, atol=5e-6, rtol=0)
    found = gradient(hidden, logprobs.sum())
    assert found.dtype == dtype
    right = gradient(hidden, oracle(hidden, head, ids, softcap=softcap)[0].sum())
    error = (found.double() - right.double()).norm() / right.double().norm()
    assert error < 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("form", FORMS)
def test_a_token_that_is_almost_certain_keeps_its_gradient_in_bfloat16(form: Form) -> None:
    # p[0] = 1 - e: the gradient (1 - p[0]) W[0] - sum of the others is 1/8000 of W[0], which is
    # lost where W[0] and the mean row are rounded to 8 bits before they are subtracted
    _, head, _ = make(form, width=2, vocabulary=3, dtype=torch.bfloat16)
    linear(head).weight.data = torch.tensor([[1.0, 1.0], [-0.5, 0.5], [0.25, 0.25]]).bfloat16()
    hidden = torch.tensor([[9.0, 3.0]], dtype=torch.bfloat16, requires_grad=True)
    logprobs, _ = linear_logprobs(hidden, head, torch.tensor([0]))
    expected = gradient(hidden, oracle(hidden, head, torch.tensor([0]))[0].sum())
    found = gradient(hidden, logprobs.sum())
    torch.testing.assert_close(found, expected, atol=0, rtol=0.02)
    assert 0 < found.abs().max() < 1e-3


def test_the_tiles_of_half_precision_are_summed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2001 equal probabilities and W = 1 but for W[x] = 0: the gradient is -2000/2001. A bfloat16
    # sum of 4 a tile would stop at 1024, and give half of it
    small_tiles(monkeypatch, 1, 4)
    _, head, _ = make(width=1, vocabulary=2001, dtype=torch.bfloat16)
    linear(head).weight.data = torch.ones(2001, 1).index_fill(0, torch.tensor(7), 0).bfloat16()
    hidden = torch.zeros(1, 1, dtype=torch.bfloat16, requires_grad=True)
    logprobs, _ = linear_logprobs(hidden, head, torch.tensor([7]))
    assert gradient(hidden, logprobs.sum()).item() == pytest.approx(-2000 / 2001, rel=2**-8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_autocast_multiplies_as_a_linear_layer_does(form: Form, weights: torch.dtype) -> None:
    hidden, head, ids = make(form, rows=8, width=64, vocabulary=300, dtype=torch.float32)
    head.to(weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = linear(head)(hidden)
        logprobs, entropy = linear_logprobs(hidden, head, ids)
    assert logits.dtype == torch.bfloat16
    expected = logprobs_and_entropy(logits[None], ids[None])
    assert logprobs.dtype == torch.float32
    torch.testing.assert_close(logprobs, expected[0][0], atol=5e-6, rtol=0)
    torch.testing.assert_close(entropy, expected[1][0], atol=5e-6, rtol=0)
    found = gradient(hidden, logprobs.sum())
    right = gradient(hidden, oracle(hidden, head, ids)[0].sum())
    assert found.dtype == torch.float32
    assert (found - right).norm() / right.norm() < 4 * torch.finfo(torch.bfloat16).eps


def test_autocast_leaves_float64_alone() -> None:
    hidden, head, ids = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logprobs, _ = linear_logprobs(hidden, head, ids)
    torch.testing.assert_close(logprobs, oracle(hidden, head, ids)[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tile", TILES)
def test_no_grad_makes_no_graph_and_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, form: Form, tile: tuple[int, int]
) -> None:
    small_tiles(monkeypatch, *tile)
    hidden, head, ids = make(form)
    expected = oracle(hidden, head, ids)
    with torch.no_grad():
        found = linear_logprobs(hidden, head, ids, entropy_gradient=True)
    for value, right in zip(found, expected, strict=True):
        assert not value.requires_grad
        torch.testing.assert_close(value, right)


def test_no_gradient_no_second_product(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    softmax = vocabulary_tiles._RunningSoftmax
    monkeypatch.setattr(softmax, "gradient_rows", lambda self: made.append("rows"))
    hidden, head, ids = make()
    with torch.no_grad():
        linear_logprobs(hidden, head, ids)
    assert not linear_logprobs(hidden.detach(), head, ids)[0].requires_grad
    assert made == []


@pytest.mark.parametrize("form", FORMS)
def test_no_logits_are_saved(monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    small_tiles(monkeypatch, 4, 400)
    hidden, head, ids = make(form, rows=40, width=8, vocabulary=1000)
    with saved_elements() as sizes:
        logprobs, _ = linear_logprobs(hidden, head, ids)
    # M V = 40,000; the states or their gradient rows are M d = 320, ids and statistics M each
    assert 0 < sum(sizes) < 1000
    torch.testing.assert_close(
        gradient(hidden, logprobs.sum()), gradient(hidden, oracle(hidden, head, ids)[0].sum())
    )


def test_a_small_problem_is_not_recomputed() -> None:
    calls: list[int] = []
    hidden, head, ids = make("wrapped")
    linear(head).register_forward_hook(lambda *_: calls.append(1))
    sized = nn.Sequential(head)
    sized.out_features = 23  # type: ignore[assignment]
    linear_logprobs(hidden, sized, ids)[0].sum().backward()
    assert len(calls) == 1


def test_what_else_a_head_does_is_done() -> None:
    """A hook, or a forward of the instance, is part of the head."""
    hidden, head, ids = make()
    expected = linear_logprobs(hidden, head, ids, temperature=0.5)[0]
    hook = head.register_forward_hook(lambda _module, _args, logits: 2 * logits)
    torch.testing.assert_close(linear_logprobs(hidden, head, ids)[0], expected)
    hook.remove()
    weight = linear(head).weight
    head.forward = lambda states: F.linear(states, 2 * weight)  # type: ignore[method-assign]
    torch.testing.assert_close(linear_logprobs(hidden, head, ids)[0], expected)


def test_a_lora_adapter_on_the_head_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    peft = pytest.importorskip("peft")
    small_tiles(monkeypatch, 2, 50)
    hidden, plain, ids = make(dtype=torch.float32)
    model = nn.ModuleDict({"head": plain})
    config = peft.LoraConfig(r=2, target_modules=["head"], init_lora_weights=False)
    adapted = peft.inject_adapter_in_model(config, model)["head"]
    assert adapted is not plain
    logits = adapted(hidden)
    expected = torch.log_softmax(logits, -1).gather(1, ids[:, None])[:, 0]
    logprobs, _ = linear_logprobs(hidden, adapted, ids)
    torch.testing.assert_close(logprobs, expected)
    adapter = [p for p in adapted.parameters() if p.requires_grad]
    assert len(adapter) == 2
    for found, right in zip(
        torch.autograd.grad(logprobs.sum(), [hidden, *adapter]),
        torch.autograd.grad(expected.sum(), [hidden, *adapter]),
        strict=True,
    ):
        torch.testing.assert_close(found, right)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tile", TILES)
def test_words_that_a_bias_takes_out(
    monkeypatch: pytest.MonkeyPatch, form: Form, tile: tuple[int, int]
) -> None:
    """The first tile too, when nothing else has been seen."""
    small_tiles(monkeypatch, *tile)
    hidden, head, ids = make(form, bias=True, dtype=torch.float32)
    gone = torch.tensor([0, 1, 2, 3, 4, 5, 6, 11])
    ids[torch.isin(ids, gone)] = 12
    linear(head).bias.data[gone] = -torch.inf
    logprobs, entropy = linear_logprobs(hidden, head, ids)
    linear(head).bias.data[gone] = -1e9
    expected_logprobs, expected_entropy = oracle(hidden, head, ids)
    torch.testing.assert_close(logprobs.double(), expected_logprobs, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(entropy.double(), expected_entropy, atol=1e-6, rtol=1e-6)
    assert gradient(hidden, logprobs.sum()).isfinite().all()


def test_a_head_that_overflowed_is_not_hidden() -> None:
    hidden, head, ids = make(dtype=torch.float32)
    linear(head).weight.data[3] = torch.nan
    logprobs, entropy = linear_logprobs(hidden, head, ids)
    assert logprobs.isnan().all()
    assert entropy.isnan().all()


@pytest.mark.parametrize("form", FORMS)
def test_no_tokens(form: Form) -> None:
    hidden, head, ids = make(form, rows=0)
    logprobs, entropy = linear_logprobs(hidden, head, ids)
    assert logprobs.shape == entropy.shape == (0,)
    assert gradient(hidden, logprobs.sum()).shape == hidden.shape


@pytest.mark.parametrize("form", FORMS)
def test_a_second_derivative_is_refused(form: Form) -> None:
    hidden, head, ids = make(form)
    with pytest.raises(RuntimeError, match="linear_logprobs is differentiable once"):
        torch.autograd.grad(linear_logprobs(hidden, head, ids)[0].sum(), hidden, create_graph=True)
    for value in linear_logprobs(hidden, head, ids, entropy_gradient=True):
        with pytest.raises(RuntimeError, match="linear_logprobs is differentiable once"):
            torch.autograd.grad(value.sum(), hidden, create_graph=True)


def test_wrong_arguments_are_named() -> None:
    hidden, head, ids = make()
    with pytest.raises(ShapeError, match=r"hidden has shape \[1, 7, 6\], expected \[M, d\]"):
        linear_logprobs(hidden[None], head, ids)
    with pytest.raises(ShapeError, match=r"ids has shape \[6\], expected \[7\]"):
        linear_logprobs(hidden, head, ids[:-1])
    with pytest.raises(ValueError, match=r"ids has -100, needs each in \[0, 23\)"):
        linear_logprobs(hidden, head, ids.index_fill(0, torch.tensor([2]), -100))
    with pytest.raises(ValueError, match="ids has 23"):
        linear_logprobs(hidden, head, ids.index_fill(0, torch.tensor([2]), 23))
    with pytest.raises(ValueError, match="top_k is 0"):
        linear_logprobs(hidden, head, ids, top_k=0)
    for name in ("temperature", "softcap"):
        with pytest.raises(ValueError, match=f"{name} is 0.0"):
            linear_logprobs(hidden, head, ids, **{name: 0.0})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("form", FORMS)
def test_a_cuda_device_agrees(form: Form) -> None:
    hidden, head, ids = make(form, rows=64, width=128, vocabulary=5000, spread=0.1)
    expected = oracle(hidden, head, ids, temperature=0.9)
    right = gradient(hidden, expected[0].sum())
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        states = hidden.detach().to("cuda", dtype).requires_grad_()
        found = linear_logprobs(states, head.to("cuda", dtype), ids.cuda(), temperature=0.9)
        for value, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(value.cpu().double(), wanted, atol=tolerance, rtol=0)
        error = gradient(states, found[0].sum()).cpu().double() - right
        assert error.norm() < tolerance * right.norm()
