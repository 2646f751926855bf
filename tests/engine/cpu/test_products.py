"""Which library multiplies float32 matrices on a CPU: real products in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from rl4bio.engine.cpu import products

PROBE = """
import torch
from rl4bio.engine.cpu import products
print(products.has_bfloat16_tiles(), products.exact_products())
x = torch.randn(64, 256)
with products.through_onednn():
    y = x @ x.T
wanted = x.double() @ x.T.double()
print(float((y.double() - wanted).abs().max() / wanted.abs().max()))
"""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = torch.backends.mkldnn.matmul.fp32_precision
    products.faster_products.cache_clear()
    yield
    torch.backends.mkldnn.matmul.fp32_precision = before
    products.faster_products.cache_clear()


def probe(isa: str) -> tuple[bool, bool, float]:
    """Tiles there, products exact, and their error, with oneDNN held to some instructions."""
    found = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return found[0] == "True", found[1] == "True", float(found[2])


@pytest.mark.parametrize("isa", ["ALL", "AVX512_CORE", "AVX2"])
def test_products_are_called_exact_where_they_are_and_nowhere_else(isa: str) -> None:
    _, exact, error = probe(isa)
    assert exact == (error < 1e-5)  # bfloat16 keeps 8 bits: errors of 1e-3
    if isa != "ALL":
        assert exact


def test_a_cpu_with_tiles_keeps_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "has_bfloat16_tiles", lambda: True)
    monkeypatch.setattr(products, "measured_gain", lambda: 9.0)
    assert products.settle_products() == "MKL (oneDNN would round to bfloat16 on this CPU)"
    assert torch.backends.mkldnn.matmul.fp32_precision in ("none", "ieee")


@pytest.mark.parametrize(
    ("exact", "gain", "library"), [(True, 2.1, "oneDNN"), (True, 1.1, "MKL"), (False, 9.0, "MKL")]
)
def test_the_faster_library_is_taken_if_it_does_not_round(
    exact: bool, gain: float, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "has_bfloat16_tiles", lambda: False)
    monkeypatch.setattr(products, "exact_products", lambda: exact)
    monkeypatch.setattr(products, "measured_gain", lambda: gain)
    assert products.settle_products().startswith(library)
    switched = torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    assert switched is (library == "oneDNN")


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.mkldnn.matmul.fp32_precision = "tf32"
    monkeypatch.setattr(products, "has_bfloat16_tiles", lambda: False)
    monkeypatch.setattr(products, "measured_gain", lambda: 9.0)
    assert "set already" in products.settle_products()
    assert torch.backends.mkldnn.matmul.fp32_precision == "tf32"


def test_the_measurement_leaves_the_switch_as_it_was() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision
    assert products.measured_gain() > 0.1
    assert torch.backends.mkldnn.matmul.fp32_precision == before
