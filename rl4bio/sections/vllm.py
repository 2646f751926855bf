"""Where vLLM samples completions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from rl4bio.sections.checks import positive, require


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
            address = urlsplit(self.url)
            require(
                address.scheme in ("http", "https") and bool(address.hostname),
                f"{key}.url",
                f"got {self.url!r}, needs an address such as http://localhost:8000",
            )
            require(
                "@" not in address.netloc,
                f"{key}.url",
                "holds a user or password; leave it out, and set VLLM_API_KEY to the server's key",
            )
        ok = 0 < self.memory_fraction < 1
        require(ok, f"{key}.memory_fraction", f"got {self.memory_fraction}, needs (0, 1)")
        positive(key, self, "max_model_tokens", "timeout_s")
