"""Sampling and scoring must be one policy, whatever the padding, the family and the hub say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rl4bio.errors import ConfigError, NonFiniteError
from rl4bio.functional.masking import pad_left, pad_right, position_ids
from rl4bio.modules.logprobs import continuation_logprobs
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import (
    check_positions,
    draw_noise,
    sample_completions,
)
from rl4bio.sections import RolloutConfig
from rl4bio.types import Completions, Sample

FAMILIES = ("gemma3", "gemma2", "llama", "qwen2", "phi3", "gpt2")
WINDOW = 8  # of the tiny models that have one
TEXTS = ["yes", "Does the drug lower it?", "no, or maybe: the trial and the other trial"]


def prompts_of(policy: Policy, texts: list[str] = TEXTS) -> list[list[int]]:
    return [policy.encode_prompt(text) for text in texts]


def draw(policy: Policy, prompts: list[list[int]], **options: Any) -> Completions:
    settings: dict[str, Any] = {
        "group_size": 4,
        "max_new_tokens": 12,
        "temperature": 0.8,
        "seeds": list(range(len(prompts))),
    }
    return sample_completions(policy, prompts, **{**settings, **options})


def by_hand(policy: Policy, ids: list[int]) -> torch.Tensor:
    """Logits [V] after a sequence, from one unpadded row without a cache."""
    with torch.no_grad():
        return policy.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]


def favour(policy: Policy, token: int, amount: float = 4.0) -> None:
    """Raise one token's logit in every context, so that completions end at different lengths."""
    head = policy.model.get_output_embeddings()

    def hook(module: Any, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        bonus = torch.zeros(logits.shape[-1])
        bonus[token] = amount
        return logits + bonus

    head.register_forward_hook(hook)


@pytest.mark.parametrize("family", FAMILIES)
def test_sampled_logprobs_are_those_of_the_padded_forward(
    make_policy: Callable[..., Policy], family: str
) -> None:
    policy = make_policy(family)
    favour(policy, policy.stop_ids[0])
    prompts = prompts_of(policy)
    found = draw(policy, prompts, group_size=6)
    assert len(set(map(len, prompts))) == 3  # left padding
    assert len(set(found.lengths.tolist())) >= 3  # ragged completions, compaction on the way
    with torch.no_grad():
        padded, _ = completion_logprobs(
            policy.model,
            found.prompt_ids,
            found.prompt_mask,
            found.completion_ids,
            found.completion_mask,
            temperature=0.8,
        )
    torch.testing.assert_close(found.logprobs, padded, rtol=0, atol=1e-5)
    assert (found.logprobs[found.completion_mask] < 0).all()
    # And both are those of a single row without any padding.
    for row in (0, 17):
        ids = [*prompts[row // 6], *found.completion_ids[row][found.completion_mask[row]].tolist()]
        last = torch.log_softmax(by_hand(policy, ids[:-1]) / 0.8, -1)[ids[-1]]
        assert found.logprobs[row][found.completion_mask[row]][-1].item() == pytest.approx(
            last.item(), abs=1e-5
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_run_once_give_the_same_numbers_and_gradients(
    make_policy: Callable[..., Policy], family: str
) -> None:
    """Completions behind a shared prompt against prompt and completion side by side.

    One prompt is shorter than the sliding window and one is longer, one completion too.
    """
    policy = make_policy(family)
    prompts = prompts_of(policy)
    assert len(prompts[0]) < WINDOW < len(prompts[2])
    ids, mask = pad_left(prompts, policy.pad_id)
    tails = [[40, 41], [42] * 3 + [50] * 9, [43, 60, 61], [], [44, 45, 46, 47]]
    completions, completion_mask = pad_right(tails, policy.pad_id)
    index = torch.tensor([0, 0, 2, 1, 2])
    weights = torch.linspace(-1, 2, completions.numel()).view_as(completions)

    def run(prompt_ids: Any, prompt_mask: Any, **options: Any) -> list[torch.Tensor]:
        policy.model.zero_grad()
        logprobs, entropy = completion_logprobs(
            policy.model,
            prompt_ids,
            prompt_mask,
            completions,
            completion_mask,
            temperature=0.7,
            **options,
        )
        (logprobs * weights).sum().backward()
        return [logprobs, entropy, *(p.grad for p in policy.model.parameters())]

    apart = run(ids[index], mask[index])
    for one, other in zip(run(ids, mask, prompt_index=index), apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)
    assert apart[0][3].eq(0).all()  # the empty completion
    policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    policy.model.train()
    for module in policy.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for one, other in zip(run(ids, mask, prompt_index=index), apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("family", ["gemma3", "gpt2"])
def test_more_padding_changes_nothing(make_policy: Callable[..., Policy], family: str) -> None:
    policy = make_policy(family)
    prompt, completion = prompts_of(policy)[1], [40, 41, 42]

    def score(left: int, right: int) -> torch.Tensor:
        ids, mask = pad_left([prompt, [9] * (len(prompt) + left)], policy.pad_id)
        tail, tail_mask = pad_right([completion, [9] * (3 + right)], policy.pad_id)
        with torch.no_grad():
            return completion_logprobs(policy.model, ids, mask, tail, tail_mask, temperature=1.0)[
                0
            ][0, :3]

    torch.testing.assert_close(score(5, 4), score(0, 0), rtol=0, atol=1e-5)


def test_gpt2_positions_matter_here(make_policy: Callable[..., Policy]) -> None:
    """The learned positions of the tiny GPT-2 are strong, so the tests above could fail."""
    policy = make_policy("gpt2")
    ids, mask = pad_left([[30, 31, 32]], policy.pad_id)
    ids, mask = (torch.nn.functional.pad(t, (3, 0)) for t in (ids, mask))
    with torch.no_grad():
        right, wrong = (
            policy.model(input_ids=ids, attention_mask=mask.long(), position_ids=p).logits[:, -1]
            for p in (position_ids(mask), torch.arange(6)[None])
        )
    assert (right.log_softmax(-1) - wrong.log_softmax(-1)).abs().mean() > 0.1


def test_sampling_frequencies_are_the_softmax(make_policy: Callable[..., Policy]) -> None:
    """The checkpoint asks for top_k 5, top_p 0.5, T 0.3 and a repetition penalty: all ignored."""
    policy = make_policy()
    assert policy.model.generation_config.top_k == 5
    prompt = policy.encode_prompt(TEXTS[1])
    draws = 4000
    found = draw(policy, [prompt], group_size=draws, max_new_tokens=1, temperature=1.7, seeds=[11])
    exact = torch.softmax(by_hand(policy, prompt).double() / 1.7, -1)
    counts = torch.bincount(found.completion_ids[:, 0], minlength=len(exact)).double()
    # Pool the tokens with fewer than 5 expected draws into one cell, as the test asks for.
    common = exact * draws >= 5
    cells = [*zip(counts[common], exact[common] * draws, strict=True)]
    cells.append((counts[~common].sum(), exact[~common].sum() * draws))
    chi_square = float(sum((seen - due) ** 2 / due for seen, due in cells))
    freedom = len(cells) - 1
    assert freedom > 30
    # Mean k, variance 2k: five standard deviations above.
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("family", ["gemma3", "gpt2"])
def test_top_k_samples_and_scores_the_truncated_distribution(
    make_policy: Callable[..., Policy], family: str
) -> None:
    policy = make_policy(family)
    prompts = prompts_of(policy)
    found = draw(policy, prompts, group_size=40, top_k=3)
    rows = (found.prompt_ids, found.prompt_mask, found.completion_ids, found.completion_mask)
    with torch.no_grad():
        scored, _ = completion_logprobs(policy.model, *rows, temperature=0.8, top_k=3)
    torch.testing.assert_close(found.logprobs, scored, rtol=0, atol=1e-5)  # ratio 1
    for n, prompt in enumerate(prompts):
        likely = by_hand(policy, prompt).topk(3)
        first = found.completion_ids[40 * n : 40 * n + 40, 0]
        assert set(first.tolist()) <= set(likely.indices.tolist())
        assert len(set(first.tolist())) > 1
        exact = torch.log_softmax(likely.values / 0.8, -1)
        place = likely.indices.tolist().index(int(first[0]))
        assert found.logprobs[40 * n, 0].item() == pytest.approx(exact[place].item(), abs=1e-5)
    everything = draw(policy, prompts, group_size=40, top_k=len(policy.tokenizer))
    assert torch.equal(everything.logprobs, draw(policy, prompts, group_size=40).logprobs)


def test_noise_belongs_to_the_group() -> None:
    alone, among = draw_noise([7], 3, 5), draw_noise([5, 7, 6], 3, 5)
    assert torch.equal(among[3:6], alone)
    assert len({tuple(row) for row in among.tolist()}) == 9


def test_seeds_fix_completions_whatever_else_is_in_the_batch(
    make_policy: Callable[..., Policy],
) -> None:
    policy = make_policy()
    one, two, three = prompts_of(policy)
    together = draw(policy, [one, two, three], seeds=[1, 2, 3])
    again = draw(policy, [one, two, three], seeds=[1, 2, 3])
    assert torch.equal(together.completion_ids, again.completion_ids)
    assert torch.equal(together.logprobs, again.logprobs)
    turned = draw(policy, [three, one], seeds=[3, 1])
    assert turned.completions[:4] == together.completions[8:]
    assert turned.completions[4:] == together.completions[:4]
    other = draw(policy, [one, two, three], seeds=[1, 4, 3])
    assert other.completions[:4] == together.completions[:4]
    assert other.completions[4:8] != together.completions[4:8]
    assert len(set(together.completions[:4])) == 4


def test_greedy_is_the_argmax_of_full_forwards(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy()
    prompts = prompts_of(policy)
    found = draw(policy, prompts, group_size=1, seeds=None, temperature=1.0, max_new_tokens=6)
    for n, prompt in enumerate(prompts):
        ids = list(prompt)
        for _ in range(6):
            ids.append(int(by_hand(policy, ids).argmax()))
            if ids[-1] in policy.stop_ids:
                break
        assert found.completion_ids[n][found.completion_mask[n]].tolist() == ids[len(prompt) :]


@pytest.mark.parametrize("token", ["<eos>", "<end_of_turn>"])
def test_either_end_token_ends_a_completion(make_policy: Callable[..., Policy], token: str) -> None:
    policy = make_policy()
    stop = policy.tokenizer.convert_tokens_to_ids(token)
    favour(policy, stop, 4.5)
    found = draw(policy, prompts_of(policy), group_size=8)
    ended = ~found.truncated
    assert 0 < ended.sum() < len(ended)
    last = found.completion_ids[torch.arange(len(ended)), found.lengths - 1]
    assert (last[ended] == stop).sum() > 3
    for ids, mask, cut_off in zip(
        found.completion_ids, found.completion_mask, found.truncated, strict=True
    ):
        kept = ids[mask].tolist()
        stops = [k for k, token_id in enumerate(kept) if token_id in policy.stop_ids]
        # The one end token is the last kept token; a truncated row has none and is full.
        assert stops == ([] if cut_off else [len(kept) - 1])
        assert len(kept) == 12 or not cut_off
        assert (ids[~mask] == policy.pad_id).all()


def test_end_token_at_the_limit_is_not_truncated(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy()
    favour(policy, policy.stop_ids[1], 1e4)
    found = draw(policy, prompts_of(policy), max_new_tokens=1)
    assert found.lengths.tolist() == [1] * 12
    assert not found.truncated.any()
    assert found.completions == [""] * 12  # an empty answer: the end token alone
    assert found.completion_mask.all()


def test_pad_may_be_the_end_token(make_policy: Callable[..., Policy]) -> None:
    policy, plain = make_policy(), make_policy()
    policy.tokenizer.pad_token = "<eos>"
    policy = Policy(model=policy.model, tokenizer=policy.tokenizer, checkpoint="x")
    assert policy.pad_id in policy.stop_ids
    for each in (policy, plain):
        favour(each, policy.pad_id, 4.5)
    found, other = (draw(each, prompts_of(each), group_size=8) for each in (policy, plain))
    assert torch.equal(found.completion_mask, other.completion_mask)
    assert found.completions == other.completions
    torch.testing.assert_close(found.logprobs, other.logprobs)
    assert (~found.truncated).any()


def test_dropping_finished_rows_changes_nothing(make_policy: Callable[..., Policy]) -> None:
    """Alone, a row is never dropped from its batch; its completions must be the same."""
    policy = make_policy()
    favour(policy, policy.stop_ids[0], 4.5)
    prompts = prompts_of(policy)
    together = draw(policy, prompts, group_size=2, max_new_tokens=20, seeds=[4, 5, 6])
    assert together.lengths.min() < 8
    assert together.lengths.max() > 12
    for n, prompt in enumerate(prompts):
        noise_seed = [4 + n]
        alone = draw(policy, [prompt], group_size=2, max_new_tokens=20, seeds=noise_seed)
        assert alone.completions == together.completions[2 * n : 2 * n + 2]
        width = alone.logprobs.shape[1]
        torch.testing.assert_close(
            together.logprobs[2 * n : 2 * n + 2, :width], alone.logprobs, rtol=0, atol=1e-5
        )


def test_training_mode_is_restored(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy()
    modules = list(policy.model.modules())
    policy.model.train()
    modules[3].eval()
    before = [module.training for module in modules]
    draw(policy, prompts_of(policy))
    assert [module.training for module in modules] == before
    with pytest.raises(IndexError):
        draw(policy, [[10_000]])  # no such embedding
    assert [module.training for module in modules] == before
    assert torch.is_grad_enabled()


def test_sampling_runs_without_dropout(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("gpt2")
    plain = draw(policy, prompts_of(policy))
    policy.model.train()
    assert policy.model.transformer.drop.p > 0
    assert draw(policy, prompts_of(policy)).completions == plain.completions


def test_non_finite_logits_stop_the_run(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy()
    with torch.no_grad():
        policy.model.get_input_embeddings().weight[:, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"completion token 0.*32-true"):
        draw(policy, prompts_of(policy))


def test_completion_logprobs_pass_gradients_and_temperature(
    make_policy: Callable[..., Policy],
) -> None:
    policy = make_policy()
    ids, mask = pad_left(prompts_of(policy)[:1], policy.pad_id)
    completion = torch.tensor([[40, 41]])
    logprobs, entropy = completion_logprobs(
        policy.model, ids, mask, completion, torch.tensor([[True, False]]), temperature=2.0
    )
    exact = torch.log_softmax(by_hand(policy, ids[0].tolist()) / 2.0, -1)
    assert logprobs[0, 0].item() == pytest.approx(exact[40].item(), abs=1e-5)
    assert entropy[0, 0].item() == pytest.approx(-(exact.exp() * exact).sum().item(), abs=1e-4)
    assert logprobs[0, 1] == 0
    assert entropy[0, 1] == 0
    assert not entropy.requires_grad
    logprobs.sum().backward()
    grad = policy.model.get_input_embeddings().weight.grad
    assert grad is not None
    assert grad.abs().sum() > 0


def test_continuation_logprobs_add_up_the_tokens(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy()
    prompts = prompts_of(policy)
    found = continuation_logprobs(policy, prompts, [[[40], [40, 41]]] * len(prompts))
    table = torch.tensor([[sum(tokens) for tokens in own] for own in found])
    first = torch.log_softmax(by_hand(policy, prompts[2]), -1)[40]
    second = torch.log_softmax(by_hand(policy, [*prompts[2], 40]), -1)[41]
    torch.testing.assert_close(table[2], torch.stack([first, first + second]), atol=1e-5, rtol=0)


def test_padding_by_lengths() -> None:
    ids, mask = pad_left([[1, 2, 3], [], [4]], 0)
    assert ids.tolist() == [[1, 2, 3], [0, 0, 0], [0, 0, 4]]
    assert mask.sum(-1).tolist() == [3, 0, 1]
    ids, mask = pad_right([[1, 2, 3], [4]], 4)
    assert ids.tolist() == [[1, 2, 3], [4, 4, 4]]
    assert mask.tolist() == [[True] * 3, [True, False, False]]


def test_limits_must_fit_the_positions(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("gpt2")
    assert policy.max_positions == 1024
    samples = [Sample(uid=f"s{n}", prompt=text) for n, text in enumerate(TEXTS)]
    longest = max(map(len, prompts_of(policy)))
    assert longest == len(prompts_of(policy)[2])
    room = 1024 - longest + 1
    check_positions(policy, samples, RolloutConfig(max_completion_tokens=room))
    with pytest.raises(
        ConfigError,
        match=rf"got {room + 1}, but the model has 1024 positions and the longest prompt \(s2\) "
        rf"takes {longest}; set it to at most {room}, or lower rollout.max_prompt_tokens",
    ):
        check_positions(policy, samples, RolloutConfig(max_completion_tokens=room + 1))
    # The boundary is the model's own: 1024 positions take it, one token more does not.
    draw(policy, [[30] * 1020], group_size=1, max_new_tokens=5, seeds=[1])
    favour(policy, 40, 1e4)
    with pytest.raises(IndexError):
        draw(policy, [[30] * 1020], group_size=1, max_new_tokens=6, seeds=[1])
