"""Chat turns behind a tokenizer's template, and what a text of data may not hold.

A template is a program of the checkpoint's author: whatever it raises is said of the turns, or of
the checkpoint where it takes none. Control tokens are the tokenizer's own: a text of data that
holds one would end a turn, or begin another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rl4bio.errors import DataError, ModelError
from rl4bio.modules.turns import ROLES
from rl4bio.text.redaction import one_line, shown
from rl4bio.types import Message

SHOWN_REASON = 300
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def template_ids(
    tokenizer: Any,
    turns: Sequence[Message],
    *,
    checkpoint: str,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> list[int]:
    """Token ids of chat turns and of the start of the reply to them.

    Args:
        tokenizer: with a template.
        turns: in order.
        checkpoint: for messages.
        options: further arguments of `apply_chat_template`.

    Raises:
        DataError: the template refuses these turns, or leaves one out; says what it said.
        ModelError: it refuses any turns.
    """
    try:
        ids = _render(tokenizer, turns, options)
        _check_whole(tokenizer, turns, options)
        return ids
    except (ImportError, DataError):
        raise
    except Exception as error:  # anything may come out of a template
        reason = one_line(f"{type(error).__name__}: {error}", SHOWN_REASON)
    try:
        _render(tokenizer, [Message(role="user", content="hello")], options)
    except Exception:
        raise ModelError(
            f"{checkpoint}: its chat template does not render ({reason}); use another checkpoint, "
            "or correct the template in its folder"
        ) from None
    roles = ", ".join(turn["role"] for turn in turns) or "none"
    raise DataError(
        f"the chat template of {checkpoint} refuses the turns ({roles}): {reason}; put the turns "
        "in an order that it takes, mostly user and assistant in turn"
    )


def _render(tokenizer: Any, turns: Sequence[Message], options: Mapping[str, Any]) -> list[int]:
    ids = tokenizer.apply_chat_template(
        list(turns), add_generation_prompt=True, tokenize=True, return_dict=False, **options
    )
    return list(ids)


def _check_whole(tokenizer: Any, turns: Sequence[Message], options: Mapping[str, Any]) -> None:
    """Refuse a conversation of which the template writes a user or system turn nowhere.

    Of assistant turns templates leave out the reasoning, and of one user turn nothing is left out.
    """
    if [turn["role"] for turn in turns if turn["role"] != "system"] == ["user"]:
        return
    text = tokenizer.apply_chat_template(
        list(turns), add_generation_prompt=True, tokenize=False, **options
    )
    for number, turn in enumerate(turns, start=1):
        if turn["role"] != "assistant" and turn["content"].strip() not in text:
            raise DataError(
                f"turn {number} ({turn['role']}) is left out by the model's chat template; put its "
                "text into another turn"
            )


def fold_system(turns: Sequence[Message]) -> list[Message]:
    """The turns with a leading system text moved to the front of the first user turn.

    Raises:
        DataError: no user turn follows it.
    """
    if not turns or turns[0]["role"] != "system":
        return list(turns)
    system, *rest = turns
    if not rest or rest[0]["role"] != "user":
        raise DataError(
            "the model's chat template has no system role, and no user turn follows the system "
            "turn, which could hold its text; add one"
        )
    first = Message(role="user", content=f"{system['content']}\n\n{rest[0]['content']}")
    return [first, *rest[1:]]


def control_tokens(tokenizer: Any) -> list[str]:
    """The special tokens of a tokenizer, longest first.

    A pair `<name>`, `</name>` that was added as special marks a part of an answer and not a turn:
    it is left out, unless the tokenizer gives it a role (<s> and </s>).
    """
    named = {getattr(tokenizer, f"{name}_token", None) for name in ROLES} - {None}
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {str(token) for token in added if token.special}
    special |= set(getattr(tokenizer, "all_special_tokens", ()))
    tags = {token for token in special - named if f"</{token[1:]}" in special}
    tags |= {f"</{token[1:]}" for token in tags}
    return sorted(special - tags, key=lambda token: (-len(token), token))


class ControlTokens:
    """Finds the control tokens of a tokenizer in texts; there may be thousands (Gemma's unused)."""

    def __init__(self, tokenizer: Any) -> None:
        self._known = frozenset(control_tokens(tokenizer))
        self._lengths = sorted({len(token) for token in self._known}, reverse=True)
        starts = sorted({token[0] for token in self._known})
        self._start = re.compile(f"[{re.escape(''.join(starts))}]" if starts else r"(?!)")

    def refuse(self, text: str, what: str) -> None:
        """Refuse a text of data that would be encoded with a control token in it.

        Raises:
            DataError: it holds one; names it.
        """
        for found in self._start.finditer(text):
            at = found.start()
            for length in self._lengths:
                token = text[at : at + length]
                if token in self._known:
                    around = shown(text[max(0, at - 20) : at + length + 20])
                    raise DataError(
                        f"{what} holds {token!r}, a control token of the model ({around}); remove "
                        "it from the text"
                    )


def has_system_role(tokenizer: Any) -> bool:
    """Whether the chat template renders a system turn at all (Gemma 2 raises, others drop it)."""
    probe = "systemprobe"
    turns = [{"role": "system", "content": probe}, {"role": "user", "content": "hello"}]
    try:
        return probe in tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # jinja2 errors of the template itself
        return False
