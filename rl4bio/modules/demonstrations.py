"""Demonstrations as rows of tokens with loss weights, and the log-probabilities of what counts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.engine.layout import pack_sequences
from rl4bio.engine.scoring import packed_logprobs
from rl4bio.errors import DataError
from rl4bio.functional.logprobs import token_logprobs
from rl4bio.functional.masking import pad_right, position_ids
from rl4bio.modules.conditions import pick_conditions
from rl4bio.modules.neftune import noisy_embeddings
from rl4bio.modules.opening import behind_start
from rl4bio.modules.policy import Policy
from rl4bio.sections import SFTConfig
from rl4bio.types import Sample

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


def encode_demonstrations(
    policy: Policy, samples: Sequence[Sample], config: SFTConfig
) -> Demonstrations:
    """Prompt + demonstration + end-of-turn token as rows; the loss is on the completion.

    What the prompt has begun of the demonstration belongs to the prompt.

    Raises:
        DataError: a sample has no demonstration or lacks a condition of the model, or none fits
            `sft.max_tokens` and the model's positions.
    """
    room = policy.completion_room(0)
    limit = config.max_tokens if room is None else min(config.max_tokens, room)
    kept: list[int] = []
    rows: list[list[int]] = []
    weights: list[list[float]] = []
    for number, sample in enumerate(samples):
        if not sample.demonstration:
            raise DataError(f"sample {sample.uid}: no demonstration to imitate; task sft needs one")
        prompt = policy.encode_prompt(sample.prompt, sample.opening)
        rest = behind_start(sample.demonstration, policy.start_of(sample))
        completion = policy.encode_completion(rest)
        if len(prompt) + len(completion) > limit:
            continue
        kept.append(number)
        rows.append([*prompt, *completion])
        weights.append([config.prompt_loss_weight] * len(prompt) + [1.0] * len(completion))
    if not rows:
        raise DataError(
            f"none of {len(samples)} samples of a batch fits sft.max_tokens={config.max_tokens} "
            f"and the model's {policy.max_positions or 'unlimited'} positions; raise "
            "sft.max_tokens, or shorten the prompts (rollout.overlong_prompts=shorten)"
        )
    ids, mask = pad_right(rows, policy.pad_id)
    table = torch.zeros(ids.shape)
    for n, row in enumerate(weights):
        table[n, 1 : len(row)] = torch.tensor(row[1:])
    conditions = policy.conditions([samples[number] for number in kept])
    return Demonstrations(ids=ids, mask=mask, weights=table, numbers=kept, conditions=conditions)


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
        rows: N demonstrations.
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
    if packed:
        layout = pack_sequences(rows.ids, rows.mask, wanted)
        with noise:
            return packed_logprobs(model, layout, temperature=1.0)[0]
    with noise:
        out = model(
            input_ids=rows.ids[:, :-1],
            attention_mask=fed.long(),
            position_ids=position_ids(fed),
            use_cache=False,
            **rows.conditions,
        )
    chosen = wanted[:, 1:]
    return token_logprobs(out.logits[chosen][None], rows.ids[:, 1:][chosen][None])[0]
