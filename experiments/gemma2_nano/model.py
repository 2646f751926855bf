"""A Gemma 2 of two million parameters with random weights, and a tokenizer for SMILES.

python -m experiments.gemma2_nano.model --output OUT
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

from experiments.gemma2_nano.mix import Gemma2NanoMix
from rl4bio.answers.forms import TAGS
from rl4bio.modules.new_gemma import (
    MAX_TOKENS,
    sample_texts,
    train_bpe,
    turn_ends,
    wrap_tokenizer,
)

VOCABULARY = 1024
MARKS = [f"<{slash}{name}>" for name in TAGS for slash in ("", "/")]
ATOMS = ["Cl", "Br"]
"""Tokens that no text of the warm start needs."""

# English words are whole, everything else is one character: atoms stay countable. A run of lower
# case letters is a word where it has a letter that no aromatic atom is written with.
PIECES = r" ?(?=[bcnops]*[ad-mq-rt-z])[A-Z]?[a-z]{2,}|\s|."

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}"
    "{% endif %}"
    "{% for turn in messages %}"
    "{% set role = 'model' if turn['role'] == 'assistant' else turn['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + turn['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""Gemma 2's: it knows no system turn."""


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE that merges letters inside English words alone."""
    pieces = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer = train_bpe(texts, pieces, size=VOCABULARY - len(MARKS) - len(ATOMS))
    tokenizer.add_tokens(
        [AddedToken(word, special=False, normalized=False) for word in (*MARKS, *ATOMS)]
    )
    bos = ("<bos>", tokenizer.token_to_id("<bos>"))
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[bos])
    return wrap_tokenizer(tokenizer, chat_template=CHAT_TEMPLATE)


def new_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Gemma2ForCausalLM:
    """Random weights: 4 layers, width 192, window 64 in every other one, both soft caps."""
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=48,
        query_pre_attn_scalar=48,
        sliding_window=64,
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
        max_position_embeddings=MAX_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    model = Gemma2ForCausalLM(config)
    model.generation_config = turn_ends(tokenizer)
    return model


def texts_of(corpus: Gemma2NanoMix) -> list[str]:
    """Prompts and demonstrations, for the tokenizer."""
    samples = random.Random(0).sample(list(corpus.samples("train")), 2000)
    return [text for sample in samples for text in sample_texts(sample)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    tokenizer = train_tokenizer(texts_of(Gemma2NanoMix(size=20_000)))
    model = new_model(tokenizer, seed=args.seed)
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    print(f"{args.output}: {model.num_parameters():,} parameters, {len(tokenizer)} tokens")


if __name__ == "__main__":
    main()
