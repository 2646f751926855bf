"""MolGPT (Bagal et al., 2022, doi:10.1021/acs.jcim.1c00600) as a transformers model.

A GPT with learned positions over SMILES tokens. Conditions stand in front as a prefix without
positions: the scaffold's tokens, then one token made of the property values. One class covers the
unconditional, the property-conditioned and the scaffold-conditioned forms; parameter names are
those of the published code, so that its state dicts load as they are. Importing this file registers
the classes with AutoConfig, AutoModelForCausalLM and AutoTokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationMixin,
    PreTrainedModel,
)
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from rl4bio.modules.molgpt.layers import MolGPTBlock, MolGPTConfig
from rl4bio.modules.molgpt.tokenizer import SmilesTokenizer

CONDITION_TYPE, SMILES_TYPE = 0, 1
"""Rows of the type embedding."""


class MolGPTPreTrainedModel(PreTrainedModel):
    """What transformers needs to know about the architecture."""

    config_class = MolGPTConfig
    config: MolGPTConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _no_split_modules = ["MolGPTBlock"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    # Causal masks that published state dicts carry, in sizes that depend on how they were trained.
    _keys_to_ignore_on_load_unexpected = [r"attn\.mask$"]  # noqa: RUF012


class MolGPTForCausalLM(MolGPTPreTrainedModel, GenerationMixin):
    """MolGPT with its SMILES head, not tied to the embeddings."""

    def __init__(self, config: MolGPTConfig) -> None:
        super().__init__(config)
        self.tok_emb = nn.Embedding(config.vocab_size, config.width)
        self.type_emb = nn.Embedding(2, config.width)
        if config.num_properties:
            self.prop_nn = nn.Linear(config.num_properties, config.width)
        self.pos_emb = nn.Parameter(torch.zeros(1, config.block_size, config.width))
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(MolGPTBlock(config, n) for n in range(config.num_layers))
        self.ln_f = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.gradient_checkpointing = False
        PreTrainedModel.post_init(self)

    def get_input_embeddings(self) -> nn.Module:
        return self.tok_emb

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.tok_emb = value  # type: ignore[assignment]

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        properties: Tensor | None = None,
        scaffold_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Next-token logits of the SMILES positions.

        Args:
            input_ids: int [B, T], tokens of the SMILES alone.
            attention_mask: [B, past + T] over SMILES positions, 0 = padding; None = no padding.
            position_ids: int [B, T]; None counts from the cache's SMILES tokens on.
            past_key_values: cache of an earlier call; it holds the prefix too.
            use_cache: fill and return a cache.
            labels: int [B, T], the input ids again (shifted inside), -100 = no loss.
            logits_to_keep: only the last positions' logits; 0 = all.
            properties: float [B, k] or [B, 1, k], raw values in the model's order.
            scaffold_ids: int [B, S], padded with the end token to `scaffold_length`.

        Raises:
            ValueError: a condition is missing or has another size, or the string is too long.
        """
        out = self.layers_only(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            properties=properties,
            scaffold_ids=scaffold_ids,
        )
        assert out.last_hidden_state is not None
        kept = input_ids.shape[1] if logits_to_keep == 0 else logits_to_keep
        logits = self.head(out.last_hidden_state[:, -kept:])
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(
                logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
            )
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=out.past_key_values)

    def layers_only(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        properties: Tensor | None = None,
        scaffold_ids: Tensor | None = None,
        packed_conditions: Mapping[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """`forward` without the head: normalised hidden states of the SMILES positions.

        Args:
            packed_conditions: the conditions (properties, scaffold_ids) where they belong into the
                input: one row of several strings with `prefix_length` places ahead of each, which
                position_ids count. Empty where no place is in the input. Others as `forward`.
        """
        config = self.config
        if use_cache is None:
            use_cache = config.use_cache and not self.training
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=config)
        prefix_length = config.prefix_length
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        done = max(0, past - prefix_length)  # SMILES tokens in the cache
        if position_ids is None:
            position_ids = torch.arange(done, done + input_ids.shape[1], device=input_ids.device)
            position_ids = position_ids.unsqueeze(0)
        longest = done + input_ids.shape[1]  # of what one string may be
        if packed_conditions is not None:
            hidden = self._embed_packed(input_ids, position_ids, longest, packed_conditions)
        else:
            hidden = self._embed(input_ids, position_ids, longest)
            if past == 0:
                hidden = torch.cat([*self._prefix(properties, scaffold_ids, hidden), hidden], dim=1)
        if attention_mask is not None and prefix_length:
            seen = attention_mask.new_ones(len(attention_mask), prefix_length)
            attention_mask = torch.cat([seen, attention_mask], dim=1)
        mask = None  # one token without padding sees all that is before it
        if attention_mask is not None or hidden.shape[1] > 1:
            mask = create_causal_mask(
                config=config,
                inputs_embeds=hidden,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
            )
        for block in self.blocks:
            hidden = block(hidden, mask, past_key_values if use_cache else None)
        return BaseModelOutputWithPast(
            last_hidden_state=self.ln_f(hidden[:, -input_ids.shape[1] :]),
            past_key_values=past_key_values if use_cache else None,
        )

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Tensor,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Inputs of one decoding step; the cache's length counts the prefix, so it is not used."""
        inputs = {name: kwargs.get(name) for name in ("properties", "scaffold_ids", "use_cache")}
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        positions = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
        started = past_key_values is not None and past_key_values.get_seq_length() > 0
        width = 1 if started else input_ids.shape[1]
        return {
            "input_ids": input_ids[:, -width:],
            "attention_mask": attention_mask,
            "position_ids": positions[:, -width:],
            "past_key_values": past_key_values,
            **inputs,
        }

    def _embed(self, input_ids: Tensor, position_ids: Tensor, longest: int) -> Tensor:
        """Token + position + type embeddings of SMILES tokens: [B, T, width]."""
        positions = self._positions(position_ids, longest)
        hidden = self.tok_emb(input_ids) + positions + self.type_emb.weight[SMILES_TYPE]
        device = hidden.device.type
        if torch.is_autocast_enabled(device):  # the residual stream in the fast type
            hidden = hidden.to(torch.get_autocast_dtype(device))
        dropped: Tensor = self.drop(hidden)
        return dropped

    def _embed_packed(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        longest: int,
        conditions: Mapping[str, Tensor],
    ) -> Tensor:
        """Embeddings [1, T, width] of a row in which each string begins with its prefix."""
        positions = position_ids - self.config.prefix_length
        hidden = self._embed(input_ids, positions.clamp(min=0), longest)
        if not conditions:
            return hidden
        prefix = self._prefix(conditions.get("properties"), conditions.get("scaffold_ids"), hidden)
        return hidden.masked_scatter((positions < 0).unsqueeze(-1), torch.cat(prefix, dim=1))

    def _positions(self, position_ids: Tensor, longest: int) -> Tensor:
        """Position embeddings; a look at the largest position only where a GPU needs one.

        A CPU refuses a position that is not there itself; a GPU is asked, and waited for, where a
        string may be longer than the block.
        """
        block = self.config.block_size
        asked = longest > block and position_ids.is_cuda
        asked = asked and not torch.cuda.is_current_stream_capturing()
        try:
            if asked and int(position_ids.max()) >= block:
                raise IndexError
            return self.pos_emb[0, position_ids]
        except IndexError:
            raise ValueError(
                f"a string of {int(position_ids.max()) + 1} tokens is longer than the model's "
                f"block of {block}"
            ) from None

    def _prefix(
        self, properties: Tensor | None, scaffold_ids: Tensor | None, like: Tensor
    ) -> list[Tensor]:
        """Embedded conditions, scaffold first: tensors [B, *, width]."""
        config, condition = self.config, self.type_emb.weight[CONDITION_TYPE]
        parts: list[Tensor] = []
        if config.scaffold_length:
            if scaffold_ids is None or scaffold_ids.shape[-1] != config.scaffold_length:
                raise ValueError(f"scaffold_ids: needs int [B, {config.scaffold_length}]")
            parts.append(self.tok_emb(scaffold_ids) + condition)
        if config.num_properties:
            if properties is None or properties.shape[-1] != config.num_properties:
                raise ValueError(f"properties: needs float [B, {config.num_properties}]")
            values = properties.reshape(len(properties), 1, -1).to(self.prop_nn.weight.dtype)
            parts.append(self.prop_nn(values) + condition)
        return [part.to(like.dtype) for part in parts]


AutoConfig.register("molgpt", MolGPTConfig, exist_ok=True)
AutoModelForCausalLM.register(MolGPTConfig, MolGPTForCausalLM, exist_ok=True)
AutoTokenizer.register(MolGPTConfig, tokenizer_class=SmilesTokenizer, exist_ok=True)
