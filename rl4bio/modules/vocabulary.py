"""The words of a tokenizer against the rows of a model: published checkpoints differ both ways.

Gemma 3 has a token more than its 1B model has rows (a placeholder for images), Qwen 2.5 has 271
rows more than tokens. Neither is an error: a token without a row is refused where a text holds it,
a row without a token is never sampled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import nn

from rl4bio.engine.known_tokens import KnownTokens, note_known_tokens
from rl4bio.errors import DataError, ModelError

log = logging.getLogger("rl4bio")


def check_vocabulary(checkpoint: str, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that cannot be the model's.

    Raises:
        ModelError: it has no words, or words of ordinary text for which the model has no row.
    """
    words = tokenizer.get_vocab()
    if not set(words) - set(tokenizer.all_special_tokens):
        raise ModelError(  # transformers makes an empty one where its files are missing
            f"{checkpoint}: the tokenizer has no words; copy its files (tokenizer.json) "
            "beside the weights"
        )
    rows, added = embedding_rows(model), added_ids(tokenizer)
    beyond = {token: word for word, token in words.items() if token >= rows}
    ordinary = [word for token, word in sorted(beyond.items()) if token not in added]
    if ordinary:
        raise ModelError(
            f"{checkpoint}: the tokenizer has {len(words)} tokens but the model only {rows} "
            f"embeddings, so {ordinary[0]!r} has none; use the tokenizer that belongs to the model"
        )
    if beyond:
        first = beyond[min(beyond)]
        log.info(
            "vocabulary: %d tokens of the tokenizer have no row in the model (%s%s); texts that "
            "hold one are refused",
            len(beyond),
            first,
            "" if len(beyond) == 1 else ", ...",
        )


def note_vocabulary(model: nn.Module, tokenizer: Any) -> KnownTokens:
    """Restrict a model to the tokens of its tokenizer, in sampling and in log-probabilities."""
    rows = head_rows(model)
    found = KnownTokens(tokenizer.get_vocab().values(), rows)
    note_known_tokens(model, found)
    if not found.complete:
        absent = rows - found.count + len(found.holes)
        log.info("vocabulary: %d of %d rows are no tokens and never sampled", absent, rows)
    return found


def require_rows(ids: Sequence[int], rows: int, tokenizer: Any) -> None:
    """Refuse token ids that the model has no row for.

    Raises:
        DataError: naming the first such token.
    """
    beyond = next((token for token in ids if token >= rows), None)
    if beyond is not None:
        raise DataError(
            f"the text holds {tokenizer.convert_ids_to_tokens(beyond)!r} (token {beyond}), but the "
            f"model's last token is {rows - 1}; take it out of the text"
        )


def embedding_rows(model: Any) -> int:
    """Tokens that the model can be fed."""
    return len(model.get_input_embeddings().weight)


def head_rows(model: Any) -> int:
    """Tokens that the model has logits for; a quantised weight's shape does not tell."""
    size = getattr(model.get_output_embeddings(), "out_features", None)
    return size if isinstance(size, int) else embedding_rows(model)


def added_ids(tokenizer: Any) -> set[int]:
    """Tokens that stand beside the words of ordinary text: special or added ones."""
    return {*getattr(tokenizer, "added_tokens_decoder", ()), *tokenizer.all_special_ids}
