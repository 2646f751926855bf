"""What a dataclass says of itself and of its fields, read from its source: nothing is imported.

A field's docstring line is no attribute at run time, and most parts import torch or RDKit.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDoc:
    """One key of a section, or one option of a part."""

    name: str
    kind: str
    """Its type, closed choices spelled out: `int`, `nll | dft`."""
    default: str | None
    """As it is written in YAML; None where it must be given."""
    doc: str
    """The line under it, "" where there is none."""
    limit: str
    """What its class checks of it (`above 0`), "" where nothing simple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDoc:
    """A section or a part."""

    doc: str
    fields: tuple[FieldDoc, ...]
    handed_on: tuple[FieldDoc, ...] = ()
    """Those that a subclass has too; of a class that is no dataclass without its own."""


def sentence(text: str) -> str:
    """The first sentence of a docstring, on one line, without its full stop."""
    line = " ".join(text.partition("\n\n")[0].split())
    found = re.match(r".+?(?<!et al)(?<!e\.g)(?<!i\.e)\.(?= [A-Z(`]|$)", line)
    return (found[0] if found else line).rstrip(".")


@functools.cache
def class_doc(module: str, name: str, *, bases: bool = True) -> ClassDoc:
    """The docs of a class.

    Args:
        module: dotted name; its source is read.
        name: of the class; where the module makes it itself (`__getattr__`), its first class.
        bases: whether fields of its bases in this package come first; those of dataclasses, for
            what another class annotates is no option.
    """
    tree = _tree(module)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if not classes:
        return ClassDoc(doc="", fields=())
    node = classes.get(name) or next(iter(classes.values()))
    fields: dict[str, FieldDoc] = {}
    for base in node.bases if bases else ():
        if isinstance(base, ast.Name) and (place := _place(module, base.id)) is not None:
            fields |= {field.name: field for field in class_doc(*place).handed_on}
    limits = _limits(node)
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found = _field(module, statement, after, limits)
            if found is not None:
                fields[found.name] = found
    every = tuple(fields.values())
    plain = not any(ast.unparse(made).startswith("dataclass") for made in node.decorator_list)
    own = {ast.unparse(s.target) for s in node.body if isinstance(s, ast.AnnAssign) and plain}
    handed_on = tuple(field for field in every if field.name not in own)
    return ClassDoc(doc=ast.get_docstring(node) or "", fields=every, handed_on=handed_on)


@functools.cache
def _tree(module: str) -> ast.Module:
    loaded = sys.modules.get(module)  # of a plugin, whose file no name finds
    if loaded is not None and getattr(loaded, "__file__", None):
        return ast.parse(inspect.getsource(loaded))
    spec = importlib.util.find_spec(module)
    source = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
    return ast.parse(source)


@functools.cache
def _place(module: str, name: str) -> tuple[str, str] | None:
    """Module and name of what a name means in a module; None outside this package."""
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, name
        if isinstance(node, ast.Assign) and any(ast.unparse(t) == name for t in node.targets):
            return module, name
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rl4bio"):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return _place(str(node.module), alias.name)
    return None


def _field(
    module: str, statement: ast.AnnAssign, after: ast.stmt | None, limits: dict[str, str]
) -> FieldDoc | None:
    annotation, name = ast.unparse(statement.annotation), ast.unparse(statement.target)
    if annotation.startswith("ClassVar") or name.startswith("_"):
        return None
    says = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    doc = str(after.value.value) if says else ""  # type: ignore[union-attr]
    return FieldDoc(
        name=name,
        kind=_kind(module, statement.annotation),
        default=_default(module, statement.value),
        doc=" ".join(doc.split()),
        limit=limits.get(name, ""),
    )


def _kind(module: str, node: ast.expr) -> str:
    """A type as a reader of YAML says it."""
    if isinstance(node, ast.BinOp):  # X | None
        return f"{_kind(module, node.left)} | {_kind(module, node.right)}".replace("None", "null")
    if isinstance(node, ast.Subscript):
        outer = ast.unparse(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer == "Literal":
            return " | ".join(str(part.value) for part in inner if isinstance(part, ast.Constant))
        return f"{outer}[{', '.join(_kind(module, part) for part in inner)}]"
    if isinstance(node, ast.Name) and (place := _place(module, node.id)) is not None:
        value = _assigned(*place)
        return node.id if value is None else _kind(place[0], value)
    return ast.unparse(node)


def _default(module: str, node: ast.expr | None) -> str | None:
    """A default as it is written in YAML."""
    text = None if node is None else ast.unparse(node)
    if node is None or text == "MISSING":
        return None
    if isinstance(node, ast.Call) and text is not None and text.startswith("field("):
        factory = {word.arg: word.value for word in node.keywords}
        made = factory.get("default_factory") or factory.get("default")
        if isinstance(made, ast.Lambda):
            return _default(module, made.body)
        return {"list": "[]", "dict": "{}"}.get(ast.unparse(made) if made else "", "its defaults")
    if isinstance(node, ast.Name) and (place := _place(module, node.id)) is not None:
        value = _assigned(*place)
        return text if value is None else _default(place[0], value)
    if isinstance(node, ast.Call) and text is not None:  # list(LABELS), tuple(...)
        return _default(module, node.args[0]) if node.args else text
    try:
        return _yaml(ast.literal_eval(node))
    except ValueError:
        return text


def _yaml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value) if value != "" else "''"


def _assigned(module: str, name: str) -> ast.expr | None:
    """What a module assigns to a name; None where it is a class."""
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and any(ast.unparse(t) == name for t in node.targets):
            return node.value
    return None


_CHECKS = {"positive": "above 0", "not_negative": "at least 0", "check_limits": "at least 1"}


def _limits(node: ast.ClassDef) -> dict[str, str]:
    """Fields -> what the checks of `rl4bio.sections.checks` in `__post_init__` say of them."""
    found: dict[str, str] = {}
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in _CHECKS:
            named = [a.value for a in call.args[2:] if isinstance(a, ast.Constant)]
            named += [word.arg for word in call.keywords if word.arg]
            found |= dict.fromkeys(map(str, named), _CHECKS[ast.unparse(call.func)])
    return found
