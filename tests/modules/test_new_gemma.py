"""Parts of small Gemma models with a tokenizer of their own."""

from __future__ import annotations

from tokenizers import pre_tokenizers

from rl4bio.modules.new_gemma import SPECIAL, sample_texts, train_bpe, turn_ends, wrap_tokenizer
from rl4bio.text.sentences import chat
from rl4bio.types import Sample

TEXTS = ["the molecule crosses the barrier"] * 3


def test_a_tokenizer_begins_with_its_special_tokens_and_gives_any_text_back() -> None:
    bpe = train_bpe(TEXTS, pre_tokenizers.ByteLevel(add_prefix_space=False), size=300)
    tokenizer = wrap_tokenizer(bpe, chat_template="{{ messages[0]['content'] }}")
    assert tokenizer.convert_ids_to_tokens(list(range(6))) == SPECIAL
    assert len(tokenizer) <= 300
    for text in ("the barrier", "Å²\n(B)"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("the molecule")["input_ids"]) < len("the molecule")  # it has merged


def test_a_completion_ends_with_the_text_or_the_turn() -> None:
    bpe = train_bpe(TEXTS, pre_tokenizers.ByteLevel(add_prefix_space=False), size=300)
    ends = turn_ends(wrap_tokenizer(bpe, chat_template=""))
    assert ends.eos_token_id == [SPECIAL.index("<eos>"), SPECIAL.index("<end_of_turn>")]
    assert (ends.pad_token_id, ends.bos_token_id) == (0, 2)


def test_texts_of_a_sample() -> None:
    asked = Sample(uid="1", prompt=chat("question", system="rules"), demonstration="answer")
    assert sample_texts(asked) == ["rules", "question", "answer"]
    assert sample_texts(Sample(uid="2", prompt="raw", demonstration="answer")) == ["answer"]
