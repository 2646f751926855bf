"""Dynamic sampling (Yu et al., 2025, DAPO, arXiv:2503.14476): groups that teach are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rl4bio.errors import ConfigError
from rl4bio.functional.advantages import zero_spread_groups
from rl4bio.modules.batching import join_rollouts, join_scores, take_groups, take_scores
from rl4bio.types import PromptBatch, Rollout, Scores

if TYPE_CHECKING:
    from rl4bio.modules.grpo import GRPOLightningModule


def refill(
    module: GRPOLightningModule, batch: PromptBatch, rollout: Rollout, scores: Scores
) -> tuple[Rollout, Scores]:
    """Replace groups whose rewards are all equal by groups of fresh prompts.

    At most `grpo.refill_rounds` times; groups that still teach nothing then stay, with advantage 0,
    so that every rank keeps B groups.

    Args:
        module: generates and scores; its trainer's data module has the spare prompts.
        batch: of the step.
        rollout: N rows.
        scores: of those rows.

    Returns:
        As many rows, groups with a spread first.

    Raises:
        ConfigError: the data module offers no spare prompts.
    """
    source: Any = getattr(module.trainer, "datamodule", None)
    if not hasattr(source, "spare"):
        raise ConfigError("grpo.refill_rounds: needs a data module with spare prompts")
    size = module.grpo.group_size
    numbers = list(batch.indices)
    for round_number in range(1, module.grpo.refill_rounds + 1):
        silent = zero_spread_groups(scores.total, size).tolist()
        bad = [group for group, equal in enumerate(silent) if equal]
        if not bad:
            break
        good = [group for group, equal in enumerate(silent) if not equal]
        numbers = [numbers[g] for g in good] + [numbers[g] for g in bad]
        fresh_batch = source.spare(module.iteration, round_number, numbers[len(good) :])
        fresh = module.generate(fresh_batch, round_number=round_number)
        fresh_scores = module.score(fresh)
        rollout = join_rollouts([take_groups(rollout, good), fresh])
        scores = join_scores([take_scores(scores, good, size), fresh_scores])
    return rollout, scores
