"""The decisions of hardware.py as tables."""

from __future__ import annotations

import pytest

from rl4bio.errors import ConfigError, MissingPackageError
from rl4bio.hardware import (
    has_code_for,
    lowest_capability,
    model_family,
    resolve_attention,
    resolve_precision,
)

P100, V100, T4, A100, H100 = (6, 0), (7, 0), (7, 5), (8, 0), (9, 0)


@pytest.mark.parametrize(
    ("family", "capability", "expected"),
    [
        ("gemma3", None, "32-true"),
        ("llama", None, "32-true"),
        ("gemma3", T4, "32-true"),
        ("gemma2", V100, "32-true"),
        ("gemma", T4, "32-true"),
        ("gpt_oss", T4, "32-true"),
        ("llama", T4, "16-mixed"),
        ("qwen2", V100, "16-mixed"),
        ("qwen3", T4, "16-mixed"),
        ("gpt2", P100, "32-true"),
        ("gemma3", A100, "bf16-mixed"),
        ("llama", (8, 6), "bf16-mixed"),
        ("gemma3", H100, "bf16-mixed"),
        ("llama", (12, 0), "bf16-mixed"),
    ],
)
def test_precision_by_capability(
    family: str, capability: tuple[int, int] | None, expected: str
) -> None:
    choice = resolve_precision("auto", family=family, capability=capability)
    assert choice.value == expected
    assert ("no CUDA" if capability is None else f"sm_{capability[0]}{capability[1]}") in (
        choice.reason
    )


@pytest.mark.parametrize(
    ("requested", "family", "capability"),
    [
        ("32-true", "gemma3", T4),
        ("32-true", "llama", None),
        ("bf16-mixed", "gemma3", A100),
        ("bf16-true", "llama", H100),
        ("bf16-mixed", "llama", None),
        ("16-mixed", "llama", T4),
        ("16-mixed", "llama", H100),
    ],
)
def test_safe_requests_are_kept(
    requested: str, family: str, capability: tuple[int, int] | None
) -> None:
    assert resolve_precision(requested, family=family, capability=capability).value == requested


@pytest.mark.parametrize(
    ("requested", "family", "capability", "message"),
    [
        ("16-mixed", "gemma3", T4, "overflows with gemma3"),
        ("16-mixed", "gemma2", H100, "overflows with gemma2"),
        ("16-true", "gemma3", T4, "Gemma overflows"),
        ("16-true", "llama", A100, "without loss scaling"),
        ("bf16-mixed", "llama", T4, "sm_75 and would only emulate"),
        ("bf16-true", "gemma3", V100, "needs sm_80"),
        ("16-mixed", "llama", None, "needs a CUDA device"),
        ("fp16", "llama", A100, "unknown precision 'fp16'; known: auto"),
    ],
)
def test_unsafe_requests_are_refused(
    requested: str, family: str, capability: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolve_precision(requested, family=family, capability=capability)
    assert str(caught.value).startswith("trainer.precision: ")


@pytest.mark.parametrize(
    ("requested", "family", "capability", "flash", "precision", "expected"),
    [
        ("auto", "gemma3", A100, True, "bf16-mixed", "flash_attention_2"),
        ("auto", "gemma2", A100, True, "bf16-mixed", "flash_attention_2"),
        ("auto", "gemma2", A100, False, "bf16-mixed", "eager"),
        ("auto", "gemma2", None, False, "32-true", "eager"),
        ("auto", "gemma3", A100, False, "bf16-mixed", "sdpa"),
        ("auto", "llama", A100, True, "32-true", "sdpa"),
        ("auto", "llama", T4, True, "16-mixed", "sdpa"),
        ("auto", "llama", None, True, "32-true", "sdpa"),
        ("eager", "llama", None, False, "32-true", "eager"),
        ("sdpa", "gemma3", T4, False, "32-true", "sdpa"),
        ("flash_attention_2", "llama", H100, True, "bf16-true", "flash_attention_2"),
    ],
)
def test_attention(
    requested: str,
    family: str,
    capability: tuple[int, int] | None,
    flash: bool,
    precision: str,
    expected: str,
) -> None:
    choice = resolve_attention(
        requested,
        family=family,
        capability=capability,
        flash_available=flash,
        precision=precision,
    )
    assert choice.value == expected


@pytest.mark.parametrize(
    ("requested", "family", "capability", "flash", "error", "message"),
    [
        ("sdpa", "gemma2", A100, True, ConfigError, "gemma2 has no attention in sdpa"),
        ("flash_attention_2", "llama", T4, True, ConfigError, "needs sm_80 and bfloat16"),
        ("flash_attention_2", "llama", None, True, ConfigError, "no CUDA device"),
        ("flash_attention_2", "llama", A100, False, MissingPackageError, r"extra \[flash\]"),
        ("flash", "llama", A100, True, ConfigError, "unknown kernel 'flash'"),
    ],
)
def test_attention_refused(
    requested: str,
    family: str,
    capability: tuple[int, int] | None,
    flash: bool,
    error: type[ConfigError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        resolve_attention(requested, family=family, capability=capability, flash_available=flash)


@pytest.mark.parametrize(
    ("model_type", "family"),
    [("gemma3_text", "gemma3"), ("gemma3", "gemma3"), ("gemma2", "gemma2"), ("llama", "llama")],
)
def test_family(model_type: str, family: str) -> None:
    assert model_family(model_type) == family


def test_capability_of_this_machine() -> None:
    import torch

    found = lowest_capability()
    assert (found is None) == (not torch.cuda.is_available())


def test_molgpt_uses_a_cpu_that_multiplies_bfloat16() -> None:
    fast = resolve_precision("auto", family="molgpt", capability=None, fast_cpu_bfloat16=True)
    assert (fast.value, "this CPU" in fast.reason) == ("bf16-mixed", True)
    assert resolve_precision("auto", family="molgpt", capability=None).value == "32-true"
    # Larger models keep float32: there it was not slower.
    other = resolve_precision("auto", family="gemma3", capability=None, fast_cpu_bfloat16=True)
    assert other.value == "32-true"


BUILT = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        *(((6, 0), False), ((7, 0), False), ((7, 5), True), ((8, 0), True), ((8, 9), True)),
        *(((9, 0), True), ((10, 3), True), ((12, 0), True), ((13, 0), False)),
    ],
)
def test_what_a_build_of_torch_has_code_for(capability: tuple[int, int], runs: bool) -> None:
    """Of torch 2.13's CUDA wheel: nothing below sm_75, so no V100 and no P100."""
    assert has_code_for(capability, BUILT) is runs


def test_ptx_runs_on_later_devices_and_special_code_on_its_own_alone() -> None:
    assert has_code_for((13, 0), [*BUILT, "compute_120"])
    assert not has_code_for((7, 0), [*BUILT, "compute_120"])
    assert not has_code_for((10, 3), ["sm_100a"])
    assert has_code_for((9, 0), ["sm_90a"])
