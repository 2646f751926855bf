"""The parts of first_minutes.py: each measures one thing, in a process of its own.

NOT YET RUN ON A GPU: only their logic has been, on a CPU with a tiny model.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.lab import GEMMA3_1B, TINY, read_prompts, write_checkpoint
from rl4bio.engine.cuda import graphs
from rl4bio.engine.kernels import FUSED, attend_fused, attention_kernel, heads_to_repeat
from rl4bio.modules.batching import cut, micro_batches
from rl4bio.modules.loading import load_policy
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.runs.memory import estimate_memory
from rl4bio.sections import (
    AdapterConfig,
    GRPOConfig,
    PartConfig,
    PolicyConfig,
    RolloutConfig,
    RunConfig,
)
from rl4bio.types import Completions, Rollout

Row = dict[str, Any]
HALF = torch.bfloat16


@dataclass(frozen=True)
class Sizes:
    """What is trained: on a card Gemma 3 1B's shape, in a try-out a tiny one."""

    device: str
    tiny: bool
    folder: Path

    @property
    def prompts(self) -> int:
        return 2 if self.tiny else 8

    @property
    def group(self) -> int:
        return 2 if self.tiny else 16

    @property
    def tokens(self) -> tuple[int, int]:
        """Of a prompt and of a completion."""
        return (12, 6) if self.tiny else (400, 256)

    def checkpoint(self) -> Path:
        """The model's folder, made by the first part that wants it."""
        folder = self.folder / "checkpoint"
        if not (folder / "prompts.json").exists():
            write_checkpoint(
                folder,
                TINY if self.tiny else GEMMA3_1B,
                prompt_tokens=self.tokens[0],
                dtype=torch.float32,
                device=self.device,
            )
        return folder


def environment(sizes: Sizes) -> list[Row]:
    """What is installed, and what is there."""
    found: Row = {"torch": torch.__version__, "python": sys.version.split()[0]}
    if sizes.device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {"card": card.name, "sm": f"{card.major}{card.minor}"}
        found |= {"GiB": round(card.total_memory / 2**30, 1), "cuda": torch.version.cuda}
        found["built for"] = " ".join(torch.cuda.get_arch_list())
    return [found]


def marked_tests(sizes: Sizes) -> list[Row]:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"]
    found = subprocess.run(command, capture_output=True, text=True)
    lines = found.stdout.strip().splitlines() or [found.stderr[-200:]]
    return [{"exit code": found.returncode, "summary": lines[-1]}]


def kernels(sizes: Sizes) -> list[Row]:
    """The attention kernel that ran, beside the one that the table names, and its error."""
    shapes = {"gemma3 1B": (4, 1, 256), "llama 8B": (32, 8, 128), "gpt2": (12, 12, 64)}
    rows = []
    for name, (heads, key_heads, size) in shapes.items():
        for dtype in (HALF, torch.float32):
            for mask in (False, True):
                rows.append(_kernel(name, heads, key_heads, size, dtype, mask, sizes.device))
    return rows


def _kernel(
    name: str, heads: int, key_heads: int, size: int, dtype: torch.dtype, mask: bool, device: str
) -> Row:
    shape = (2, 40, size)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, n, *shape[1:], generator=generator).to(device, dtype).requires_grad_()
        for n in (heads, key_heads, key_heads)
    )
    bias = torch.zeros(2, 1, 40, 40, device=device, dtype=dtype) if mask else None
    found = attend_fused(query, key, value, bias=bias, scale=size**-0.5)
    whole = [one.double().repeat_interleave(heads // key_heads, 1) for one in (key, value)]
    exact = torch.nn.functional.scaled_dot_product_attention(
        query.double(), *whole, attn_mask=None if bias is None else bias.double(),
        is_causal=bias is None, scale=size**-0.5,
    )  # fmt: skip
    ran = type(found.grad_fn).__name__.removesuffix("Backward0")
    error = float((found.double() - exact).abs().max())
    row: Row = {"model": name, "type": str(dtype)[6:], "mask": mask, "ran": ran, "error": error}
    if device == "cuda":
        capability = torch.cuda.get_device_capability()
        options: dict[str, Any] = {"mask": mask, "dtype": dtype, "head_size": size}
        options["capability"] = capability
        ratio = heads // key_heads
        left = ratio > 1 and heads_to_repeat(ratio=ratio, **options) == 1
        row["table"] = attention_kernel(grouped=left, **options).value
        row["fused"] = row["table"] in FUSED
    return row


def steps(sizes: Sizes) -> list[Row]:
    """Rollout and update in both precisions, LoRA and QLoRA, with and without graphs."""
    rows = []
    for title, dtype, quantization in (
        ("bf16 LoRA", HALF, "none"),
        ("float32 LoRA", torch.float32, "none"),
        ("QLoRA", HALF, "nf4"),
    ):
        for recorded in (True, False):
            rows.append(
                {"step": title, "graphs": recorded, **_step(sizes, dtype, quantization, recorded)}
            )
    return rows


def _step(sizes: Sizes, dtype: torch.dtype, quantization: Any, recorded: bool) -> Row:
    policy = _policy(sizes, dtype, quantization)
    graphs._problem = None if recorded else "switched off"
    with _autocast(sizes, dtype):
        sample(policy, sizes)  # warm up: kernels, compilation
        _reset_peak(sizes)
        seconds, found = _timed(sizes, lambda: sample(policy, sizes))
        spent, _ = _timed(sizes, lambda: gradient(policy, found, sizes))
    tokens = int(found.lengths.sum())
    return {
        "rollout s": round(seconds, 3),
        "tokens/s": round(tokens / seconds),
        "update s": round(spent, 3),
        "peak GiB": _peak(sizes),
        "estimate GiB": _estimate(policy, sizes),
        "engine": policy.engine_problem or "used",
        "graph": graphs._problem or ("recorded" if sizes.device == "cuda" else "no CUDA"),
    }


def _estimate(policy: Policy, sizes: Sizes) -> float:
    """GiB that a run of such steps is said to need."""
    config = RunConfig(
        name="first-minutes",
        rollout=RolloutConfig(
            max_prompt_tokens=sizes.tokens[0], max_completion_tokens=sizes.tokens[1]
        ),
        grpo=GRPOConfig(group_size=sizes.group),
        data=PartConfig(name="trials", options={"batch_size": sizes.prompts}),
    )
    return round(estimate_memory(policy, config).total / 2**30, 2)


def agreement(sizes: Sizes) -> list[Row]:
    """Loss and gradient in bfloat16 against float32, on the same completions."""
    exact = _policy(sizes, torch.float32)
    found = sample(exact, sizes)
    loss, wanted = gradient(exact, found, sizes)
    del exact
    half = _policy(sizes, HALF)
    with _autocast(sizes, HALF):
        rounded, other = gradient(half, found, sizes)
    gap = float((other - wanted).norm() / wanted.norm())
    cosine = float(torch.cosine_similarity(other, wanted, dim=0))
    return [{"loss float32": loss, "loss bf16": rounded, "gradient gap": gap, "cosine": cosine}]


def generate(sizes: Sizes) -> list[Row]:
    """Tokens a second of the engine beside transformers' generate."""
    policy = _policy(sizes, HALF)
    rows = []
    with _autocast(sizes, HALF):
        for backend in ("engine", "generate"):
            policy.backend, policy.engine_problem = backend, None
            sample(policy, sizes)
            seconds, found = _timed(sizes, lambda: sample(policy, sizes))
            tokens = int(found.lengths.sum())
            rows.append({"rollout": backend, "tokens/s": round(tokens / seconds)})
    return rows


def molecules(sizes: Sizes) -> list[Row]:
    """Molecules a second of the packaged MolGPT."""
    policy = load_policy(PolicyConfig(checkpoint="rl4bio:molgpt-moses"))
    policy.model.to(sizes.device)
    count = 8 if sizes.tiny else 1024
    start = [policy.tokenizer.bos_token_id]
    with _autocast(sizes, HALF):
        for _ in range(2):
            seconds, _ = _timed(
                sizes,
                lambda: sample_completions(
                    policy, [start], group_size=count, max_new_tokens=60, temperature=1.0, seeds=[1]
                ),
            )
    return [{"molecules": count, "molecules/s": round(count / seconds)}]


def sample(policy: Policy, sizes: Sizes) -> Completions:
    """The rollout of a step."""
    texts = read_prompts(sizes.checkpoint())[: sizes.prompts]
    prompts = [policy.tokenizer(text)["input_ids"] for text in texts]
    return sample_completions(
        policy, prompts, group_size=sizes.group, max_new_tokens=sizes.tokens[1],
        temperature=1.0, seeds=list(range(len(prompts))),
    )  # fmt: skip


def gradient(policy: Policy, found: Completions, sizes: Sizes) -> tuple[float, torch.Tensor]:
    """The policy-gradient loss under fixed advantages, and its gradient, in float32."""
    rollout = Rollout.of(found, [], sizes.group)
    policy.model.zero_grad()
    policy.model.train()
    total, advantages = 0.0, torch.linspace(-1, 1, len(found.completion_ids), device=policy.device)
    for rows in micro_batches(rollout, 8192, packed=True):
        logprobs, _ = row_logprobs(policy, cut(rollout, rows), temperature=1.0)
        loss = -(logprobs.mean(-1) * advantages[rows]).sum() / len(found.completion_ids)
        loss.backward()
        total += float(loss)
    grads = [p.grad.flatten().float() for p in policy.trainable_parameters() if p.grad is not None]
    return total, torch.cat(grads).cpu()


def _policy(sizes: Sizes, dtype: torch.dtype, quantization: Any = "none") -> Policy:
    torch.manual_seed(0)
    adapter = AdapterConfig(rank=16, alpha=32)
    config = PolicyConfig(
        checkpoint=str(sizes.checkpoint()), adapter=adapter, quantization=quantization
    )
    policy = load_policy(config, dtype=dtype, cuda=sizes.device == "cuda")
    torch.nn.Module.to(policy.model, sizes.device)
    for parameter in policy.trainable_parameters():
        parameter.data.normal_(0, 0.01)
    return policy


def _autocast(sizes: Sizes, dtype: torch.dtype) -> Any:
    return torch.autocast(sizes.device, dtype=HALF, enabled=dtype == HALF)


def _timed(sizes: Sizes, run: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds, the card's work included, and what came."""
    _wait(sizes)
    begin = time.perf_counter()
    found = run()
    _wait(sizes)
    return time.perf_counter() - begin, found


def _wait(sizes: Sizes) -> None:
    if sizes.device == "cuda":
        torch.cuda.synchronize()


def _reset_peak(sizes: Sizes) -> None:
    if sizes.device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(sizes: Sizes) -> float | None:
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if sizes.device == "cuda" else None
