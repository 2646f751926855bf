"""Demonstrations as rows: what is in the loss, packed against padded, pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rl4bio.chem.tokens import split_smiles, vocabulary_of
from rl4bio.errors import DataError
from rl4bio.modules.demonstrations import (
    Demonstrations,
    demonstration_logprobs,
    encode_demonstrations,
)
from rl4bio.modules.dropout import switch_off_dropout
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.molgpt.new import new_molgpt
from rl4bio.modules.policy import Policy
from rl4bio.modules.sft import demonstration_loss
from rl4bio.sections import NewMolGPTConfig, SFTConfig
from rl4bio.types import Sample

FAMILIES = ("gemma3", "gemma2", "llama", "qwen2", "phi3", "gpt2", "molgpt")
SMILES = ["C", "CC(=O)Oc1ccccc1C", "n1ccccc1", "CCO"]


@pytest.fixture
def imitator(
    make_policy: Callable[..., Policy], four_samples: list[Sample]
) -> Callable[[str], tuple[Policy, list[Sample]]]:
    """Makes a policy without dropout and demonstrations of very different lengths for it."""

    def make(family: str) -> tuple[Policy, list[Sample]]:
        if family != "molgpt":
            policy = make_policy(family)
            switch_off_dropout(policy.model)
            return policy, four_samples
        shape = NewMolGPTConfig(num_layers=2, num_heads=2, width=32, block_size=30, dropout=0.0)
        vocabulary = vocabulary_of(map(split_smiles, SMILES))
        tokenizer, model = new_molgpt(shape, lambda: vocabulary, attention="eager")
        torch.manual_seed(0)
        with torch.no_grad():  # large enough that a wrong position shows
            for parameter in model.parameters():
                parameter.normal_(std=0.3)
        policy = Policy(model=model, tokenizer=tokenizer, checkpoint="tiny")
        return policy, [Sample(uid=s, prompt="", demonstration=s) for s in SMILES]

    return make


def labels_of(policy: Policy, rows: Demonstrations, samples: list[Sample], weight: float) -> Tensor:
    """Those of transformers: -100 where there is no loss, from the lengths alone."""
    labels = rows.ids.clone()
    for n, sample in enumerate(samples):
        prompt = policy.encode_prompt(sample.prompt)
        length = len(prompt) + len(policy.encode_completion(sample.demonstration))
        assert rows.mask[n].sum() == length
        labels[n, length:] = -100
        if not weight:
            labels[n, : len(prompt)] = -100
    return labels


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_is_that_of_transformers(
    imitator: Callable[[str], tuple[Policy, list[Sample]]], family: str, weight: float
) -> None:
    """Its own cross-entropy over labels, a mean over tokens, on padded rows."""
    policy, samples = imitator(family)
    policy.model.eval()
    rows = encode_demonstrations(policy, samples, SFTConfig(prompt_loss_weight=weight))
    labels = labels_of(policy, rows, samples, weight)
    with torch.no_grad():
        theirs = policy.model(input_ids=rows.ids, attention_mask=rows.mask.long(), labels=labels)
        for packed in (False, True):
            ours = demonstration_loss(policy.model, rows, packed=packed) / rows.weights.sum()
            assert ours.item() == pytest.approx(theirs.loss.item(), abs=1e-6), packed


@pytest.mark.parametrize("weight", [0.0, 0.25])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_is_padded(
    imitator: Callable[[str], tuple[Policy, list[Sample]]], family: str, weight: float
) -> None:
    """The same loss, and the same gradients of every weight, on ragged rows."""
    policy, samples = imitator(family)
    policy.backend = "engine"
    assert engine_serves(policy), policy.engine_problem
    policy.model.train()
    rows = encode_demonstrations(policy, samples, SFTConfig(prompt_loss_weight=weight))
    assert len(set(rows.mask.sum(-1).tolist())) == len(samples)
    losses, grads = [], []
    for packed in (False, True):
        policy.model.zero_grad()
        loss = demonstration_loss(policy.model, rows, packed=packed) / rows.weights.sum()
        loss.backward()
        losses.append(loss.item())
        grads.append(torch.cat([p.grad.flatten() for p in policy.trainable_parameters()]))
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert float(grads[0].norm()) > 0.1
    assert float((grads[1] - grads[0]).norm() / grads[0].norm()) < 1e-5


def test_packed_logprobs_come_row_by_row(
    imitator: Callable[[str], tuple[Policy, list[Sample]]],
) -> None:
    """Each row's numbers are those that it has alone, beside its own weights."""
    policy, samples = imitator("gemma3")
    rows = encode_demonstrations(policy, samples, SFTConfig(prompt_loss_weight=0.5))
    with torch.no_grad():
        together = demonstration_logprobs(policy.model, rows, packed=True)
        alone = [demonstration_logprobs(policy.model, rows.pick([n])) for n in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    counts = (rows.weights > 0).sum(-1).tolist()
    assert [len(values) for values in alone] == counts


def test_weights_of_prompt_completion_and_end(
    make_policy: Callable[..., Policy], four_samples: list[Sample]
) -> None:
    """The first token is never predicted; the turn's end is."""
    policy = make_policy()
    rows = encode_demonstrations(policy, four_samples[:2], SFTConfig(prompt_loss_weight=0.25))
    for n, sample in enumerate(four_samples[:2]):
        prompt = len(policy.encode_prompt(sample.prompt))
        completion = len(policy.encode_completion(sample.demonstration))
        wanted = [0.0] + [0.25] * (prompt - 1) + [1.0] * completion
        kept = rows.mask[n]
        assert rows.weights[n][kept].tolist() == wanted
        assert rows.weights[n][~kept].eq(0).all()
        assert rows.ids[n][kept][-1] == policy.end_id
    assert policy.tokenizer.convert_ids_to_tokens(policy.end_id) == "<end_of_turn>"


def test_end_is_learned_even_where_it_is_the_padding(
    make_policy: Callable[..., Policy], four_samples: list[Sample]
) -> None:
    policy = make_policy()
    policy.tokenizer.pad_token, policy.tokenizer.chat_template = "<eos>", None
    policy = Policy(model=policy.model, tokenizer=policy.tokenizer, checkpoint="x")
    assert policy.end_id == policy.pad_id
    rows = encode_demonstrations(policy, four_samples, SFTConfig())
    is_end = rows.ids == policy.end_id
    assert (is_end.sum(-1) > 1).any()  # ends and padding look alike
    assert (is_end & (rows.weights > 0)).sum(-1).tolist() == [1, 1, 1, 1]


def test_long_rows_are_left_out(
    make_policy: Callable[..., Policy], four_samples: list[Sample]
) -> None:
    policy = make_policy()
    lengths = [
        len(policy.encode_prompt(s.prompt)) + len(policy.encode_completion(s.demonstration))
        for s in four_samples
    ]
    limit = sorted(lengths)[2]
    rows = encode_demonstrations(policy, four_samples, SFTConfig(max_tokens=limit))
    kept = [n for n, length in enumerate(lengths) if length <= limit]
    assert rows.numbers == kept
    assert len(kept) == 3
    assert rows.mask.sum(-1).tolist() == [lengths[n] for n in kept]
    with pytest.raises(DataError, match=r"none of 4 samples.*sft\.max_tokens=3"):
        encode_demonstrations(policy, four_samples, SFTConfig(max_tokens=3))


def test_a_sample_without_demonstration(make_policy: Callable[..., Policy]) -> None:
    sample = Sample(uid="s9", prompt="yes")
    with pytest.raises(DataError, match="sample s9: no demonstration"):
        encode_demonstrations(make_policy(), [sample], SFTConfig())


def rows_of(*lengths: int) -> Demonstrations:
    """Rows of these lengths; the ids of row n are n."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    numbers = list(range(len(lengths)))
    ids = torch.tensor(numbers)[:, None].expand(mask.shape)
    weights = mask.float()
    return Demonstrations(ids=ids, mask=mask, weights=weights, numbers=numbers)


PIECES: list[tuple[int, bool, list[list[int]]]] = [
    # Lengths 5, 2, 9, 2, 3; in order of length rows 1, 3, 4, 0, 2.
    (9, False, [[1, 3, 4], [0], [2]]),  # 3 rows of 3 are 9; a fourth of 5 would make 20
    (9, True, [[1, 3, 4], [0], [2]]),  # 2 + 2 + 3 = 7 real tokens, 12 with the next
    (12, True, [[1, 3, 4, 0], [2]]),  # 12 real, 20 padded, which is less than twice 12
    (12, False, [[1, 3, 4], [0], [2]]),
    (21, True, [[1, 3, 4, 0], [2]]),  # all 21 real ones fit, but 5 rows of 9 are more than 42
    (23, True, [[1, 3, 4, 0, 2]]),  # 45 padded are less than 46
    (1, True, [[1], [3], [4], [0], [2]]),
]


@pytest.mark.parametrize(("max_tokens", "packed", "pieces"), PIECES)
def test_micro_batches(max_tokens: int, packed: bool, pieces: list[list[int]]) -> None:
    found = rows_of(5, 2, 9, 2, 3).micro_batches(max_tokens, packed=packed)
    assert [piece.numbers for piece in found] == pieces
    for piece in found:
        assert piece.ids[:, 0].tolist() == piece.numbers
        assert piece.mask.shape[1] == int(piece.mask.sum(-1).max())


def test_pieces_keep_their_conditions() -> None:
    rows = rows_of(5, 2, 9)
    rows.conditions = {"properties": torch.tensor([[0.0], [1.0], [2.0]])}
    found: list[Any] = rows.micro_batches(1, packed=False)
    assert [piece.conditions["properties"].item() for piece in found] == [1.0, 0.0, 2.0]
