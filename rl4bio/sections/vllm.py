"""Where vLLM samples completions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl4bio.sections.checks import http_address, positive, require


@dataclass(kw_only=True)
class VLLMConfig:
    """vLLM as the sampler of a policy with an adapter."""

    url: str | None = None
    """Address of a `vllm serve`, such as http://localhost:8000; None runs vLLM beside training, in
    the same process and on the same GPU."""
    memory_fraction: float = 0.3
    """Share of the GPU's memory that vLLM takes; without url."""
    max_model_tokens: int | None = None
    """Longest prompt with its completion that vLLM makes room for, None = what rollout allows;
    without url."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Of vLLM's weights, auto = as the checkpoint says; without url."""
    adapter_folder: str | None = None
    """Where each step's adapter is written; a server must see it at the same path. None = a
    temporary folder."""
    timeout_s: float = 600.0
    """How long a server may take to answer a request."""

    def __post_init__(self) -> None:
        key = "rollout.vllm"
        if self.url is not None:
            instead = "set VLLM_API_KEY to the server's key"
            http_address(f"{key}.url", self.url, example="http://localhost:8000", instead=instead)
        ok = 0 < self.memory_fraction < 1
        require(ok, f"{key}.memory_fraction", f"got {self.memory_fraction}, needs (0, 1)")
        positive(key, self, "max_model_tokens", "timeout_s")
