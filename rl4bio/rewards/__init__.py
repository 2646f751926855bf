"""Rewards: text in, one number per completion out. A new one is a file here and a line below."""

from rl4bio.registry import Registry
from rl4bio.rewards.base import Reward

REWARDS: Registry[Reward] = Registry(
    "reward",
    {
        "verdict": "rl4bio.rewards.verdict:VerdictReward",
        "structure": "rl4bio.rewards.structure:StructureReward",
        "grounding": "rl4bio.rewards.grounding:GroundingReward",
        "long_answer": "rl4bio.rewards.long_answer:LongAnswerReward",
        "length": "rl4bio.rewards.length:LengthReward",
    },
)

__all__ = ["REWARDS", "Reward"]
