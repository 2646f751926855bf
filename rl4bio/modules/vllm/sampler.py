"""Sampling completions with vLLM, beside training or behind a server.

Written against the documentation and the sources of vLLM 0.11 and later (LLM, SamplingParams,
LoRARequest, RequestOutput; `vllm serve`), and tested against stand-ins that follow them with a tiny
model. vLLM itself has not been run with it.

vLLM loads the base model from the policy's checkpoint, once. Before it samples, an adapter that has
changed is written to a folder and loaded under a new name and number: an adapter that is loaded
under an old name may be answered from the old one's prefix cache. Weights without an adapter do not
reach it, since how they would differs between its versions.

The log-probabilities are those of the distribution that was sampled (`processed_logprobs`), in
vLLM's kernels and precision, which are not those of the training forward: weigh the completions by
`rl4bio.functional.correction`. Completion g of a prompt is drawn with the prompt's seed + g, so a
run repeats as far as vLLM's kernels do, whose results depend on what else is in a batch unless
VLLM_BATCH_INVARIANT=1 is set.
"""

from __future__ import annotations

import importlib.util
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rl4bio.errors import ConfigError, MissingPackageError, StorageError
from rl4bio.functional.masking import pad_left, pad_right
from rl4bio.modules.opening import whole_texts
from rl4bio.modules.policy import Policy
from rl4bio.modules.saving import write_adapter_files
from rl4bio.modules.vllm.local import LocalEngine
from rl4bio.modules.vllm.request import Sampled, SamplingRequest, check_temperature
from rl4bio.modules.vllm.server import ServedEngine
from rl4bio.sections import RolloutConfig
from rl4bio.sections.vllm import VLLMConfig
from rl4bio.types import Completions

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The values of max_lora_rank that vLLM takes."""


class VLLMSampler:
    """`sample_completions` of one policy, by vLLM, which is started at the first call.

    Args:
        policy: has an adapter; it is sampled with the weights that it has at each call.
        config: where vLLM runs.
        limits: the temperature is checked against vLLM's, and the lengths are what it makes room
            for.
        revision: of the policy's checkpoint.

    Raises:
        ConfigError: vLLM cannot sample this policy, or not at this temperature.
        MissingPackageError: vLLM is to run here and is not installed.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        config: VLLMConfig,
        limits: RolloutConfig,
        revision: str | None = None,
    ) -> None:
        check_policy(policy)
        check_temperature(limits.temperature)
        if config.url is None and importlib.util.find_spec("vllm") is None:
            raise MissingPackageError(
                "rollout.backend: vllm needs the vllm package (pip install vllm, which brings its "
                "own torch), or a server elsewhere in rollout.vllm.url"
            )
        self.policy = policy
        self.config = config
        self.limits = limits
        self.revision = revision
        self._engine: LocalEngine | ServedEngine | None = None
        self._token = secrets.token_hex(4)  # several runs may share a server
        self._number = 0
        self._folder: Path | None = None
        self._weights: list[Tensor] = []  # a copy of those that vLLM has

    def __call__(
        self,
        prompts: Sequence[list[int]],
        *,
        group_size: int,
        max_new_tokens: int,
        temperature: float,
        seeds: Sequence[int] | None,
        starts: Sequence[str] = (),
        top_k: int | None = None,
        conditions: Mapping[str, Tensor] | None = None,
    ) -> Completions:
        """G completions of each prompt; arguments and result are those of `sample_completions`.

        Greedy log-probabilities are those of the whole vocabulary at temperature 1.

        Raises:
            ConfigError: the model takes conditions, a prompt is too long for vLLM, or the server's
                log-probabilities are of another distribution.
            ModelError: vLLM does not start, does not answer, or not as documented.
            NonFiniteError: it returned log-probabilities that are NaN or infinite.
            StorageError: the adapter cannot be written.
        """
        if conditions:
            raise ConfigError(
                f"rollout.backend: vllm samples from token prompts alone, and this model takes "
                f"{', '.join(sorted(conditions))} beside them; set rollout.backend=engine"
            )
        requests = [
            SamplingRequest(
                prompt=prompt,
                group_size=group_size,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_k=top_k,
                seed=None if seeds is None else seeds[n],
                stop_ids=self.policy.stop_ids,
                absent_ids=self.policy.tokens.absent,
            )
            for n, prompt in enumerate(prompts)
        ]
        self._engine = self._engine or self._start()
        self._load_adapter(self._engine)
        rows = [row for group in self._engine.generate(requests) for row in group]
        return self._completions(prompts, rows, starts, group_size)

    def _start(self) -> LocalEngine | ServedEngine:
        rank = lora_rank(self.policy)
        if self.config.url is None:
            return LocalEngine(
                self.policy.checkpoint,
                config=self.config,
                max_model_tokens=self._max_model_tokens(),
                rank=rank,
                revision=self.revision,
            )
        return ServedEngine(
            self.config.url,
            timeout_s=self.config.timeout_s,
            checkpoint=self.policy.checkpoint,
            rank=rank,
        )

    def _max_model_tokens(self) -> int:
        allowed = self.limits.max_prompt_tokens + self.limits.max_completion_tokens
        wanted = self.config.max_model_tokens or allowed
        return min(wanted, self.policy.max_positions or wanted)

    def _load_adapter(self, engine: LocalEngine | ServedEngine) -> None:
        """Write the adapter and load it, unless vLLM has just these weights."""
        weights = self.policy.trainable_parameters()
        if self._weights and all(map(torch.equal, weights, self._weights)):
            return
        if self._folder is None:
            self._folder = self._new_folder()
        self._number += 1
        target = self._folder / str(self._number)
        save_adapter(self.policy, target)
        engine.load(f"rl4bio-{self._token}-{self._number}", self._number, target)
        self._weights = [weight.detach().clone() for weight in weights]
        shutil.rmtree(self._folder / str(self._number - 1), ignore_errors=True)

    def _new_folder(self) -> Path:
        """A folder of this sampler alone, which goes when it goes."""
        parent = self.config.adapter_folder
        try:
            if parent is None:
                folder = Path(tempfile.mkdtemp(prefix="rl4bio-"))
            else:
                folder = Path(parent).expanduser().absolute() / f"rl4bio-{self._token}"
                folder.mkdir(parents=True)
        except OSError as error:
            raise _cannot_write(parent or tempfile.gettempdir(), error) from error
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _completions(
        self,
        prompts: Sequence[list[int]],
        rows: Sequence[Sampled],
        starts: Sequence[str],
        group_size: int,
    ) -> Completions:
        policy, device = self.policy, self.policy.device
        prompt_ids, prompt_mask = (
            tensor.repeat_interleave(group_size, 0).to(device)
            for tensor in pad_left(prompts, policy.pad_id)
        )
        ids, mask = pad_right([row.ids for row in rows], policy.pad_id)
        logprobs = torch.zeros(mask.shape)
        logprobs[mask] = torch.tensor([value for row in rows for value in row.logprobs])
        truncated = torch.tensor([row.ids[-1] not in policy.stop_ids for row in rows])
        return Completions(
            prompt_ids=prompt_ids,
            prompt_mask=prompt_mask,
            completion_ids=ids.to(device),
            completion_mask=mask.to(device),
            logprobs=logprobs.to(device),
            completions=whole_texts([policy.decode(r.ids) for r in rows], starts, group_size),
            truncated=truncated.to(device),
        )


def check_policy(policy: Policy) -> None:
    """Raise a ConfigError where vLLM cannot be given the policy's weights."""
    if policy.adapter is None:
        raise ConfigError(
            "rollout.backend: vllm is given an adapter's weights alone, and every weight is "
            "trained; add policy.adapter, or set rollout.backend=engine"
        )
    if any(getattr(policy.model, f"is_loaded_in_{bits}bit", False) for bits in (4, 8)):
        raise ConfigError(
            "policy.quantization: vLLM would sample from the checkpoint's own weights and not from "
            "the quantised ones; set it to none, or set rollout.backend=engine"
        )
    lora_rank(policy)


def lora_rank(policy: Policy) -> int:
    """The smallest max_lora_rank that takes the policy's adapter.

    Raises:
        ConfigError: there is none.
    """
    model: Any = policy.model
    rank = int(model.peft_config["default"].r)
    for allowed in LORA_RANKS:
        if rank <= allowed:
            return allowed
    raise ConfigError(
        f"policy.adapter.rank: is {rank}, and vLLM takes at most {LORA_RANKS[-1]}; lower it, or "
        "set rollout.backend=engine"
    )


def save_adapter(policy: Policy, folder: Path) -> None:
    """Write the adapter alone: vLLM has the base model's tokenizer, which takes long to write.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        write_adapter_files(policy.model, folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _cannot_write(folder: Path | str, error: Exception) -> StorageError:
    reason = getattr(error, "strerror", None) or str(error)
    return StorageError(
        f"rollout.vllm.adapter_folder: {folder} cannot be written ({reason}); free space, or "
        "choose another folder"
    )
