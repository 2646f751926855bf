"""Who samples a training step's completions."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.sections import RolloutConfig
from rl4bio.types import Completions

Sampler = Callable[..., Completions]
"""`sample_completions` without its first argument."""


def build_sampler(policy: Policy, rollout: RolloutConfig) -> Sampler:
    """The sampler that `rollout.backend` names.

    Raises:
        ConfigError: vLLM cannot sample this policy.
        MissingPackageError: vLLM is to run here and is not installed.
    """
    if rollout.backend == "vllm":
        from rl4bio.modules.vllm.sampler import VLLMSampler

        return VLLMSampler(policy, config=rollout.vllm, limits=rollout, revision=policy.revision)
    dtype = torch.bfloat16 if rollout.dtype == "bf16" else None
    return functools.partial(sample_completions, policy, dtype=dtype)
