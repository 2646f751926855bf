"""Gemma 2 with soft caps that bite and windows shorter than prompts, against its plain logits.

The reference of every test is the model's own forward on one unpadded row at a time, eager, with
the softmax written out here: no mask, cache, packing or fused head of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rl4bio.engine import attention
from rl4bio.engine.decode import decode
from rl4bio.functional.masking import pad_left, pad_right
from rl4bio.modules.batching import Rows
from rl4bio.modules.demonstrations import demonstration_logprobs, encode_demonstrations
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.loading import load_policy
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import Policy, evaluating
from rl4bio.modules.rollout import draw_noise
from rl4bio.sections import AdapterConfig, PolicyConfig, SFTConfig
from rl4bio.types import LossTerms, PromptBatch, Sample
from tests.conftest import WINDOW, build_model, build_tokenizer

ATTENTION_CAP, FINAL_CAP = 2.0, 3.0
PROMPTS = [[7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], [5, 9, 4], [6]]
COMPLETIONS = [[list(range(20, 33)), [40, 41]], [[50, 51, 52, 53]], [list(range(60, 70)), [71]]]
TEMPERATURE = 0.7
assert len(PROMPTS[0]) > WINDOW


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of a standard deviation near the cap of attention, logits near that of the head."""
    path = tmp_path_factory.mktemp("gemma2")
    tokenizer = build_tokenizer()
    model = build_model("gemma2", tokenizer)
    model.config.attn_logit_softcapping = ATTENTION_CAP
    model.config.final_logit_softcapping = FINAL_CAP
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight.mul_(2.0)
        model.model.norm.weight.fill_(1.0)  # a scale of 1 + 1
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def make(folder: Path) -> Callable[..., Policy]:
    """Loads it; an adapter is not zero."""

    def load(*, lora: bool, checkpointing: bool = False) -> Policy:
        policy = load_policy(
            PolicyConfig(
                checkpoint=str(folder),
                adapter=AdapterConfig(rank=4, alpha=8) if lora else None,
                gradient_checkpointing=checkpointing,
            )
        )
        torch.manual_seed(1)
        with torch.no_grad():
            for name, parameter in policy.model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.1)
        assert policy.family == "gemma2"
        assert policy.model.config._attn_implementation == "eager"
        assert set(policy.model.config.layer_types) == {"sliding_attention", "full_attention"}
        return policy

    return load


def plain(model: Any, prompt: list[int], completion: list[int], temperature: float) -> Tensor:
    """Log-probabilities of a completion, from the logits of one row of plain tokens."""
    logits = model(input_ids=torch.tensor([prompt + completion]), use_cache=False).logits[0]
    steps = torch.log_softmax(logits[len(prompt) - 1 : -1].float() / temperature, -1)
    return steps[torch.arange(len(completion)), torch.tensor(completion)]


def plain_rows(model: Any, temperature: float = TEMPERATURE) -> Tensor:
    """All completions, side by side in the order of the rows."""
    found = [
        plain(model, prompt, completion, temperature)
        for prompt, group in zip(PROMPTS, COMPLETIONS, strict=True)
        for completion in group
    ]
    return torch.cat(found)


def engine_rows(policy: Policy) -> Tensor:
    prompt_ids, prompt_mask = pad_left(PROMPTS, policy.pad_id)
    ids, mask = pad_right([row for group in COMPLETIONS for row in group], policy.pad_id)
    rows = Rows(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        prompt_index=torch.tensor([n for n, group in enumerate(COMPLETIONS) for _ in group]),
        completion_ids=ids,
        completion_mask=mask,
    )
    policy.backend = "engine"
    assert engine_serves(policy), policy.engine_problem
    return row_logprobs(policy, rows, temperature=TEMPERATURE)[0][mask]


def gradients(policy: Policy, logprobs: Tensor) -> Tensor:
    """Of a weighted sum of log-probabilities, all trained weights in one vector."""
    policy.model.zero_grad()
    (logprobs * torch.linspace(-1.0, 1.0, len(logprobs))).sum().backward()
    return torch.cat([p.grad.flatten() for p in policy.trainable_parameters()])  # type: ignore


def without(model: Any, cap: str) -> None:
    """Take a cap out of the model: the heads', or that of the logits."""
    if cap == "final":
        model.config.final_logit_softcapping = None
        return
    for layer in model.model.layers:
        assert layer.self_attn.attn_logit_softcapping == ATTENTION_CAP
        layer.self_attn.attn_logit_softcapping = None


@pytest.mark.parametrize("cap", ["final", "attention"])
def test_the_caps_bite_here(make: Callable[..., Policy], cap: str) -> None:
    """Else the tests below would say nothing about them; nor would they without the window."""
    policy = make(lora=False)
    with torch.no_grad():
        before = plain_rows(policy.model)
        without(policy.model, cap)
        changed = (plain_rows(policy.model) - before).abs()
        assert float(changed.median()) > 0.05
        # The engine follows the model in this as well.
        torch.testing.assert_close(engine_rows(policy), plain_rows(policy.model), atol=1e-5, rtol=0)


def test_the_window_bites_here(make: Callable[..., Policy]) -> None:
    policy = make(lora=False)
    with torch.no_grad():
        before = plain_rows(policy.model)
        for layer in policy.model.model.layers:  # type: ignore[union-attr]
            layer.self_attn.sliding_window = 10**6
        policy.model.config.sliding_window = 10**6  # type: ignore[union-attr]
        changed = (plain_rows(policy.model) - before).abs()
    # Only the first prompt, of 12 tokens, and the ends of its and of one other's completions.
    assert float(changed[:15].median()) > 0.05
    assert float(changed[15:19].max()) == 0.0


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("piece", [None, 1, 400])
def test_scores_and_gradients(
    make: Callable[..., Policy],
    monkeypatch: pytest.MonkeyPatch,
    piece: int | None,
    lora: bool,
    checkpointing: bool,
) -> None:
    """With the scores held, and in pieces of one head and of several prompts."""
    if piece is not None:
        monkeypatch.setattr(attention, "LARGE_SCORES", 0)
        monkeypatch.setattr(attention, "PIECE_SCORES", piece)
    policy = make(lora=lora)
    policy.model.train()
    wanted = plain_rows(policy.model)
    expected = gradients(policy, wanted)
    if checkpointing:
        policy = make(lora=lora, checkpointing=True)
        policy.model.train()
    found = engine_rows(policy)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    error = gradients(policy, found) - expected
    assert float(expected.norm()) > 0.1
    assert float(error.norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize("static", [False, True])
def test_sampled_log_probabilities(make: Callable[..., Policy], static: bool) -> None:
    policy = make(lora=True)
    ids, mask = pad_left(PROMPTS, policy.pad_id)
    with evaluating(policy.model):
        found = decode(
            policy.model,
            ids,
            mask,
            group_size=2,
            max_new_tokens=12,
            temperature=TEMPERATURE,
            noise=draw_noise([1, 2, 3], 2, 12),
            stop_ids=policy.stop_ids,
            static=static,
        )
        for row, tokens in enumerate(found.tokens.tolist()):
            length = int(found.lengths[row])
            expected = plain(policy.model, PROMPTS[row // 2], tokens[:length], TEMPERATURE)
            torch.testing.assert_close(
                found.logprobs[row, :length], expected, atol=1e-5, rtol=0, msg=f"row {row}"
            )
    assert int(found.lengths.max()) > WINDOW


def test_packed_demonstrations(make: Callable[..., Policy]) -> None:
    """The first is longer than the window; its prompt's tokens are scored as well."""
    policy = make(lora=True)
    samples = [
        Sample(uid="a", prompt="The trial compared two groups and more", demonstration=" (A)"),
        Sample(uid="b", prompt="Does it?", demonstration=" 437"),
    ]
    rows = encode_demonstrations(policy, samples, SFTConfig(prompt_loss_weight=0.5))
    assert int(rows.mask[0].sum()) > 2 * WINDOW
    policy.model.train()
    expected = []
    for n, length in enumerate(rows.mask.sum(-1).tolist()):
        tokens = rows.ids[n, :length].tolist()
        expected.append(plain(policy.model, tokens[:1], tokens[1:], 1.0))
    wanted = torch.cat(expected)
    expected_gradients = gradients(policy, wanted)
    found = demonstration_logprobs(policy.model, rows, packed=True)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    error = gradients(policy, found) - expected_gradients
    assert float(error.norm() / expected_gradients.norm()) < 1e-5


class Recorder(GRPOLightningModule):
    """Keeps the gradient of the optimiser step."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.gradient = {name: p.grad.clone() for name, p in named}  # type: ignore[union-attr]


def test_a_grpo_step(
    make: Callable[..., Policy],
    make_grpo: Callable[..., GRPOLightningModule],
    inside: Callable[..., Any],
    four_samples: list[Sample],
) -> None:
    """Loss and gradient from the definition, the reference being the model without its adapter.

    With r = exp(l - sg(l)) = 1 and u = ref - l: mean over the T tokens of
    -A r + 0.1 (exp(u) - u - 1).
    """
    module = make_grpo(
        make(lora=True),
        cls=Recorder,
        kl_coef=0.1,
        kl_ratio_weight=False,
        self_check=False,  # the adapter is not zero: the policy is away from its reference
        tokens_per_micro_batch=60,
        max_completion_tokens=10,
    )

    def work(module: Recorder) -> tuple[LossTerms, float, dict[str, Tensor]]:
        batch = PromptBatch(samples=four_samples, indices=[0, 1, 2, 3])
        rollout = module.generate(batch)
        experience = module.make_experience(rollout, module.score(rollout))
        terms, model = [], module.model
        for n, advantage in enumerate(experience.advantages):
            prompt = rollout.prompt_ids[n][rollout.prompt_mask[n]].tolist()
            tokens = rollout.completion_ids[n][rollout.completion_mask[n]].tolist()
            with torch.no_grad(), model.disable_adapter():  # type: ignore[operator]
                reference = plain(model, prompt, tokens, 0.9)
            logprobs = plain(model, prompt, tokens, 0.9)
            gap = reference - logprobs
            ratio = (logprobs - logprobs.detach()).exp()
            terms.append(-advantage * ratio + 0.1 * (gap.exp() - gap - 1))
        model.zero_grad()
        loss = torch.cat(terms).mean()
        loss.backward()
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        by_hand = {name: p.grad.clone() for name, p in named}  # type: ignore[union-attr]
        model.zero_grad()
        return module.update(experience), loss.item(), by_hand

    terms, loss, by_hand = inside(module, work)
    assert float(terms.kl) > 0.01
    assert float(terms.total) == pytest.approx(loss, abs=1e-5)
    assert module.gradient.keys() == by_hand.keys()
    expected = torch.cat([g.flatten() for g in by_hand.values()])
    error = torch.cat([(module.gradient[n] - g).flatten() for n, g in by_hand.items()])
    assert float(error.norm() / expected.norm()) < 1e-5
