"""YAML without its traps: a file becomes plain values and the line of every key.

Scalars follow YAML 1.2: `1e-5` is a number; `yes`, `on`, `012`, `12:30` and `2024-01-01` are text.
Duplicate keys, tags, anchors, aliases and several documents are refused, and so is everything that
could make a small file expensive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from rl4bio.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_NODES = 10_000

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(slots=True, kw_only=True)
class Document:
    """A parsed YAML document."""

    value: Any
    """Plain dicts, lists, str, int, float, bool and None."""
    lines: dict[str, int] = field(default_factory=dict)
    """1-based line of each key or list item, by its full key: `rewards[0].weight`."""


def join_key(parent: str, key: str | int) -> str:
    """The full key of a child: `grpo` + `loss` -> `grpo.loss`, `rewards` + 0 -> `rewards[0]`."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    return f"{parent}.{key}" if parent else key


def plain_scalar(text: str) -> Any:
    """The value of an unquoted scalar by the core schema of YAML 1.2, without octal and hex."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def read_yaml(path: Path) -> Document:
    """Read a file.

    Raises:
        ConfigError: the file cannot be read, is no UTF-8, or `parse_yaml` refuses it.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; name a readable file") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES:,} bytes; this is no configuration")
    try:
        return parse_yaml(raw.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None


def parse_yaml(text: str, name: str) -> Document:
    """Parse one document.

    Args:
        text: YAML.
        name: of the file, in front of every message.

    Raises:
        ConfigError: `name:line: reason`.
    """
    document = Document(value=None)
    try:
        _Builder(yaml.parse(text, Loader=yaml.SafeLoader), name, document).run()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        context = f"{error.context}: " if error.context else ""
        tab = "; indent with spaces, not tabs" if "'\\t'" in str(error.problem) else ""
        raise ConfigError(f"{name}{line}: not YAML: {context}{error.problem}{tab}") from None
    except yaml.reader.ReaderError as error:
        line = f":{text.count(chr(10), 0, error.position) + 1}"
        raise ConfigError(f"{name}{line}: character {error.character!r} is not allowed") from None
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{name}: not YAML: {error}") from None
    return document


class _Builder:
    """Builds values from parser events, so that limits hold before anything is expanded."""

    def __init__(self, events: Iterator[Any], name: str, document: Document) -> None:
        self.events = events
        self.name = name
        self.document = document
        self.nodes = 0

    def run(self) -> None:
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.refuse(event, "a second document ('---'); keep one document per file")
            elif isinstance(event, yaml.NodeEvent):
                self.document.value = self.node(event, "", 0)

    def refuse(self, event: Any, reason: str) -> NoReturn:
        raise ConfigError(f"{self.name}:{event.start_mark.line + 1}: {reason}")

    def node(self, event: Any, key: str, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.refuse(event, f"more than {MAX_NODES:,} values; this is no configuration")
        if depth > MAX_DEPTH:
            self.refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, f"alias *{event.anchor}: aliases are refused; repeat the value")
        if event.anchor is not None:
            self.refuse(event, f"anchor &{event.anchor}: anchors are refused; repeat the value")
        if event.tag is not None:
            self.refuse(event, f"tag {event.tag}: tags are refused; write a plain value")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(key, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(key, depth)
        return self.scalar(event)

    def mapping(self, parent: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            name = self.node(event, parent, depth + 1)
            if not isinstance(name, str) or not name:
                self.refuse(event, f"key {name!r} is no name; put quotes around a key like this")
            if name == "<<":
                self.refuse(event, "<< merges another section, which is refused; repeat its values")
            key = join_key(parent, name)
            if name in found:
                first = self.document.lines[key]
                self.refuse(event, f"{key}: duplicate key, first on line {first}; keep one of them")
            self.document.lines[key] = event.start_mark.line + 1
            found[name] = self.node(next(self.events), key, depth + 1)
        return found

    def sequence(self, parent: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            key = join_key(parent, len(found))
            self.document.lines[key] = event.start_mark.line + 1
            found.append(self.node(event, key, depth + 1))
        return found

    def scalar(self, event: Any) -> Any:
        if _CONTROL.search(event.value):
            self.refuse(event, f"{event.value[:100]!r} holds a control character; remove it")
        plain = event.style in (None, "")
        return plain_scalar(event.value) if plain else event.value


class _Dumper(yaml.SafeDumper):
    """Quotes what `plain_scalar` would not read as text, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(plain_scalar(text), str) else "'"
    if not text.isprintable():
        style = '"'  # single quotes would fold line separators such as U+0085
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def dump_yaml(value: Any) -> str:
    """YAML of plain values, which `parse_yaml` reads back as equal values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
