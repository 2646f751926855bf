"""The prompts of `rl4bio generate`: of the command line or of a file, each with its place."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.errors import ConfigError, DataError
from rl4bio.files.cells import spelled_out
from rl4bio.files.rows import Row, raise_problems, read_rows
from rl4bio.text.redaction import shown
from rl4bio.text.sentences import chat
from rl4bio.types import Extra, Message, Prompt, Sample

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy

ROLES = ("system", "user", "assistant")
_KEYS = ("role", "content")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PromptRow(Extra):
    """Where a prompt of a file stands."""

    id: str | int | None = None
    """As the file has it; a sample's `uid` is a text."""
    place: str | None = None


def read_prompts(arguments: argparse.Namespace) -> list[Sample]:
    """The prompts that the command line names.

    Raises:
        DataError: the file or some of its rows cannot be used; names file and line of each.
    """
    if arguments.prompt is not None:
        turns = (
            None if arguments.system is None else chat(arguments.prompt, system=arguments.system)
        )
        return [Sample(uid="1", prompt=arguments.prompt if turns is None else turns)]
    if arguments.system is not None:
        raise ConfigError("--system: goes with --prompt or --chat; a file has messages of its own")
    if arguments.prompts is None:
        return []
    samples, problems = [], []
    for number, row in enumerate(read_rows(Path(arguments.prompts)), start=1):
        try:
            samples.append(prompt_sample(row, number))
        except DataError as error:
            problems.append(str(error))
    raise_problems(problems)
    return samples


def prompt_sample(row: Row, number: int) -> Sample:
    """The prompt of a row; its number is the id where it has none."""
    uid = row.fields.get("id", number)
    prompt, messages = row.fields.get("prompt"), row.fields.get("messages")
    if prompt == "" and messages:  # a table has every column in every row
        prompt = None
    elif messages == "" and prompt:
        messages = None
    if isinstance(uid, bool) or not isinstance(uid, str | int):
        raise DataError(f"{row.place}: id is {shown(uid)}; expected a text or an integer")
    if (prompt is None) == (messages is None):
        raise DataError(f"{row.place}: expected either prompt (a text) or messages (chat turns)")
    extra = PromptRow(id=uid, place=row.place)
    if messages is not None:
        return Sample(uid=str(uid), prompt=_turns(row, messages), extra=extra)
    if not isinstance(prompt, str):
        raise DataError(f"{row.place}: prompt is {shown(prompt)}; expected a text")
    return Sample(uid=str(uid), prompt=prompt, extra=extra)


def _turns(row: Row, messages: Any) -> Prompt:
    try:
        messages = spelled_out(messages, "messages")  # a cell of a CSV file
    except ValueError as error:
        raise DataError(f"{row.place}: {error}") from None
    turns: list[Message] = []
    for turn in messages if isinstance(messages, list) else [str(messages)]:
        role, content = (turn.get(key) if isinstance(turn, dict) else None for key in _KEYS)
        content = _joined(content)
        if role not in ROLES or not isinstance(content, str):
            raise DataError(
                f"{row.place}: messages holds {shown(turn)}; expected a list of objects with role "
                f"({', '.join(ROLES)}) and content"
            )
        turns.append(Message(role=role, content=content))
    if not turns:
        raise DataError(f"{row.place}: messages is empty; give at least one turn")
    return turns


def _joined(content: Any) -> Any:
    """The text of a list of text parts ({type: text, text: ...}); anything else as it is."""
    parts = content if isinstance(content, list) and content else [None]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    plain = all(isinstance(text, str) for text in texts)
    return "\n".join(map(str, texts)) if plain else content


def encode_prompts(policy: Policy, samples: Sequence[Sample]) -> list[list[int]]:
    """Token ids of all prompts, before the first is answered.

    Raises:
        DataError: the template or the tokenizer refuses some; names file, line and id of each.
    """
    found, problems = [], []
    for sample in samples:
        try:
            found.append(policy.encode_prompt(sample.prompt, sample.opening))
        except DataError as error:
            place = PromptRow.of(sample).place
            named = f"{place} (id {sample.uid})" if place else "--prompt"
            problems.append(f"{named}: {error}")
    raise_problems(problems)
    return found
