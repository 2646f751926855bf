"""Rollouts: prompts in one packed pass, then all rows token by token in lockstep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.engine.hook import attending
from rl4bio.engine.key_values import DecodeAttention
from rl4bio.engine.layout import Packed, pack
from rl4bio.engine.sampling import sample_tokens
from rl4bio.engine.scoring import Halves, fused_is_better, halves
from rl4bio.engine.weights import rollout_weights
from rl4bio.errors import NonFiniteError


@dataclass(slots=True, kw_only=True)
class Decoded:
    """N sampled completions."""

    tokens: Tensor  # int [N, max_new_tokens]; 0 behind a row's end
    logprobs: Tensor  # float32 [N, max_new_tokens]; 0 behind a row's end
    lengths: Tensor  # int [N]; the stop token counts
    ended: Tensor  # bool [N]; False = stopped by the limit


@torch.no_grad()
def decode(
    model: nn.Module,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    *,
    group_size: int,
    max_new_tokens: int,
    temperature: float,
    noise: Tensor | None,
    stop_ids: Sequence[int],
    top_k: int | None = None,
    dtype: torch.dtype | None = None,
) -> Decoded:
    """G completions of each prompt.

    Args:
        model: in eval mode; sampled as it stands (adapter on).
        prompt_ids: int [B, P], left-padded.
        prompt_mask: bool [B, P].
        group_size: G; N = B * G.
        max_new_tokens: limit of a completion, its stop token included.
        temperature: logits are divided by it.
        noise: float64 [N, max_new_tokens] in [0, 1) on the CPU; None decodes greedily.
        stop_ids: tokens that end a completion.
        top_k: sample among the k likeliest tokens.
        dtype: of the weights' copies; None is the model's own (or autocast's).

    Raises:
        NonFiniteError: the model returned NaN or infinite logits.
    """
    packed = pack(prompt_ids, prompt_mask)
    device = packed.ids.device
    layout = DecodeAttention(
        packed,
        group_size=group_size,
        max_new_tokens=max_new_tokens,
        fused=fused_is_better(device),
    )
    parts = halves(model)
    record = Record(len(prompt_ids) * group_size, max_new_tokens, stop_ids, device)
    if noise is not None:
        noise = noise.to(device)
    with attending(model, layout):
        hidden = _prefill(parts, packed).repeat_interleave(group_size, 0)
        with rollout_weights(model, dtype=dtype, rows=len(record.alive)):
            position = packed.prompt_lengths[layout.members]
            for t in range(max_new_tokens):
                logits = _logits(parts, hidden)
                token, logprobs = sample_tokens(
                    logits,
                    None if noise is None else noise[record.alive, t],
                    temperature=temperature,
                    top_k=top_k,
                )
                keep = record.note(t, token, logprobs)
                if t == max_new_tokens - 1 or not bool(keep.any()):
                    break
                index = record.drop(keep)
                if index is not None:
                    layout.keep(index)
                    token, position = token[index], position[index]
                layout.advance()
                out = parts.body(
                    input_ids=token[None],
                    attention_mask=None,
                    position_ids=position[None],
                    use_cache=False,
                )
                hidden, position = out.last_hidden_state[0], position + 1
    return record.finish()


def _prefill(parts: Halves, packed: Packed) -> Tensor:
    """Hidden states of the prompts' last tokens, [B, d]."""
    out: Any = parts.body(
        input_ids=packed.ids,
        attention_mask=None,
        position_ids=packed.positions,
        use_cache=False,
    )
    return out.last_hidden_state[0][packed.prompt_lengths.cumsum(0) - 1]


def _logits(parts: Halves, hidden: Tensor) -> Tensor:
    """Next-token logits, [N, V]."""
    logits = parts.head(hidden)
    if parts.softcap is not None:
        logits = parts.softcap * torch.tanh(logits / parts.softcap)
    return logits


class Record:
    """What has been sampled so far, row by row."""

    def __init__(
        self, num_rows: int, max_new_tokens: int, stop_ids: Sequence[int], device: torch.device
    ) -> None:
        self.tokens = torch.zeros(num_rows, max_new_tokens, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(num_rows, max_new_tokens, device=device)
        self.lengths = torch.zeros(num_rows, dtype=torch.long, device=device)
        self.ended = torch.zeros(num_rows, dtype=torch.bool, device=device)
        self.alive = torch.arange(num_rows, device=device)
        """Original number of each row still in the batch; some may have ended."""
        self.stops = torch.tensor(list(stop_ids), device=device)

    def note(self, t: int, token: Tensor, logprobs: Tensor) -> Tensor:
        """Note token t of the rows in the batch; True = the row goes on, bool [n].

        Raises:
            NonFiniteError: a log-probability is not finite.
        """
        if not bool(torch.isfinite(logprobs).all()):
            raise NonFiniteError(
                f"the policy's logits are not finite at completion token {t}; the precision is "
                "too small for this model (try trainer.precision=32-true) or the weights diverged"
            )
        rows = self.alive
        self.tokens[rows, t] = token
        self.logprobs[rows, t] = logprobs
        self.lengths[rows] += (~self.ended[rows]).long()
        self.ended[rows] |= torch.isin(token, self.stops)
        return ~self.ended[rows]

    def drop(self, keep: Tensor) -> Tensor | None:
        """Take ended rows out once a quarter of the batch is done.

        Args:
            keep: of `note`.

        Returns:
            int, the places in the batch of the rows that stay; None while all do.
        """
        if int(keep.sum()) > 0.75 * len(keep):
            return None
        index = keep.nonzero().squeeze(-1)
        self.alive = self.alive[index]
        return index

    def finish(self) -> Decoded:
        behind = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        hidden = behind >= self.lengths[:, None]
        return Decoded(
            tokens=self.tokens.masked_fill(hidden, 0),
            logprobs=self.logprobs.masked_fill(hidden, 0.0),
            lengths=self.lengths,
            ended=self.ended,
        )
