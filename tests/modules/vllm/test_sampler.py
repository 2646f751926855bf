"""Sampling by vLLM, as far as it can be tested without it.

vLLM needs a GPU and is not installed here. `TinyVLLM` stands in for its engine: it follows the
documented meaning of the sampling parameters and computes with the same tiny model, one token at a
time, sharing no code with the package. In front of it stands a real HTTP server that speaks the
documented JSON, or a module with the documented classes. So these tests hold what is sent, what is
read and every error; they cannot hold that vLLM keeps to its documentation.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from rl4bio.errors import (
    ConfigError,
    MissingPackageError,
    ModelError,
    NonFiniteError,
    Rl4bioError,
    StorageError,
)
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.modules.vllm.sampler import VLLMSampler, lora_rank
from rl4bio.sections import RolloutConfig
from rl4bio.sections.vllm import VLLMConfig
from rl4bio.types import Completions

TEXTS = ["yes", "Does the drug lower it?", "no, or maybe: the trial and the other trial"]
LIMITS = RolloutConfig(max_prompt_tokens=64, max_completion_tokens=12)


@dataclass(kw_only=True)
class SamplingParams:
    """The documented sampling parameters, as far as they matter here; others are refused."""

    n: int = 1
    seed: int | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    max_tokens: int = 16
    stop_token_ids: list[int] = field(default_factory=list)
    logprobs: int | None = None
    detokenize: bool = True

    def __post_init__(self) -> None:
        if self.temperature == 0 and self.n > 1:
            raise ValueError(f"n must be 1 when using greedy sampling, got {self.n}.")
        neutral = (self.top_p, self.min_p, self.repetition_penalty)
        assert (*neutral, self.presence_penalty, self.frequency_penalty) == (1, 0, 1, 0, 0)


Row = tuple[list[int], list[float]]


class TinyVLLM:
    """A base model and adapters from folders; completion i of a request draws with seed + i."""

    def __init__(self, checkpoint: str) -> None:
        self.base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        self.adapters: dict[Any, Any] = {}
        self.lock = threading.Lock()
        self.processed = True

    def load(self, key: Any, folder: str) -> None:
        self.adapters[key] = PeftModel.from_pretrained(copy.deepcopy(self.base), folder).eval()

    @torch.no_grad()
    def complete(self, key: Any, prompt: list[int], params: SamplingParams) -> list[Row]:
        assert params.logprobs == 0
        with self.lock:
            return [self._one(self.adapters[key], prompt, params, i) for i in range(params.n)]

    def _one(self, model: Any, prompt: list[int], params: SamplingParams, index: int) -> Row:
        noise = torch.Generator()
        if params.seed is not None:
            noise.manual_seed(params.seed + index)
        ids: list[int] = []
        found: list[float] = []
        while len(ids) < params.max_tokens:
            raw = model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, -1]
            logits = raw / (params.temperature or 1.0)
            if params.top_k:
                logits = logits.where(logits >= logits.topk(params.top_k).values[-1], -math.inf)
            race = torch.empty_like(raw).exponential_(generator=noise)
            probs = logits.softmax(-1)
            token = int((probs / race if params.temperature else probs).argmax())
            ids.append(token)
            found.append(float((logits if self.processed else raw).log_softmax(-1)[token]))
            if token in params.stop_token_ids:
                break
        return ids, found


class TinyServer(ThreadingHTTPServer):
    """`vllm serve --enable-lora` with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, of a TinyVLLM."""

    daemon_threads = True

    def __init__(self, checkpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.engine = TinyVLLM(checkpoint)
        self.seen: list[tuple[str, dict[str, Any], str | None]] = []
        self.spoil: Callable[[str, dict[str, Any]], tuple[int, Any] | None] = lambda path, body: (
            None
        )
        self.url = f"http://127.0.0.1:{self.server_port}"

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for seen, body, _ in self.seen if seen == f"/v1/{path}"]

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/completions":
            return self.complete(body)
        name = body["lora_name"]
        if path == "/v1/unload_lora_adapter":
            if name not in self.engine.adapters:
                return 404, error(f"The lora adapter '{name}' cannot be found.")
            del self.engine.adapters[name]
            return 200, f"Success: LoRA adapter '{name}' removed successfully."
        if path != "/v1/load_lora_adapter":
            return 404, {"detail": "Not Found"}
        if name in self.engine.adapters:
            return 400, error(f"The lora adapter '{name}' has already been loaded.")
        self.engine.load(name, body["lora_path"])
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        options = dict(body)
        name, prompt = options.pop("model"), options.pop("prompt")
        if name not in self.engine.adapters:
            return 404, error(f"The model `{name}` does not exist.")
        assert options.pop("return_token_ids") is True
        choices = [
            {
                "index": index,
                "text": "...",
                "token_ids": ids,
                "logprobs": {"token_logprobs": logprobs, "tokens": ["..."] * len(ids)},
                "finish_reason": "stop",
            }
            for index, (ids, logprobs) in enumerate(
                self.engine.complete(name, prompt, SamplingParams(**options))
            )
        ]
        return 200, {"object": "text_completion", "model": name, "choices": choices}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.seen.append((self.path, body, self.headers["Authorization"]))
        status, answer = server.spoil(self.path, body) or server.answer(self.path, body)
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}


class TinyLLM:
    """`vllm.LLM` of a TinyVLLM. An adapter whose number is known is not read again."""

    made: list[TinyLLM] = []  # noqa: RUF012

    def __init__(self, *, model: str, **options: Any) -> None:
        self.engine = TinyVLLM(model)
        self.engine.processed = options["logprobs_mode"] == "processed_logprobs"
        self.options = options
        self.made.append(self)

    def generate(
        self,
        prompts: list[dict[str, Any]],
        sampling_params: list[SamplingParams],
        *,
        lora_request: LoRARequest,
        use_tqdm: bool,
    ) -> list[Any]:
        assert not any(params.detokenize for params in sampling_params)
        number = lora_request.lora_int_id
        if number not in self.engine.adapters:
            self.engine.load(number, lora_request.lora_path)
        pairs = zip(prompts, sampling_params, strict=True)
        return [self._result(number, prompt["prompt_token_ids"], p) for prompt, p in pairs]

    def _result(self, number: int, prompt: list[int], params: SamplingParams) -> Any:
        outputs = [
            types.SimpleNamespace(
                token_ids=tuple(ids),
                logprobs=[
                    {token: types.SimpleNamespace(logprob=value)}
                    for token, value in zip(ids, logprobs, strict=True)
                ],
            )
            for ids, logprobs in self.engine.complete(number, prompt, params)
        ]
        return types.SimpleNamespace(outputs=outputs)


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package vllm with the documented classes."""
    vllm, lora, request = (
        types.ModuleType(name) for name in ("vllm", "vllm.lora", "vllm.lora.request")
    )
    vllm.__spec__ = ModuleSpec("vllm", None)
    vllm.LLM, vllm.SamplingParams = TinyLLM, SamplingParams  # type: ignore[attr-defined]
    request.LoRARequest = LoRARequest  # type: ignore[attr-defined]
    for module in (vllm, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(TinyLLM, "made", [])


@pytest.fixture
def policy(make_policy: Callable[..., Policy]) -> Policy:
    """Its adapter changes every log-probability; every sixteenth token is a stop token."""
    found = make_policy("llama", lora=True)
    found.stop_ids = [*range(1, 307, 16)]
    change(found, seed=0)
    return found


def change(policy: Policy, *, seed: int) -> None:
    """Other adapter weights."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=noise))


@pytest.fixture
def server(policy: Policy) -> Iterator[TinyServer]:
    with TinyServer(policy.checkpoint) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(params=["served", "beside"])
def sampler(request: pytest.FixtureRequest, policy: Policy) -> VLLMSampler:
    if request.param == "served":
        url = request.getfixturevalue("server").url
        return VLLMSampler(policy, config=VLLMConfig(url=url), limits=LIMITS)
    request.getfixturevalue("install")
    return VLLMSampler(policy, config=VLLMConfig(), limits=LIMITS)


def draw(sampler: VLLMSampler, **options: Any) -> Completions:
    settings: dict[str, Any] = {
        "group_size": 4,
        "max_new_tokens": 10,
        "temperature": 0.8,
        "seeds": [11, 500, 2**62],
    }
    prompts = [sampler.policy.encode_prompt(text) for text in TEXTS]
    return sampler(prompts, **{**settings, **options})


def trained_logprobs(policy: Policy, found: Completions, **options: Any) -> torch.Tensor:
    with torch.no_grad():
        return completion_logprobs(
            policy.model,
            found.prompt_ids,
            found.prompt_mask,
            found.completion_ids,
            found.completion_mask,
            **{"temperature": 0.8, **options},
        )[0]


@pytest.mark.parametrize("top_k", [None, 5])
def test_sampled_logprobs_are_those_of_the_training_forward(
    sampler: VLLMSampler, policy: Policy, top_k: int | None
) -> None:
    found = draw(sampler, top_k=top_k)
    expected = trained_logprobs(policy, found, top_k=top_k)
    torch.testing.assert_close(found.logprobs, expected, rtol=0, atol=1e-5)
    with policy.model.disable_adapter():  # type: ignore[operator]
        assert (trained_logprobs(policy, found, top_k=top_k) - expected).abs().max() > 0.1
    assert found.completion_ids.shape == found.logprobs.shape == found.completion_mask.shape
    assert found.completion_mask.shape[0] == 12
    assert found.conditions == {}


def test_completions_end_with_their_stop_token(sampler: VLLMSampler, policy: Policy) -> None:
    found = draw(sampler)
    rows = [
        ids[mask].tolist()
        for ids, mask in zip(found.completion_ids, found.completion_mask, strict=True)
    ]
    ended = [row[-1] in policy.stop_ids for row in rows]
    assert len(set(map(len, rows))) > 2
    assert any(ended)
    assert not all(ended)
    assert found.truncated.tolist() == [not end for end in ended]
    for row, end in zip(rows, ended, strict=True):
        assert not set(row[:-1]) & set(policy.stop_ids)
        assert end or len(row) == 10
    assert (found.completion_ids[~found.completion_mask] == policy.pad_id).all()
    assert (found.logprobs[~found.completion_mask] == 0).all()
    assert found.completions == [policy.decode(row) for row in rows]
    prompts = [policy.encode_prompt(text) for text in TEXTS]
    for n in range(12):
        assert found.prompt_ids[n][found.prompt_mask[n]].tolist() == prompts[n // 4]
        assert found.prompt_mask[n][-1]


def test_texts_begin_with_the_start_of_their_turn(sampler: VLLMSampler) -> None:
    bare, begun = draw(sampler), draw(sampler, starts=["<thought>", "", "a"])
    starts = ["<thought>"] * 4 + [""] * 4 + ["a"] * 4
    assert begun.completions == [
        start + text for start, text in zip(starts, bare.completions, strict=True)
    ]
    assert torch.equal(begun.completion_ids, bare.completion_ids)


def test_the_seeds_decide(sampler: VLLMSampler) -> None:
    first, again, other = draw(sampler), draw(sampler), draw(sampler, seeds=[12, 500, 7])
    assert torch.equal(first.completion_ids, again.completion_ids)
    groups = [found.completions[:4] for found in (first, other)]
    assert groups[0] != groups[1]
    assert first.completions[4:8] == other.completions[4:8]
    assert len(set(groups[0])) > 1


def test_greedy_completions_are_the_most_likely_tokens(
    sampler: VLLMSampler, policy: Policy
) -> None:
    found = draw(sampler, seeds=None, group_size=2, temperature=1.0)
    assert torch.equal(found.completion_ids[0::2], found.completion_ids[1::2])
    for n in (0, 4):
        ids = [*found.prompt_ids[n][found.prompt_mask[n]].tolist()]
        for token, logprob in zip(found.completion_ids[n], found.logprobs[n], strict=True):
            with torch.no_grad():
                step = policy.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            assert step.argmax() == token
            assert step.max().item() == pytest.approx(logprob.item(), abs=1e-5)
            ids.append(int(token))
            if int(token) in policy.stop_ids:
                break


def test_every_call_samples_the_weights_of_that_moment(
    sampler: VLLMSampler, policy: Policy
) -> None:
    first = draw(sampler)
    change(policy, seed=1)
    second = draw(sampler)
    for found, same in ((first, False), (second, True)):
        gap = (found.logprobs - trained_logprobs(policy, found)).abs().max()
        assert (gap < 1e-5) == same


def test_only_a_changed_adapter_is_loaded_and_under_a_new_name(
    server: TinyServer, policy: Policy, tmp_path: Path
) -> None:
    config = VLLMConfig(url=f"{server.url}/v1/", adapter_folder=str(tmp_path / "new" / "folder"))
    sampler = VLLMSampler(policy, config=config, limits=LIMITS)
    for seed in (None, None, 1, None, 2):
        if seed is not None:
            change(policy, seed=seed)
        draw(sampler, max_new_tokens=1)
    loads = server.bodies("load_lora_adapter")
    names = [body["lora_name"] for body in loads]
    assert len(set(names)) == 3
    assert [body["lora_name"] for body in server.bodies("unload_lora_adapter")] == names[:2]
    assert [*server.engine.adapters] == names[2:]
    (folder,) = (tmp_path / "new" / "folder").iterdir()
    assert [path.name for path in folder.iterdir()] == ["3"]  # the adapter that may be read again
    assert Path(loads[2]["lora_path"]) == folder / "3"
    assert (folder / "3" / "adapter_config.json").is_file()
    assert not (folder / "3" / "tokenizer.json").exists()
    del sampler
    assert not folder.exists()


def test_a_server_that_lost_the_old_adapter_gets_the_new_one(
    server: TinyServer, policy: Policy
) -> None:
    sampler = VLLMSampler(policy, config=VLLMConfig(url=server.url), limits=LIMITS)
    draw(sampler, max_new_tokens=1)
    server.engine.adapters.clear()
    change(policy, seed=1)
    draw(sampler, max_new_tokens=1)
    assert len(server.engine.adapters) == 1


def test_every_prompt_is_a_request_with_its_seed(server: TinyServer, policy: Policy) -> None:
    sampler = VLLMSampler(policy, config=VLLMConfig(url=server.url), limits=LIMITS)
    draw(sampler)
    draw(sampler)
    probe, *requests = server.bodies("completions")
    assert (probe["top_k"], probe["max_tokens"], len(probe["prompt"])) == (1, 1, 1)
    assert len(requests) == 6  # the probe comes once
    assert {body["seed"] for body in requests} == {11, 500, 2**62}
    assert {body["n"] for body in requests} == {4}
    assert requests[0]["stop_token_ids"] == policy.stop_ids


def test_what_vllm_is_started_with(install: None, policy: Policy) -> None:
    config = VLLMConfig(memory_fraction=0.4, dtype="bfloat16")
    sampler = VLLMSampler(policy, config=config, limits=LIMITS, revision="main")
    assert TinyLLM.made == []  # not before it is needed
    draw(sampler, max_new_tokens=1)
    draw(sampler, max_new_tokens=1)
    (llm,) = TinyLLM.made
    assert llm.options == {
        "revision": "main",
        "dtype": "bfloat16",
        "max_model_len": 64 + 12,
        "gpu_memory_utilization": 0.4,
        "enable_lora": True,
        "max_lora_rank": 8,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",
    }


@pytest.mark.parametrize(("rank", "allowed"), [(1, 8), (8, 8), (9, 16), (64, 64), (321, 512)])
def test_the_rank_that_vllm_makes_room_for(policy: Policy, rank: int, allowed: int) -> None:
    policy.model.peft_config["default"].r = rank  # type: ignore[index, union-attr]
    assert lora_rank(policy) == allowed


def test_the_key_of_a_server_comes_from_the_environment(
    server: TinyServer, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "a-key-of-a-server")
    sampler = VLLMSampler(policy, config=VLLMConfig(url=server.url), limits=LIMITS)
    draw(sampler, max_new_tokens=1)
    assert {key for _, _, key in server.seen} == {"Bearer a-key-of-a-server"}


def test_choices_may_come_in_any_order(server: TinyServer, policy: Policy) -> None:
    sampler = VLLMSampler(policy, config=VLLMConfig(url=server.url), limits=LIMITS)
    expected = draw(sampler)

    def turned(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        status, found = server.answer(path, body)
        return status, {**found, "choices": found["choices"][::-1]}

    server.spoil = turned
    assert torch.equal(draw(sampler).completion_ids, expected.completion_ids)


def spoiled(index: int, **fields: Any) -> Callable[[dict[str, Any]], None]:
    """Changes fields of one choice; a function gets the old value."""

    def apply(answer: dict[str, Any]) -> None:
        choice = answer["choices"][index]
        for name, value in fields.items():
            choice[name] = value(choice[name]) if callable(value) else value

    return apply


def with_logprob(value: Any) -> Callable[[dict[str, Any]], None]:
    return spoiled(1, logprobs=lambda old: {"token_logprobs": [value, *old["token_logprobs"][1:]]})


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (with_logprob(None), NonFiniteError, "token 0 the log-probability nan; .*weights diverged"),
        (with_logprob(-9999.0), NonFiniteError, "token 0 the log-probability -9999"),
        (with_logprob(math.inf), NonFiniteError, "token 0 the log-probability inf"),
        (spoiled(0, token_ids=None), ModelError, "without token ids .* needs vLLM 0.11 or newer"),
        (spoiled(0, token_ids=[]), ModelError, "returned 0 tokens and"),
        (spoiled(0, token_ids=lambda old: [9, *old]), ModelError, "tokens and .* log-prob"),
        (spoiled(0, logprobs=None), ModelError, "without token ids and log-probabilities"),
        (lambda answer: answer["choices"].pop(), ModelError, "returned 3 completions of a prompt"),
        (
            spoiled(2, token_ids=[2, 3], logprobs={"token_logprobs": [-1.0, -1.0]}),
            ModelError,
            "cut a completion after 2 of 10 tokens, at no stop token; raise the server's --max-mod",
        ),
    ],
)
def test_answers_that_cannot_be_used(
    server: TinyServer,
    policy: Policy,
    spoil: Callable[[dict[str, Any]], None],
    kind: type[Rl4bioError],
    message: str,
) -> None:
    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        if path != "/v1/completions" or body["n"] == 1:
            return None
        status, found = server.answer(path, body)
        spoil(found)
        return status, found

    server.spoil = answer
    sampler = VLLMSampler(policy, config=VLLMConfig(url=server.url), limits=LIMITS)
    with pytest.raises(kind, match=message):
        draw(sampler)


@pytest.mark.parametrize(
    ("path", "status", "body", "message"),
    [
        (
            "load_lora_adapter",
            404,
            {"detail": "Not Found"},
            r"answered 404 to /v1/load_lora_adapter: .*Not Found.*; start it with "
            r"`VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve .*--max-lora-rank 8 ",
        ),
        (
            "load_lora_adapter",
            500,
            error("LoRA rank 8 is\ngreater than 4"),
            r"answered 500 to .*: LoRA rank 8 is\\ngreater than 4; start it",
        ),
        ("completions", 400, error("too long"), "answered 400 to /v1/completions: too long; see"),
        ("completions", 401, "", "answered 401 to /v1/completions: Unauthorized; see the"),
        ("completions", 200, "<html>", "/v1/completions without token ids"),
    ],
)
def test_what_a_server_says_is_passed_on(
    server: TinyServer, policy: Policy, path: str, status: int, body: Any, message: str
) -> None:
    server.spoil = lambda seen, _: (status, body) if seen == f"/v1/{path}" else None
    sampler = VLLMSampler(policy, config=VLLMConfig(url=server.url), limits=LIMITS)
    with pytest.raises(ModelError, match=message) as caught:
        draw(sampler)
    assert "\n" not in str(caught.value)


def test_log_probabilities_of_another_distribution_are_refused(
    server: TinyServer, policy: Policy
) -> None:
    server.engine.processed = False
    sampler = VLLMSampler(policy, config=VLLMConfig(url=server.url), limits=LIMITS)
    with pytest.raises(ConfigError, match="start it with --logprobs-mode processed_logprobs"):
        draw(sampler)


def test_a_server_that_is_not_there(server: TinyServer, policy: Policy) -> None:
    server.server_close()
    sampler = VLLMSampler(policy, config=VLLMConfig(url=server.url), limits=LIMITS)
    with pytest.raises(ModelError, match=r"no answer from http://127.0.0.1:\d+ \(.*refused.*start"):
        draw(sampler)


def test_a_server_that_takes_too_long(server: TinyServer, policy: Policy) -> None:
    ended = threading.Event()

    def hang(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        ended.wait(20)
        return 500, error("too late")

    server.spoil = hang
    config = VLLMConfig(url=server.url, timeout_s=0.1)
    with pytest.raises(ModelError, match=r"did not answer /v1/load_lora_adapter within 0\.1 s"):
        draw(VLLMSampler(policy, config=config, limits=LIMITS))
    ended.set()


def test_an_adapter_folder_that_cannot_be_written(
    server: TinyServer, policy: Policy, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    config = VLLMConfig(url=server.url, adapter_folder=str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"rollout\.vllm\.adapter_folder: .* cannot be written"):
        draw(VLLMSampler(policy, config=config, limits=LIMITS))


def test_policies_that_vllm_cannot_sample(
    make_policy: Callable[..., Policy], policy: Policy
) -> None:
    options: dict[str, Any] = {"config": VLLMConfig(url="http://localhost:1"), "limits": LIMITS}
    with pytest.raises(ConfigError, match=r"add policy\.adapter, or set rollout\.backend=engine"):
        VLLMSampler(make_policy("llama"), **options)
    sampler = VLLMSampler(policy, **options)
    with pytest.raises(ConfigError, match="this model takes properties beside them"):
        draw(sampler, conditions={"properties": torch.zeros(3, 1)})
    policy.model.peft_config["default"].r = 513  # type: ignore[index, union-attr]
    with pytest.raises(ConfigError, match=r"adapter\.rank: is 513, and vLLM takes at most 512"):
        VLLMSampler(policy, **options)
    policy.model.is_loaded_in_4bit = True
    with pytest.raises(ConfigError, match=r"policy\.quantization: vLLM would sample from the"):
        VLLMSampler(policy, **options)


@pytest.mark.parametrize("temperature", [0.009, 2.1])
def test_temperatures_that_vllm_does_not_sample_at(policy: Policy, temperature: float) -> None:
    config = VLLMConfig(url="http://localhost:1")
    limits = RolloutConfig(temperature=temperature)
    with pytest.raises(ConfigError, match=r"vLLM samples at 0\.01 to 2;"):
        VLLMSampler(policy, config=config, limits=limits)


def test_without_the_package_a_server_is_needed(policy: Policy) -> None:
    with pytest.raises(MissingPackageError, match=r"pip install vllm, .* in rollout\.vllm\.url"):
        VLLMSampler(policy, config=VLLMConfig(), limits=LIMITS)


def test_failures_of_vllm_itself_are_one_line(
    install: None, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, *args: Any, **options: Any) -> None:
        raise ValueError("No available memory for the cache blocks.\nTry a larger share")

    sampler = VLLMSampler(policy, config=VLLMConfig(), limits=LIMITS)
    with pytest.raises(
        ConfigError, match=r"has room for 76 tokens, and a prompt of 15 .* takes 85"
    ):
        draw(sampler, max_new_tokens=70)
    monkeypatch.setattr(TinyLLM, "generate", fail)
    with pytest.raises(ModelError, match=r"failed while sampling \(No available .* blocks\.\)"):
        draw(sampler)
    monkeypatch.setattr(TinyLLM, "__init__", fail)
    sampler = VLLMSampler(policy, config=VLLMConfig(), limits=LIMITS)
    with pytest.raises(ModelError, match=r"did not start with .*cache blocks\.\); see its log"):
        draw(sampler)


def test_vllm_runs_beside_one_process_alone(
    install: None, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    sampler = VLLMSampler(policy, config=VLLMConfig(), limits=LIMITS)
    with pytest.raises(ConfigError, match="and the training has 4; start a `vllm serve`"):
        draw(sampler)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000"}, "url: got 'localhost:8000', needs an address such as"),
        ({"url": "http://me:word@host"}, "url: holds a user or password; .* VLLM_API_KEY"),
        ({"memory_fraction": 1.0}, r"memory_fraction: got 1\.0, needs \(0, 1\)"),
        ({"max_model_tokens": 0}, "max_model_tokens: got 0, needs a number above 0"),
        ({"timeout_s": 0.0}, "timeout_s: got 0.0"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"rollout.vllm.{message}"):
        VLLMConfig(**options)
