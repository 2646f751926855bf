"""The untyped tree of a configuration: YAML, overrides on top, and where each key was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rl4bio.config.schema import default_of
from rl4bio.config.shipped import PREFIX, names
from rl4bio.config.yaml_reader import join_key, parse_yaml, read_yaml
from rl4bio.errors import ConfigError
from rl4bio.registry import did_you_mean

_LEADING_KEYS = re.compile(r"([\w.\[\]-]+)(?:: ([A-Za-z_]\w*))?: ")
_OVERRIDE_KEY = re.compile(r"[\w-]+(\.[\w-]+|\[\d+\])*")
_OTHER_FORMATS = (".toml", ".ini", ".cfg", ".py", ".ipynb")
_PART = re.compile(r"data|(rewards|callbacks)\[\d+\]")
"""Keys of parts: a mapping with a name replaces one whole, since options belong to the name."""


class ConfigTree:
    """Plain dicts and lists, and the origin (`file:line`, or the override) of every key.

    Args:
        path: YAML file; None starts empty.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.name = "command line" if path is None else str(path)
        self.origins: dict[str, str] = {}
        self.value: dict[str, Any] = {}
        self.renamed: dict[str, tuple[Any, str]] = {}
        """Part -> the name that an override replaced, and that override."""
        if path is None:
            return
        if not path.is_file() or path.suffix.lower() in _OTHER_FORMATS:
            raise ConfigError(_no_file(path))
        document = read_yaml(path)
        if not isinstance(document.value, dict | None):
            raise ConfigError(f"{path}:1: needs keys and values at the top, such as `name: my_run`")
        self.value = _at_home(document.value or {})
        self.origins = {key: f"{path}:{line}" for key, line in document.lines.items()}

    def override(self, text: str) -> None:
        """Apply `key=value` or, to a list, `key+=value`; `rewards.0.weight` indexes one.

        The value is YAML (`1e-5`, `null`, `{rank: 8}`). A mapping is merged into what is there, but
        one that names a part (`data={name: smiles}`) replaces it; an absent section is created.
        """
        origin = f"override {text!r}"
        key, equals, written = text.partition("=")
        key, appends = key.rstrip(), key.endswith("+")
        key = key.removesuffix("+")
        if not equals or not _OVERRIDE_KEY.fullmatch(key):
            files = "; a file goes behind --config" if key.endswith((".yaml", ".yml")) else ""
            raise ConfigError(
                f"{origin}: needs key=value with a dotted key, such as optim.lr=1e-5, without "
                f"spaces around ={files or _quotes(text)}"
            )
        value: Any = ""
        lines: dict[str, int] = {}
        if written:
            try:
                document = parse_yaml(written, origin)
            except ConfigError as error:  # the line number of a single line says nothing
                message = str(error).replace(f"{origin}:1: ", f"{origin}: ")
                raise ConfigError(f"{message}{_quotes(text)}") from None
            value, lines = _at_home(document.value), document.lines
        parts = re.split(r"[.\[\]]+", key.removesuffix("]"))
        full = full_key(parts)
        if appends:
            value, lines = self._appended(parts, full, value, lines, origin)
        elif parts[-1] == "name" and _PART.fullmatch(full.removesuffix(".name")):
            self.renamed[full.removesuffix(".name")] = (self._at(parts), text)
        replaced = self._assign(parts, value, origin)
        if replaced and not appends:  # what stood there is gone, and where it was written too
            for child in [key for key in self.origins if key.startswith((f"{full}.", f"{full}["))]:
                del self.origins[child]
        self.origins[full] = origin
        for child in lines:
            self.origins[f"{full}{'' if child.startswith('[') else '.'}{child}"] = origin

    def put(self, key: str, value: Any, origin: str) -> None:
        """Apply a value at a dotted key, by the rules of `override`."""
        self._assign(re.split(r"[.\[\]]+", key.removesuffix("]")), value, origin)

    def origin(self, key: str) -> str:
        """Where a key, or else the nearest section around it, was written."""
        while key:
            if key in self.origins:
                return self.origins[key]
            key = re.sub(r"(^|\.)[^.\[\]]*$|\[\d+\]$", "", key)
        return self.name

    def located(self, error: ConfigError) -> ConfigError:
        """The error with its origin in front; its message starts with a full key."""
        message = str(error)
        match = _LEADING_KEYS.match(message)
        if match is None:
            return ConfigError(f"{self.name}: {message}")
        key, option = match.groups()
        message += self._left_over(key)
        if option and f"{key}.{option}" in self.origins:
            key, message = f"{key}.{option}", f"{key}.{message[len(key) + 2 :]}"
        return ConfigError(f"{self.origin(key)}: {message}")

    def _left_over(self, key: str) -> str:
        """What to add about an option of the part whose name an override replaced."""
        part, is_option, _ = key.partition(".options.")
        old, override = self.renamed.get(part, (None, ""))
        if not is_option or old is None or self.origin(key).startswith("override"):
            return ""
        return (
            f"; the file gives it to {old!r}, which {override} replaced: write {part}={{name: "
            "..., options: {...}} to replace the options too"
        )

    def _at(self, parts: list[str]) -> Any:
        """The value of a key as it stands; None where it is absent."""
        node: Any = self.value
        for part in parts:
            if isinstance(node, list):
                node = node[int(part)] if part.isdecimal() and int(part) < len(node) else None
            else:
                node = node.get(part) if isinstance(node, dict) else None
        return node

    def _appended(
        self, parts: list[str], full: str, value: Any, lines: dict[str, int], origin: str
    ) -> tuple[list[Any], dict[str, int]]:
        """A list with a value, or the values of another list, behind its own; and the new keys."""
        old = self._at(parts)
        old = default_of(full) if old is None else old
        if not isinstance(old, list):
            raise ConfigError(
                f"{origin}: {full} is no list; += appends to one, such as rewards, callbacks, "
                f"plugins; write {full}=..."
            )
        if not isinstance(value, list):
            return [*old, value], {f"[{len(old)}].{child}": 1 for child in lines}
        shift = {f"[{n}]": f"[{n + len(old)}]" for n in range(len(value))}
        heads = {child: child.partition("]")[0] + "]" for child in lines}
        return [*old, *value], {shift[head] + c.removeprefix(head): 1 for c, head in heads.items()}

    def _assign(self, parts: list[str], value: Any, origin: str) -> bool:
        """Put a value at its place, merged into what is there unless it names another part.

        Returns:
            Whether it has replaced what was there.
        """
        node: Any = self.value
        key = ""
        for part, last in zip(parts, [False] * (len(parts) - 1) + [True], strict=True):
            index: Any = part
            if isinstance(node, list):
                if not part.isdecimal() or int(part) >= len(node):
                    raise ConfigError(
                        f"{origin}: {key} is a list of {len(node)}; {part!r} is no index of it: "
                        f"they begin at 0, and {key}+=... appends"
                    )
                index = int(part)
                self.origins[key] = origin  # a list is checked as a whole
            elif not isinstance(node, dict):
                raise ConfigError(f"{origin}: {key} is a single value, it has no {part!r}")
            key = join_key(key, index)
            old = node[index] if isinstance(index, int) else node.get(index)
            if last:
                merges = isinstance(old, dict) and isinstance(value, dict)
                merges &= _PART.fullmatch(key) is None or "name" not in value
                node[index] = _merged(old, value) if merges else value
                return not merges
            if old is None:
                node[index] = {}
                self.origins[key] = origin
            node = node[index]
        return False


def full_key(parts: list[str]) -> str:
    """`rewards`, `0`, `weight` -> `rewards[0].weight`."""
    key = ""
    for part in parts:
        key = join_key(key, int(part) if part.isdecimal() else part)
    return key


def _no_file(path: Path) -> str:
    """What to say of a path that is no YAML file."""
    if path.suffix.lower() in _OTHER_FORMATS and path.is_file():
        return f"{path}: {path.suffix} is not read; write YAML (configs/ has complete examples)"
    if path.is_dir():
        inside = [file for file in (path / "config.yaml",) if file.is_file()]
        hint = f"; did you mean {str(inside[0])!r}?" if inside else ""
        return f"{path}: is a folder{hint}; name a YAML file"
    name = path.name if path.suffix else f"{path.name}.yaml"
    for folder in (path.parent, Path("configs")):
        beside = [file.name for file in folder.glob("*.y*ml")] if folder.is_dir() else []
        if hint := did_you_mean(name, beside):
            near = hint if folder == path.parent else hint.replace("'", f"'{folder}/", 1)
            return f"{path}: no such file{near}; name a YAML file"
    ships = did_you_mean(path.stem, names()).replace("'", f"'{PREFIX}", 1)
    return f"{path}: no such file{ships}; name a YAML file, or one of `rl4bio list configs`"


def _quotes(text: str) -> str:
    """A hint at the shell, which cuts an argument at its spaces, where a bracket stays open."""
    cut = any(text.count(a) != text.count(b) for a, b in ("[]", "{}"))
    return "; for the shell put quotes around the whole of it: 'key=[...]'" if cut else ""


def _at_home(value: Any) -> Any:
    """Texts that begin with ~/ with the home folder, as a shell writes them outside key=value."""
    if isinstance(value, dict):
        return {name: _at_home(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_at_home(child) for child in value]
    return str(Path(value).expanduser()) if isinstance(value, str) and value[:2] == "~/" else value


def _merged(old: Any, new: Any) -> Any:
    """Mappings merge key by key; everything else is replaced."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
