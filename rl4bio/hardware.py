"""What the hardware allows: precision and attention kernel, each with a reason.

The decisions are pure functions of the model's family and the GPU's compute capability, so that a
table can test them; torch is imported only where the machine itself is asked.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from dataclasses import dataclass

from rl4bio.errors import ConfigError, MissingPackageError

Capability = tuple[int, int]

KERNELS = ("sdpa", "flash_attention_2")
"""Attention kernels that a model's class may lack; eager runs everywhere."""

FLOAT16_OVERFLOWS = ("gemma", "gpt_oss", "qwen3_5", "qwen3_moe", "glm4_moe")
"""Families (by prefix) whose activations pass float16's largest number, 65504: inf, then NaN."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision and why it was made, for the log."""

    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU that need not be there."""

    capability: Capability
    memory_gib: float
    """As torch reports it."""


CARDS = {
    "t4": Card((7, 5), 14.6),
    "l4": Card((8, 9), 22.0),
    "a10": Card((8, 6), 22.0),
    "a100-40": Card((8, 0), 39.4),
    "a100-80": Card((8, 0), 79.1),
    "h100": Card((9, 0), 79.1),
    "h200": Card((9, 0), 139.7),
}
"""Cards that plans can be made for, by name."""


def model_family(model_type: str) -> str:
    """The family of a transformers `config.model_type`: gemma3_text -> gemma3, llama -> llama."""
    return model_type.lower().removesuffix("_text")


def lowest_capability() -> Capability | None:
    """The lowest compute capability of the visible CUDA devices; None without one (CPU, MPS).

    The lowest, since every process of a run must use the same precision.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    devices = range(torch.cuda.device_count())
    return min(torch.cuda.get_device_capability(index) for index in devices)


def has_code_for(capability: Capability, built: Collection[str]) -> bool:
    """Whether a build of torch runs on a CUDA device.

    Machine code runs on later devices of the same major version, PTX (compute_) on all later ones.

    Args:
        capability: of the device.
        built: of `torch.cuda.get_arch_list`, such as sm_80 and compute_120.
    """
    for name in built:
        kind, _, number = name.partition("_")
        digits = "".join(c for c in number if c.isdigit())
        if len(digits) < 2:
            continue
        version = (int(digits[:-1]), int(digits[-1]))
        if kind == "sm" and number.endswith("a") and version != capability:
            continue  # code for that device alone
        later = version <= capability
        if later and (kind == "compute" or version[0] == capability[0]):
            return True
    return False


def check_code(index: int = 0) -> None:
    """Refuse a CUDA device that this build of torch has no code for.

    Raises:
        ConfigError: names the device, and what to do.
    """
    import torch

    capability = torch.cuda.get_device_capability(index)
    if not has_code_for(capability, torch.cuda.get_arch_list()):
        raise ConfigError(
            f"trainer.accelerator: torch {torch.__version__} has no code for "
            f"{torch.cuda.get_device_name(index)} ({_named(capability)}); install a torch that "
            "has, or use cpu"
        )


_own_cuda = 0


def settle_cuda(index: int) -> None:
    """Make a CUDA device this process's own: for weights, for kernels, and for every thread."""
    import torch

    global _own_cuda
    _own_cuda = index
    torch.cuda.set_device(index)


def own_cuda() -> int:
    """Index of this process's own CUDA device; torch's current one is each thread's, 0 at first."""
    return _own_cuda


def cpu_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware (AVX512-BF16 or AMX)."""
    import torch

    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    found = [getattr(torch.cpu, name, None) for name in names]
    return any(bool(ask()) for ask in found if ask is not None)


def flash_available() -> bool:
    """Whether the flash-attn package is installed."""
    return importlib.util.find_spec("flash_attn") is not None


def _named(capability: Capability | None) -> str:
    return "no CUDA device" if capability is None else f"sm_{capability[0]}{capability[1]}"


def _overflows(family: str) -> bool:
    return family.startswith(FLOAT16_OVERFLOWS)


def resolve_precision(
    requested: str, *, family: str, capability: Capability | None, fast_cpu_bfloat16: bool = False
) -> Decision:
    """The Lightning precision of a run.

    Bfloat16 is decided by capability 8.0, not by `torch.cuda.is_bf16_supported`, which is True on
    GPUs that only emulate it.

    Args:
        requested: auto, 32-true, bf16-mixed, bf16-true or 16-mixed.
        family: of `model_family`.
        capability: of `lowest_capability`; None is a CPU.
        fast_cpu_bfloat16: of `cpu_bfloat16`; matters on a CPU alone.

    Raises:
        ConfigError: the request would overflow, be emulated, or be replaced silently.
    """
    where, device = "trainer.precision", _named(capability)
    if requested == "auto":
        return _best_precision(family, capability, fast_cpu_bfloat16)
    if requested in ("32-true", "64-true"):
        return Decision(requested, "requested; safe on every device")
    if requested in ("bf16-mixed", "bf16-true"):
        if capability is not None and capability < (8, 0):
            raise ConfigError(
                f"{where}: {requested} needs sm_80, the lowest GPU is {device} and would only "
                "emulate it; use auto"
            )
        return Decision(requested, f"requested; bfloat16 has float32's range ({device})")
    if requested == "16-mixed":
        if capability is None:
            raise ConfigError(
                f"{where}: 16-mixed needs a CUDA device (a CPU would silently run bf16-mixed, and "
                "mps has not been tried); use auto"
            )
        if _overflows(family):
            raise ConfigError(
                f"{where}: 16-mixed overflows with {family}, whose activations pass 65504; use "
                "auto (32-true below sm_80, bf16-mixed from there)"
            )
        return Decision(requested, f"requested; {family} stays inside float16's range ({device})")
    if requested == "16-true":
        raise ConfigError(
            f"{where}: 16-true trains float16 weights without loss scaling, small updates vanish "
            "and Gemma overflows; use auto"
        )
    raise ConfigError(
        f"{where}: unknown precision {requested!r}; known: auto, 32-true, bf16-mixed, bf16-true, "
        "16-mixed"
    )


def _best_precision(
    family: str, capability: Capability | None, fast_cpu_bfloat16: bool
) -> Decision:
    device = _named(capability)
    if capability is None and family == "molgpt" and fast_cpu_bfloat16:
        return Decision("bf16-mixed", f"{device}, but this CPU multiplies bfloat16 in hardware")
    if capability is None:
        return Decision("32-true", f"{device}: float32 is exact and not slower than bfloat16")
    if capability >= (8, 0):
        return Decision("bf16-mixed", f"{device} computes in bfloat16, float32 keeps the weights")
    if _overflows(family):
        return Decision("32-true", f"{device} has no bfloat16, and {family} overflows float16")
    if capability < (7, 0):
        return Decision("32-true", f"{device} has no fast float16")
    return Decision("16-mixed", f"{device} has no bfloat16; {family} stays inside float16's range")


def resolve_attention(
    requested: str,
    *,
    family: str,
    capability: Capability | None,
    flash_available: bool,
    precision: str = "bf16-mixed",
    kernels: Collection[str] | None = None,
) -> Decision:
    """The `attn_implementation` to load a model with.

    Args:
        requested: auto, eager, sdpa or flash_attention_2.
        family: of `model_family`.
        capability: of `lowest_capability`; None is a CPU.
        flash_available: whether flash-attn is installed.
        precision: of `resolve_precision`; the flash kernel has no float32.
        kernels: what the model's class has of KERNELS; None is what its family is known to have.

    Raises:
        ConfigError: the model or the GPU does not run the request.
        MissingPackageError: flash_attention_2 without the package.
    """
    where, device = "policy.attention", _named(capability)
    if kernels is None:
        kernels = ("flash_attention_2",) if family == "gemma2" else KERNELS
    flash_runs = capability is not None and capability >= (8, 0) and precision.startswith("bf16")
    if requested == "auto":
        if flash_available and flash_runs and "flash_attention_2" in kernels:
            return Decision("flash_attention_2", f"flash-attn is installed and {device} runs it")
        why = "flash-attn is not installed" if flash_runs else f"{device} in {precision}"
        if family == "molgpt" and capability is None:
            return Decision("eager", f"{why}; for short strings its backward is the faster one")
        if "sdpa" not in kernels:
            return Decision("eager", f"{why}; {family} has no attention in sdpa")
        return Decision("sdpa", f"{why}; sdpa is torch's own fused kernel")
    if requested == "eager":
        return Decision(requested, "requested; runs everywhere")
    if requested in KERNELS and requested not in kernels:
        raise ConfigError(f"{where}: {family} has no attention in {requested}; use auto or eager")
    if requested == "sdpa":
        return Decision(requested, "requested; torch's own fused kernel")
    if requested == "flash_attention_2":
        if not flash_runs:
            raise ConfigError(
                f"{where}: flash_attention_2 needs sm_80 and bfloat16, this is {device} in "
                f"{precision}; use auto"
            )
        if not flash_available:
            raise MissingPackageError(
                f"{where}: flash_attention_2 needs the extra [flash]; after torch run "
                "`pip install flash-attn --no-build-isolation`, or use auto"
            )
        return Decision(requested, f"requested; {device} runs it")
    raise ConfigError(
        f"{where}: unknown kernel {requested!r}; known: auto, eager, sdpa, flash_attention_2"
    )
