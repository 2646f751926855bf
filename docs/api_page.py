"""The page of classes and functions, from their signatures and docstrings; nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    "Runs from Python": ["library"],
    "Values that travel between parts": ["types"],
    "Rewards": ["rewards.base", "rewards.molecules.base", "rewards.combine"],
    "Data": ["data.base", "data.module", "text.sentences"],
    "Callbacks": ["callbacks.step"],
    "Models and training": ["modules.loading", "modules.policy", "modules.grpo", "modules.sft"],
    "The mathematics": ["functional.advantages", "functional.losses", "functional.kl"],
    "Molecules": ["chem.reading", "chem.identity", "chem.properties", "chem.fingerprints",
                  "chem.diversity"],
    "Statistics": ["statistics.bootstrap", "statistics.compare", "statistics.molecules"],
    "Errors": ["errors"],
}  # fmt: skip
"""Heading -> modules of the package whose public names stand below it."""
HEAD = """# Classes and functions

What code of one's own builds on, from the docstrings. Shapes: B prompts, G completions each,
N = B G rows, P and C tokens of prompt and completion, V tokens of the vocabulary. Keys of a
configuration: [reference.md](reference.md).
"""
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields):$")


def api_page() -> str:
    """The page, in Markdown."""
    blocks = [HEAD]
    for heading, modules in MODULES.items():
        blocks.append(f"## {heading}")
        for module in modules:
            blocks += _module(module)
    return "\n\n".join(blocks) + "\n"


def _module(name: str) -> Iterator[str]:
    path = ROOT / "rl4bio" / f"{name.replace('.', '/')}.py"
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body:
        if not _is_public(node):
            continue
        yield f"### `rl4bio.{name}.{node.name}`"
        yield from _described(node)
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if _is_public(member) and ast.get_docstring(member):
                    yield f"#### `{node.name}.{member.name}`"
                    yield from _described(member)


def _is_public(node: ast.AST) -> bool:
    kinds = (ast.ClassDef, ast.FunctionDef)
    return isinstance(node, kinds) and not node.name.startswith("_")


def _described(node: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    """Signature, docstring, and of a class its fields."""
    if isinstance(node, ast.FunctionDef):
        given = ast.unparse(node.args)
        end = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        yield f"```python\n{node.name}({given}){end}\n```"
    yield prose(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        fields = list(_fields(node))
        if fields:
            yield "\n".join(fields)


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or ast.unparse(field.target).startswith("_"):
            continue
        says = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        said = f": {plain(' '.join(str(after.value.value).split()))}" if says else ""
        yield f"- `{ast.unparse(field.target)}: {ast.unparse(field.annotation)}`{said}"


def prose(docstring: str) -> str:
    """A docstring in Google style as Markdown: its sections are lists."""
    lines: list[str] = []
    inside = ""
    for line in docstring.splitlines():
        found = _SECTION.match(line)
        if found:
            inside = found[1]
            lines += ["", f"**{inside}**", ""]
        elif not inside or not line.strip():
            inside = inside if not line.strip() or line.startswith(" ") else ""
            lines.append(plain(line))
        elif line.startswith("        ") or inside in ("Returns", "Yields"):
            lines.append(f"  {plain(line.strip())}")
        elif line.startswith("    "):
            name, mark, rest = line.strip().partition(": ")
            lines.append(f"- `{name}`{mark}{plain(rest)}" if mark else f"- {plain(name)}")
        else:
            inside = ""
            lines.append(plain(line))
    return "\n".join(lines).strip()


def plain(text: str) -> str:
    """Text in which nothing is taken for HTML, a list or a reference."""
    parts = text.split("`")
    for n in range(0, len(parts), 2):
        parts[n] = re.sub(r"([\[*_|])", r"\\\1", parts[n].replace("<", "&lt;"))
    return "`".join(parts)
