"""MolGPT's tokenizer: one vocabulary file, strict, with or without a start token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizer

from rl4bio.chem.tokens import END, split_smiles

VOCABULARY_FILE = "vocab.json"


class SmilesTokenizer(PreTrainedTokenizer):
    """SMILES to token ids by MolGPT's regular expression (`rl4bio.chem.tokens`).

    A character or token that the vocabulary lacks is an error and not dropped. `<` is the end and
    the padding; where `bos_token` is `<` too, every string begins with it.

    Args:
        vocab_file: MolGPT's stoi.json: token -> id.
        vocabulary: the same as a mapping, instead of the file.
        bos_token: `<` for models with a start token, None for the published ones.
    """

    vocab_files_names = {"vocab_file": VOCABULARY_FILE}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(
        self,
        vocab_file: str | None = None,
        *,
        vocabulary: Mapping[str, int] | None = None,
        bos_token: str | None = None,
        **kwargs: Any,
    ) -> None:
        if vocabulary is None:
            if vocab_file is None:
                raise ValueError("SmilesTokenizer needs vocab_file or vocabulary")
            vocabulary = json.loads(Path(vocab_file).read_text("utf-8"))
        self.vocabulary = dict(vocabulary)
        self._tokens: dict[int, str] = {index: token for token, index in self.vocabulary.items()}
        if END not in self.vocabulary:
            raise ValueError(f"the vocabulary has no {END!r}, which ends and pads every string")
        for name in ("eos_token", "pad_token", "unk_token", "clean_up_tokenization_spaces"):
            kwargs.pop(name, None)
        PreTrainedTokenizer.__init__(
            self,
            bos_token=bos_token,
            eos_token=END,
            pad_token=END,
            padding_side=kwargs.pop("padding_side", "left"),
            clean_up_tokenization_spaces=False,
            **kwargs,
        )

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    def get_vocab(self) -> dict[str, int]:
        return dict(self.vocabulary)

    def tokenize(self, text: str, **kwargs: Any) -> list[str]:  # type: ignore[override]
        """The tokens of a SMILES.

        Raises:
            TokenError: a character is no part of any token.
            ValueError: a token is not in the vocabulary.
        """
        tokens = split_smiles(text)
        for token in tokens:
            if token not in self.vocabulary:
                raise ValueError(
                    f"{token!r} in {text[:80]!r} is not in the vocabulary of {len(self.vocabulary)}"
                )
        return tokens

    def _convert_token_to_id(self, token: str) -> int | None:
        return self.vocabulary.get(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self._tokens[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        start = [] if self.bos_token is None else [self.vocabulary[END]]
        return [*start, *token_ids_0, *(token_ids_1 or [])]

    def save_vocabulary(
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        name = f"{filename_prefix}-{VOCABULARY_FILE}" if filename_prefix else VOCABULARY_FILE
        path = Path(save_directory) / name
        path.write_text(json.dumps(self.vocabulary, indent=1) + "\n", "utf-8")
        return (str(path),)
