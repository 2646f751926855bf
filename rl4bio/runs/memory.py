"""How much memory a device needs for a run, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from rl4bio.data.base import Corpus
from rl4bio.engine.attention import LARGE_SCORES, PIECE_SCORES
from rl4bio.engine.cpu.weights import private_bytes
from rl4bio.engine.vocabulary_tiles import rows_at_once
from rl4bio.host_memory import available_bytes, release_memory, resident_bytes
from rl4bio.modules.policy import Policy
from rl4bio.sections import RunConfig

MAX_LOGITS = 2**28
"""Logits that exist at once: larger products go tile by tile."""
PAIR_BYTES = 20
"""Of a query and a key under a soft cap: their score, capped, with the mask, and its probability in
float32, rounded. No fused kernel computes these."""
NORM_BYTES = 30
"""Of a layer's norms and residual sums, a token and hidden unit: norms are computed in float32."""
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
        activations   T (L (e (4 i + 3 q + 3 k) + 30 h) + 4 min(V, 2^28 / T)), T the tokens of a
                      micro-batch; with gradient checkpointing T (L h e + one layer); with soft caps
                      (Gemma 2) also 20 bytes a query-key pair: of every layer where it has up to
                      2^22 pairs, else of at most 2^24 of them

    The activations are fitted to what Llama, Qwen 2.5 and Gemma 3 save for the backward under LoRA;
    attention is taken to be a fused kernel. Sampling and updating follow each other, so the total
    is weights, optimizer and reference with the larger of (rollout + key_values) and (gradients +
    activations). CUDA itself and fragmentation come on top, usually 1 to 2 GiB.

    On a CPU the process is all there is, and the estimate is of all of it:

        process       what it holds before the first step, weights aside: Python, libraries, the
                      tokenizer, the data; and 128 MiB for what training adds
        head          the packed copy of frozen layers, such as the head, kept between rollouts
        rollout       packed copies of all other layers, and a step's logits three times
        key_values    4 bytes a number in any precision
        activations   6/5 of the above, for attention without a fused kernel and holes in the heap,
                      and a layer's once more, while its gradients are made; no logits under a
                      frozen head, whose vocabulary goes by in tiles; under a trained one those of
                      a chunk, four times, and two gradients of it beside the one that is kept
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

    @property
    def total(self) -> int:
        sampling = self.rollout + self.key_values
        updating = self.gradients + self.activations
        lasting = self.process + self.weights + self.optimizer + self.reference + self.head
        return lasting + max(sampling, updating)

    def describe(self) -> str:
        """One line, in GiB (MiB where the whole is small)."""
        unit, size = ("GiB", 2**30) if self.total >= 2**30 else ("MiB", 2**20)
        parts = [
            f"{field.name.replace('_', ' ')} {getattr(self, field.name) / size:.1f}"
            for field in fields(self)
            if getattr(self, field.name)
        ]
        return f"memory: about {self.total / size:.1f} {unit} a device ({', '.join(parts)})"


def estimate_memory(
    policy: Policy, config: RunConfig, *, cpu: bool = False, longest: int | None = None
) -> MemoryEstimate:
    """The memory of a GRPO run.

    Args:
        policy: as it will be trained, on any device (the meta device is enough).
        config: of the run.
        cpu: whether this process, on a CPU, would train the policy, which it holds already; under
            the run's autocast.
        longest: tokens of the longest prompt; None takes the limit.
    """
    if longest is not None:
        limits = replace(
            config.rollout, max_prompt_tokens=min(longest, config.rollout.max_prompt_tokens)
        )
        config = replace(config, rollout=limits)
    parameters = list(policy.model.named_parameters())
    trained = [(name, p) for name, p in parameters if p.requires_grad]
    weights, gradients = _bytes(p for _, p in parameters), _bytes(p for _, p in trained)
    once = [p for name, p in trained if p.ndim == 2 and "layers." in name]
    copied = policy.adapter is None and (config.grpo.kl_coef > 0 or config.grpo.monitor_kl)
    width = 2 if next(p.element_size() for _, p in parameters) == 2 else 4
    engine = config.rollout.backend != "generate"
    found = MemoryEstimate(
        weights=weights,
        gradients=gradients,
        optimizer=2 * gradients - (_bytes(once) if config.optim.name == "muon" else 0),
        reference=weights if copied else 0,
        rollout=_rollout_bytes(policy.model, config) if engine else 0,
        key_values=_key_value_bytes(policy, config, engine=engine, width=4 if cpu else width),
        activations=_activation_bytes(policy, config, width=width, cpu=cpu),
    )
    if not cpu:
        return found
    rows, sampled = _rows(config), torch.bfloat16 if config.rollout.dtype == "bf16" else None
    head, copies = private_bytes(policy.model, dtype=sampled, rows=rows) if engine else (0, 0)
    logits = 3 * 4 * rows * _shape(policy)["vocabulary"]
    return replace(found, process=_process_bytes(weights), head=head, rollout=copies + logits)


def memory_warning(estimate: MemoryEstimate) -> str:
    """What to say where a run on this machine's CPU would not fit its memory; "" where it does.

    Of another device nothing is known here.
    """
    held, left = resident_bytes(), available_bytes()
    if not estimate.process or held is None or left is None or estimate.total - held <= left:
        return ""
    return (
        f"this run needs about {estimate.total / 2**30:.1f} GiB and can have "
        f"{(held + left) / 2**30:.1f}, so the system may end it without a word; lower "
        "grpo.tokens_per_micro_batch, data.options.batch_size, grpo.group_size or the token limits"
    )


def _process_bytes(weights: int) -> int:
    """What this process holds beside the policy's weights, and what training adds."""
    release_memory()  # of loading
    return max(0, (resident_bytes() or 0) - weights) + TRAINING


def _bytes(parameters: Any) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _rollout_bytes(model: Any, config: RunConfig) -> int:
    """Folded copies of the layers that carry an adapter; quantised ones are left as they are."""
    found = 0
    for module in model.modules():
        base = getattr(module, "base_layer", None)
        if base is not None and base.weight.is_floating_point():
            width = 2 if config.rollout.dtype == "bf16" else base.weight.element_size()
            found += base.weight.numel() * width
    return found


def _prompts(config: RunConfig) -> int:
    return int(config.data.options.get("batch_size", Corpus.batch_size))


def _rows(config: RunConfig) -> int:
    return _prompts(config) * config.grpo.group_size


def _tokens(config: RunConfig, *, shared_prompts: bool) -> int:
    """Prompt and completion tokens of a step at the limits."""
    limits, rows = config.rollout, _rows(config)
    fronts = _prompts(config) if shared_prompts else rows
    return fronts * limits.max_prompt_tokens + rows * limits.max_completion_tokens


def _key_value_bytes(policy: Policy, config: RunConfig, *, engine: bool, width: int) -> int:
    shape = _shape(policy)
    tokens = _tokens(config, shared_prompts=engine)
    return 2 * shape["layers"] * shape["key_values"] * width * tokens


def _activation_bytes(policy: Policy, config: RunConfig, *, width: int, cpu: bool) -> int:
    shape, limits = _shape(policy), config.rollout
    row = limits.max_prompt_tokens + limits.max_completion_tokens
    step = _tokens(config, shared_prompts=True)
    tokens = min(max(config.grpo.tokens_per_micro_batch, row), step)
    channels = 4 * shape["mlp"] + 3 * shape["queries"] + 3 * shape["key_values"]
    layer = width * channels + NORM_BYTES * shape["hidden"]
    logits = 4 * min(tokens * shape["vocabulary"], MAX_LOGITS)
    if cpu:
        layer = layer * 6 // 5
        logits = _head_bytes(policy.model, tokens) + tokens * layer
    scores = _score_bytes(policy, config, share=tokens / step)
    if getattr(policy.model, "is_gradient_checkpointing", False):
        return tokens * (shape["layers"] * shape["hidden"] * width + layer) + logits + max(scores)
    return tokens * shape["layers"] * layer + logits + max(scores[0] * shape["layers"], scores[1])


def _head_bytes(model: Any, tokens: int) -> int:
    """What a head on a CPU needs while so many tokens run, see `MemoryEstimate`."""
    head = model.get_output_embeddings()
    weights = [p for p in head.parameters() if p.requires_grad]
    if not weights and type(head) is torch.nn.Linear:
        return 0
    vocabulary = model.config.get_text_config().vocab_size
    chunk = min(tokens, rows_at_once(vocabulary, torch.device("cpu"))) * vocabulary
    return 4 * 4 * chunk + 2 * _bytes(weights)


def _score_bytes(policy: Policy, config: RunConfig, *, share: float) -> tuple[int, int]:
    """What a layer keeps of scores under a soft cap, and what it needs while it runs.

    Args:
        policy: of the run.
        config: of the run.
        share: of a step that is in a micro-batch.
    """
    model: Any = policy.model
    text = model.config.get_text_config()
    if not getattr(text, "attn_logit_softcapping", None):
        return 0, 0
    limits, group = config.rollout, config.grpo.group_size
    first, behind = limits.max_prompt_tokens, limits.max_completion_tokens
    pairs = _prompts(config) * max(first**2, group * behind * (first + behind))
    scores = int(share * pairs * text.num_attention_heads)
    if scores <= LARGE_SCORES:
        return PAIR_BYTES * scores, PAIR_BYTES * scores
    return 0, PAIR_BYTES * min(scores, PIECE_SCORES)


def _shape(policy: Policy) -> dict[str, int]:
    """The sizes that the formula names, from the model's configuration."""
    model: Any = policy.model
    config = model.config.get_text_config()
    hidden, heads = config.hidden_size, config.num_attention_heads
    channels = getattr(config, "head_dim", None) or hidden // heads
    return {
        "hidden": hidden,
        "layers": config.num_hidden_layers,
        "queries": heads * channels,
        "key_values": (getattr(config, "num_key_value_heads", None) or heads) * channels,
        "mlp": getattr(config, "intermediate_size", None) or 4 * hidden,
        "vocabulary": config.vocab_size,
    }
