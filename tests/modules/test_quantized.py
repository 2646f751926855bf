"""4-bit layers between evaluation and training."""

from __future__ import annotations

import pytest
import torch

from rl4bio.modules.quantized import keep_gradients


def test_gradients_after_an_evaluation() -> None:
    """They are those of the dequantised matrix; no packed product takes their place."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    layer = bitsandbytes.nn.Linear4bit(128, 64, bias=False, quant_type="nf4").to("cpu")
    model = torch.nn.Sequential(layer)
    keep_gradients(model)
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
