"""What a run would start from: the untrained policy's rewards on a few prompts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import torch

from rl4bio.functional.advantages import zero_spread_groups
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.sections import RunConfig
from rl4bio.types import Sample, Scorer

PROMPTS = 4


def preview(
    policy: Policy, scorer: Scorer, samples: Sequence[Sample], config: RunConfig
) -> list[str]:
    """Lines that show the reward distribution of G completions of the first few prompts.

    They end with a warning where training would be a silent no-op: every group's rewards equal,
    or most completions cut off by the length limit.
    """
    chosen = list(samples[:PROMPTS])
    group = config.grpo.group_size
    found = sample_completions(
        policy,
        [policy.encode_prompt(sample.prompt) for sample in chosen],
        group_size=group,
        max_new_tokens=config.rollout.max_completion_tokens,
        temperature=config.rollout.temperature,
        top_k=config.rollout.top_k,
        seeds=[config.seed + n for n in range(len(chosen))],
        conditions=policy.conditions(chosen),
    )
    table = scorer(found.texts, [sample for sample in chosen for _ in range(group)])
    silent = zero_spread_groups(torch.tensor(table.total), group).float().mean().item()
    truncated = found.truncated.float().mean().item()
    prompts = found.prompt_mask.sum(-1).float()
    lines = [
        f"{len(chosen)} prompts x {group} completions of the untrained policy",
        f"prompt tokens: mean {prompts.mean():.0f}, longest {prompts.max():.0f}",
        f"completion tokens: mean {found.lengths.float().mean():.0f}, "
        f"cut off by the limit {truncated:.0%}",
        f"{'reward':<16}{'weight':>8}{'mean':>8}{'std':>8}{'min':>8}{'max':>8}",
    ]
    rows = {**table.parts, "total": table.total}
    for name, values in rows.items():
        known = [value for value in values if not math.isnan(value)] or [math.nan]
        weight = table.weights.get(name)
        shown = "" if weight is None else f"{weight:g}"
        lines.append(
            f"{name:<16}{shown:>8}{statistics.fmean(known):>8.3f}{statistics.pstdev(known):>8.3f}"
            f"{min(known):>8.3f}{max(known):>8.3f}"
        )
    lines.append(f"groups whose rewards are all equal: {silent:.0%}")
    best = max(range(len(found.texts)), key=lambda n: -math.inf if math.isnan(table.total[n])
               else table.total[n])  # fmt: skip
    lines.append(f"best completion: {found.texts[best][:400]!r}")
    if silent == 1.0:
        lines.append(
            "WARNING: no group has any spread, so training would change nothing; "
            "use an easier reward (structure with graded credit), a warm start, or a larger group"
        )
    if truncated > 0.5:
        lines.append("WARNING: most completions are cut off; raise rollout.max_completion_tokens")
    return lines
