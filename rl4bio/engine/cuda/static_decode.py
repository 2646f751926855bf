"""Decoding with fixed shapes, so that a step can be recorded once and replayed as a CUDA graph.

Everything that changes from token to token lives in tensors that the step itself updates: the
clock, the tokens, their positions. Attention runs over a bucket of the own length (a multiple of
64) with what lies ahead masked, so there is one graph for each bucket. Weights' copies and buffers
live as long as the rollout, and so do its graphs. On a CPU the same steps are simply called, which
is how they are tested; the recording (`graphs`) has not been run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rl4bio.engine.cuda.compiled import compiled_layers
from rl4bio.engine.cuda.graphs import can_record, recorded
from rl4bio.engine.key_values import DecodeAttention
from rl4bio.engine.layer_states import LayerStates
from rl4bio.engine.layout import Packed
from rl4bio.engine.packed_logprobs import Halves
from rl4bio.engine.record import Decoded, DecodingRecord
from rl4bio.engine.sampling import sample_tokens

BUCKET = 64
"""Own tokens that attention runs over are rounded up to a multiple of this."""
CHECK_EVERY = 16
"""Steps between two looks at whether all rows have ended; each look waits for the GPU."""


class StaticDecodeAttention(DecodeAttention):
    """`DecodeAttention` whose step is a tensor and whose shapes change by bucket alone."""

    def __init__(self, packed: Packed, *, group_size: int, room: int, fused: bool) -> None:
        whole = -(-room // BUCKET) * BUCKET
        super().__init__(packed, group_size=group_size, room=whole, fused=fused)
        self.clock = torch.zeros(1, dtype=torch.long, device=packed.ids.device)
        """The completion token that is fed, int [1]."""
        self.bucket = 0

    def enter(self, bucket: int) -> None:
        """Before the (recorded) step of a bucket: its masks are made anew, inside it."""
        self.step, self.bucket = 0, bucket
        self._biases = {}

    @property
    def now(self) -> Tensor:
        return self.clock

    @property
    def places(self) -> int:
        return self.bucket

    def write(self, states: LayerStates, key: Tensor, value: Tensor) -> None:
        place = self.clock + self.offset
        for store, new in zip(states.last, (key, value), strict=True):
            store.index_copy_(2, place, new.unsqueeze(2).to(store.dtype))

    def _all_seen(self, window: int | None) -> bool:
        return False


class StaticLoop:
    """The tokens after the first, in steps that update their own inputs.

    Args:
        parts: layers and head.
        layout: with the prompts' keys and values in it.
        record: with the first token in it.
        noise: float64 [N, C]; None decodes greedily.
        may_record: whether a step may be recorded at all.
        options: temperature and top_k.
    """

    def __init__(
        self,
        parts: Halves,
        layout: StaticDecodeAttention,
        record: DecodingRecord,
        noise: Tensor | None,
        *,
        may_record: bool,
        **options: Any,
    ) -> None:
        self.parts, self.layout, self.record, self.noise = parts, layout, record, noise
        self.may_record = may_record
        self.options = options
        self.token = record.tokens[:, 0].clone()
        self.position = layout.packed.prompt_lengths[layout.members].clone()
        self.finite = torch.isfinite(record.logprobs[:, 0]).all()
        self.pool: Any = None

    def run(self) -> Decoded:
        """All tokens up to the limit or until every row has ended."""
        with compiled_layers(self.parts.body, rows=len(self.token)):
            return self._run()

    def _run(self) -> Decoded:
        limit = self.record.tokens.shape[1]
        step: Callable[[], None] | None = None
        for t in range(1, limit):
            if t % CHECK_EVERY == 1 and not self.record.settle(t, self.finite):
                break
            bucket = -(-t // BUCKET) * BUCKET
            if step is None or bucket != self.layout.bucket:
                step = self.recorded(bucket)
            step()
        self.record.settle(limit, self.finite)
        return self.record.finish()

    def recorded(self, bucket: int) -> Callable[[], None]:
        """The step of a bucket: a CUDA graph where one can be recorded, else the plain call."""

        def plain() -> None:
            self.layout.enter(bucket)
            self.advance()

        self.layout.enter(bucket)
        if not self.may_record or not can_record(self.token.device):
            return plain
        graph = recorded(plain, self._state, self.pool)
        if graph is None:
            return plain
        self.pool = graph.pool()
        replay: Callable[[], None] = graph.replay
        return replay

    @property
    def _state(self) -> list[Tensor]:
        record = self.record
        return [self.layout.clock, self.token, self.position, record.tokens, record.logprobs]

    def advance(self) -> None:
        """Feed the last tokens, sample the next ones and note them; no look at any value."""
        hidden = self.parts.hidden(self.token[None], self.position[None])
        clock = self.layout.clock
        place = clock + 1
        token, logprobs = sample_tokens(
            self.parts.logits(hidden),
            None if self.noise is None else self.noise.index_select(1, place).squeeze(1),
            **self.options,
        )
        self.record.tokens.index_copy_(1, place, token[:, None])
        self.record.logprobs.index_copy_(1, place, logprobs[:, None])
        self.token.copy_(token)
        self.finite.logical_and_(torch.isfinite(logprobs).all())
        self.position.add_(1)
        clock.add_(1)
