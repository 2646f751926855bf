"""Demonstrations as rows of tokens with loss weights, and the log-probabilities of what counts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.engine.known_tokens import restricted
from rl4bio.engine.layout import pack_sequences
from rl4bio.engine.packed_logprobs import packed_logprobs
from rl4bio.engine.sending import moved, send
from rl4bio.errors import DataError, about_sample
from rl4bio.functional.logprobs import token_logprobs
from rl4bio.functional.masking import pad_right, position_ids
from rl4bio.modules.conditions import pick_conditions
from rl4bio.modules.neftune import noisy_embeddings
from rl4bio.modules.opening import behind_start
from rl4bio.modules.policy import Policy
from rl4bio.sections import SFTConfig
from rl4bio.types import Sample

log = logging.getLogger("rl4bio")

SPECIAL = 4
"""Tokens at most that a tokenizer adds to a raw prompt and a completion."""
PADDING = 2
"""Padded over real tokens of a packed micro-batch at most: attention pads what linear layers do
not, and one long row beside many short ones would need a block far larger than all else."""


@dataclass(slots=True, kw_only=True)
class Demonstrations:
    """Encoded prompt + demonstration rows, right-padded."""

    ids: Tensor  # int [N, T]
    mask: Tensor  # bool [N, T]; True = real token
    weights: Tensor  # float [N, T]; loss weight of predicting this token, 0 for the first
    numbers: list[int] = field(default_factory=list)  # N; which of the given samples a row is
    conditions: dict[str, Tensor] = field(default_factory=dict)  # each [N, ...]
    counts: bool = True  # False = a stand-in, for a batch of which no pair fits

    def pick(self, chosen: Sequence[int]) -> Demonstrations:
        """Some rows in the given order, cut to their own longest."""
        index = torch.tensor(chosen, device=self.ids.device)
        width = int(self.mask[index].sum(-1).max())
        return Demonstrations(
            ids=self.ids[index, :width],
            mask=self.mask[index, :width],
            weights=self.weights[index, :width],
            numbers=[self.numbers[n] for n in chosen],
            conditions=pick_conditions(self.conditions, index),
        )

    def micro_batches(self, max_tokens: int, *, packed: bool) -> list[Demonstrations]:
        """All rows, short ones first, in pieces of at most `max_tokens` tokens or one row.

        Args:
            max_tokens: real tokens of a packed piece, else padded ones.
            packed: whether padding is spared.
        """
        lengths = self.mask.sum(-1).tolist()
        pieces: list[list[int]] = [[]]
        for row in sorted(range(len(lengths)), key=lengths.__getitem__):
            together = [*pieces[-1], row]
            padded = len(together) * lengths[row]
            real = sum(lengths[n] for n in together)
            fits = max(real, padded / PADDING) <= max_tokens if packed else padded <= max_tokens
            if pieces[-1] and not fits:
                pieces.append([row])
            else:
                pieces[-1] = together
        return [self.pick(piece) for piece in pieces]


class NothingFits(DataError):
    """No pair of a batch fits; the batch is skipped and counted."""


def check_demonstration(policy: Policy, sample: Sample) -> None:
    """Raise a DataError unless there is one, without control tokens of the model."""
    with about_sample(sample.uid):
        if not sample.demonstration:
            raise DataError("no demonstration to imitate; task sft needs one")
        policy.controls.refuse(sample.demonstration, "its demonstration")


def encode_pair(policy: Policy, sample: Sample) -> tuple[list[int], list[int]]:
    """Token ids of a prompt, and of the demonstration with its end-of-turn token.

    What the prompt has begun of the demonstration belongs to the prompt.

    Raises:
        DataError: there is no demonstration, or it holds a control token of the model or a token
            that the model has no row for.
    """
    check_demonstration(policy, sample)
    with about_sample(sample.uid):
        prompt = policy.encode_prompt(sample.prompt, sample.opening)
        rest = behind_start(sample.demonstration, policy.start_of(sample))
        return prompt, policy.encode_completion(rest)


def pair_limit(policy: Policy, config: SFTConfig) -> int:
    """Longest prompt + demonstration in tokens: `sft.max_tokens`, or the model's positions."""
    room = policy.completion_room(0)
    return config.max_tokens if room is None else min(config.max_tokens, room)


def fit_demonstrations(
    policy: Policy, samples: Sequence[Sample], config: SFTConfig
) -> list[Sample]:
    """The samples whose prompt and demonstration fit together; the others are counted in the log.

    Raises:
        DataError: a sample has no demonstration, or one with a control token; or none fits.
    """
    limit = pair_limit(policy, config)
    kept = [sample for sample in samples if _fits(policy, sample, limit)]
    if samples and not kept:
        raise _nothing_fits(policy, len(samples), config, "")
    if len(kept) < len(samples):
        log.warning(
            "%d of %d prompt + demonstration pairs are longer than %d tokens (sft.max_tokens, or "
            "the model's positions) and are left out",
            len(samples) - len(kept),
            len(samples),
            limit,
        )
    return kept


def _fits(policy: Policy, sample: Sample, limit: int) -> bool:
    check_demonstration(policy, sample)
    if isinstance(sample.prompt, str):
        # A token is a byte at least, so that most of millions of molecules need no tokenizer.
        most = len((sample.prompt + sample.opening + sample.demonstration).encode()) + SPECIAL
        if most <= limit:
            return True
    return sum(map(len, encode_pair(policy, sample))) <= limit


def _nothing_fits(policy: Policy, count: int, config: SFTConfig, where: str) -> NothingFits:
    return NothingFits(
        f"none of {count} samples{where} fits sft.max_tokens={config.max_tokens} "
        f"and the model's {policy.max_positions or 'unlimited'} positions; raise "
        "sft.max_tokens, or shorten the prompts (rollout.overlong_prompts=shorten)"
    )


def encode_demonstrations(
    policy: Policy, samples: Sequence[Sample], config: SFTConfig
) -> Demonstrations:
    """Prompt + demonstration + end-of-turn token as rows; the loss is on the completion.

    Raises:
        DataError: a sample has no demonstration, or one with a control token, or lacks a condition
            of the model; `NothingFits` where none fits `sft.max_tokens` and the model's positions.
    """
    limit = pair_limit(policy, config)
    kept: list[int] = []
    rows: list[list[int]] = []
    weights: list[list[float]] = []
    for number, sample in enumerate(samples):
        prompt, completion = encode_pair(policy, sample)
        if len(prompt) + len(completion) > limit:
            continue
        kept.append(number)
        rows.append([*prompt, *completion])
        weights.append([config.prompt_loss_weight] * len(prompt) + [1.0] * len(completion))
    if not rows:
        raise _nothing_fits(policy, len(samples), config, " of a batch")
    ids, mask = pad_right(rows, policy.pad_id)
    table = torch.zeros(ids.shape)
    for n, row in enumerate(weights):
        table[n, 1 : len(row)] = torch.tensor(row[1:])
    conditions = policy.conditions([samples[number] for number in kept])
    return Demonstrations(ids=ids, mask=mask, weights=table, numbers=kept, conditions=conditions)


def stand_in(policy: Policy, sample: Sample, config: SFTConfig) -> Demonstrations:
    """The start of a pair that does not fit, whose loss is to count nothing.

    A rank whose batch holds no pair that fits takes it, so that it joins the others' gradient step.
    """
    ids = [token for part in encode_pair(policy, sample) for token in part]
    row = torch.tensor([ids[: max(2, pair_limit(policy, config))]])
    weights = torch.zeros(row.shape)
    weights[0, -1] = 1.0
    conditions = policy.conditions([sample])
    return Demonstrations(
        ids=row,
        mask=torch.ones_like(row, dtype=torch.bool),
        weights=weights,
        numbers=[0],
        conditions=conditions,
        counts=False,
    )


def demonstration_logprobs(
    model: nn.Module,
    rows: Demonstrations,
    *,
    packed: bool = False,
    noise_seeds: Sequence[int] = (),
    neftune_alpha: float = 0.0,
) -> Tensor:
    """Log-probabilities of the M tokens that have a weight, row by row.

    Args:
        model: in the mode that the caller wants; gradients flow.
        rows: N demonstrations, wherever they lie: on the host their layout waits for no device.
        packed: as one row without padding; the engine must serve the model, no attention dropout
            may be active, and the model takes no conditions.
        noise_seeds: N seeds of the noise on the embeddings; none where alpha is 0.
        neftune_alpha: size of that noise, see `noisy_embeddings`.

    Returns:
        float32 [M], in the order of `rows.weights[rows.weights > 0]`.
    """
    fed = rows.mask[:, 1:]  # [N, T - 1]; the last token of a row is never fed
    wanted = rows.weights > 0
    noise: Any = contextlib.nullcontext()
    if neftune_alpha:
        noise = noisy_embeddings(model, fed, seeds=noise_seeds, alpha=neftune_alpha, packed=packed)
    device = next(model.parameters()).device
    if packed:
        layout = pack_sequences(rows.ids, rows.mask, wanted).to(device)
        with noise:
            return packed_logprobs(model, layout, temperature=1.0)[0]
    rows, fed, wanted = moved(rows, device), send(fed, device), send(wanted, device)
    with noise:
        out = model(
            input_ids=rows.ids[:, :-1],
            attention_mask=fed.long(),
            position_ids=position_ids(fed),
            use_cache=False,
            **rows.conditions,
        )
    chosen = wanted[:, 1:]
    logits = restricted(model, out.logits[chosen])
    return token_logprobs(logits[None], rows.ids[:, 1:][chosen][None])[0]
