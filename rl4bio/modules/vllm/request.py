"""What is asked of vLLM for a prompt, and what must hold for its answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rl4bio.errors import ConfigError, ModelError, NonFiniteError

TEMPERATURES = (0.01, 2.0)
"""vLLM raises a lower temperature to 0.01 without an error, and refuses a higher one."""

NEVER = -100.0
"""vLLM's lowest bias of a logit; a token of it is not sampled, and takes no part in the sum."""

LOWEST_LOGPROB = -9999.0
"""What the server writes in place of minus infinity."""


@dataclass(slots=True, kw_only=True)
class Sampled:
    """One completion as vLLM returns it."""

    ids: list[int]
    """The stop token included."""
    logprobs: list[float]
    """NaN where vLLM gave none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRequest:
    """G completions of a prompt, or the greedy one."""

    prompt: list[int]
    group_size: int
    max_new_tokens: int
    temperature: float
    top_k: int | None
    seed: int | None
    """vLLM draws completion g with seed + g; None decodes greedily."""
    stop_ids: list[int]
    absent_ids: list[int] = field(default_factory=list)
    """Rows of the head that are no tokens, and must not be sampled."""

    @property
    def count(self) -> int:
        """Completions to ask for: vLLM refuses more than one greedy one, as all would be equal."""
        return 1 if self.seed is None else self.group_size

    def options(self) -> dict[str, Any]:
        """The sampling parameters, by the names that SamplingParams and /v1/completions share.

        Whatever a checkpoint's generation config could set is set here.

        Raises:
            ConfigError: vLLM would sample at another temperature.
        """
        check_temperature(self.temperature)
        greedy = self.seed is None
        return {
            "n": self.count,
            "seed": self.seed,
            "temperature": 0.0 if greedy else self.temperature,
            "top_k": 0 if greedy or self.top_k is None else self.top_k,  # 0 = the whole vocabulary
            "top_p": 1.0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "max_tokens": self.max_new_tokens,
            "stop_token_ids": self.stop_ids,
            "logprobs": 0,  # of the sampled token alone
            **({"logit_bias": dict.fromkeys(self.absent_ids, NEVER)} if self.absent_ids else {}),
        }

    def check(self, found: Sequence[Sampled]) -> list[Sampled]:
        """The G completions of this prompt, from vLLM's answer.

        Raises:
            ModelError: their number or a length is not what was asked for.
            NonFiniteError: a log-probability is missing, NaN or infinite.
        """
        if len(found) != self.count:
            raise ModelError(
                f"rollout.backend: vLLM returned {len(found)} completions of a prompt where "
                f"{self.count} were asked for; is the server's vLLM 0.11 or newer?"
            )
        for sampled in found:
            self._check_one(sampled)
        return [*found] * (self.group_size // self.count)

    def _check_one(self, sampled: Sampled) -> None:
        length = len(sampled.ids)
        if len(sampled.logprobs) != length or not 0 < length <= self.max_new_tokens:
            raise ModelError(
                f"rollout.backend: vLLM returned {length} tokens and {len(sampled.logprobs)} "
                f"log-probabilities where 1 to {self.max_new_tokens} of each were asked for; is "
                "the server's vLLM 0.11 or newer?"
            )
        for number, logprob in enumerate(sampled.logprobs):
            if not math.isfinite(logprob) or logprob <= LOWEST_LOGPROB:
                raise NonFiniteError(
                    f"rollout.backend: vLLM gave completion token {number} the log-probability "
                    f"{logprob}; its precision is too small for this model (try "
                    "rollout.vllm.dtype=float32) or the weights diverged"
                )
        if length < self.max_new_tokens and sampled.ids[-1] not in self.stop_ids:
            raise ModelError(
                f"rollout.backend: vLLM cut a completion after {length} of {self.max_new_tokens} "
                "tokens, at no stop token; raise the server's --max-model-len, start it with "
                "--generation-config vllm, or lower rollout.max_completion_tokens"
            )


def check_temperature(temperature: float) -> None:
    """Raise a ConfigError where vLLM does not sample at this temperature."""
    lowest, highest = TEMPERATURES
    if not lowest <= temperature <= highest:
        raise ConfigError(
            f"rollout.temperature: got {temperature:g}, but vLLM samples at {lowest:g} to "
            f"{highest:g}; choose one of these, or rollout.backend=engine"
        )
