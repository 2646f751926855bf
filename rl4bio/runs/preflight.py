"""What a run would start from: the untrained policy's rewards on a few prompts."""

from __future__ import annotations

import contextlib
import heapq
import math
import statistics
from collections.abc import Iterator, Sequence

import torch

from rl4bio.hardware import CARDS
from rl4bio.modules.completing import Sampling, complete
from rl4bio.modules.policy import Policy
from rl4bio.modules.step_advantages import advantages_over_ranks
from rl4bio.runs.card_plan import card_plan
from rl4bio.runs.memory import MemoryEstimate, estimate_memory, memory_warning
from rl4bio.runs.policies import HALF, choose_precision, find_device
from rl4bio.sections import RunConfig
from rl4bio.types import Completions, Sample, Scorer, Scores, ScoreTable

PROMPTS = 4
LONGEST = 8
"""Prompts of the most characters, among which the one of the most tokens is taken to be."""
SHOWN_CHARACTERS = 400
MOST = 0.5
"""Share of cut-off completions above which a warning is due."""
REMEDIES = (
    "use an easier reward (structure with graded credit, verdict, choice or option with lenient "
    "credit), prompts that open the block (data.options.open_block), a warm start, or a larger "
    "group"
)
COLUMNS = ("weight", "mean", "min", "median", "max", "at 0", "NaN", "equal")


def preview(
    policy: Policy, scorer: Scorer, samples: Sequence[Sample], config: RunConfig
) -> list[str]:
    """Lines that show the reward distribution of G completions of the first few prompts.

    A row of the table is a reward: its mean, minimum, median and maximum over the completions that
    it could score, the shares of completions that are worth 0 and that it could not score (NaN),
    and the share of prompts whose completions it scores all alike, which teach nothing about it.

    They end with a warning where training would be a silent no-op: no completion scored, every
    group's advantages 0, or completions cut off by the length limit.
    """
    chosen = list(samples[:PROMPTS])
    memory = memory_of(policy, samples, config)
    found = sample(policy, chosen, config)
    group = config.grpo.group_size
    table = scorer(found.completions, [one for one in chosen for _ in range(group)])
    cut = found.truncated.float().mean().item()
    silent = silent_fraction(table, found, config)
    return [
        f"{len(chosen)} prompts x {group} completions of the untrained policy",
        *starts(policy, chosen),
        f"prompt tokens: {spread(found.prompt_mask.sum(-1).tolist()[::group])}, "
        f"limit {config.rollout.max_prompt_tokens}",
        f"completion tokens: {spread(found.lengths.tolist())}, "
        f"limit {config.rollout.max_completion_tokens}, cut off by it {cut:.0%}",
        memory.describe(),
        *reward_rows(table, group),
        f"groups whose rewards are all equal: {silent:.0%}",
        f"best completion: {best(found.completions, table.total)!r}",
        *(
            f"WARNING: {text}"
            for text in [*warnings(table, silent, cut, config), memory_warning(memory)]
            if text
        ),
    ]


def memory_of(policy: Policy, samples: Sequence[Sample], config: RunConfig) -> MemoryEstimate:
    """The memory that a run on these samples needs of its device, before it has begun."""
    with placed(policy, config):
        return estimate_memory(
            policy,
            config,
            cpu=find_device(config.trainer.accelerator).type == "cpu",
            longest=longest_prompt(policy, samples),
        )


def longest_prompt(policy: Policy, samples: Sequence[Sample]) -> int:
    """Tokens of the longest prompt."""
    longest = heapq.nlargest(LONGEST, samples, key=lambda one: len(str(one.prompt)))
    return max(policy.count_tokens(one.prompt) for one in longest)


def plan_for(policy: Policy, samples: Sequence[Sample], config: RunConfig, card: str) -> list[str]:
    """Lines that say whether the run would fit a card; see `card_plan`."""
    longest = longest_prompt(policy, samples)
    return card_plan(policy, config, card, CARDS[card], longest=longest)


def sample(policy: Policy, samples: Sequence[Sample], config: RunConfig) -> Completions:
    """G completions of each sample at the run's own settings, on its device, in its precision."""
    with placed(policy, config):
        sampling = Sampling.at(config.rollout, group_size=config.grpo.group_size)
        seeds = [config.seed + n for n in range(len(samples))]
        return complete(policy, samples, sampling, seeds=seeds)


def starts(policy: Policy, samples: Sequence[Sample]) -> list[str]:
    """A line that says what completions are begun with, where the policy does not begin them."""
    begun = sorted({policy.start_of(one) for one in samples} - {""})
    return [f"completions begin with {', '.join(map(repr, begun))}, which is given"] * bool(begun)


@contextlib.contextmanager
def placed(policy: Policy, config: RunConfig) -> Iterator[None]:
    """The policy on the device that will train it, under that device's autocast."""
    device = find_device(config.trainer.accelerator)
    policy.model.to(device)
    precision, _ = choose_precision(
        config, cuda=device.type == "cuda", trained=True, family=policy.family
    )
    half = HALF.get(precision.value.split("-")[0], torch.bfloat16)
    with torch.autocast(device.type, dtype=half, enabled=precision.value.endswith("-mixed")):
        yield


def spread(values: Sequence[float]) -> str:
    """Shortest, median and longest of some lengths."""
    return f"{min(values)} to {max(values)}, median {statistics.median(values):g}"


def reward_rows(table: ScoreTable, group_size: int) -> list[str]:
    """The head and the rows of the table, the total last."""
    lines = [f"{'reward':<16}" + "".join(f"{name:>8}" for name in COLUMNS)]
    for name, values in {**table.parts, "total": table.total}.items():
        known = [value for value in values if not math.isnan(value)]
        numbers = [
            summary(known) if known else math.nan
            for summary in (statistics.fmean, min, statistics.median, max)
        ]
        zero = sum(value == 0 for value in known) / len(values)
        equal = _equal_groups(values, group_size)
        weight = table.weights.get(name)
        lines.append(
            f"{name:<16}{'' if weight is None else format(weight, 'g'):>8}"
            + "".join(f"{number:>8.3f}" for number in numbers)
            + "".join(f"{share:>8.0%}" for share in (zero, 1 - len(known) / len(values), equal))
        )
    return lines


def _equal_groups(values: Sequence[float], group_size: int) -> float:
    """Share of groups in which a reward's scored values are all equal, or fewer than two."""
    starts = range(0, len(values), group_size)
    groups = [{v for v in values[n : n + group_size] if not math.isnan(v)} for n in starts]
    return sum(len(group) < 2 for group in groups) / len(groups)


def silent_fraction(table: ScoreTable, found: Completions, config: RunConfig) -> float:
    """Share of groups that no gradient comes from: all advantages 0, or left out of the loss."""
    scores = Scores(
        total=torch.tensor(table.total),
        parts={name: torch.tensor(values) for name, values in table.parts.items()},
        weights=table.weights,
    )
    advantages = advantages_over_ranks(scores, config.grpo, gather=lambda rows: rows, rank=0)
    if config.grpo.mask_truncated:
        advantages = advantages.masked_fill(found.truncated.cpu(), 0.0)
    teaching = (advantages.view(-1, config.grpo.group_size) != 0).any(-1)
    return 1 - teaching.float().mean().item()


def best(texts: Sequence[str], total: Sequence[float]) -> str:
    """The beginning of the completion with the highest total."""
    rank = [-math.inf if math.isnan(value) else value for value in total]
    return texts[rank.index(max(rank))][:SHOWN_CHARACTERS]


def warnings(table: ScoreTable, silent: float, cut: float, config: RunConfig) -> list[str]:
    """Why training would change nothing, or little; in plain words, with what to do."""
    found = []
    if all(map(math.isnan, table.total)):
        found.append(
            "no completion could be scored, so training would stop at its first step; the samples "
            f"lack what {', '.join(table.parts)} need"
        )
    elif silent == 1.0:
        found.append(f"no group has any spread, so training would change nothing; {REMEDIES}")
    for name, values in table.parts.items():
        known = {value for value in values if not math.isnan(value)}
        if not known and len(table.parts) > 1:
            found.append(f"{name} could score no completion; do the samples have what it needs?")
        elif len(known) == 1 and silent < 1.0:
            found.append(f"{name} is {known.pop():g} for every completion and teaches nothing yet")
    if cut > MOST:
        gone = ", and grpo.mask_truncated leaves them out" if config.grpo.mask_truncated else ""
        found.append(f"most completions are cut off{gone}; raise rollout.max_completion_tokens")
    return found
