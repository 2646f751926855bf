"""Parts found by name: built-in ones are imported on first use, plugins add more.

The tables are plain strings, so that a configuration is checked without importing torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import re
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

from rl4bio.errors import ConfigError
from rl4bio.synonyms.hints import key_hint, part_hint
from rl4bio.text.source_docs import class_doc

T = TypeVar("T")

_CONVERTED = re.compile(r"Value '(.*)' of type '(\w+)' could not be converted to (\w+)")
_NUMBERS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
_OPTION_KEY = re.compile(r"(\w+)[\w.\[\]-]*: ")
"""What a message begins with that names an option, or a part inside one: `parts[0].name: `."""


MAX_NAMED = 12
"""Parts that stand in the message about an unknown one, beside a hint at the right one."""


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    """A hint such as `; did you mean X?` at a known word that is nearly this one, or ""."""
    cutoff = {1: 0.5, 2: 0.5, 3: 0.55, 4: 0.55}.get(len(word), 0.7)  # one slip, in short words too
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def option_hint(option: str, known: typing.Iterable[str]) -> str:
    """What an unknown option of a part may have meant, and the known ones."""
    near = did_you_mean(option, known) or key_hint(option)
    return f"{near}; known: {', '.join(sorted(known)) or 'none'}"


def handed_on(package: str, **names: str) -> Callable[[str], Any]:
    """The `__getattr__` of a folder that hands on names of its files.

    Each file is imported when the name is asked for, so that importing another file of the folder
    loads no more than that one needs.

    Args:
        package: `__name__` of the folder.
        names: name -> the file of the folder that defines it.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return get


class Registry(Generic[T]):
    """Names and the dataclass behind each; the dataclass's fields are the part's options.

    Args:
        kind: what the parts are, for messages ("reward").
        builtin: name -> "module:Class".
    """

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self._builtin = dict(builtin)
        self._registered: dict[str, type[T]] = {}

    def names(self) -> list[str]:
        """All parts, those of plug-ins too, sorted."""
        return sorted({*self._builtin, *self._registered})

    def registered(self) -> dict[str, type[T]]:
        """The parts that plugins have added, by name."""
        return dict(self._registered)

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator for plugins; a name that is taken by another class is refused."""

        def add(cls: type[T]) -> type[T]:
            taken = self._registered.get(name)
            same = taken is not None and taken.__qualname__ == cls.__qualname__
            if name in self._builtin or (taken is not None and not same):
                raise ConfigError(
                    f"{self.kind} {name!r} is registered already; choose another name"
                )
            if not dataclasses.is_dataclass(cls):
                raise ConfigError(f"{self.kind} {name!r}: {cls.__name__} must be a dataclass")
            self._registered[name] = cls
            return cls

        return add

    def get(self, name: str, *, where: str = "name") -> type[T]:
        """The class behind a name.

        Raises:
            ConfigError: no part has this name.
        """
        if name in self._registered:
            return self._registered[name]
        if name not in self._builtin:
            raise ConfigError(f"{where}: unknown {self.kind} {name!r}{self.hint(name)}")
        module, _, attribute = self._builtin[name].partition(":")
        found: type[T] = getattr(importlib.import_module(module), attribute)
        return found

    def hint(self, name: str) -> str:
        """What an unknown name may have meant, and the known ones."""
        names = self.names()
        near = part_hint(self.kind, name) or did_you_mean(name, names)
        if near and len(names) > MAX_NAMED:
            return f"{near}; `rl4bio list` shows all {len(names)}"
        return f"{near}; known: {', '.join(names)}"

    def place(self, name: str) -> tuple[str, str]:
        """Module and class of a part, without importing it.

        Raises:
            ConfigError: no part has this name.
        """
        if name in self._registered:
            return self._registered[name].__module__, self._registered[name].__name__
        if name not in self._builtin:
            raise ConfigError(f"unknown {self.kind} {name!r}{self.hint(name)}")
        module, _, attribute = self._builtin[name].partition(":")
        return module, attribute

    def option_names(self, name: str) -> set[str]:
        """The options that a part itself declares; read from its source, which imports no torch."""
        if name in self._registered:
            fields = dataclasses.fields(self._registered[name])  # type: ignore[arg-type]
            return {field.name for field in fields}
        return {field.name for field in class_doc(*self.place(name), bases=False).fields}

    def build(self, name: str, options: Mapping[str, Any] | None = None, *, where: str = "") -> T:
        """The part, made from checked options.

        Args:
            name: registered name.
            options: values for the dataclass's fields; types are converted as OmegaConf does.
            where: key of the part in the configuration, put in front of every message.

        Raises:
            ConfigError: unknown name or option, wrong type, or refused by the part itself.
        """
        cls = self.get(name, where=f"{where}.name" if where else "name")
        return build_dataclass(cls, options or {}, where=f"{where}.options" if where else "options")


def plain_reason(error: Exception) -> str:
    """The first line of an OmegaConf message, without its internals."""
    line = str(error).partition("\n")[0]
    found = _CONVERTED.fullmatch(line)
    if found is None:
        return line
    value, kind, wanted = found.groups()
    given = repr(value) if kind == "str" else value
    return f"got {given}, needs {_NUMBERS.get(wanted, wanted)}"


def build_dataclass(cls: type[T], options: Mapping[str, Any], *, where: str) -> T:
    """An instance of a dataclass from a mapping of options, checked and converted.

    Raises:
        ConfigError: unknown option, wrong type, missing mandatory option, or a ValueError or
            ConfigError of the class's own `__post_init__`; the message starts with `where`, and
            with the full key where the class's message starts with an option.
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key in options:
        if key not in fields:
            raise ConfigError(f"{where}.{key}: unknown option{option_hint(str(key), fields)}")
    for key, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and key not in options:
            raise ConfigError(f"{where}.{key}: this option is required")
    from omegaconf import MISSING, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    hints = typing.get_type_hints(cls)
    schema = dataclasses.make_dataclass(
        cls.__name__, [(key, hints[key], MISSING) for key in options]
    )
    try:
        checked = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), dict(options)))
    except OmegaConfBaseException as error:
        key = f".{error.full_key}" if error.full_key else ""
        reason = plain_reason(error)
        given = options.get(str(error.full_key))
        if "is not a ListConfig" in reason and isinstance(given, str):
            reason = f"got {given!r}, needs a list: write [{', '.join(given.split())}]"
        raise ConfigError(f"{where}{key}: {reason}") from None
    except TypeError:  # OmegaConf's own, for a list where a mapping belongs, and the reverse
        shapes = {True: "a mapping", False: "a list"}
        wrong = next(
            key
            for key, value in options.items()
            if isinstance(value, dict | list)
            and (typing.get_origin(hints[key]) is dict) != isinstance(value, dict)
        )
        needed = shapes[typing.get_origin(hints[wrong]) is dict]
        raise ConfigError(f"{where}.{wrong}: got {options[wrong]!r}, needs {needed}") from None
    try:
        return cls(**{key: getattr(checked, key) for key in options})
    except (ConfigError, ValueError) as error:
        raise ConfigError(about_options(where, fields, error)) from None


def about_options(where: str, names: Collection[str], error: Exception) -> str:
    """A message that begins with an option, or with nothing, behind the key of the options."""
    found = _OPTION_KEY.match(str(error))
    return f"{where}{'.' if found and found[1] in names else ': '}{error}"
