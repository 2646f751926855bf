"""Every key of a configuration and every option of a part as one Markdown page."""

from __future__ import annotations

from collections.abc import Iterable

from rl4bio.config.catalogue import LOSSES, REGISTRIES, TOPICS, part_doc, sections
from rl4bio.synonyms.hints import names_of
from rl4bio.text.source_docs import ClassDoc, FieldDoc, class_doc

HEAD = """# Every key of a configuration

Made from the package itself by `rl4bio describe --reference`; on the command line `rl4bio describe`
shows the same of one section, key or part. Values that two keys decide together are checked by
`rl4bio fit ... --print-config`. "Elsewhere" are the names of other programs, which `rl4bio` answers
with its own when they stand in a file.
"""
_KINDS = {"rewards": "reward", "data": "corpus", "callbacks": "callback"}


def reference_page() -> str:
    """The page; sections in the order of a file, then parts by name."""
    blocks = [HEAD]
    for key, (section, _) in sections().items():
        doc = class_doc(section.__module__, section.__name__)
        own = [f for f in doc.fields if f"{key}.{f.name}".lstrip(".") not in sections()]
        own = [f for f in own if f"{key}.{f.name}[]".lstrip(".") not in sections()]
        blocks += [f"## {f'`{key}`' if key else 'A run'}", _prose(doc), _table(own, key)]
    losses = [f"| `{name}` | {_cell(what)} |" for name, what in LOSSES.items()]
    blocks += ["## Losses", "\n".join(["| `grpo.loss` | What |", "| --- | --- |", *losses])]
    for topic, registry in REGISTRIES.items():
        blocks.append(f"## {_KINDS[topic].capitalize()}: options by name")
        blocks.append(f"Written as `{TOPICS[topic][0]}`.")
        for name in registry.names():
            doc = part_doc(topic, name)
            table = _table(doc.fields, "") if doc.fields else "No options."
            blocks += [f"### {_KINDS[topic]} `{name}`", _prose(doc), table]
    return "\n\n".join(block.strip() for block in blocks if block.strip()) + "\n"


def _prose(doc: ClassDoc) -> str:
    paragraphs = []
    for part in doc.doc.split("\n\n"):
        if part.lstrip().startswith(("Args:", "Returns:", "Raises:")):
            break
        paragraphs.append(_plain(" ".join(part.split())))
    return "\n\n".join(paragraphs)


def _table(fields: Iterable[FieldDoc], section: str) -> str:
    """A row a key: type and range, default, meaning, and what TRL and others call it."""
    lines = ["| Key | Type | Default | Meaning | Elsewhere |", "| --- | --- | --- | --- | --- |"]
    for field in fields:
        full = f"{section}.{field.name}".lstrip(".")
        kind = f"`{field.kind}`" + (f", {field.limit}" if field.limit else "")
        default = "required" if field.default is None else f"`{field.default}`"
        cells = [f"`{full}`", kind, default, _plain(field.doc), ", ".join(names_of(full))]
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _plain(text: str) -> str:
    """Text of a docstring in which nothing is taken for HTML or a reference."""
    parts = text.split("`")
    for n in range(0, len(parts), 2):
        parts[n] = parts[n].replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*")
    return "`".join(parts)
