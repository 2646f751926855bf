"""Published checkpoints and tokenizers: loaded, asked and sampled as their makers meant it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.errors import DataError
from rl4bio.modules.engine_check import engine_serves, find_problem
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.sections import PolicyConfig
from rl4bio.types import Message

pytestmark = pytest.mark.real

SYSTEM = "Answer in one short sentence."
QUESTIONS = [
    "What is the capital of France?",
    "Is aspirin an antibiotic?",
    "Which organ pumps blood?",
    "What is two plus three?",
    "What color is a ripe banana?",
]


@dataclass(frozen=True)
class Expected:
    """What a checkpoint's maker has written down about it."""

    stops: set[str]
    end: str
    prompt: str
    """Of a system and a user turn, `SYSTEM` and `USER` in their places."""
    alone: str = ""
    """Of a user turn alone, where the template adds something; else the same without a system."""
    tokens: int | None = None
    """Tokens that are sampled among, where they are not all rows."""
    small: bool = True
    """Whether plain forwards are affordable."""
    chats: bool = False
    """Whether it answers."""
    placeholder: str | None = None
    """A token without a row."""


CHATML = (
    "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\nUSER<|im_end|>\n<|im_start|>assistant\n"
)
QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
SMOLLM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
HEADERS = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nSYSTEM<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nUSER<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
FOLDERS = {
    "smollm2-135m-instruct": Expected(
        {"<|im_end|>"}, "<|im_end|>", CHATML.format("SYSTEM"), CHATML.format(SMOLLM), chats=True
    ),
    "qwen2.5-coder-0.5b": Expected(
        {"<|im_end|>"},
        "<|im_end|>",
        CHATML.format("SYSTEM"),
        CHATML.format(QWEN),
        small=False,
        chats=True,
    ),
    "gemma3-270m": Expected(
        {"<eos>"}, "<eos>", "<bos>SYSTEM\n\nUSER\n", "<bos>USER\n"
    ),  # a base model without a template
    "tiny-gemma3-1b-it": Expected(
        {"<eos>", "<end_of_turn>"},
        "<end_of_turn>",
        "<bos><start_of_turn>user\nSYSTEM\n\nUSER<end_of_turn>\n<start_of_turn>model\n",
        "<bos><start_of_turn>user\nUSER<end_of_turn>\n<start_of_turn>model\n",
        placeholder="<image_soft_token>",
    ),
    "tiny-llama3.1": Expected(
        {"<|end_of_text|>", "<|eot_id|>", "<|reserved_special_token_4|>"},
        "<|eot_id|>",
        HEADERS,
        "<|begin_of_text|>" + HEADERS.partition("SYSTEM<|eot_id|>")[2],
    ),
    "tiny-qwen3": Expected(
        {"<|im_end|>", "<|endoftext|>"},
        "<|im_end|>",
        CHATML.format("SYSTEM"),
        CHATML.partition("<|im_end|>\n")[2],
        tokens=151_669,
    ),
}


@pytest.fixture(scope="module", params=FOLDERS)
def case(request: pytest.FixtureRequest, real_models: Path) -> Iterator[tuple[Policy, Expected]]:
    """A checkpoint in float32 and what is expected of it; one at a time is in memory."""
    folder = real_models / request.param
    if not (folder / "config.json").is_file():
        pytest.skip(f"no {request.param} in {real_models}")
    yield load_policy(PolicyConfig(checkpoint=str(folder))), FOLDERS[request.param]
    gc.collect()


def turns(system: str | None, user: str) -> list[Message]:
    first = [] if system is None else [Message(role="system", content=system)]
    return [*first, Message(role="user", content=user)]


def test_prompts(case: tuple[Policy, Expected]) -> None:
    policy, expected = case
    for system, form in ((SYSTEM, expected.prompt), (None, expected.alone)):
        ids = policy.encode_prompt(turns(system, QUESTIONS[0]))
        text = form.replace("SYSTEM", SYSTEM).replace("USER", QUESTIONS[0])
        assert policy.tokenizer.decode(ids) == text
        bos = policy.tokenizer.bos_token
        if bos is not None and text.startswith(bos) and bos != "<|im_start|>":
            assert ids.count(policy.tokenizer.bos_token_id) == 1


def test_ends_padding_and_text(case: tuple[Policy, Expected]) -> None:
    policy, expected = case
    convert = policy.tokenizer.convert_tokens_to_ids
    assert set(policy.stop_ids) == {convert(token) for token in expected.stops}
    assert policy.end_id == convert(expected.end)
    assert 0 <= policy.pad_id < policy.rows
    assert policy.tokens.count == (expected.tokens or policy.tokens.rows)
    said = "<thought>A p-value of 0.05,\n\nso yes.</thought>\n<answer>yes</answer>"
    ids = policy.encode_completion(said)
    assert ids[-1] == policy.end_id
    assert policy.decode(ids) == said


def test_the_engines_numbers_are_a_plain_forwards(case: tuple[Policy, Expected]) -> None:
    policy, expected = case
    if not expected.small:
        pytest.skip("plain forwards take too long")
    prompts = [policy.encode_prompt(turns(SYSTEM, text)) for text in QUESTIONS[:2]]
    found = sample_completions(
        policy, prompts, group_size=2, max_new_tokens=6, temperature=1.0, seeds=[1, 2]
    )
    assert engine_serves(policy), policy.engine_problem
    for row in range(4):
        plain = plain_logprobs(policy, prompts[row // 2], found.completion_ids[row])
        mask = found.completion_mask[row]
        torch.testing.assert_close(found.logprobs[row][mask], plain[mask], atol=1e-4, rtol=1e-4)


def test_half_precision_goes_through_the_engine(case: tuple[Policy, Expected]) -> None:
    policy, expected = case
    if not expected.small:
        pytest.skip("plain forwards take too long")
    with torch.autocast("cpu", torch.bfloat16):
        assert find_problem(policy) == ""


def plain_logprobs(policy: Policy, prompt: list[int], completion: torch.Tensor) -> torch.Tensor:
    """Of a completion's tokens among those of the tokenizer, by transformers alone."""
    model: Any = policy.model
    ids = torch.cat([torch.tensor(prompt), completion])[None]
    with torch.no_grad():
        logits = model.eval()(input_ids=ids, logits_to_keep=len(completion) + 1).logits[0, :-1]
    chosen = logits[:, : policy.tokens.count].log_softmax(-1)
    return chosen.gather(-1, completion[:, None])[:, 0]


def test_answers_end(case: tuple[Policy, Expected]) -> None:
    """A model that knows its turn end, and is stopped there, answers short questions shortly."""
    policy, expected = case
    if not expected.chats:
        pytest.skip("not trained to answer")
    found = sample_completions(
        policy,
        [policy.encode_prompt(turns(SYSTEM, text)) for text in QUESTIONS],
        group_size=1,
        max_new_tokens=48,
        temperature=1.0,
        seeds=None,
    )
    assert found.truncated.float().mean() < 0.5, found.completions
    assert "Paris" in found.completions[0]
    assert not any("<|" in text for text in found.completions)


def test_a_placeholder_is_refused_in_a_text_alone(case: tuple[Policy, Expected]) -> None:
    policy, expected = case
    if expected.placeholder is None:
        pytest.skip("every token has a row")
    with pytest.raises(DataError, match=rf"'{expected.placeholder}' \(token {policy.rows}\)"):
        policy.encode_prompt(f"see {expected.placeholder}")
