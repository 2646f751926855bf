"""What a micro-batch keeps for its backward, from a model's sizes: the terms of `memory`."""

from __future__ import annotations

from typing import Any

import torch

from rl4bio.data.base import Corpus
from rl4bio.engine.attention import LARGE_SCORES, PIECE_SCORES
from rl4bio.engine.vocabulary_tiles import rows_at_once
from rl4bio.modules.batching import tokens_in_heap
from rl4bio.modules.policy import Policy
from rl4bio.sections import RunConfig

MAX_LOGITS = 2**28
"""Logits that exist at once: larger products go tile by tile."""
PAIR_BYTES = 20
"""Of a query and a key under a soft cap, or in a kernel that holds scores: their score, capped,
with the mask, and its probability in float32, rounded. No fused kernel keeps these."""
SUM_BYTES, NORM_BYTES = 4, 6.5
"""Of a layer's residual sums, and of each of its norms over the hidden size, a token and hidden
unit: norms are computed in float32. Llama has two norms in a layer, Gemma four."""
CPU_BYTES = 30
"""Of both on a CPU, whose heap has holes besides."""


def tensor_bytes(parameters: Any) -> int:
    """Bytes of the values of some tensors."""
    return sum(p.numel() * p.element_size() for p in parameters)


def prompts_of(config: RunConfig) -> int:
    """Prompts of a step."""
    return int(config.data.options.get("batch_size", Corpus.batch_size))


def rows_of(config: RunConfig) -> int:
    """Completions of a step."""
    return prompts_of(config) * config.grpo.group_size


def step_tokens(config: RunConfig, *, shared_prompts: bool) -> int:
    """Prompt and completion tokens of a step at the limits."""
    limits, rows = config.rollout, rows_of(config)
    fronts = prompts_of(config) if shared_prompts else rows
    return fronts * limits.max_prompt_tokens + rows * limits.max_completion_tokens


def micro_batch_tokens(config: RunConfig, *, enough: int | None = None, full: bool = False) -> int:
    """Tokens of the largest micro-batch of a step.

    Args:
        config: of the run.
        enough: tokens beyond which no further group joins; None is the limit.
        full: as if completions were just so long that they fill it; else they are at their limit,
            and whole groups seldom do.
    """
    limits, limit = config.rollout, config.grpo.micro_batch_tokens
    row = limits.max_prompt_tokens + limits.max_completion_tokens
    group = row + (config.grpo.group_size - 1) * limits.max_completion_tokens
    step = step_tokens(config, shared_prompts=True)
    if group <= limit:  # groups stay whole
        joined = min(limit, enough or limit)
        tokens = max(group, joined if full else joined // group * group)
    else:
        rows = max(1, (limit - limits.max_prompt_tokens) // limits.max_completion_tokens)
        whole = limits.max_prompt_tokens + rows * limits.max_completion_tokens
        tokens = max(row, limit) if full else whole
    return min(tokens, step)


def activation_bytes(
    policy: Policy, config: RunConfig, *, width: int, cpu: bool, kernel: str, full: bool
) -> int:
    """Of the largest micro-batch, head and attention included.

    Args:
        policy: of the run.
        config: of the run.
        width: bytes of a number of the layers' states.
        cpu: whether it runs on a CPU.
        kernel: of attention, as `engine_kernels` names it.
        full: see `micro_batch_tokens`.
    """
    shape = shape_of(policy)
    enough = tokens_in_heap(policy.model) if cpu else None
    tokens = micro_batch_tokens(config, enough=enough, full=full)
    channels = 4 * shape["mlp"] + 3 * shape["queries"] + 3 * shape["key_values"]
    norms = CPU_BYTES if cpu else SUM_BYTES + NORM_BYTES * norms_of_layer(policy.model)
    layer = int(width * channels + norms * shape["hidden"])
    logits = 4 * min(tokens * shape["vocabulary"], MAX_LOGITS)
    if cpu:
        layer = layer * 4 // 3
        logits = _head_bytes(policy.model, tokens) + tokens * layer
    share = tokens / step_tokens(config, shared_prompts=True)
    scores = _score_bytes(policy, config, share=share, kernel=kernel)
    keys = 0 if cpu or kernel == "products" else int(share * _key_bytes(policy, config, width))
    set_already = getattr(policy.model, "is_gradient_checkpointing", False)
    if config.policy.gradient_checkpointing or set_already:
        kept = shape["layers"] * shape["hidden"] * width + layer
        return tokens * kept + logits + keys + max(scores)
    kept = shape["layers"] * (tokens * layer + keys)
    return kept + logits + max(scores[0] * shape["layers"], scores[1])


def norms_of_layer(model: Any) -> int:
    """Norms over the hidden size in a decoder layer: 2 in most models, 4 in Gemma."""
    text = model.config.get_text_config()
    found = sum(
        type(module).__name__.endswith("Norm")
        and getattr(module, "weight", None) is not None
        and tuple(module.weight.shape) == (text.hidden_size,)
        for module in model.modules()
    )
    return max(0, found - 1) // int(text.num_hidden_layers)  # one stands behind all layers


def _key_bytes(policy: Policy, config: RunConfig, width: int) -> int:
    """Keys and values of a step in one piece for every completion, as fused kernels take them.

    A single key head is read by all heads where it lies; several are repeated.
    """
    shape, limits = shape_of(policy), config.rollout
    repeated = shape["key_heads"] > 1
    channels = shape["queries"] if repeated else shape["key_values"]
    seen = limits.max_prompt_tokens + limits.max_completion_tokens
    return rows_of(config) * seen * 2 * channels * width


def _head_bytes(model: Any, tokens: int) -> int:
    """What a head on a CPU needs while so many tokens run, see `MemoryEstimate`."""
    head = model.get_output_embeddings()
    weights = [p for p in head.parameters() if p.requires_grad]
    if not weights and type(head) is torch.nn.Linear:
        return 0
    vocabulary = int(model.config.get_text_config().vocab_size)
    chunk = min(tokens, rows_at_once(vocabulary, torch.device("cpu"))) * vocabulary
    return 4 * 4 * chunk + 2 * tensor_bytes(weights)


def _score_bytes(
    policy: Policy, config: RunConfig, *, share: float, kernel: str
) -> tuple[int, int]:
    """What a layer keeps of scores, and what it needs while it runs; nothing in a fused kernel.

    Args:
        policy: of the run.
        config: of the run.
        share: of a step that is in a micro-batch.
        kernel: of attention.
    """
    model: Any = policy.model
    text = model.config.get_text_config()
    capped = getattr(text, "attn_logit_softcapping", None)
    if not capped and "math" not in kernel:
        return 0, 0
    limits, group = config.rollout, config.grpo.group_size
    first, behind = limits.max_prompt_tokens, limits.max_completion_tokens
    pairs = prompts_of(config) * max(first**2, group * behind * (first + behind))
    scores = int(share * pairs * text.num_attention_heads)
    if scores <= LARGE_SCORES or not capped:
        return PAIR_BYTES * scores, PAIR_BYTES * scores
    return 0, PAIR_BYTES * min(scores, PIECE_SCORES)


def shape_of(policy: Policy) -> dict[str, int]:
    """The sizes that the formula names, from the model's configuration."""
    model: Any = policy.model
    config = model.config.get_text_config()
    hidden, heads = config.hidden_size, config.num_attention_heads
    channels = getattr(config, "head_dim", None) or hidden // heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    return {
        "hidden": hidden,
        "layers": config.num_hidden_layers,
        "queries": heads * channels,
        "key_values": key_heads * channels,
        "key_heads": key_heads,
        "head_size": channels,
        "mlp": getattr(config, "intermediate_size", None) or 4 * hidden,
        "vocabulary": config.vocab_size,
    }
