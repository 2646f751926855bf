"""Dynamic sampling (Yu et al., 2025, DAPO, arXiv:2503.14476): groups that teach are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rl4bio.errors import ConfigError
from rl4bio.functional.advantages import zero_spread_groups
from rl4bio.modules.batching import join_groups, take_groups
from rl4bio.types import PromptBatch, Rollout, Scores


def spare_prompts(trainer: Any) -> Callable[[int, int, Sequence[int]], PromptBatch]:
    """Where fresh prompts come from: iteration, round and numbers in the step -> prompts.

    Raises:
        ConfigError: the trainer's data module offers none.
    """
    source: Any = getattr(trainer, "datamodule", None)
    if not hasattr(source, "spare"):
        raise ConfigError("grpo.refill_rounds: needs a data module with spare prompts")
    found: Callable[[int, int, Sequence[int]], PromptBatch] = source.spare
    return found


def refill(
    batch: PromptBatch,
    rollout: Rollout,
    scores: Scores,
    *,
    rounds: int,
    spare: Callable[[int, Sequence[int]], PromptBatch],
    draw: Callable[[PromptBatch, int], tuple[Rollout, Scores]],
) -> tuple[Rollout, Scores]:
    """Replace groups whose rewards are all equal by groups of fresh prompts.

    Groups that still teach nothing after the last round stay, with advantage 0, so that every rank
    keeps B groups.

    Args:
        batch: of the step.
        rollout: N rows.
        scores: of those rows.
        rounds: at most so often.
        spare: fresh prompts for a round, in the place of those with these numbers.
        draw: generates and scores the prompts of a round.

    Returns:
        As many rows, groups with a spread first.
    """
    size = rollout.group_size
    numbers = list(batch.indices)
    for round_number in range(1, rounds + 1):
        silent = zero_spread_groups(scores.total, size).tolist()
        bad = [group for group, equal in enumerate(silent) if equal]
        if not bad:
            break
        good = [group for group, equal in enumerate(silent) if not equal]
        numbers = [numbers[g] for g in good] + [numbers[g] for g in bad]
        fresh, fresh_scores = draw(spare(round_number, numbers[len(good) :]), round_number)
        rollout = join_groups([take_groups(rollout, good, size), fresh])
        scores = join_groups([take_groups(scores, good, size), fresh_scores])
    return rollout, scores
