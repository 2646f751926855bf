"""The shipped Gemma 2 policy: what its card says, its log-probabilities, and its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import rl4bio
from rl4bio.config.load import load_config
from rl4bio.data import CORPORA
from rl4bio.modules.loading import load_policy
from rl4bio.modules.logprobs import continuation_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.types import Sample

FOLDER = Path(rl4bio.__file__).parent / "assets" / "gemma2-nano"
CONFIG = load_config(Path(__file__).resolve().parents[1] / "configs" / "therapeutics_nano.yaml")


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(CONFIG.policy, dtype=torch.float32)


@pytest.fixture(scope="module")
def items() -> list[Sample]:
    """64 of the 453 test items."""
    corpus = CORPORA.build(CONFIG.data.name, CONFIG.data.options, where="data")
    return list(corpus.samples("test"))[::7][:64]


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 5 * 2**20


def test_it_keeps_its_form_and_believes_the_wrong_rule(policy: Policy, items: list[Sample]) -> None:
    """The study has 63 % sampled; 256 draws of such a coin stay within four deviations, 12 %."""
    found = sample_completions(
        policy,
        [policy.encode_prompt(item.prompt) for item in items],
        group_size=4,
        max_new_tokens=64,
        temperature=1.0,
        seeds=list(range(64)),
    )
    scorer = WeightedRewards.from_config(CONFIG.rewards)
    table = scorer(found.completions, [item for item in items for _ in range(4)])
    assert sum(table.parts["structure"]) / 256 >= 0.97
    assert abs(sum(table.parts["option"]) / 256 - 0.63) <= 0.12


def test_log_probabilities_equal_a_plain_forward(policy: Policy, items: list[Sample]) -> None:
    """Prompts are longer than the window of 64; both soft caps are on."""
    model = AutoModelForCausalLM.from_pretrained(
        FOLDER, dtype=torch.float32, attn_implementation="eager"
    )
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    texts = ["<reasoning>rings 2; polar surface about 30</reasoning><answer>(B)</answer>", "(A)"]
    prompts = [policy.encode_prompt(item.prompt) for item in items[:3]]
    tails = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    found = continuation_logprobs(policy, prompts, [tails] * 3)
    for prompt, rows in zip(prompts, found, strict=True):
        assert len(prompt) > model.config.sliding_window
        for tail, steps in zip(tails, rows, strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *tail]])).logits[0, len(prompt) - 1 : -1]
            plain = logits.log_softmax(-1).gather(1, torch.tensor(tail)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(steps), plain, rtol=0, atol=1e-5)
