"""The policy: a causal language model, its tokenizer, and what to know about both."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.errors import ModelError
from rl4bio.hardware import model_family
from rl4bio.modules.conditions import condition_tensors
from rl4bio.sections import AdapterConfig, Backend
from rl4bio.types import Message, Prompt, Sample

log = logging.getLogger("rl4bio")

TURN_ENDS = ("<end_of_turn>", "<|im_end|>", "<|eot_id|>", "<|end|>")
REFERENCE_ADAPTER = "reference"
ANCHOR = "\n"
"""A text that no tokenizer merges with a word behind it."""
BLANKS = ("\u2581", "\u0120")
"""How tokens show a blank: SentencePiece's and the byte-level sign."""


@dataclass(kw_only=True)
class Policy:
    """A model with its tokenizer; `model` is a PEFT model where an adapter is trained."""

    model: nn.Module
    tokenizer: Any
    checkpoint: str
    """Hub id or folder that the weights came from."""
    adapter: AdapterConfig | None = None
    revision: str | None = None
    """Of the checkpoint on the hub."""
    backend: Backend = "engine"
    """What rollouts and log-probabilities are computed with."""
    compile: bool = False
    """Whether the engine samples with compiled layers on CUDA; GRPO sets it (`rollout.compile`)."""
    engine_problem: str | None = field(default=None, init=False)
    """Why the engine does not serve the model, "" where it does; None = not asked yet."""

    def __post_init__(self) -> None:
        self.stop_ids = find_stop_ids(self.model, self.tokenizer)
        pad = self.tokenizer.pad_token_id
        self.pad_id: int = self.stop_ids[0] if pad is None else pad
        self._system_role: bool | None = None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def family(self) -> str:
        return model_family(self.model.config.model_type)  # type: ignore[union-attr, arg-type]

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that the model's positions allow, in tokens."""
        config: Any = self.model.config
        return getattr(config.get_text_config(), "max_position_embeddings", None)

    def completion_room(self, prompt_tokens: int) -> int | None:
        """Longest completion behind a prompt, in tokens; None where positions set no limit.

        P prompt tokens and a completion of C need P + C - 1 positions: the last token is never fed.
        """
        positions = self.max_positions
        return None if positions is None else positions - prompt_tokens + 1

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, ready for the first completion token, with at most one BOS.

        Chat turns go through the tokenizer's template in one call; a system turn is folded into
        the first user turn where the template has no system role. Without a template the turns'
        texts are joined by blank lines.

        Raises:
            ModelError: the prompt has no token, so there is nothing to predict the first from.
        """
        tokenizer = self.tokenizer
        if isinstance(prompt, str):
            ids = self._single_bos(list(tokenizer(prompt)["input_ids"]))
            if not ids:
                raise ModelError(
                    f"{self.checkpoint} has no start token, so a prompt cannot be empty; for "
                    "molecules set data.options.context to first_token or C"
                )
            return ids
        if tokenizer.chat_template is None:
            text = "\n\n".join(turn["content"] for turn in prompt) + "\n"
            return self._single_bos(list(tokenizer(text)["input_ids"]))
        if self._system_role is None:
            self._system_role = has_system_role(tokenizer)
        turns = prompt if self._system_role else fold_system(prompt)
        ids = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return self._single_bos(list(ids))

    def encode_completion(self, text: str) -> list[int]:
        """Token ids of a completion as the model would write it, with its end-of-turn token."""
        return [*self.encode_continuation(text), self.end_id]

    def encode_continuation(self, text: str) -> list[int]:
        """Token ids of a text that stands behind another one, as in the two of them together."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if not puts_blank_first(self.tokenizer):
            return ids
        before = list(self.tokenizer(ANCHOR, add_special_tokens=False)["input_ids"])
        whole = list(self.tokenizer(ANCHOR + text, add_special_tokens=False)["input_ids"])
        return whole[len(before) :] if whole[: len(before)] == before else ids

    @property
    def end_id(self) -> int:
        """The token that ends an assistant turn: the template's turn end, else EOS."""
        template = self.tokenizer.chat_template or ""
        for token in TURN_ENDS:
            token_id = self.tokenizer.convert_tokens_to_ids(token)
            if token in template and token_id in self.stop_ids:
                return token_id
        eos = self.tokenizer.eos_token_id
        return self.stop_ids[0] if eos is None else eos

    def conditions(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """What the model is given beside the samples' prompts, each [B, ...] on its device.

        Raises:
            DataError: a sample lacks what the model is conditioned on.
        """
        config: Any = self.model.config
        found = condition_tensors(config.get_text_config(), self.tokenizer, samples)
        return {name: value.to(self.device) for name, value in found.items()}

    def count_tokens(self, prompt: Prompt) -> int:
        return len(self.encode_prompt(prompt))

    def decode(self, ids: list[int]) -> str:
        """The text of completion tokens, special tokens removed."""
        return self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def trainable_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def save(self, folder: Path) -> None:
        """Write the adapter (peft format) or the whole model, with the tokenizer, to a folder."""
        from rl4bio.modules.saving import write_policy

        write_policy(self, folder)

    def _single_bos(self, ids: list[int]) -> list[int]:
        bos = self.tokenizer.bos_token_id
        while bos is not None and len(ids) > 1 and ids[0] == bos and ids[1] == bos:
            ids = ids[1:]
        return ids


def puts_blank_first(tokenizer: Any) -> bool:
    """Whether a text's first word gets a blank of the tokenizer's own (Llama 2, Mistral)."""
    if not getattr(tokenizer, "is_fast", False):
        return False
    ids = tokenizer("x", add_special_tokens=False)["input_ids"]
    return bool(ids) and tokenizer.convert_ids_to_tokens(ids[0]).startswith(BLANKS)


def has_system_role(tokenizer: Any) -> bool:
    """Whether the chat template renders a system turn at all (Gemma 2 raises, others drop it)."""
    probe = "systemprobe"
    turns = [{"role": "system", "content": probe}, {"role": "user", "content": "hello"}]
    try:
        return probe in tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # jinja2 errors of the template itself
        return False


def fold_system(turns: list[Message]) -> list[Message]:
    """The turns with a leading system text moved to the front of the first user turn."""
    if not turns or turns[0]["role"] != "system":
        return turns
    system, first, *rest = turns
    return [Message(role="user", content=f"{system['content']}\n\n{first['content']}"), *rest]


def find_stop_ids(model: nn.Module, tokenizer: Any) -> list[int]:
    """Every token id that ends a completion, sorted.

    The union of the tokenizer's EOS, the generation config's and the model config's EOS ids, and
    the turn ends that the chat template writes: checkpoints rarely declare all in one place.
    """
    found: set[int] = set()
    config: Any = model.config
    generation = getattr(model, "generation_config", None)
    for source in (tokenizer.eos_token_id, getattr(generation, "eos_token_id", None)):
        found.update([source] if isinstance(source, int) else source or [])
    eos = getattr(config.get_text_config(), "eos_token_id", None)
    found.update([eos] if isinstance(eos, int) else eos or [])
    template = tokenizer.chat_template or ""
    for token in TURN_ENDS:
        token_id = tokenizer.convert_tokens_to_ids(token)
        if token in template and token_id not in (None, tokenizer.unk_token_id):
            found.add(token_id)
    if not found:
        raise ModelError(
            "the tokenizer and the model config declare no end token, so no completion could "
            "end; set eos_token in the checkpoint's tokenizer_config.json"
        )
    return sorted(found)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; the mode of every module is restored afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            yield
    finally:
        for module in training:
            module.training = True


def switch_off_dropout(model: nn.Module) -> None:
    """Set every dropout probability to 0, since a policy that samples and learns must be one."""
    found = False
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            module.p, found = 0.0, True
        if getattr(module, "attention_dropout", 0.0):
            module.attention_dropout = 0.0  # type: ignore[assignment]
            found = True
    if found:
        log.warning("dropout is switched off: with it, sampling and update would be two policies")
