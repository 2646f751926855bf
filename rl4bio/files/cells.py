"""Cells of tables that spell out a list or an object: JSON, Python's text of one, or numpy's.

`DataFrame.to_csv` and `Dataset.to_csv` write such texts. They are parsed here and never evaluated.
A text that was cut with "..." has lost data and is refused.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from rl4bio.answers.tags import TERMINATORS, find_control
from rl4bio.text.redaction import shown

NO_VALUE = frozenset({"nan", "none", "null", "<na>"})
"""What tables write for a cell without a value, in lower case."""
MAX_DEPTH = 32
_CALL = r"(?:(?:np|numpy)\.)?[A-Za-z_]\w*\("
_BEGINS = re.compile(r"\s*(?:[\[{]|(?:np\.|numpy\.)?array\(|(?:np|numpy)\.\w+\(|[bB]['\"])")
_INNER = re.compile(
    rf"\s*(?:[\[{{]\s*(?:[bBuU]?['\"]|[\[{{\]}}]|{_CALL})|(?:np\.|numpy\.)?array\(|[bB]['\"])"
)
_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<text>[bBuUrR]?(?:'[^'\\]*(?:\\.[^'\\]*)*'|\"[^\"\\]*(?:\\.[^\"\\]*)*\"))"
    r"|(?P<number>[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)(?![\w.]))"
    rf"|(?P<call>{_CALL})"
    r"|(?P<name>[-+]?[A-Za-z_<][\w.]*>?)"
    r"|(?P<sign>\.\.\.|[\[\]{}(),:=]))",
    re.DOTALL,
)
_NAMES: dict[str, Any] = {
    **dict.fromkeys(("None", "null", "NaT", "<NA>"), None),
    **dict.fromkeys(("True", "true"), True),
    **dict.fromkeys(("False", "false"), False),
    **dict.fromkeys(("nan", "NaN"), math.nan),
    **{sign + name: float(f"{sign}inf") for name in ("inf", "Infinity") for sign in ("", "-")},
}
_CLOSING = {"[": "]", "(": ")", "{": "}"}


def spelled_out(
    value: Any, name: str, *, inner: bool = False, needs: str = "a list or an object"
) -> Any:
    """The list, object or text that a cell spells out; a cell that is none of these as it is.

    Args:
        value: of the cell.
        name: of its column, for the message.
        inner: whether the cell was taken out of a list, where prose may begin with a bracket
            ("[corrected] This observation"); a cell of its own may not.
        needs: what the column holds, for the message.

    Raises:
        ValueError: a text begins like a list, an object or an array and does not read as one.
    """
    if not isinstance(value, str) or not (_INNER if inner else _BEGINS).match(value):
        return value
    try:
        return json.loads(value, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        pass
    try:
        return _Reader(value).whole()
    except ValueError as error:
        raise ValueError(
            f"{name} is {shown(value)}, needs {needs}; it begins like a list or an object and does "
            f"not read as one ({error}): write the table as JSON lines or Parquet"
        ) from None


def as_text(value: Any, name: str) -> Any:
    """A cell of prose, which may be the text of bytes (b'...').

    Raises:
        ValueError: the text spells out a list, an object or an array.
    """
    found = spelled_out(value, name, inner=True)
    if isinstance(value, str) and not isinstance(found, str):
        raise ValueError(f"{name} holds a list or an object ({shown(value)}), needs text")
    return found


def checked_text(text: str, name: str) -> str:
    """A text that a model can be given.

    Raises:
        ValueError: it is no Unicode text, or holds a token that ends or begins turns.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} has half a surrogate pair, which is no text") from None
    if "\0" in text:
        raise ValueError(f"{name} has a NUL character")
    control = find_control(text)
    if control:  # a tokenizer would read it as the end of the turn, or the start of another
        kind = "end" if control in TERMINATORS else "control"
        raise ValueError(f"{name} holds the {kind} token {control!r}; remove it")
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


class _Reader:
    """Values of a text, one token after the other; lists may lack commas, as numpy prints them."""

    def __init__(self, text: str) -> None:
        self.text = text.rstrip()
        self.at = 0
        self.depth = 0

    def whole(self) -> Any:
        value = self.value(*self.token())
        if self.at < len(self.text):
            raise ValueError(f"something follows its end at character {self.at + 1}")
        return value

    def token(self) -> tuple[str, str]:
        """Kind and text of the next token."""
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            ends = not self.text[self.at :].strip()
            raise ValueError("it ends early" if ends else f"unreadable at character {self.at + 1}")
        self.at = found.end()
        return str(found.lastgroup), found[found.lastgroup or 0]

    def value(self, kind: str, said: str) -> Any:
        if kind == "text":
            return _literal(said)
        if kind == "number":
            return float(said) if re.search(r"[.eE]", said) else int(said)
        if kind == "name" and said in _NAMES:
            return _NAMES[said]
        if kind == "call":
            return self.nested(lambda: self.call(said))
        if said in ("[", "("):
            return self.nested(lambda: list(self.items(_CLOSING[said])))
        if said == "{":
            return self.nested(self.mapping)
        if said == "...":
            raise ValueError("it was cut with '...', so data is lost")
        raise ValueError(f"found {shown(said)} at character {self.at - len(said) + 1}")

    def nested(self, read: Callable[[], Any]) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        value = read()
        self.depth -= 1
        return value

    def items(self, closing: str) -> Iterator[Any]:
        """The values up to a bracket, with or without commas between."""
        while True:
            kind, said = self.token()
            if said == closing:
                return
            if said != ",":
                yield self.value(kind, said)

    def mapping(self) -> dict[Any, Any] | list[Any]:
        """A dict, or the members of a set."""
        found: list[tuple[Any, Any]] = []
        members: list[Any] = []
        while True:
            kind, said = self.token()
            if said == "}":
                break
            if said == ",":
                continue
            key = self.value(kind, said)
            before = self.at
            if self.token()[1] == ":":
                if isinstance(key, list | dict):
                    raise ValueError("a key is no text")
                found.append((key, self.value(*self.token())))
            else:
                self.at = before
                members.append(key)
        if found and members:
            raise ValueError("an object has a key without a value")
        return members if members else _unique(found)

    def call(self, said: str) -> Any:
        """The first argument of numpy's array([...], dtype=object), or of np.int64(3)."""
        name = said.rstrip("(").rpartition(".")[2]
        if name not in ("array", "str_", "bytes_", "bool", "bool_") and not re.fullmatch(
            r"u?int\d+|float\d+", name
        ):
            raise ValueError(f"{name}(...) is none of the values that are read")
        value = self.value(*self.token())
        while True:
            kind, said = self.token()
            if said == ")":
                return value
            if said == "...":
                raise ValueError("it was cut with '...', so data is lost")
            if kind not in ("name", "text", "number") and said not in (",", "=", "("):
                raise ValueError(f"found {shown(said)} in {name}(...)")
            if said == "(":
                list(self.items(")"))  # shape=(3000,)


def _literal(said: str) -> str:
    """The text of a string in quotes; bytes are read as UTF-8."""
    try:
        value = ast.literal_eval(said)  # one string token: nothing is evaluated
        return value.decode() if isinstance(value, bytes) else str(value)
    except (ValueError, SyntaxError, UnicodeDecodeError):
        raise ValueError(f"{shown(said)} is no text") from None
