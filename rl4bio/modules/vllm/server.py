"""A vLLM server that samples for the policy; `vllm_backend` says how far this is tested.

Of the server's documented interface it takes /v1/completions with token ids as the prompt,
`return_token_ids` and `logprobs`, and /v1/load_lora_adapter and /v1/unload_lora_adapter, which a
server has where VLLM_ALLOW_RUNTIME_LORA_UPDATING is set.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rl4bio.errors import ConfigError, ModelError
from rl4bio.files.http import NoAnswerError, post
from rl4bio.modules.vllm.request import Sampled, SamplingRequest
from rl4bio.text.redaction import one_line

log = logging.getLogger("rl4bio")

MOST_REQUESTS_AT_ONCE = 64
EXACT_NATS = 1e-3


class ServedEngine:
    """`vllm serve` at an address; every prompt is one request, and all are sent at once.

    Each rank of a training loads an adapter of its own, with equal weights: start the server with
    --max-loras and the number of ranks, or it samples for one of them at a time.

    Args:
        url: of the server.
        timeout_s: of a request.
        checkpoint: the base model that the server must have, for messages.
        rank: of the adapters, likewise.
    """

    def __init__(self, url: str, *, timeout_s: float, checkpoint: str, rank: int) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.timeout_s = timeout_s
        self.command = (
            f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve {checkpoint} --enable-lora "
            f"--max-lora-rank {rank} --logprobs-mode processed_logprobs --generation-config vllm"
        )
        self._adapter: str | None = None
        self._probed = False

    def load(self, name: str, number: int, folder: Path) -> None:
        """Have the server sample from the adapter in a folder, in place of the one before.

        Raises:
            ModelError: the server does not answer, or cannot load the adapter.
        """
        if self._adapter is not None:
            self._unload(self._adapter)
        self._adapter = None
        body = {"lora_name": name, "lora_path": str(folder)}
        advice = f"start it with `{self.command}`; it must see that folder, see adapter_folder"
        self._post("/v1/load_lora_adapter", body, advice=advice)
        self._adapter = name

    def generate(self, requests: Sequence[SamplingRequest]) -> list[list[Sampled]]:
        """The completions of each request.

        Raises:
            ConfigError: the server gives the log-probabilities of another distribution.
            ModelError: it does not answer, or not as documented.
        """
        if not self._probed:
            self._check_logprobs(requests[0])
            self._probed = True
        pool = ThreadPoolExecutor(min(len(requests), MOST_REQUESTS_AT_ONCE))
        try:
            return list(pool.map(self._complete, requests))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _check_logprobs(self, request: SamplingRequest) -> None:
        """Among the single most likely token its probability is 1; in the vocabulary it is not."""
        probe = SamplingRequest(
            prompt=request.prompt[:1],
            group_size=1,
            max_new_tokens=1,
            temperature=1.0,
            top_k=1,
            seed=0,
            stop_ids=request.stop_ids,
        )
        found = self._complete(probe)[0].logprobs[0]
        if abs(found) > EXACT_NATS:
            raise ConfigError(
                f"rollout.vllm.url: {self.url} gives log-probabilities from before temperature and "
                "top_k, not those of the distribution it samples; start it with "
                "--logprobs-mode processed_logprobs"
            )

    def _complete(self, request: SamplingRequest) -> list[Sampled]:
        body = {
            "model": self._adapter,
            "prompt": request.prompt,
            "return_token_ids": True,
            **request.options(),
        }
        answer = self._post("/v1/completions", body, advice="see the server's log")
        try:
            choices = sorted(json.loads(answer)["choices"], key=lambda choice: choice["index"])
            found = [
                Sampled(
                    ids=[int(token) for token in choice["token_ids"]],
                    logprobs=[_number(value) for value in choice["logprobs"]["token_logprobs"]],
                )
                for choice in choices
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"rollout.vllm.url: {self.url} answered /v1/completions without token ids and "
                "log-probabilities as vLLM documents them; it needs vLLM 0.11 or newer"
            ) from error
        return request.check(found)

    def _unload(self, name: str) -> None:
        try:
            self._post("/v1/unload_lora_adapter", {"lora_name": name}, advice="see its log")
        except ModelError as error:  # an adapter that the server has dropped by itself is gone too
            log.debug("%s", error)

    def _post(self, path: str, body: dict[str, Any], *, advice: str) -> bytes:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("VLLM_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        url, data = self.url + path, json.dumps(body).encode()
        try:
            return post(url, data, headers, timeout_s=self.timeout_s)
        except NoAnswerError as error:
            where = f"rollout.vllm.url: {self.url}"
            if error.status is not None:
                what = (
                    f"{where} answered {error.status} to {path}: {_message(str(error))}; {advice}"
                )
            elif error.late:
                what = (
                    f"{where} did not answer {path} within {self.timeout_s:g} s; see the server's "
                    "log, or raise rollout.vllm.timeout_s"
                )
            else:
                what = (
                    f"rollout.vllm.url: no answer from {self.url} ({one_line(str(error), 200)}); "
                    f"start `{self.command}`, or correct the address"
                )
            raise ModelError(what) from error


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _message(body: str) -> str:
    """What a server says about an error: vLLM's JSON message, or the body as it is."""
    try:
        found = json.loads(body)
        body = str(found.get("error", found)["message"]).strip() or body
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return one_line(body, 300)
