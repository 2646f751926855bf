"""Rollouts: prompts in one packed pass, then all rows token by token in lockstep."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.engine.cpu.tape import CannotRecord, Tape
from rl4bio.engine.cpu.weights import rollout_weights
from rl4bio.engine.cuda.static_decode import StaticDecodeAttention, StaticLoop
from rl4bio.engine.hook import attending
from rl4bio.engine.key_values import DecodeAttention
from rl4bio.engine.layout import pack
from rl4bio.engine.packed_logprobs import Halves, fused_is_better, halves
from rl4bio.engine.record import Decoded, DecodingRecord
from rl4bio.engine.sampling import finest, sample_tokens
from rl4bio.engine.sharding import as_one_call

log = logging.getLogger("rl4bio")


@torch.no_grad()
@as_one_call
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
    conditions: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
    static: bool | None = None,
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
        conditions: of a conditioned model, each [B, ...].
        dtype: of the weights' copies; None is the model's own (or autocast's).
        static: fixed shapes, in CUDA graphs where there is CUDA; None is on CUDA alone.

    Raises:
        NonFiniteError: the model returned NaN or infinite logits.
    """
    parts = halves(model)
    packed = pack(prompt_ids, prompt_mask, front=parts.front)
    device = packed.ids.device
    shards = parts.shards
    static = device.type == "cuda" and shards is None if static is None else static
    options: dict[str, Any] = {"group_size": group_size, "fused": fused_is_better(device)}
    layout: DecodeAttention
    if static:
        layout = StaticDecodeAttention(packed, room=max_new_tokens, **options)
    else:
        layout = DecodeAttention(packed, room=1, **options)
    record = DecodingRecord(len(prompt_ids) * group_size, max_new_tokens, stop_ids, device)
    noise = None if noise is None else noise.to(finest(device)).to(device)
    sampling: dict[str, Any] = {"temperature": temperature, "top_k": top_k}
    weights: contextlib.AbstractContextManager[Any]
    if shards is None:
        weights = rollout_weights(model, dtype=dtype, rows=len(record.alive))
    else:
        weights = shards.kept_whole()
    with attending(model, layout), weights as copies:
        log.debug("engine: %s", copies or "gathered weights")
        hidden = parts.hidden(packed.ids, packed.positions, conditions or {})
        hidden = hidden[packed.prompt_lengths.cumsum(0) - 1].repeat_interleave(group_size, 0)
        first = None if noise is None else noise[:, 0]
        token, logprobs = sample_tokens(parts.logits(hidden), first, **sampling)
        keep = record.note(0, token, logprobs)
        hooked = _has_hooks(model)
        if isinstance(layout, StaticDecodeAttention):
            loop = StaticLoop(parts, layout, record, noise, may_record=not hooked, **sampling)
            return loop.run()
        step = _Step(parts, may_record=device.type == "cpu" and not hooked, **sampling)
        _lockstep(step, layout, record, token, keep, noise)
    return record.finish()


def _lockstep(
    step: _Step,
    layout: DecodeAttention,
    record: DecodingRecord,
    token: Tensor,
    keep: Tensor,
    noise: Tensor | None,
) -> None:
    """The tokens after the first; rows that have ended leave the batch."""
    position = layout.lengths[layout.members]
    for t in range(1, record.tokens.shape[1]):
        if not bool(keep.any()):
            break
        index = record.drop(keep)
        if index is not None:
            layout.keep(index)
            token, position = token[index], position[index]
        layout.advance()
        column = None if noise is None else noise[record.alive, t]
        token, logprobs = step(token, position, column)
        keep = record.note(t, token, logprobs)
        position = position + 1


def _has_hooks(model: nn.Module) -> bool:
    """Whether something may be done in a step that no recording would do again, tape or graph."""
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class _Step:
    """From the last token of every row to the next one; on a CPU from a tape.

    A step is recorded when its rows are met for the second time: while rows leave the batch quickly
    no recording would be replayed. What cannot be recorded is run as it is.
    """

    def __init__(self, parts: Halves, *, may_record: bool, **options: Any) -> None:
        self.parts, self.may_record, self.options = parts, may_record, options
        self.tape: Tape | None = None
        self.inputs: list[Tensor] = []

    def __call__(self, token: Tensor, position: Tensor, noise: Tensor | None) -> tuple[Tensor, ...]:
        given = [token, position, *([] if noise is None else [noise])]
        if not self.inputs or len(self.inputs[0]) != len(token):
            self.inputs, self.tape = [tensor.clone() for tensor in given], None
            return self._plain()
        for own, tensor in zip(self.inputs, given, strict=True):
            own.copy_(tensor)
        if self.tape is not None:
            try:
                return self.tape.replay()
            except IndexError:  # a position that the model lacks: its own code says so
                pass
        elif self.may_record:
            try:
                self.tape = Tape(self._plain)
                return self.tape.result
            except CannotRecord as error:
                log.debug("engine: steps are not recorded, %s", error)
                self.may_record = False
        return self._plain()

    def _plain(self) -> tuple[Tensor, Tensor]:
        token, position, *noise = self.inputs
        logits = self.parts.logits(self.parts.hidden(token[None], position[None]))
        return sample_tokens(logits, noise[0] if noise else None, **self.options)
