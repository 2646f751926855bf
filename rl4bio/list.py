"""`rl4bio list`: the names that a configuration may use."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any

from rl4bio.cli import run_command

WIDTH = 80
"""Columns of a terminal that has no other width to speak of."""


def command_parser() -> argparse.ArgumentParser:
    """The topics of `rl4bio list`."""
    parser = argparse.ArgumentParser(
        prog="rl4bio list",
        description="Show the rewards, corpora, callbacks, policies, losses, configurations and "
        "shipped models that there are, one's own plugins included.",
        allow_abbrev=False,
    )
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="one of them; all without it")
    add_plugin_arguments(parser)
    return parser


def add_plugin_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that let one's own parts show."""
    parser.add_argument("--config", metavar="FILE", help="its plugins are imported first")
    parser.add_argument(
        "--plugins", nargs="+", default=[], metavar="FILE.py", help="plugins to import first"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(show, command_parser(), argv)


def show(arguments: argparse.Namespace) -> None:
    """Print one topic with a line each, or every topic with its names.

    Raises:
        ConfigError: there is no such topic.
    """
    from rl4bio.config.catalogue import TOPICS, load_plugins
    from rl4bio.errors import ConfigError
    from rl4bio.registry import did_you_mean

    load_plugins(arguments.config, arguments.plugins)
    if arguments.topic is None:
        for topic, (place, names) in TOPICS.items():
            print(f"{topic}: {place}")
            print(textwrap.fill(", ".join(names()) or "none", WIDTH, **_BLOCK))
        print("\n`rl4bio list TOPIC` says what each is, `rl4bio describe` what it takes.")
        return
    # `rl4bio list reward` and `rl4bio list Rewards` mean the same.
    asked = arguments.topic.lower().rstrip("s")
    found = next((topic for topic in TOPICS if topic.rstrip("s") == asked), None)
    if found is None:
        near = did_you_mean(arguments.topic, TOPICS)
        raise ConfigError(f"unknown topic {arguments.topic!r}{near}; known: {', '.join(TOPICS)}")
    place, names = TOPICS[found]
    print(f"{found}: {place}\n")
    print(table(names()) or "  none here; they come with the source")


_BLOCK: dict[str, Any] = {
    "initial_indent": "  ",
    "subsequent_indent": "  ",
    "break_on_hyphens": False,
}


_NAMES: dict[str, Any] = {**_BLOCK, "initial_indent": "    ", "subsequent_indent": "    "}


def table(rows: dict[str, str]) -> str:
    """Names and what is said of each, within the width; a long name has a line of its own.

    Names of whom the same is said, such as a benchmark's objectives, stand together at the end.
    """
    alike = {text: [n for n, other in rows.items() if other == text] for text in rows.values()}
    several = {text: names for text, names in alike.items() if len(names) > 2}
    single = {name: text for name, text in rows.items() if text not in several}
    column = min(max(map(len, single), default=0), 24) + 4
    lines = []
    for name, text in single.items():
        head = f"  {name}"
        if len(head) + 2 > column:
            lines.append(head)
            head = ""
        block = textwrap.wrap(text, WIDTH - column, break_on_hyphens=False) or [""]
        lines += [f"{head:<{column}}{block[0]}".rstrip()]
        lines += [" " * column + more for more in block[1:]]
    for text, names in several.items():
        lines += ["", *textwrap.wrap(f"{text}:", WIDTH, **_BLOCK)]
        lines += textwrap.wrap(", ".join(names), WIDTH, **_NAMES)
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
