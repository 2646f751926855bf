"""Checks an untyped configuration tree; every message starts with the full key at fault."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
import types
import typing
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from rl4bio.config.yaml_reader import join_key
from rl4bio.errors import ConfigError
from rl4bio.registry import did_you_mean, plain_reason
from rl4bio.sections import PartConfig, RunConfig, require
from rl4bio.synonyms.hints import (
    FOREIGN_KEYS,
    foreign_config,
    foreign_keys,
    inner_keys,
    key_hint,
    known_names,
    value_hint,
)

if TYPE_CHECKING:
    from omegaconf.errors import OmegaConfBaseException

LARGEST_NUMBER = 2**32 - 1
"""Of every number in a configuration, and the largest seed that all generators take."""

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_PLAIN_KEY = re.compile(r"[A-Za-z_]\w*(\.\w+|\[\d+\])*")
_MAX_REFERENCES = 100
_CODE_KEYS = {"_target_", "_args_", "_partial_", "_recursive_", "_convert_"}


def check_tree(value: Any, hint: Any = RunConfig, key: str = "") -> None:
    """Check keys and shapes against the dataclasses, inside lists too.

    Args:
        value: plain dicts, lists and scalars.
        hint: type that the value must have.
        key: full key of the value.

    Raises:
        ConfigError: unknown key, with the nearest known one; a list where one value belongs, ...
    """
    options = [a for a in typing.get_args(hint) if a is not types.NoneType]
    is_union = isinstance(hint, types.UnionType)
    if is_union and value is None:
        return
    hint = options[0] if is_union else hint
    if dataclasses.is_dataclass(hint):
        require(
            isinstance(value, dict),
            key,
            f"got {value!r}, needs a section such as {_example(hint, value)}; or leave the key out"
            f"{value_hint(key, value)}",
        )
        _check_section(value, typing.cast(type, hint), key)
    elif typing.get_origin(hint) is list:
        item = _example(options[0], value) if dataclasses.is_dataclass(options[0]) else "a, b"
        require(isinstance(value, list), key, f"got {value!r}, needs a list such as [{item}]")
        for child_key, child in _children(value, key):
            check_tree(child, options[0], child_key)
    elif typing.get_origin(hint) is dict:
        require(isinstance(value, dict), key, f"got {value!r}, needs a mapping such as {{a: 1}}")
        _refuse_code_keys(value, key)
    else:
        _check_scalar(value, hint, key)


def _check_section(value: dict[str, Any], section: type, key: str) -> None:
    hints = _hints(section)
    _refuse_code_keys(value, key)
    foreign = foreign_keys(value, hints)
    if section is RunConfig and len(foreign) >= FOREIGN_KEYS:
        first = next(name for name in value if name not in hints)
        raise ConfigError(f"{first}: {foreign_config(foreign)}")
    if section is RunConfig and _is_another_kind(value, hints):
        raise ConfigError(
            f"{next(iter(value))}: unknown key, as are all others here; is this another kind of "
            "file? `rl4bio init NAME` writes a configuration to begin with"
        )
    for name, child in value.items():
        full = join_key(key, name)
        if name not in hints:
            raise ConfigError(f"{full}: unknown key{_unknown(name, child, section, key)}")
        check_tree(child, hints[name], full)


def _is_another_kind(value: dict[str, Any], hints: Collection[str]) -> bool:
    """Whether none of several keys at the top is one of a run, nor like one."""
    return len(value) > 1 and not any(
        name in hints or key_hint(name, child) or did_you_mean(name.lower(), hints)
        for name, child in value.items()
    )


def _unknown(name: str, child: Any, section: type, key: str) -> str:
    """What an unknown key may have meant: names of other programs first, then spelling."""
    near = did_you_mean(name.lower(), _hints(section))
    if issubclass(section, PartConfig):
        option = f"; an option of a part stands under options: {key}.options.{name}"
        return key_hint(name, child) or near or option
    spelling = _elsewhere(name, exact=True) or near or _inside(name, child) or _elsewhere(name)
    return key_hint(name, child) or spelling or _near_foreign(name)


def _inside(name: str, child: Any) -> str:
    """What a key inside an unknown section is here: `training_args: {beta: 0.04}`."""
    for full, value in inner_keys(child, name):
        if hint := key_hint(full, value) or _elsewhere(full.rpartition(".")[2], exact=True):
            return f"; {full}: {hint[2:]}"
    return ""


def _near_foreign(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), known_names(), n=1, cutoff=0.85)
    return key_hint(near[0]) if near else ""


def _example(section: Any, value: Any) -> str:
    """A section with its first key, which takes the value where that is a plain one."""
    first = next(iter(_hints(section)))
    plain = isinstance(value, str) and first in ("name", "checkpoint") and bool(value)
    return f"{{{first}: {value if plain else '...'}}}"


def check_types(value: Any, hint: Any = RunConfig, key: str = "") -> None:
    """Find the scalar that OmegaConf does not convert; it names no full key inside lists itself."""
    from omegaconf import MISSING, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    hint = next((a for a in typing.get_args(hint) if dataclasses.is_dataclass(a)), hint)
    for child_key, child in _children(value, key):
        if isinstance(value, list):
            check_types(child, hint, child_key)
            continue
        name = child_key.rpartition(".")[2]
        child_hint = _hints(hint)[name]
        if isinstance(child, dict | list):
            if typing.get_origin(child_hint) is not dict:
                check_types(child, child_hint, child_key)
            continue
        try:
            one = dataclasses.make_dataclass("One", [(name, child_hint, MISSING)])
            OmegaConf.merge(OmegaConf.structured(one), {name: child})
        except OmegaConfBaseException as error:
            known = [str(a) for a in typing.get_args(child_hint)]
            near = value_hint(child_key, child) or did_you_mean(str(child), known)
            if child is None or child == "":
                near = "; leave the key out for its default"
            raise ConfigError(f"{child_key}: {reason(error)}{near}") from None


@functools.cache
def _hints(section: type) -> dict[str, Any]:
    return typing.get_type_hints(section)


def _check_scalar(value: Any, hint: Any, key: str) -> None:
    require(not isinstance(value, dict | list), key, f"got {value!r}, needs a single value")
    if hint is str and isinstance(value, bool | float):
        raise ConfigError(f"{key}: reads as {value!r}, needs text; put quotes around it")
    if {int, float} & {hint, *typing.get_args(hint)}:
        _check_number(value, key)
    if hint is bool and not isinstance(value, bool | str):
        raise ConfigError(f"{key}: got {value!r}, needs true or false")


def _refuse_code_keys(value: Any, key: str) -> None:
    for child_key, child in _children(value, key):
        name = child_key.rpartition(".")[2]
        require(
            name not in _CODE_KEYS,
            child_key,
            "classes are not named by import path; use a registered name under data, rewards or "
            "callbacks, and `plugins` to register more",
        )
        if isinstance(value, dict | list):
            _refuse_code_keys(child, child_key)


@functools.cache
def all_keys(section: type = RunConfig, parent: str = "") -> tuple[str, ...]:
    """The full keys of a section, those of the sections in it behind them; not inside lists."""
    own = tuple(join_key(parent, name) for name in _hints(section))
    inner = [
        (key, section_of(hint)) for key, hint in zip(own, _hints(section).values(), strict=True)
    ]
    below = [all_keys(found, key) for key, found in inner if found is not None]
    return own + tuple(key for keys in below for key in keys)


def default_of(key: str) -> Any:
    """The default of a full key such as `evaluation.modes`; None where there is no such key."""
    section: type | None = RunConfig
    *outer, last = key.split(".")
    for name in outer:
        section = section_of(_hints(section).get(name)) if section else None
    fields = {field.name: field for field in dataclasses.fields(section)} if section else {}
    made = fields[last].default_factory if last in fields else dataclasses.MISSING
    if made is not dataclasses.MISSING:
        return made()
    return fields[last].default if last in fields else None


def section_of(hint: Any) -> type | None:
    """The dataclass of a key that holds a section, also where it may be null."""
    kinds = [hint, *(typing.get_args(hint) if isinstance(hint, types.UnionType) else ())]
    found = next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)
    return typing.cast("type | None", found)


def _elsewhere(name: str, *, exact: bool = False) -> str:
    """A hint at the section that has this key (or one like it)."""
    plain, full = name.lower().replace("-", "_"), all_keys()
    matches = [key for key in full if key.rpartition(".")[2] == plain]
    if matches or exact:
        return f"; did you mean {matches[0]!r}?" if matches else ""
    by_last = {key.rpartition(".")[2]: key for key in reversed(full)}
    near = did_you_mean(plain, by_last)
    for last, key in by_last.items():
        near = near.replace(f"{last!r}", f"{key!r}")
    return near


def reason(error: OmegaConfBaseException) -> str:
    """The first line of an OmegaConf message, without its internals."""
    return plain_reason(error)


def check_numbers(value: Any, key: str = "") -> None:
    """Refuse NaN, infinity, absurdly large numbers, and text that would be resolved again."""
    for child_key, child in _children(value, key):
        check_numbers(child, child_key)
    _check_number(value, key)
    if isinstance(value, str):
        require("${" not in value, key, "a reference gives '${', which is refused")


def _check_number(value: Any, key: str) -> None:
    if isinstance(value, int | float):
        ok = math.isfinite(value) and abs(value) <= LARGEST_NUMBER
        require(ok, key, f"got {value}, needs a finite number of at most {LARGEST_NUMBER}")


def check_references(tree: dict[str, Any], config: Any) -> None:
    """Let `${full.key}` stand for another single value; resolvers, which read the environment, not.

    A referenced value holds no reference itself, and there are few of them: no chain can blow up.
    """
    from omegaconf import Container

    count = 0
    pending: list[tuple[str, Any]] = [("", tree)]
    while pending:
        key, value = pending.pop()
        pending.extend(_children(value, key))
        if not isinstance(value, str) or "${" not in value:
            continue
        found = _REFERENCE.findall(value)
        plain = [name for name in found if _PLAIN_KEY.fullmatch(name)]
        only_plain = len(plain) == value.count("${")
        require(only_plain, key, f"{value!r}: only ${{another.key}} is allowed inside ${{}}")
        count += len(plain)
        require(count <= _MAX_REFERENCES, key, f"more than {_MAX_REFERENCES} references")
        for name in plain:
            node = _written(config, name)
            single = node is not None and not isinstance(node, Container | dict | list)
            chained = isinstance(node, str) and "${" in node
            require(single and not chained, key, f"${{{name}}} names no single, plain value")


def _written(config: Any, key: str) -> Any:
    """The value of a key before references are resolved; None where there is none."""
    from omegaconf import OmegaConf

    node: Any = OmegaConf.to_container(config, resolve=False)
    for part in re.split(r"[.\[\]]+", key.removesuffix("]")):
        if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            node = node.get(part) if isinstance(node, dict) else None
    return node


def _children(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, child in value.items():
            yield join_key(key, str(name)), child
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield join_key(key, index), child
