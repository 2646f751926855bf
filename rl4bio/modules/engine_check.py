"""Whether the engine serves a model: it must give the numbers of a plain forward."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from rl4bio.engine.cuda.compiled import backend_on, compiling_if
from rl4bio.engine.decode import decode
from rl4bio.engine.layout import pack
from rl4bio.engine.packed_logprobs import halves, packed_logprobs
from rl4bio.engine.sharding import shards_of
from rl4bio.functional.masking import lengths_to_mask
from rl4bio.modules.conditions import Conditioning, pick_conditions
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.policy import Policy, evaluating

log = logging.getLogger("rl4bio")

LAYER_TYPES = {"full_attention", "sliding_attention"}
PROMPT_LENGTHS, NUM_TOKENS = (7, 4), 5
LIMIT_NATS = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.05}
"""Mean difference of log-probabilities of one token by two ways of computing it, above which they
are not the same: the engine is not used, or the self-check stops the run. Rounding alone: plain
forwards of Gemma 3 270M and Qwen2.5 0.5B in bfloat16 are .02 to .13 from their own in float32 on
random tokens, two ways of computing up to .16 from each other. A position too many is as little
(.1 to 1.5), so what can be computed in float32 is checked there as well."""
CAPPED = 1.2
"""Times so much where half precision meets soft caps: a plain forward of Gemma 2 rounds each step
of a cap to it, the engine none, so that they differ more than elsewhere: by 0.04 to 0.1 nats in
bfloat16 on random models of 42 layers."""


def engine_serves(policy: Policy) -> bool:
    """Whether rollouts and log-probabilities of this policy go through the engine.

    Decided once, at the first use: the configuration asks for it, the model goes through
    transformers' attention interface, and on a tiny random batch the engine's log-probabilities,
    sampled and scored, are those of a plain forward. Otherwise one line in the log says why not.
    """
    if policy.backend == "generate":
        return False
    if policy.engine_problem is None:
        policy.engine_problem = find_problem(policy)
        if policy.engine_problem:
            log.info("engine: not used, %s; plain forward passes instead", policy.engine_problem)
    return not policy.engine_problem


def find_problem(policy: Policy) -> str:
    """Why the engine cannot serve the policy; "" where it can."""
    model: Any = policy.model
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = inner.config.get_text_config()
    if not getattr(inner, "_supports_attention_backend", False):
        return f"{type(inner).__name__} has an attention of its own"
    unknown = set(getattr(config, "layer_types", None) or ()) - LAYER_TYPES
    if unknown or getattr(config, "use_bidirectional_attention", False):
        kinds = ", ".join(sorted(unknown)) or "bidirectional attention"
        return f"{type(inner).__name__} has {kinds}"
    dtype = _working_dtype(policy)
    capped = getattr(config, "attn_logit_softcapping", None) and dtype != torch.float32
    limit = LIMIT_NATS[dtype] * (CAPPED if capped else 1.0)
    try:
        if dtype != torch.float32 and _has_float32_twin(policy):
            with torch.autocast(policy.device.type, enabled=False):
                gap = largest_gap(policy)
            if not gap <= LIMIT_NATS[torch.float32]:
                return _differ(gap)
        gap = largest_gap(policy)
        if not gap <= limit and policy.compile and backend_on(policy.device):
            log.info("engine: layers are not compiled (they would differ by %.2g nats)", gap)
            policy.compile = False
            gap = largest_gap(policy)
    except torch.OutOfMemoryError:  # a RuntimeError, and no reason to run without the engine
        raise
    except (NotImplementedError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        return f"{type(inner).__name__} does not run in it ({str(error).splitlines()[0]})"
    return "" if gap <= limit else _differ(gap)


def _differ(gap: float) -> str:
    return f"its log-probabilities differ by {gap:.2g} nats from a plain forward's"


def _has_float32_twin(policy: Policy) -> bool:
    """Whether all is computed in float32 without autocast; not where layers are gathered."""
    if shards_of(policy.model) is not None:
        return False
    weights = [*policy.model.parameters(), *policy.model.buffers()]
    return all(weight.dtype == torch.float32 for weight in weights if weight.numel() > 1)


@torch.no_grad()
def largest_gap(policy: Policy) -> float:
    """Mean difference in nats of sampled and of scored log-probabilities, the larger of the two."""
    generator = torch.Generator().manual_seed(0)
    words = policy.model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    width, group = max(PROMPT_LENGTHS), 2
    room = policy.max_positions or width + NUM_TOKENS
    width = min(width, max(1, room - NUM_TOKENS))
    lengths = torch.tensor(PROMPT_LENGTHS).clamp(max=width)
    ids = torch.randint(min(words, len(policy.tokenizer)), (2, width), generator=generator)
    noise = torch.rand(2 * group, NUM_TOKENS, generator=generator, dtype=torch.float64)
    ids, mask = ids.to(policy.device), lengths_to_mask(lengths, width).flip(-1).to(policy.device)
    index = torch.arange(2, device=policy.device).repeat_interleave(group)
    conditions = _random_conditions(policy, len(ids), generator)
    with evaluating(policy.model), compiling_if(policy.compile):
        found = decode(
            policy.model,
            ids,
            mask,
            group_size=group,
            max_new_tokens=NUM_TOKENS,
            temperature=1.0,
            noise=noise,
            stop_ids=policy.stop_ids,
            conditions=conditions,
        )
        rows = lengths_to_mask(found.lengths, NUM_TOKENS)
        front = halves(policy.model).front
        packed = pack(ids, mask, index, found.tokens, rows, front=front)
        scored, _ = packed_logprobs(policy.model, packed, temperature=1.0, conditions=conditions)
        plain, _ = completion_logprobs(
            policy.model,
            ids[index],
            mask[index],
            found.tokens,
            rows,
            temperature=1.0,
            conditions=pick_conditions(conditions, index),
        )
    both = torch.stack([found.logprobs[rows], scored])
    return float((both - plain[rows]).abs().mean(-1).max())


def _random_conditions(policy: Policy, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Conditions as `Policy.conditions` gives them, made up; {} where the model takes none."""
    config: Any = policy.model.config
    found: dict[str, Tensor] = {}
    asked = Conditioning.of(config)
    if size := asked.num_properties:
        found["properties"] = torch.rand(count, size, generator=generator)
    if length := asked.scaffold_length:
        words = (count, length)
        found["scaffold_ids"] = torch.randint(config.vocab_size, words, generator=generator)
    return {name: value.to(policy.device) for name, value in found.items()}


def _working_dtype(policy: Policy) -> torch.dtype:
    """The type that matrix products run in."""
    device = policy.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    body: Tensor = next(policy.model.parameters())
    return body.dtype if body.dtype in LIMIT_NATS else torch.float32
