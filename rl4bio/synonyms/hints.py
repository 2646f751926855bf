"""Names that people bring from other programs, answered before any guess at the spelling."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rl4bio.synonyms.parts import PARTS
from rl4bio.synonyms.table import KEYS, NOT_HERE, VALUES

FOREIGN_KEYS = 3
"""Unknown keys that another program knows, from which on a file is taken for that program's."""
_NAMED = 5
"""Of those keys, how many the message maps."""


@functools.cache
def _names() -> dict[str, tuple[str, str]]:
    """name elsewhere -> (our key or key=value, the program); the first entry wins."""
    found: dict[str, tuple[str, str]] = {}
    for key in KEYS:
        for program, names in _programs(key):
            for name in names:
                found.setdefault(name, (key, program))
    return found


def _programs(key: str) -> Iterator[tuple[str, list[str]]]:
    for part in KEYS[key].split("; "):
        program, _, names = part.partition(": ")
        yield program, names.split()


def _plain(name: str) -> str:
    return name.strip("-").replace("-", "_").lower()


def known_names() -> list[str]:
    """Every key of other programs that `key_hint` answers."""
    return [*_names(), *NOT_HERE]


def key_hint(name: str, value: Any = None) -> str:
    """What a key of another program is here, such as `; rl4bio calls it optim.lr (...)`, or "".

    Args:
        name: the key as it was written; its last part counts.
        value: what it was given, for the few keys whose values are called otherwise too.
    """
    plain = _plain(_last(name))
    if plain in NOT_HERE:
        return f"; {NOT_HERE[plain]}"
    if plain not in _names():
        return ""
    key, program = _names()[plain]
    ours = _value(key, value)
    return f"; rl4bio calls it {key}{f'={ours}' if ours else ''} ({_of(program)} {plain})"


def _of(program: str) -> str:
    return f"{program}'" if program.endswith("s") else f"{program}'s"


def our_key(name: str) -> str:
    """The key of ours behind another program's name, or ""."""
    return _names().get(_plain(_last(name)), ("",))[0].partition("=")[0]


def value_hint(key: str, value: Any) -> str:
    """What a value of another program is called here, or ""."""
    ours = _value(key, value)
    if ours is None:
        return ""
    return f"; write {ours}" if ours else "; not offered"


def _value(key: str, value: Any) -> str | None:
    words = {name.lower(): ours for name, ours in VALUES.get(key, {}).items()}
    return words.get(str(value).lower()) if isinstance(value, str | int | None) else None


def part_hint(kind: str, name: str) -> str:
    """What a reward, corpus, callback or command is called here, or ""."""
    ours = PARTS.get(kind, {}).get(_plain(name), "")
    return f"; {ours}" if ours.startswith("no ") else f"; rl4bio calls it {ours}" if ours else ""


def names_of(key: str) -> list[str]:
    """The names that a key of ours has elsewhere, each with its program: `TRL: beta`."""
    found = []
    for entry in KEYS:
        if entry.partition("=")[0] != key:
            continue
        value = entry.partition("=")[2]
        for program, names in _programs(entry):
            found.append(f"{program}: {', '.join(names)}{f' (= {value})' if value else ''}")
    return found


def foreign_keys(tree: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Keys at and below the unknown ones of a tree that other programs call so, and rl4bio not.

    Args:
        tree: a section as it was read.
        known: the keys that it may have.

    Returns:
        full key -> value.
    """
    unknown = {name: value for name, value in tree.items() if name not in known}
    found = {full: value for full, value in inner_keys(unknown, "") if key_hint(full, value)}
    ours = {_last(key.partition("=")[0]) for key in KEYS}  # `temperature` says nothing
    return {full: value for full, value in found.items() if _plain(_last(full)) not in ours}


def inner_keys(tree: Any, parent: str) -> Iterator[tuple[str, Any]]:
    """Full key and value of everything inside a mapping, from the outside in."""
    for name, value in tree.items() if isinstance(tree, dict) else ():
        full = f"{parent}.{name}" if parent else name
        yield full, value
        yield from inner_keys(value, full)


def _last(full: str) -> str:
    return full.rpartition(".")[2]


def foreign_config(found: Mapping[str, Any]) -> str:
    """What to say of a file of another program: its name, and its first keys as they are here."""
    names = [_plain(_last(full)) for full in found]
    programs = Counter(_names()[name][1] for name in names if name in _names())
    # What several trainers inherit from transformers says least about which of them it is.
    for common in ("transformers", "peft", "torch"):
        if len(programs) > 1:
            del programs[common]
    program = programs.most_common(1)[0][0] if programs else "another program"
    pairs = []
    for full, value in found.items():
        key = _names().get(_plain(_last(full)), ("",))[0]
        if key:
            ours = _value(key, value)
            pairs.append(f"{full} is {key}{f'={ours}' if ours else ''}")
    more = f", and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else ""
    return (
        f"a configuration of {program}, not of rl4bio: {', '.join(pairs[:_NAMED])}{more}; begin "
        "with a file of configs/, and `rl4bio describe NAME` finds any of these names"
    )
