"""A tokenizer and a model that do not have the same number of words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rl4bio.engine.known_tokens import KnownTokens, inner_model, known_tokens, note_known_tokens
from rl4bio.errors import DataError, ModelError
from rl4bio.modules.batching import Rows
from rl4bio.modules.demonstrations import demonstration_logprobs, encode_demonstrations
from rl4bio.modules.loading import load_policy
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.modules.reference import Reference
from rl4bio.modules.rollout import check_positions, sample_completions
from rl4bio.modules.saving import write_policy
from rl4bio.sections import AdapterConfig, PolicyConfig, RolloutConfig, SFTConfig
from rl4bio.types import Completions, Sample
from tests.conftest import build_model, build_tokenizer

EXTRA = 13
"""Rows of a model beyond its tokenizer's 307 tokens."""
HOLES = [40, 41, 120, 306]
PROMPTS = [[2, 60, 61, 62], [2, 70]]


def save(folder: Path, family: str, *, extra: int = 0, tokenizer: Any = None) -> Path:
    """A tiny checkpoint with more rows than tokens (or, with a tokenizer of more tokens, fewer)."""
    plain = build_tokenizer()
    model = build_model(family, plain)
    model.resize_token_embeddings(len(plain) + extra, mean_resizing=False)
    with torch.no_grad():  # rows that a sampler would love
        head = model.get_output_embeddings().weight
        head[len(plain) :] = head[: len(plain)].mean(0) + 0.5 * torch.randn(extra, head.shape[1])
    model.save_pretrained(folder)
    (tokenizer or plain).save_pretrained(folder)
    return folder


def load(folder: Path, **options: Any) -> Policy:
    return load_policy(PolicyConfig(checkpoint=str(folder), **options))


def sample(policy: Policy, *, top_k: int | None = None) -> Completions:
    return sample_completions(
        policy,
        PROMPTS,
        group_size=16,
        max_new_tokens=6,
        temperature=3.0,
        seeds=[1, 2],
        top_k=top_k,
    )


def recomputed(policy: Policy, found: Completions, **options: Any) -> tuple[Tensor, Tensor]:
    return row_logprobs(policy, rows_of(found), temperature=3.0, **options)


def rows_of(found: Completions) -> Rows:
    return Rows(
        prompt_ids=found.prompt_ids[::16],
        prompt_mask=found.prompt_mask[::16],
        prompt_index=torch.arange(2).repeat_interleave(16),
        completion_ids=found.completion_ids,
        completion_mask=found.completion_mask,
    )


def by_hand(policy: Policy, found: Completions, allowed: list[int]) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of softmax over the allowed tokens, from plain logits."""
    ids = torch.cat([found.prompt_ids, found.completion_ids], 1)
    mask = torch.cat([found.prompt_mask, found.completion_mask], 1).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    logits = logits[:, found.prompt_ids.shape[1] - 1 : -1, allowed].double() / 3.0
    places = torch.full((max(allowed) + 1,), -1)
    places[allowed] = torch.arange(len(allowed))
    logp = logits.log_softmax(-1)
    chosen = logp.gather(
        -1, places[found.completion_ids.clamp(max=max(allowed))].clamp(min=0)[..., None]
    )
    return chosen.squeeze(-1).float(), -(logp.exp() * logp).sum(-1).float()


def punch(policy: Policy) -> list[int]:
    """Take tokens out of the middle of a policy's vocabulary; the ids that are left."""
    left = [token for token in range(len(policy.tokenizer)) if token not in HOLES]
    rows = policy.tokens.rows
    policy.tokens = KnownTokens(left, rows)
    note_known_tokens(policy.model, policy.tokens)
    return left


@pytest.mark.parametrize("family", ["gemma3", "gemma2", "llama", "gpt2"])
@pytest.mark.parametrize("backend", ["engine", "generate"])
@pytest.mark.parametrize("holes", [False, True])
def test_the_distribution_is_over_the_tokens(
    family: str, backend: Any, holes: bool, tmp_path: Path
) -> None:
    policy = load(save(tmp_path / family, family, extra=EXTRA))
    policy.backend = backend
    allowed = punch(policy) if holes else list(range(len(policy.tokenizer)))
    found = sample(policy)
    assert set(found.completion_ids[found.completion_mask].tolist()) <= set(allowed)
    expected, entropy = by_hand(policy, found, allowed)
    again, spread = recomputed(policy, found)
    mask = found.completion_mask
    torch.testing.assert_close(found.logprobs[mask], expected[mask], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(again.detach()[mask], expected[mask], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(spread[mask], entropy[mask], atol=2e-4, rtol=1e-4)
    assert policy.engine_problem in ("", None)


@pytest.mark.parametrize("top_k", [5, 400])
def test_top_k_is_among_the_tokens(top_k: int, tmp_path: Path) -> None:
    policy = load(save(tmp_path / "m", "llama", extra=EXTRA))
    allowed = punch(policy)
    found = sample(policy, top_k=top_k)
    again, _ = recomputed(policy, found, top_k=top_k)
    torch.testing.assert_close(found.logprobs, again.detach(), atol=2e-4, rtol=1e-4)
    assert set(found.completion_ids[found.completion_mask].tolist()) <= set(allowed)


def test_without_the_restriction_the_rows_would_be_sampled(tmp_path: Path) -> None:
    policy = load(save(tmp_path / "m", "llama", extra=EXTRA))
    assert known_tokens(policy.model) is not None
    note_known_tokens(policy.model, KnownTokens(range(320), 320))
    assert known_tokens(policy.model) is None
    assert int(sample(policy).completion_ids.max()) >= 307


@pytest.mark.parametrize("lora", [True, False])
def test_gradients_of_both_paths(lora: bool, tmp_path: Path) -> None:
    """Frozen head (gradient rows) and trained head (logits made again)."""
    policy = load(
        save(tmp_path / "m", "gemma3", extra=EXTRA),
        adapter=AdapterConfig(rank=2, targets=["q_proj"]) if lora else None,
    )
    punch(policy)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    found = sample(policy)
    weights = torch.linspace(-1, 1, found.completion_ids.numel()).view(found.completion_ids.shape)
    gradients = []
    for backend in ("engine", "generate"):
        policy.backend = backend  # type: ignore[assignment]
        policy.model.zero_grad()
        logprobs, _ = recomputed(policy, found)
        (logprobs * weights).sum().backward()
        gradients.append([p.grad.clone() for p in policy.trainable_parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    if not lora:  # rows that are no tokens are left as they are
        head = inner_model(policy.model).get_output_embeddings().weight.grad
        assert head is not None
        assert not head[307:].any()
        assert head[50:60].any()


def test_the_reference_has_the_same_tokens(tmp_path: Path) -> None:
    policy = load(save(tmp_path / "m", "gemma3", extra=EXTRA))
    found = sample(policy)
    kept = Reference(policy).logprobs(rows_of(found), temperature=3.0)
    torch.testing.assert_close(kept, found.logprobs, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("packed", [True, False])
def test_demonstrations_are_scored_among_the_tokens(packed: bool, tmp_path: Path) -> None:
    policy = load(save(tmp_path / "m", "llama", extra=EXTRA))
    rows = encode_demonstrations(
        policy, [Sample(uid="a", prompt="the trial", demonstration="yes it did")], SFTConfig()
    )
    with torch.no_grad():
        found = demonstration_logprobs(policy.model, rows, packed=packed)
        logits = policy.model(input_ids=rows.ids[:, :-1]).logits[..., :307].log_softmax(-1)
    expected = logits.gather(-1, rows.ids[:, 1:, None]).squeeze(-1)[rows.weights[:, 1:] > 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_vocabulary_that_fits_costs_nothing(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy()
    assert policy.tokens.complete
    assert known_tokens(policy.model) is None


class TestTokensWithoutARow:
    """Gemma 3's: one special token more than the 1B model has rows."""

    def policy(self, tmp_path: Path, token: str = "<image_soft_token>", **options: Any) -> Policy:
        tokenizer = build_tokenizer()
        tokenizer.add_special_tokens({"additional_special_tokens": [token]})
        assert tokenizer.convert_tokens_to_ids(token) == 307
        return load(save(tmp_path / "m", "gemma3", tokenizer=tokenizer, **options))

    def test_loads_and_samples(self, tmp_path: Path) -> None:
        policy = self.policy(tmp_path)
        assert policy.tokens.complete
        assert int(sample(policy).completion_ids.max()) < 307

    def test_saves_and_loads_again(self, tmp_path: Path) -> None:
        policy = self.policy(tmp_path)
        write_policy(policy, tmp_path / "again")
        assert len(load(tmp_path / "again").tokenizer) == 308

    @pytest.mark.parametrize(
        ("prompt", "message"),
        [
            ("see <image_soft_token>", r"\(token 307\).*last token is 306"),
            (
                [{"role": "user", "content": "see <image_soft_token>"}],
                "a control token of the model",
            ),
        ],
    )
    def test_a_prompt_that_holds_it(self, prompt: Any, message: str, tmp_path: Path) -> None:
        policy = self.policy(tmp_path)
        samples = [Sample(uid="fine", prompt="see"), Sample(uid="s7", prompt=prompt)]
        with pytest.raises(DataError, match=rf"sample s7: .*'<image_soft_token>'.*{message}"):
            check_positions(policy, samples, RolloutConfig())

    def test_a_demonstration_that_holds_it(self, tmp_path: Path) -> None:
        policy = self.policy(tmp_path)
        rows = [Sample(uid="s8", prompt="see", demonstration="it is <image_soft_token>")]
        with pytest.raises(DataError, match=r"sample s8: .*<image_soft_token>"):
            encode_demonstrations(policy, rows, SFTConfig())

    def test_padding_and_ends_without_a_row(self, tmp_path: Path) -> None:
        """Llama's [PAD], added beyond the rows by many fine-tunes, is never fed."""
        tokenizer = build_tokenizer()
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        policy = load(save(tmp_path / "m", "llama", tokenizer=tokenizer))
        assert tokenizer.pad_token_id == 307
        assert policy.pad_id == policy.stop_ids[0] < 307
        sample(policy)

    def test_ordinary_words_without_a_row_are_another_models(self, tmp_path: Path) -> None:
        folder = save(tmp_path / "m", "llama")
        model = load(folder).model
        model.resize_token_embeddings(290)
        model.save_pretrained(folder)
        with pytest.raises(ModelError, match="307 tokens but the model only 290 embeddings, so '"):
            load(folder)
