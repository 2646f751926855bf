"""Log-probabilities of completions on a packed row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rl4bio.engine.attention import PackedAttention
from rl4bio.engine.hook import attending
from rl4bio.engine.known_tokens import KnownTokens, inner_model, known_tokens
from rl4bio.engine.layout import Packed
from rl4bio.engine.linear_logprob import linear_logprobs
from rl4bio.engine.sharding import Shards, as_one_call, shards_of
from rl4bio.functional.shapes import at_least_float32


class Halves(NamedTuple):
    """A causal language model as its layers and its head."""

    body: nn.Module
    head: nn.Module
    softcap: float | None
    front: int = 0
    """Places ahead of a prompt that a conditioned model fills itself."""
    tokens: KnownTokens | None = None
    """Where not every row of the head is a token."""
    shards: Shards | None = None
    """Where the weights are shared out among processes."""

    def hidden(
        self, ids: Tensor, positions: Tensor, conditions: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Last hidden states [T, d] of a row of T tokens; the layout in force does the attention.

        Args:
            ids: int [1, T].
            positions: int [1, T].
            conditions: of the prompts in the row, each [B, ...], where the model takes them; None
                for a row without prompts.

        Raises:
            ValueError: the model is conditioned, and there are none for the row's prompts.
        """
        given: dict[str, Any] = {}
        if self.front:
            if conditions is not None and not conditions:
                raise ValueError("a conditioned model is given prompts without conditions")
            given["packed_conditions"] = conditions or {}
        if self.shards is not None:
            self.shards.begin_pass()
        states: Tensor = self.body(
            input_ids=ids, attention_mask=None, position_ids=positions, use_cache=False, **given
        ).last_hidden_state
        return states[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits [..., V] of hidden states [..., d]; soft caps in at least float32.

        Of tokens alone: V is the number of rows up to the last one, holes are -inf.
        """
        logits: Tensor = self.head(hidden)
        if self.tokens is not None:
            logits = self.tokens.restrict(logits)
        if self.softcap is None:
            return logits
        return self.softcap * torch.tanh(at_least_float32(logits) / self.softcap)


def halves(model: Any) -> Halves:
    """Layers and head of a causal language model, adapters included."""
    inner = inner_model(model)
    body = getattr(inner, "layers_only", None) or inner.base_model
    config = inner.config.get_text_config()
    softcap = getattr(config, "final_logit_softcapping", None)
    front = getattr(config, "prefix_length", 0)
    return Halves(
        body=body,
        head=inner.get_output_embeddings(),
        softcap=softcap,
        front=front,
        tokens=known_tokens(inner),
        shards=shards_of(inner),
    )


def fused_is_better(device: torch.device) -> bool:
    """Whether fused attention kernels are worth it: on a CPU plain products are faster."""
    return device.type != "cpu"


@as_one_call
def packed_logprobs(
    model: nn.Module,
    packed: Packed,
    *,
    temperature: float,
    top_k: int | None = None,
    conditions: Mapping[str, Tensor] | None = None,
    entropy_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the scored tokens.

    Args:
        model: in the mode and with the adapter that the caller wants; gradients flow.
        packed: T tokens, M of them scored.
        temperature: logits are divided by it.
        top_k: truncates the distribution to the k likeliest tokens, and the given one.
        conditions: of a conditioned model, each [B, ...]; the layout has places for them in front.
        entropy_gradient: whether the entropies have one.

    Returns:
        float32 [M] and float32 [M].
    """
    parts = halves(model)
    layout = PackedAttention(packed, fused=fused_is_better(packed.ids.device))
    with attending(model, layout):
        hidden = parts.hidden(packed.ids, packed.positions, conditions or {})
    return linear_logprobs(
        hidden.index_select(0, packed.scored),
        parts.head,
        packed.targets,
        temperature=temperature,
        top_k=top_k,
        softcap=parts.softcap,
        tokens=parts.tokens,
        extremes=packed.extremes,
        entropy_gradient=entropy_gradient,
    )
