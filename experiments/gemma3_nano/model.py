"""The nano policy before any training: a Gemma 3 architecture and its own small tokenizer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, pre_tokenizers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

from experiments.gemma3_nano.mix import WarmStartMix
from rl4bio.modules.new_gemma import (
    MAX_TOKENS,
    sample_texts,
    train_bpe,
    turn_ends,
    wrap_tokenizer,
)
from rl4bio.types import Sample

VOCABULARY = 2048
WORDS = ["<thought>", "</thought>", "<answer>", "</answer>", "yes", "no", "maybe"]

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'] + '\n\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for turn in turns %}"
    "{% set role = 'model' if turn['role'] == 'assistant' else turn['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') "
    "+ turn['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def train_tokenizer(records: Sequence[Sample], *, seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with single digits, trained on real abstracts and on plain trials."""
    mix = WarmStartMix(records, seed=seed)
    trials = itertools.islice(mix.samples(copy=0.0, real=0.0), 4000)
    texts = [text for sample in (*records, *records, *trials) for text in sample_texts(sample)]
    pieces = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer = train_bpe(texts, pieces, size=VOCABULARY - len(WORDS))
    tags = [AddedToken(word, special=False, normalized=False) for word in WORDS[:4]]
    verdicts = [
        AddedToken(word, special=False, normalized=False, single_word=True) for word in WORDS[4:]
    ]
    tokenizer.add_tokens([*tags, *verdicts])
    return wrap_tokenizer(tokenizer, chat_template=CHAT_TEMPLATE)


def new_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Gemma3ForCausalLM:
    """The architecture with random weights: 4 layers, width 192, window 512 in every other one."""
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=48,
        query_pre_attn_scalar=48,
        sliding_window=512,
        layer_types=["sliding_attention", "full_attention"] * 2,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    model = Gemma3ForCausalLM(config)
    model.generation_config = turn_ends(tokenizer)
    return model


def save(model: Gemma3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write bfloat16 safetensors and the tokenizer."""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
