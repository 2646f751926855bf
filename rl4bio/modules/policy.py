"""The policy: a causal language model, its tokenizer, and what to know about both."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.errors import ModelError
from rl4bio.hardware import model_family
from rl4bio.modules.chat_template import ControlTokens, fold_system, has_system_role, template_ids
from rl4bio.modules.conditions import condition_tensors
from rl4bio.modules.opening import split_start, template_opening, turn_start
from rl4bio.modules.positions import changes_within, usable_positions
from rl4bio.modules.turns import (
    Turns,
    find_stop_ids,
    read_turns,
    role_ids,
    template_options,
    tokens_behind,
)
from rl4bio.modules.vocabulary import embedding_rows, note_vocabulary, require_rows
from rl4bio.sections import DATE, AdapterConfig, Backend
from rl4bio.types import Prompt, Sample

ANCHOR = "\n"
"""A text that no tokenizer merges with a word behind it."""
BLANKS = ("\u2581", "\u0120")
"""How tokens show a blank: SentencePiece's and the byte-level sign."""


@dataclass(kw_only=True, repr=False)
class Policy:
    """A model with its tokenizer; `model` is a PEFT model where an adapter is trained."""

    model: nn.Module
    tokenizer: Any
    checkpoint: str
    """Hub id or folder that the weights came from."""
    adapter: AdapterConfig | None = None
    revision: str | None = None
    """Of the checkpoint on the hub."""
    date: str = DATE
    """What a chat template is told is today."""
    backend: Backend = "engine"
    """What rollouts and log-probabilities are computed with."""
    compile: bool = False
    """Whether the engine samples with compiled layers on CUDA; GRPO sets it (`rollout.compile`)."""
    engine_problem: str | None = field(default=None, init=False)
    """Why the engine does not serve the model, "" where it does; None = not asked yet."""

    def __post_init__(self) -> None:
        self._turns: tuple[str | None, Turns] | None = None
        self.stop_ids = find_stop_ids(self.model, self.tokenizer, self.turns.end)
        self.rows = embedding_rows(self.model)
        """Tokens that the model can be fed."""
        pad = self.tokenizer.pad_token_id
        self.controls = ControlTokens(self.tokenizer)
        self.pad_id: int = self.stop_ids[0] if pad is None or pad >= self.rows else pad
        self.tokens = note_vocabulary(self.model, self.tokenizer)
        """What is sampled among."""
        self._no_text = {*self.stop_ids, *self.turns.marks, *role_ids(self.tokenizer)}
        self._system_role: bool | None = None
        self._behind: list[int] | None = None

    def __repr__(self) -> str:
        """Checkpoint, size, type and place in one line."""
        weights = list(self.model.parameters())
        count = sum(weight.numel() for weight in weights)
        trained = sum(weight.numel() for weight in weights if weight.requires_grad)
        dtype = str(weights[0].dtype).removeprefix("torch.")
        lora = "" if self.adapter is None else f", LoRA rank {self.adapter.rank}"
        return (
            f"Policy({self.checkpoint}: {self.family}, {count:,} weights, {trained:,} trained"
            f"{lora}, {dtype} on {self.device})"
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def family(self) -> str:
        """Of the architecture, which decides about precision and attention."""
        return model_family(self.model.config.model_type)  # type: ignore[union-attr, arg-type]

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that the model's positions allow, in tokens; see `usable_positions`."""
        config: Any = self.model.config
        return usable_positions(config.get_text_config())

    @property
    def position_note(self) -> str:
        """Why the model's own limit is not the one in force; "" where it is."""
        config: Any = self.model.config
        return changes_within(config.get_text_config())

    def completion_room(self, prompt_tokens: int) -> int | None:
        """Longest completion behind a prompt, in tokens; None where positions set no limit.

        P prompt tokens and a completion of C need P + C - 1 positions: the last token is never fed.
        """
        positions = self.max_positions
        return None if positions is None else positions - prompt_tokens + 1

    @functools.cached_property
    def template_opening(self) -> str:
        """The tag that the chat template leaves opened for the answer; "" for none."""
        return template_opening(self.tokenizer)

    def inputs(
        self, samples: Sequence[Sample], prompts: Sequence[list[int]] | None = None
    ) -> dict[str, Any]:
        """What a sampler is given of B samples: prompts, starts of the turns, conditions.

        Args:
            samples: B.
            prompts: of the samples, where they are encoded already.
        """
        if prompts is None:
            prompts = [self.encode_prompt(s.prompt, s.opening) for s in samples]
        return {
            "prompts": prompts,
            "starts": [self.start_of(sample) for sample in samples],
            "conditions": self.conditions(samples),
        }

    def start_of(self, sample: Sample) -> str:
        """What a completion of the sample goes on from, as text; "" for most."""
        return self.turn_start(sample.prompt, sample.opening)

    def turn_start(self, prompt: Prompt, opening: str) -> str:
        """The text that a completion of a prompt goes on from, by template and task together."""
        return turn_start(self._opened(prompt), opening)

    def split_start(self, prompt: Prompt, opening: str) -> tuple[list[int], str]:
        """Tokens of a prompt, and what of the turn's start they do not hold yet."""
        ids = self.encode_prompt(prompt)
        return split_start(self.tokenizer, ids, self._opened(prompt), opening)

    def _opened(self, prompt: Prompt) -> str:
        return "" if isinstance(prompt, str) else self.template_opening

    def encode_prompt(self, prompt: Prompt, opening: str = "") -> list[int]:
        """Token ids of a prompt, ready for the first completion token, with at most one BOS.

        They end with the opening, where the answer begins with one; see `rl4bio.modules.opening`.
        A tokenizer that puts an EOS behind every text puts none behind a prompt.

        Chat turns go through the tokenizer's template in one call; a system turn is folded into
        the first user turn where the template has no system role. Without a template the turns'
        texts are joined by blank lines.

        Raises:
            ModelError: the prompt has no token, so there is nothing to predict the first from, or
                the template renders nothing.
            DataError: the template refuses the turns, one of them holds a control token, or a text
                a token that the model has no row for. A raw text is taken as it is written,
                control tokens and all.
        """
        tokenizer = self.tokenizer
        if opening:
            ids, rest = self.split_start(prompt, opening)
            return [*ids, *self.encode_continuation(rest)] if rest else ids
        if isinstance(prompt, str):
            ids = self._prompt_of_text(prompt)
            if not ids:
                raise ModelError(
                    f"{self.checkpoint} has no start token, so a prompt cannot be empty; for "
                    "molecules set data.options.context to first_token or C"
                )
            return ids
        for turn in prompt:
            self.controls.refuse(turn["content"], f"the {turn['role']} turn")
        if tokenizer.chat_template is None:
            text = "\n\n".join(turn["content"] for turn in prompt) + "\n"
            return self._prompt_of_text(text)
        if self._system_role is None:
            self._system_role = has_system_role(tokenizer)
        turns = prompt if self._system_role else fold_system(prompt)
        options = template_options(tokenizer, self.date)
        ids = template_ids(tokenizer, turns, checkpoint=self.checkpoint, options=options)
        return self._single_bos(ids)

    def encode_completion(self, text: str) -> list[int]:
        """Token ids of a completion as the model would write it, with its end-of-turn token."""
        return [*self.encode_continuation(text), self.end_id]

    def encode_continuation(self, text: str) -> list[int]:
        """Token ids of a text that stands behind another one, as in the two of them together.

        Raises:
            DataError: it holds a token that the model has no row for.
        """
        ids = self._continuation(text)
        require_rows(ids, self.rows, self.tokenizer)
        return ids

    def _continuation(self, text: str) -> list[int]:
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if not puts_blank_first(self.tokenizer):
            return ids
        before = list(self.tokenizer(ANCHOR, add_special_tokens=False)["input_ids"])
        whole = list(self.tokenizer(ANCHOR + text, add_special_tokens=False)["input_ids"])
        return whole[len(before) :] if whole[: len(before)] == before else ids

    @property
    def turns(self) -> Turns:
        """What the chat template in force writes around turns."""
        template = self.tokenizer.chat_template
        if self._turns is None or self._turns[0] != template:
            self._turns = template, read_turns(self.tokenizer, self.date)
        return self._turns[1]

    @property
    def end_id(self) -> int:
        """The token that ends an assistant turn: the template's turn end, else EOS."""
        for token in (self.turns.end, self.tokenizer.eos_token_id):
            if token in self.stop_ids:
                return token
        return self.stop_ids[0]

    def conditions(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """What the model is given beside the samples' prompts, each [B, ...] on its device.

        Raises:
            DataError: a sample lacks what the model is conditioned on.
        """
        config: Any = self.model.config
        found = condition_tensors(config.get_text_config(), self.tokenizer, samples)
        return {name: value.to(self.device) for name, value in found.items()}

    def count_tokens(self, prompt: Prompt, opening: str = "") -> int:
        """Tokens of a prompt as the policy reads it, what it begins the answer with included."""
        return len(self.encode_prompt(prompt, opening))

    def decode(self, ids: list[int]) -> str:
        """The text of completion tokens, without ends, padding and what begins or ends a turn.

        Other special tokens are text that was written: an earlier training may have made the tags
        of a task special.
        """
        said = [token for token in ids if token not in self._no_text]
        text: str = self.tokenizer.decode(
            said, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What an optimiser changes."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def _prompt_of_text(self, text: str) -> list[int]:
        """A text as the tokenizer gives it, without what it puts behind one."""
        ids = list(self.tokenizer(text)["input_ids"])
        if self._behind is None:
            self._behind = tokens_behind(self.tokenizer)
        size = len(self._behind)
        if size and ids[-size:] == self._behind:
            ids = ids[:-size]
        return self._single_bos(ids)

    def _single_bos(self, ids: list[int]) -> list[int]:
        bos = self.tokenizer.bos_token_id
        while bos is not None and len(ids) > 1 and ids[0] == bos and ids[1] == bos:
            ids = ids[1:]
        require_rows(ids, self.rows, self.tokenizer)
        return ids


def puts_blank_first(tokenizer: Any) -> bool:
    """Whether a text's first word gets a blank of the tokenizer's own (Llama 2, Mistral)."""
    if not getattr(tokenizer, "is_fast", False):
        return False
    ids = tokenizer("x", add_special_tokens=False)["input_ids"]
    return bool(ids) and tokenizer.convert_ids_to_tokens(ids[0]).startswith(BLANKS)


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
