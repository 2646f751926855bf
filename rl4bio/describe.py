"""`rl4bio describe`: the keys of a section, the options of a part, or one key."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from rl4bio.cli import run_command
from rl4bio.errors import ConfigError
from rl4bio.list import WIDTH, add_plugin_arguments, table

if TYPE_CHECKING:
    from rl4bio.text.source_docs import ClassDoc, FieldDoc

KINDS = {"reward": "rewards", "data": "data", "callback": "callbacks"}
"""First word of `rl4bio describe reward NAME` -> the topic of its names."""


def command_parser() -> argparse.ArgumentParser:
    """The words of `rl4bio describe`."""
    parser = argparse.ArgumentParser(
        prog="rl4bio describe",
        description="Show the keys of a configuration: each with its type, default, range, meaning "
        "and its names in other programs.",
        epilog="`rl4bio describe` shows the sections; `describe grpo` the keys of one; `describe "
        "grpo.kl_coef` or `describe beta` one key; `describe reward verdict`, `describe data "
        "smiles` and `describe callback kl_monitor` the options of a part.",
        allow_abbrev=False,
    )
    parser.add_argument("what", nargs="*", metavar="WHAT", help="a section, a key, or KIND NAME")
    parser.add_argument(
        "--schema", action="store_true", help="the JSON schema of a configuration, for editors"
    )
    parser.add_argument(
        "--reference", action="store_true", help="every key and option as a Markdown page"
    )
    add_plugin_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(describe, command_parser(), argv)


def describe(arguments: argparse.Namespace) -> None:
    """Print what is asked for.

    Raises:
        ConfigError: there is no section, key or part of this name.
    """
    from rl4bio.config.catalogue import load_plugins, sections

    load_plugins(arguments.config, arguments.plugins)
    if arguments.schema:
        from rl4bio.config.json_schema import json_schema

        print(json.dumps(json_schema(), indent=1))
        return
    if arguments.reference:
        from rl4bio.config.reference import reference_page

        print(reference_page(), end="")
        return
    words = list(arguments.what)
    if len(words) > 2:
        raise ConfigError(f"{' '.join(words)}: write one name, or KIND NAME such as reward verdict")
    if len(words) == 2:
        print(of_part(*words))
        return
    found = sections()
    if not words:
        print("sections of a run; `rl4bio describe NAME` shows the keys of one\n")
        print(table({key or "(top)": doc for key, (_, doc) in found.items()}))
        return
    print(of_name(words[0].strip("-").partition("=")[0]))


def of_part(kind: str, name: str) -> str:
    """A reward, corpus or callback."""
    from rl4bio.config.catalogue import part_doc
    from rl4bio.registry import did_you_mean

    topic = next((t for k, t in KINDS.items() if kind.lower().rstrip("s") == k), None)
    if topic is None:
        near = did_you_mean(kind, KINDS)
        raise ConfigError(f"unknown kind {kind!r}{near}; known: {', '.join(KINDS)}")
    doc = part_doc(topic, name)
    head = {"rewards": "reward", "data": "corpus", "callbacks": "callback"}[topic]
    return f"{head} {name}\n\n{prose(doc)}\n\n{keys(doc.fields)}"


def of_name(name: str) -> str:
    """A section, a key of one, a name of another program, or a part whose name is unique."""
    from rl4bio.config.catalogue import REGISTRIES, sections
    from rl4bio.synonyms.hints import key_hint, our_key
    from rl4bio.text.source_docs import class_doc

    if name.startswith("data.options."):
        raise ConfigError(
            f"{name}: an option of a corpus; `rl4bio describe data NAME` shows those of one, and "
            "`rl4bio list data` the names"
        )
    plain = name.replace("[0]", "[]").replace(".0", "[]").replace("-", "_")
    found = sections()
    for key, (section, _) in found.items():
        doc = class_doc(section.__module__, section.__name__)
        if key.removesuffix("[]") == plain.removesuffix("[]") and key:
            return f"{key}\n\n{prose(doc)}\n\n{keys(doc.fields, key)}"
    matches = []
    for key, (section, _) in found.items():
        for field in class_doc(section.__module__, section.__name__).fields:
            full = f"{key}.{field.name}".lstrip(".")
            if plain in (full, field.name) and full.removesuffix("[]") not in found:
                matches.append(keys([field], key))
    parts = [kind for kind, topic in KINDS.items() if plain in REGISTRIES[topic].names()]
    matches += [of_part(kind, plain) for kind in parts]
    if not matches and (hint := key_hint(name)):
        ours = our_key(name)
        shown = ours and not ours.startswith(("data.options", "rewards["))
        head = textwrap.fill(f"{name}: {hint[2:]}", WIDTH, **_HANGING)
        return head + (f"\n\n{of_name(ours)}" if shown else "")
    if not matches:
        _refuse(name)
    return "\n\n".join(matches)


def _refuse(name: str) -> NoReturn:
    from rl4bio.config.catalogue import REGISTRIES
    from rl4bio.config.schema import all_keys
    from rl4bio.registry import did_you_mean
    from rl4bio.synonyms.hints import part_hint

    last = {key.rpartition(".")[2]: key for key in reversed(all_keys())}
    parts = [part for registry in REGISTRIES.values() for part in registry.names()]
    ours = next(filter(None, (part_hint(kind, name) for kind in (*KINDS, "command"))), "")
    near = ours or did_you_mean(name, [*all_keys(), *last, *parts])
    raise ConfigError(f"unknown name {name!r}{near}; `rl4bio describe` shows the sections")


def prose(doc: ClassDoc) -> str:
    """A docstring without its argument lists, wrapped."""
    paragraphs = []
    for part in doc.doc.split("\n\n"):
        if part.lstrip().startswith(("Args:", "Returns:", "Raises:")):
            break
        paragraphs.append(textwrap.fill(" ".join(part.split()), WIDTH, break_on_hyphens=False))
    return "\n\n".join(paragraphs)


def keys(fields: Iterable[FieldDoc], section: str = "") -> str:
    """Each key with type, default and range on a line, its meaning and other names below."""
    from rl4bio.synonyms.hints import names_of

    blocks = []
    for field in fields:
        full = f"{section}.{field.name}".lstrip(".")
        default = "required" if field.default is None else f"default {field.default}"
        facts = [field.kind, default, *([field.limit] if field.limit else [])]
        elsewhere = "; ".join(names_of(full))
        notes = [field.doc, f"elsewhere {elsewhere}" if elsewhere else ""]
        lines = textwrap.wrap(f"{full}: {', '.join(facts)}", WIDTH, **_HANGING)
        for note in filter(None, notes):
            lines += textwrap.wrap(note, WIDTH, **_INDENTED)
        blocks.append("\n".join(lines))
    return "\n".join(blocks) or "no options"


_HANGING: dict[str, Any] = {
    "subsequent_indent": "    ",
    "break_on_hyphens": False,
    "break_long_words": False,
}
_INDENTED: dict[str, Any] = {"initial_indent": "    ", **_HANGING}


if __name__ == "__main__":
    raise SystemExit(main())
