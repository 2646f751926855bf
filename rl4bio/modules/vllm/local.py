"""vLLM beside the training; `vllm_backend` says how far this is tested."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rl4bio.errors import ConfigError, ModelError
from rl4bio.modules.vllm.request import Sampled, SamplingRequest
from rl4bio.sections.vllm import VLLMConfig
from rl4bio.text.redaction import one_line


class LocalEngine:
    """`vllm.LLM` in this process, on the GPU of the training.

    Args:
        checkpoint: of the base model.
        config: memory and dtype.
        max_model_tokens: longest prompt with its completion.
        rank: max_lora_rank.
        revision: of the checkpoint.

    Raises:
        ConfigError: the training has several processes.
        ModelError: vLLM does not start with this model.
    """

    def __init__(
        self,
        checkpoint: str,
        *,
        config: VLLMConfig,
        max_model_tokens: int,
        rank: int,
        revision: str | None,
    ) -> None:
        _refuse_several_processes()
        from vllm import LLM, SamplingParams
        from vllm.lora.request import LoRARequest

        self._sampling_params: Any = SamplingParams
        self._lora_request: Any = LoRARequest
        self._adapter: Any = None
        self.max_model_tokens = max_model_tokens
        try:
            self.llm: Any = LLM(
                model=checkpoint,
                revision=revision,
                dtype=config.dtype,
                max_model_len=max_model_tokens,
                gpu_memory_utilization=config.memory_fraction,
                enable_lora=True,
                max_lora_rank=rank,
                enable_prefix_caching=True,
                logprobs_mode="processed_logprobs",
                generation_config="vllm",
            )
        except Exception as error:  # vLLM documents no classes of its own for this
            raise ModelError(
                f"rollout.backend: vLLM did not start with {checkpoint} ({_first_line(error)}); "
                "see its log above, change rollout.vllm.memory_fraction, or use "
                "rollout.backend=engine"
            ) from error

    def load(self, name: str, number: int, folder: Path) -> None:
        """Sample from the adapter in a folder from now on."""
        self._adapter = self._lora_request(name, number, str(folder))

    def generate(self, requests: Sequence[SamplingRequest]) -> list[list[Sampled]]:
        """The completions of each request.

        Raises:
            ConfigError: a prompt leaves no room for its completion.
            ModelError: vLLM failed, or did not answer as documented.
        """
        for request in requests:
            needed = len(request.prompt) + request.max_new_tokens
            if needed > self.max_model_tokens:
                raise ConfigError(
                    f"rollout.vllm.max_model_tokens: vLLM has room for {self.max_model_tokens} "
                    f"tokens, and a prompt of {len(request.prompt)} with its completion takes "
                    f"{needed}; raise it, or lower rollout.max_completion_tokens"
                )
        options = [request.options() for request in requests]
        try:
            outputs = self.llm.generate(
                [{"prompt_token_ids": request.prompt} for request in requests],
                [self._sampling_params(**one, detokenize=False) for one in options],
                lora_request=self._adapter,
                use_tqdm=False,
            )
        except Exception as error:  # as above
            raise ModelError(
                f"rollout.backend: vLLM failed while sampling ({_first_line(error)}); see its log "
                "above, or use rollout.backend=engine"
            ) from error
        return [
            request.check([_sampled(output) for output in result.outputs])
            for request, result in zip(requests, outputs, strict=True)
        ]


def _refuse_several_processes() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = torch.distributed.get_world_size()
        if count > 1:
            raise ConfigError(
                f"rollout.vllm.url: vLLM runs beside a single process, and the training has "
                f"{count}; start a `vllm serve` and name it here, or set rollout.backend=engine"
            )


def _sampled(output: Any) -> Sampled:
    """A vLLM CompletionOutput; its log-probabilities are one {token id: Logprob} a token."""
    ids = list(output.token_ids)
    steps = output.logprobs or []
    found = [step[token].logprob for token, step in zip(ids, steps, strict=False)]
    return Sampled(ids=ids, logprobs=found)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return one_line(lines[0] if lines else type(error).__name__, 200)
