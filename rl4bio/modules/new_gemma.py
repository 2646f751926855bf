"""Parts of small Gemma models that begin with random weights and a tokenizer of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig, PreTrainedTokenizerFast

from rl4bio.types import Sample

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
MAX_TOKENS = 2048


def sample_texts(sample: Sample) -> list[str]:
    """The turns of a chat prompt and the demonstration."""
    turns = sample.prompt if isinstance(sample.prompt, list) else []
    return [*(turn["content"] for turn in turns), sample.demonstration]


def train_bpe(texts: Iterable[str], pre_tokenizer: Any, *, size: int) -> Tokenizer:
    """A byte-level BPE that begins with `SPECIAL`.

    Args:
        texts: to learn merges from.
        pre_tokenizer: of the tokenizers library; ends in a byte level.
        size: of the vocabulary, at most.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wrap_tokenizer(tokenizer: Tokenizer, *, chat_template: str) -> PreTrainedTokenizerFast:
    """A tokenizer of `train_bpe` as transformers has it, with Gemma's special tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=chat_template,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_TOKENS,
    )


def turn_ends(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """What a model of this tokenizer ends a completion with: `<eos>`, and the end of its turn."""
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.eos_token_id, end],
    )
