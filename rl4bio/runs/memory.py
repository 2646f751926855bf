"""How much memory a device needs for a run, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from rl4bio.engine.cpu.weights import private_bytes
from rl4bio.engine.kernels import engine_kernels
from rl4bio.hardware import Capability, Card, Decision, lowest_capability, resolve_precision
from rl4bio.modules.policy import Policy
from rl4bio.process.memory import (
    available_bytes,
    mapped_bytes,
    release_memory,
    resident_bytes,
)
from rl4bio.runs.activations import (
    activation_bytes,
    rows_of,
    shape_of,
    step_tokens,
    tensor_bytes,
)
from rl4bio.runs.shares import gathered_bytes, layer_bytes, num_ranks
from rl4bio.sections import RunConfig

TRAINING = 2**27
"""Of a process on a CPU, what training adds to it: more libraries, compiled kernels, holes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes of one device, an upper estimate for full-length prompts and completions.

    With B prompts and G completions a step, P and C the limits of their tokens, N = B G, L layers
    of hidden size h, MLP size i, q query and k key-value channels, vocabulary V, and e bytes a
    number (2 in half precision, else 4):

        weights       all weights, as they are stored (adapters included)
        gradients     one number a trained weight
        optimizer     two numbers a trained weight (AdamW; Muon keeps one of a layer's matrices)
        reference     with full fine-tuning and KL a second copy of the weights
        rollout       copies of the layers under an adapter, with it folded in
        key_values    2 L k e (B P + N C); without the engine every completion has its own prompt
        activations   T (L (e (4 i + 3 q + 3 k) + (4 + 6.5 n) h) + 4 min(V, 2^28 / T)), T the
                      tokens of a micro-batch of whole groups, n the norms of a layer (2, Gemma
                      4); the keys and values of each completion behind its prompt once more,
                      those of several key heads for every head; with gradient checkpointing
                      T (L h e + one layer); with soft caps (Gemma 2), or where no kernel is fused,
                      also 20 bytes a query-key pair: of every layer where it has up to 2^22 pairs,
                      else of at most 2^24 of them

    With trainer.strategy=fsdp weights, gradients, optimizer and reference are a process's share,
    and rollouts have no copies but (rollout.gather_weights) the rest of the layers, gathered:

        gathered      embedding, last norm and head, three layers, and the gradients of what of
                      them is trained: outside of the layers, and two layers'; not measured

    The activations are fitted to what torch's CUDA build allocates for Llama, Qwen 2.5 and Gemma 3
    under LoRA. `fullest` are those of a micro-batch that shorter completions fill to the last
    token of grpo.tokens_per_micro_batch. Sampling and updating follow each other, so the total
    is weights, optimizer and reference with the larger of (rollout + key_values) and (gradients +
    activations). CUDA itself and fragmentation come on top, usually 1 to 2 GiB.

    On a CPU the process is all there is, and the estimate is of all of it:

        process       what it holds before the first step, weights aside: Python, libraries, the
                      tokenizer, the data; and 128 MiB for what training adds
        head          the packed copy of frozen layers, such as the head, kept between rollouts
        rollout       packed copies of all other layers, and a step's logits three times
        key_values    4 bytes a number in any precision
        activations   of the fullest micro-batch, 6/5 of the above with 30 h, for attention without
                      a fused kernel and holes in the heap, and a layer's once more, while its
                      gradients are made; no logits under a frozen head, whose vocabulary goes by in
                      tiles; under a trained one those of a chunk, four times, and two gradients of
                      it beside the kept one
    """

    process: int = 0
    weights: int
    gradients: int
    optimizer: int
    reference: int
    rollout: int
    key_values: int
    activations: int
    head: int = 0
    gathered: int = 0
    fullest: int = 0
    """Activations of the fullest micro-batch that there may be."""
    attention: str = ""
    """The kernel that is charged for; "" where it is not known."""

    @property
    def most(self) -> int:
        """Bytes where completions are just so long that they fill a micro-batch."""
        return replace(self, activations=max(self.activations, self.fullest)).total

    @property
    def total(self) -> int:
        """Bytes at the fullest moment, which is in sampling or in updating."""
        sampling = self.rollout + self.key_values
        updating = self.gradients + self.activations
        lasting = self.process + self.weights + self.optimizer + self.reference + self.head
        return lasting + self.gathered + max(sampling, updating)

    def describe(self) -> str:
        """One line, in GiB (MiB where the whole is small)."""
        unit, size = ("GiB", 2**30) if self.total >= 2**30 else ("MiB", 2**20)
        parts = [
            f"{field.name.replace('_', ' ')} {getattr(self, field.name) / size:.1f}"
            for field in fields(self)
            if field.name not in ("fullest", "attention") and getattr(self, field.name)
        ]
        line = f"memory: about {self.total / size:.1f} {unit} a device ({', '.join(parts)})"
        if self.most > 1.05 * self.total:
            line += f", up to {self.most / size:.1f} where completions fill a micro-batch"
        return f"{line}; attention: {self.attention}" if self.attention else line


def estimate_memory(
    policy: Policy,
    config: RunConfig,
    *,
    cpu: bool = False,
    longest: int | None = None,
    card: Card | None = None,
) -> MemoryEstimate:
    """The memory of a GRPO run.

    Args:
        policy: as it will be trained, on any device (the meta device is enough).
        config: of the run.
        cpu: whether this process, on a CPU, would train the policy, which it holds already; under
            the run's autocast.
        longest: tokens of the longest prompt; None takes the limit.
        card: to train on; None is this machine's, if any.

    Raises:
        ConfigError: the configured precision does not run on the card.
    """
    if longest is not None:
        limits = replace(
            config.rollout, max_prompt_tokens=min(longest, config.rollout.max_prompt_tokens)
        )
        config = replace(config, rollout=limits)
    parameters = list(policy.model.named_parameters())
    trained = [(name, p) for name, p in parameters if p.requires_grad]
    weights, gradients = tensor_bytes(p for _, p in parameters), tensor_bytes(p for _, p in trained)
    once = [p for name, p in trained if p.ndim == 2 and "layers." in name]
    copied = policy.adapter is None and (config.grpo.kl_coef > 0 or config.grpo.monitor_kl)
    width = 2 if next(p.element_size() for _, p in parameters) == 2 else 4
    halved = (
        card is not None
        and width == 4
        and policy.adapter is not None
        and _half(policy, config, card)
    )
    if halved:
        weights -= sum(
            2 * p.numel() for _, p in parameters if not p.requires_grad and p.element_size() == 4
        )
        width = 2
    engine = config.rollout.backend != "generate"
    kernel = kernel_of(policy, cpu=cpu, card=card, width=width)
    states: dict[str, Any] = {"width": width, "cpu": cpu, "kernel": kernel.value}
    found = MemoryEstimate(
        weights=weights,
        gradients=gradients,
        optimizer=2 * gradients - (tensor_bytes(once) if config.optim.name == "muon" else 0),
        reference=weights if copied else 0,
        rollout=_rollout_bytes(policy.model, config, halved=halved) if engine else 0,
        key_values=_key_value_bytes(policy, config, engine=engine, width=4 if cpu else width),
        activations=activation_bytes(policy, config, full=cpu, **states),
        fullest=activation_bytes(policy, config, full=True, **states),
        attention="" if cpu else kernel.value,
    )
    ranks = num_ranks(config)
    if ranks > 1:
        half = width == 4 and card is not None and _half(policy, config, card)
        gathered = gathered_bytes(policy.model, half=half)
        whole = sum(layer_bytes(policy.model, half=half).values())
        sampling = max(0, whole - gathered) if config.rollout.gather_weights else 0
        found = shared_out(found, ranks, gathered, rollout=sampling)
    if not cpu:
        return found
    engine = engine and ranks == 1
    rows, sampled = rows_of(config), torch.bfloat16 if config.rollout.dtype == "bf16" else None
    head, copies = private_bytes(policy.model, dtype=sampled, rows=rows) if engine else (0, 0)
    logits = 3 * 4 * rows * shape_of(policy)["vocabulary"]
    return replace(found, process=_process_bytes(weights), head=head, rollout=copies + logits)


def shared_out(found: MemoryEstimate, ranks: int, gathered: int, *, rollout: int) -> MemoryEstimate:
    """What one of several processes needs that share the weights out."""
    names = ("weights", "gradients", "optimizer", "reference")
    shares = {name: -(-getattr(found, name) // ranks) for name in names}
    return replace(found, **shares, gathered=gathered, rollout=rollout)


def kernel_of(policy: Policy, *, cpu: bool, card: Card | None, width: int) -> Decision:
    """The attention kernel of the engine's updates on a card, or on this machine's."""
    shape = shape_of(policy)
    model: Any = policy.model
    text = model.config.get_text_config()
    capability: Capability | None = None if cpu else lowest_capability()
    if card is not None:
        capability = card.capability
    half = torch.bfloat16 if capability is None or capability >= (8, 0) else torch.float16
    return engine_kernels(
        grouped=shape["key_values"] < shape["queries"],
        window=getattr(text, "sliding_window", None) is not None,
        softcap=bool(getattr(text, "attn_logit_softcapping", None)),
        dtype=half if width == 2 else torch.float32,
        head_size=shape["head_size"],
        capability=capability,
    )


def _half(policy: Policy, config: RunConfig, card: Card) -> bool:
    """Whether a run on the card computes in half precision."""
    chosen = resolve_precision(
        config.trainer.precision, family=policy.family, capability=card.capability
    )
    return not chosen.value.startswith(("32", "64"))


def memory_warning(estimate: MemoryEstimate) -> str:
    """What to say where a run on this machine's CPU would not fit its memory; "" where it does.

    Of another device nothing is known here.
    """
    held, left = resident_bytes(), available_bytes()
    if not estimate.process or held is None or left is None or estimate.most - held <= left:
        return ""
    return (
        f"this run needs about {estimate.most / 2**30:.1f} GiB and can have "
        f"{(held + left) / 2**30:.1f}, so the system may end it without a word; lower "
        "grpo.tokens_per_micro_batch, data.options.batch_size, grpo.group_size or the token limits"
    )


def _process_bytes(weights: int) -> int:
    """What this process holds beside the policy's weights, and what training adds."""
    release_memory()  # of loading
    mapped, touched = mapped_bytes(".safetensors")
    own = max(0, weights - mapped)
    return max(0, (resident_bytes() or 0) - touched - own) + TRAINING


def _rollout_bytes(model: Any, config: RunConfig, *, halved: bool) -> int:
    """Folded copies of the layers that carry an adapter; quantised ones are left as they are."""
    found = 0
    for module in model.modules():
        base = getattr(module, "base_layer", None)
        if base is not None and base.weight.is_floating_point():
            half = halved or config.rollout.dtype == "bf16"
            width = 2 if half else base.weight.element_size()
            found += base.weight.numel() * width
    return found


def _key_value_bytes(policy: Policy, config: RunConfig, *, engine: bool, width: int) -> int:
    shape = shape_of(policy)
    tokens = step_tokens(config, shared_prompts=engine)
    return 2 * shape["layers"] * shape["key_values"] * width * tokens
