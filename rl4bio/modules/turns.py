"""What a chat template writes around turns: where a reply ends, and which tokens are no text.

Both are read off rendered turns and not off names: a token that ends one model's reply may stand
between the parts of another's.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from rl4bio.errors import ModelError
from rl4bio.modules.vocabulary import added_ids, embedding_rows

QUESTION, REPLY = "questionprobe", "replyprobe"
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True)
class Turns:
    """Tokens that a chat template writes around what is said."""

    end: int | None = None
    """Behind an assistant turn that is the last one."""
    marks: frozenset[int] = frozenset()
    """At the beginning or the end of some turn."""


DIRECTIVES = [
    "%-d", "%-m", "%A", "%B", "%H", "%I", "%M", "%S", "%Y", "%a", "%b", "%d", "%e", "%j", "%m",
    "%p", "%y",
]  # fmt: skip


def template_options(tokenizer: Any, date: str) -> dict[str, Any]:
    """Arguments of `apply_chat_template` that make a template write this day and not today's.

    Templates ask for the day as `date_string` or by calling `strftime_now`. transformers gives them
    no other function than its own, so a macro of that name is put in front.

    Args:
        tokenizer: with its template.
        date: ISO, such as 2024-07-26.
    """
    day = datetime.datetime.fromisoformat(date)
    found: dict[str, Any] = {"date_string": day.strftime("%d %b %Y")}
    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        calls = "".join(f".replace({one!r}, {day.strftime(one)!r})" for one in DIRECTIVES)
        macro = f"{{% macro strftime_now(form) %}}{{{{ form{calls} }}}}{{% endmacro %}}"
        found["chat_template"] = f"{macro}\n{template}"  # jinja drops this end of line
    return found


def read_turns(tokenizer: Any, date: str) -> Turns:
    """The turn tokens of a tokenizer's chat template; none where it has none or raises.

    Args:
        tokenizer: with its template.
        date: of `template_options`.
    """
    if tokenizer.chat_template is None:
        return Turns()
    options = template_options(tokenizer, date)
    user = {"role": "user", "content": QUESTION}
    turns = [user, {"role": "assistant", "content": REPLY}]

    def render(turns: Sequence[dict[str, str]], **more: Any) -> str:
        text = tokenizer.apply_chat_template(turns, tokenize=False, **options, **more)
        return text if isinstance(text, str) else ""

    try:
        last = render(turns)
        between = render([*turns, user])
        opened = render([user], add_generation_prompt=True)
    except Exception:  # jinja2 errors of the template itself
        return Turns()
    before, _, behind_user = opened.partition(QUESTION)
    begin, behind_reply, behind_last = (
        before,
        between.partition(REPLY)[2].partition(QUESTION)[0],
        last.rpartition(REPLY)[2] if REPLY in last else "",
    )
    written = "".join((begin, behind_user, behind_reply, behind_last))
    words = {token: str(tokenizer.convert_ids_to_tokens(token)) for token in added_ids(tokenizer)}
    paired = _paired(words) - role_ids(tokenizer)
    # Gemma has line ends among its added tokens.
    marks = {t for t, word in words.items() if word in written and word.strip()} - paired

    def found(text: str) -> list[int]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return [token for token in ids if token in marks]

    ends = found(behind_last)
    around = {*found(begin), *found(behind_user), *found(behind_reply), *ends}
    return Turns(end=ends[0] if ends else None, marks=frozenset(around))


def _paired(words: Mapping[int, str]) -> set[int]:
    """Added tokens that are a tag with a closing one, such as <think>: what they say is text."""
    tags = {word[2:-1] for word in words.values() if re.fullmatch("</.+>", word)}
    both = {form.format(name) for name in tags for form in ("<{}>", "</{}>")}
    return {token for token, word in words.items() if word in both}


def role_ids(tokenizer: Any) -> set[int]:
    """Tokens that have a role instead of a meaning: start, end, padding, unknown and the like."""
    found = (getattr(tokenizer, f"{role}_token_id", None) for role in ROLES)
    return {token for token in found if token is not None}


def find_stop_ids(model: nn.Module, tokenizer: Any, end: int | None) -> list[int]:
    """Every token id that ends a completion, sorted.

    The union of the tokenizer's EOS, the generation config's and the model config's EOS ids, and
    the end that the chat template writes: checkpoints rarely declare all in one place.

    Args:
        model: a causal language model.
        tokenizer: of the model.
        end: of `read_turns`.

    Raises:
        ModelError: there is none that the model could write.
    """
    config: Any = model.config
    sources = (
        tokenizer.eos_token_id,
        getattr(getattr(model, "generation_config", None), "eos_token_id", None),
        getattr(config.get_text_config(), "eos_token_id", None),
        end,
    )
    found: set[int] = set()
    for source in sources:
        found.update([source] if isinstance(source, int) else source or [])
    rows = embedding_rows(model)
    found = {token for token in found if token < rows}
    if not found:
        raise ModelError(
            "the tokenizer and the model config declare no end token, so no completion could "
            "end; set eos_token in the checkpoint's tokenizer_config.json"
        )
    return sorted(found)


def tokens_behind(tokenizer: Any) -> list[int]:
    """What a tokenizer puts behind every text (EOS, SEP); a text to be continued must lose it."""
    whole = list(tokenizer("C")["input_ids"])
    bare = list(tokenizer("C", add_special_tokens=False)["input_ids"])
    for start in range(len(whole) - len(bare), -1, -1):
        if whole[start : start + len(bare)] == bare:
            return whole[start + len(bare) :]
    return []
