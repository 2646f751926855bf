"""The configuration as a JSON schema (draft 2020-12), which editors complete and check YAML with.

Made from the same sources as `rl4bio describe`. It is looser than `load_config`, which has the last
word: names of plugins are allowed, and what depends on two keys is not said.
"""

from __future__ import annotations

import re
from typing import Any

from rl4bio.config.catalogue import REGISTRIES, part_doc, sections
from rl4bio.sections import RunConfig
from rl4bio.text.source_docs import ClassDoc, FieldDoc, class_doc, sentence

_SCALARS: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "str": {"type": ["string", "number", "boolean"]},
    "null": {"type": "null"},
    "Any": {},
}
_REFERENCE = {"type": "string", "pattern": r"\$\{.+\}"}
"""`${another.key}` stands for a value of any type."""
_LIMITS = {"above 0": {"exclusiveMinimum": 0}, "at least 0": {"minimum": 0}}
_LIMITS["at least 1"] = {"minimum": 1}
_PARTS = {"data": "data", "rewards[]": "rewards", "callbacks[]": "callbacks"}
"""Key of a part -> the topic of its names."""


def json_schema() -> dict[str, Any]:
    """The schema of a whole run."""
    found = _section("")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rl4bio: a run",
        **found,
    }


def _section(key: str) -> dict[str, Any]:
    cls, _ = sections()[key]
    doc = class_doc(cls.__module__, cls.__name__)
    properties: dict[str, Any] = {}
    for field in doc.fields:
        full = f"{key}.{field.name}".lstrip(".")
        inner = next((k for k in (full, f"{full}[]") if k in sections()), None)
        properties[field.name] = _field(field) if inner is None else _inner(field, inner)
    required = [name for name in ("name", "checkpoint") if cls is RunConfig and name in properties]
    found = {
        "type": "object",
        "description": sentence(doc.doc),
        "properties": properties,
        "additionalProperties": False,
    }
    if key in _PARTS:
        found |= _named(_PARTS[key])
        properties["options"] = {"type": "object"}
    return found | ({"required": required} if required else {})


def _inner(field: FieldDoc, key: str) -> dict[str, Any]:
    """A section inside another, a list of them, or null in its place."""
    section = _section(key)
    if key.endswith("[]"):
        return {"type": "array", "items": section, "description": field.doc}
    nullable = "null" in field.kind.split(" | ")
    found: dict[str, Any] = {"anyOf": [section, {"type": "null"}]} if nullable else section
    return found | {"description": field.doc}


def _named(topic: str) -> dict[str, Any]:
    """The options that belong to each name."""
    cases = []
    for name in REGISTRIES[topic].names():
        options = _options(part_doc(topic, name))
        cases.append(
            {
                "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
                "then": {"properties": {"options": options}},
            }
        )
    names = {"anyOf": [{"enum": REGISTRIES[topic].names()}, {"type": "string"}]}
    return {"required": ["name"], "allOf": [{"properties": {"name": names}}, *cases]}


def _options(doc: ClassDoc) -> dict[str, Any]:
    return {
        "type": "object",
        "description": sentence(doc.doc),
        "properties": {field.name: _field(field) for field in doc.fields},
        "additionalProperties": False,
    }


def _field(field: FieldDoc) -> dict[str, Any]:
    found = _kind(field.kind, _LIMITS.get(field.limit, {}))
    default = "Required." if field.default is None else f"Default {field.default}."
    return found | {"description": f"{field.doc} {default}".strip()}


def _kind(kind: str, limit: dict[str, Any] | None = None) -> dict[str, Any]:
    """The schema of a type as `rl4bio.text.source_docs` writes it."""
    parts = _alternatives(kind)
    words = [part for part in parts if not _is_type(part)]
    found = [_type(part, limit or {}) for part in parts if _is_type(part)]
    if {} in found:
        return {}
    return {"anyOf": [*([{"enum": words}] if words else []), *found, _REFERENCE]}


def _alternatives(kind: str) -> list[str]:
    """`int | list[str | null]` -> `int`, `list[str | null]`."""
    parts, depth = [""], 0
    for sign in kind:
        depth += (sign == "[") - (sign == "]")
        if sign == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _is_type(part: str) -> bool:
    return part in _SCALARS or re.match(r"(list|dict|tuple|Sequence|Mapping)\b", part) is not None


def _type(part: str, limit: dict[str, Any]) -> dict[str, Any]:
    if part in _SCALARS:
        return _SCALARS[part] | (limit if part in ("int", "float") else {})
    outer, _, inner = part.removesuffix("]").partition("[")
    if outer in ("dict", "Mapping"):
        _, _, value = inner.partition(", ")
        return {"type": "object", "additionalProperties": _kind(value or "Any")}
    item = inner.removesuffix(", ...")
    items = {} if not item or "," in item else _kind(item)
    return {"type": "array", "items": items}
