"""The start of an assistant's turn, where somebody else than the model writes it.

A task may begin the answer (`Sample.opening`, such as `<thought>`), and a chat template may end in
a tag that it has opened, as those of models that always reason do (`<think>`). In both cases the
model goes on behind it. Prompts in tokens end with that start, and completions as text begin with
it, so that whoever reads a text sees the whole turn; what is counted, and has a log-probability, is
what was sampled.

The start is encoded by itself behind the prompt. Its last token may therefore be one that the model
would have merged with the first letters behind it; demonstrations are cut at the same place, so
that training and sampling see the same tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rl4bio.errors import ConfigError, ModelError

_OPENED = re.compile(r"<[A-Za-z][\w-]*>\s*\Z")
_PROBE = "answerprobe"


def template_opening(tokenizer: Any) -> str:
    r"""The tag that a chat template leaves opened for the answer, with the white space behind it.

    "" where there is none. What stands before the answers of earlier turns too is the template's
    way of saying who speaks ("<assistant>\n"), and is none.
    """
    if tokenizer.chat_template is None:
        return ""
    turns = [{"role": "user", "content": "hello"}]
    answered = [*turns, {"role": "assistant", "content": _PROBE}]
    try:
        asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        said = tokenizer.apply_chat_template(answered, tokenize=False)
    except Exception:  # jinja2 errors of the template itself; encoding a prompt reports them
        return ""
    found = _OPENED.search(asked)
    if found is None or said.partition(_PROBE)[0].rstrip().endswith(found[0].rstrip()):
        return ""
    return found[0]


def split_start(tokenizer: Any, ids: list[int], theirs: str, start: str) -> tuple[list[int], str]:
    """Tokens of a prompt, and what of the turn's start they do not hold yet.

    What the template has opened counts as the beginning of a start that begins alike, and gives way
    to one that does not.

    Args:
        tokenizer: that made the tokens.
        ids: of the prompt, up to the template's end.
        theirs: what the template has opened (`template_opening`); "" for nothing.
        start: of the assistant's turn; "" leaves it to the template.
    """
    if not theirs or not start:
        return ids, start
    if start.startswith(theirs.rstrip()):
        return ids, start.removeprefix(theirs.rstrip()).removeprefix(_blanks(theirs))
    return _without(tokenizer, ids, theirs), start


def turn_start(theirs: str, start: str) -> str:
    """The text that a completion goes on from, by template and task together."""
    if start.startswith(theirs.rstrip()):
        return theirs + start.removeprefix(theirs.rstrip()).removeprefix(_blanks(theirs))
    return start or theirs


def behind_start(demonstration: str, start: str) -> str:
    """What of a completion to imitate is left to write behind a start; all where they differ."""
    if demonstration.startswith(start):
        return demonstration.removeprefix(start)
    return demonstration.removeprefix(start.rstrip())


def check_opening(theirs: str, begins: str, *, opened: bool, checkpoint: str) -> str:
    """How an answer is begun, in one line; "" where the model begins it.

    Args:
        theirs: what the chat template opens; "" for nothing.
        begins: what an answer in the form of the task begins with; "" for no form.
        opened: whether the prompt already does so.
        checkpoint: the template's, for messages.

    Raises:
        ConfigError: the template opens another tag, so no completion could keep the form.
    """
    if opened and begins:
        replaced = theirs and not begins.startswith(theirs.rstrip())
        instead = f", in place of the chat template's {theirs.rstrip()}" if replaced else ""
        return f"every prompt ends with {begins}, the start of the answer{instead}"
    if theirs and begins and not begins.startswith(theirs.rstrip()):
        raise ConfigError(
            f"data.options.open_block: the chat template of {checkpoint} opens "
            f"{theirs.rstrip()}, and answers are to begin with {begins}, so none could keep its "
            f"form; set open_block to true, which puts {begins} in its place"
        )
    return f"the chat template ends with {theirs.rstrip()}, where answers begin" if theirs else ""


def whole_texts(texts: list[str], starts: Sequence[str], group_size: int) -> list[str]:
    """Texts of N completions, each behind the start of its turn.

    Args:
        texts: what was written.
        starts: of the B prompts; () for none.
        group_size: G.
    """
    return [starts[n // group_size] + t for n, t in enumerate(texts)] if starts else texts


def _blanks(text: str) -> str:
    return text[len(text.rstrip()) :]


def _without(tokenizer: Any, ids: list[int], end: str) -> list[int]:
    """The tokens without the last ones, which are a text.

    Raises:
        ModelError: the text does not begin at the border of two tokens.
    """
    for count in range(1, min(len(ids), 4 * len(end)) + 1):
        text = tokenizer.decode(
            ids[-count:], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        if text.strip() == end.strip():
            return ids[:-count]
    raise ModelError(
        f"the chat template ends with {end.rstrip()}, which the tokenizer merges with what stands "
        "before it; take it out of the template, so that answers can begin in another way"
    )
