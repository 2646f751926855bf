"""Whether a run would fit a card, and what makes it fit; no card is needed to say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rl4bio.errors import ConfigError
from rl4bio.hardware import Card, resolve_precision
from rl4bio.modules.policy import Policy
from rl4bio.runs.activations import prompts_of
from rl4bio.runs.memory import MemoryEstimate, estimate_memory
from rl4bio.sections import RunConfig

OVERHEAD_GIB = 1.5
"""CUDA itself and the allocator's gaps."""
SHOWN = 3


def card_plan(
    policy: Policy, config: RunConfig, name: str, card: Card, *, longest: int | None = None
) -> list[str]:
    """Lines for people: what the card would run, what it takes, and what lowers that.

    Args:
        policy: as it will be trained, on any device.
        config: of the run.
        name: of the card.
        card: need not be there.
        longest: tokens of the longest prompt; None takes the limit.

    Raises:
        ConfigError: the configured precision does not run on the card.
    """

    def estimate(changed: RunConfig) -> MemoryEstimate:
        return estimate_memory(policy, changed, longest=longest, card=card)

    found = estimate(config)
    precision = resolve_precision(
        config.trainer.precision, family=policy.family, capability=card.capability
    )
    lines = [
        f"{name}: {precision.value} ({precision.reason})",
        found.describe(),
        card_verdict(found, card),
    ]
    if room(found, card) < 0:
        lines += [
            f"  {change}: {total / 2**30:.1f} GiB" for total, change in remedies(config, estimate)
        ]
    return lines


def card_row(policy: Policy, config: RunConfig, name: str, card: Card) -> str:
    """A line for people: whether a run fits one of several cards."""
    try:
        found = estimate_memory(policy, config, card=card)
        chosen = resolve_precision(
            config.trainer.precision, family=policy.family, capability=card.capability
        )
    except ConfigError as error:
        return f"{name:<10}{error}"
    left = room(found, card)
    says = f"fits, {left:.1f} GiB to spare" if left >= 0 else f"does not fit, {-left:.1f} too much"
    return f"{name:<10}{chosen.value:<12}{found.most / 2**30:6.1f} GiB  {says}"


def room(found: MemoryEstimate, card: Card) -> float:
    """GiB that the card has to spare."""
    return card.memory_gib - OVERHEAD_GIB - found.most / 2**30


def card_verdict(found: MemoryEstimate, card: Card) -> str:
    """Whether it fits, in one line."""
    left = room(found, card)
    of = f"{card.memory_gib:g} GiB, of which CUDA takes some {OVERHEAD_GIB:g}"
    if left >= 0:
        return f"fits: {left:.1f} GiB to spare ({of})"
    return f"does not fit: {-left:.1f} GiB too much ({of}); changes that help, each alone"


def remedies(
    config: RunConfig, estimate: Callable[[RunConfig], MemoryEstimate]
) -> list[tuple[int, str]]:
    """Bytes and text of the changes that lower the memory most, the best first."""
    grpo, limits = config.grpo, config.rollout
    half_batch = max(1, prompts_of(config) // 2)
    options = {**config.data.options, "batch_size": half_batch}
    changes = {
        f"grpo.tokens_per_micro_batch={grpo.micro_batch_tokens // 2}": replace(
            config, grpo=replace(grpo, tokens_per_micro_batch=grpo.micro_batch_tokens // 2)
        ),
        "policy.gradient_checkpointing=true": replace(
            config, policy=replace(config.policy, gradient_checkpointing=True)
        ),
        f"rollout.max_completion_tokens={limits.max_completion_tokens // 2}": replace(
            config,
            rollout=replace(limits, max_completion_tokens=limits.max_completion_tokens // 2),
        ),
        f"data.options.batch_size={half_batch}": replace(
            config, data=replace(config.data, options=options)
        ),
    }
    if config.trainer.strategy == "fsdp" and limits.gather_weights:
        once = replace(limits, gather_weights=False)
        changes["rollout.gather_weights=false"] = replace(config, rollout=once)
    found = [(estimate(changed).most, text) for text, changed in changes.items()]
    return sorted(found)[:SHOWN]
