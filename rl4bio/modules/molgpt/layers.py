"""The transformer blocks of MolGPT and the configuration that shapes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class MolGPTConfig(PreTrainedConfig):
    """Shape of a MolGPT; the defaults are the published MOSES model."""

    model_type = "molgpt"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012
    attribute_map = {  # noqa: RUF012
        "hidden_size": "width",
        "max_position_embeddings": "block_size",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
    }

    vocab_size: int = 26
    block_size: int = 54
    """Longest sequence of SMILES tokens; the prefix does not count."""
    width: int = 256
    num_layers: int = 8
    num_heads: int = 8
    num_properties: int = 0
    property_names: list[str] | None = None
    """What the properties are, in their order; for people and data files."""
    property_ranges: list[list[float]] | None = None
    """[least, greatest] value of each in training; None where nothing recorded it."""
    scaffold_length: int = 0
    """Tokens of a padded scaffold; 0 = not conditioned on one."""
    decorates: bool = False
    """Trained to complete scaffolds that have attachment points."""
    dropout: float = 0.1
    initializer_range: float = 0.02
    use_cache: bool = True
    bos_token_id: int | None = None
    """The published models have no start token."""
    eos_token_id: int | list[int] | None = 10
    pad_token_id: int | None = 10
    tie_word_embeddings: bool = False

    @property
    def prefix_length(self) -> int:
        """Condition tokens in front of the SMILES."""
        return self.scaffold_length + (1 if self.num_properties else 0)


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T * scaling + mask) v by plain matrix products: [B, T, heads, head size].

    On a CPU in bfloat16 its backward is several times faster than the fused kernel's for short
    sequences such as SMILES.
    """
    weights = torch.matmul(query, key.transpose(-1, -2)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = torch.softmax(weights, dim=-1).to(value.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2), weights


class MolGPTAttention(nn.Module):
    """Causal self-attention with separate key, query, value and output projections."""

    def __init__(self, config: MolGPTConfig, layer: int) -> None:
        super().__init__()
        self.config, self.layer_idx = config, layer
        self.head_size = config.width // config.num_heads
        self.is_causal = True
        self.attention_dropout = config.dropout
        self.key = nn.Linear(config.width, config.width)
        self.query = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)
        self.proj = nn.Linear(config.width, config.width)
        self.resid_drop = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """Mix hidden states [B, T, width] over time."""
        heads = (*hidden.shape[:-1], -1, self.head_size)
        query, key, value = (
            linear(hidden).view(heads).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention
        )
        mixed, _ = attend(
            self,
            query,
            key,
            value,
            mask,
            scaling=self.head_size**-0.5,
            dropout=self.attention_dropout if self.training else 0.0,
        )
        output: Tensor = self.resid_drop(self.proj(mixed.reshape(hidden.shape)))
        return output


class MolGPTBlock(GradientCheckpointingLayer):
    """Pre-norm transformer block with a four times wider GELU layer."""

    def __init__(self, config: MolGPTConfig, layer: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(config.width)
        self.ln2 = nn.LayerNorm(config.width)
        self.attn = MolGPTAttention(config, layer)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, 4 * config.width),
            nn.GELU(),
            nn.Linear(4 * config.width, config.width),
            nn.Dropout(config.dropout),
        )

    def forward(self, hidden: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        hidden = hidden + self.attn(self.ln1(hidden), mask, cache)
        output: Tensor = hidden + self.mlp(self.ln2(hidden))
        return output
