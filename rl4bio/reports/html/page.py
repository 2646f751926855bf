"""The frame of every HTML page that rl4bio writes: one file that loads nothing and runs nothing.

Pages are the jinja2 templates of this folder. Every text comes from a data set, a model or a
configuration and is untrusted: templates escape it, whatever they put between two tags, unless it
is `Markup`, which only functions of `rl4bio.reports` make. No attribute or style is made from it,
and no link but to a file beside the page or to a PubMed record by its number. A content security
policy that allows the one style block by its hash, images that the page itself holds, and
nothing else, is the second lock.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from rl4bio.text.redaction import visible

COLOURS = """
:root { --ink: #1b1b1b; --muted: #444; --paper: #fff; --shade: #f5f5f5; --line: #d5d5d5;
  --edge: #999; --grid: #e3e3e3; --warn: #fdf3ec; --mark: #fff0b3; --link: #0b57a4;
  --right: #14632b; --wrong: #932018;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #444; --c4: #aa4499; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --muted: #b4b4b4;
  --paper: #17191c; --shade: #23262a; --line: #3c4046; --edge: #6d7278; --grid: #33373c;
  --warn: #33261a; --mark: #5a4a10; --link: #7db7f0; --right: #6fcf87; --wrong: #f2938b;
  --c0: #56b4e9; --c1: #f09050; --c2: #33c79b; --c3: #c4c4c4; --c4: #d98fc9; } }
"""
"""Of every page and chart; dark ones where the reader's system asks for them, never in print."""

STYLE = (
    COLOURS
    + """
:root { color-scheme: light dark; }
@media print { :root { color-scheme: light; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem;
  color: var(--ink); background: var(--paper); }
a { color: var(--link); } mark { background: var(--mark); color: inherit; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2rem; }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
.metrics th, .metrics td { border-bottom: 1px solid var(--line); padding: .3rem .7rem;
  text-align: left; white-space: nowrap; font-size: .85rem; }
.of { display: none; }
.rewards td { padding: 0 .8rem 0 0; font-size: .85rem; color: var(--muted); }
.case { border: 1px solid var(--edge); border-radius: .4rem; padding: .8rem 1rem; margin: 1rem 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
  gap: 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.45 ui-monospace, monospace;
  background: var(--shade); padding: .6rem; margin: .4rem 0; unicode-bidi: isolate; }
.note { color: var(--muted); font-size: .9rem; }
.verdict { font-size: 1.15rem; font-weight: 600; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; overflow-wrap: anywhere; }
summary { cursor: pointer; }
.warning { border-left: .35rem solid var(--c1); padding: .3rem .8rem; background: var(--warn); }
@media (max-width: 600px) {
  .stacked, .stacked tbody, .stacked tr, .stacked th { display: block; }
  .stacked thead { display: none; }
  .stacked tr { border-bottom: 1px solid var(--line); padding: .35rem 0; }
  .stacked th, .stacked td { border: 0; padding: .05rem 0; white-space: normal; }
  .stacked td { display: flex; justify-content: space-between; gap: 1rem; }
  .stacked td .of { display: inline; color: var(--muted); }
}
@media print { .case { break-inside: avoid; } }
"""
)


def text(value: object) -> str:
    """Untrusted text, escaped for a place between two tags of a drawing."""
    return str(escape(_told(value)))


def html_table(rows: Sequence[Sequence[str]]) -> Markup:
    """A table whose first row and first column are headings, of plain text."""
    parts: Any = _environment().get_template("parts.html").module
    return Markup(parts.table(rows))


def render(template: str, **values: Any) -> Markup:
    """A template of this folder with its variables, which it escapes."""
    return Markup(_environment().get_template(template).render(**values))


def marked_pieces(value: str, spans: Sequence[tuple[int, int]]) -> list[tuple[str, bool]]:
    """A text in pieces, and whether each is marked; the spans are disjoint and rise."""
    pieces, last = [], 0
    for start, end in spans:
        pieces += [(value[last:start], False), (value[start:end], True)]
        last = end
    return [*pieces, (value[last:], False)]


def html_page(template: str, title: str, *, style: str = "", **values: Any) -> str:
    """The whole page.

    Args:
        template: its file in `templates/`.
        title: of the window and the page, as plain text.
        style: rules of this page, added to the shared ones.
        values: of the template's variables.
    """
    rules = STYLE + style
    digest = base64.b64encode(hashlib.sha256(rules.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    page = render(template, title=title, rules=Markup(rules), policy=Markup(policy), **values)
    return f"{page}\n"


@functools.cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        autoescape=True,
        finalize=_told,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals.update(column_titles=_column_titles, local_address=_local_address)
    return found


def _told(value: object) -> str:
    """What is to be shown, with characters that nobody sees made visible."""
    return value if isinstance(value, Markup) else visible(str(value))


def _column_titles(heads: Sequence[Sequence[str]]) -> list[str]:
    return [", ".join(filter(None, column)) for column in zip(*heads, strict=True)]


def _local_address(place: str) -> str:
    """A relative path as an address, so that no name of a folder becomes another one."""
    address = quote(place)
    return address if address.startswith(".") else f"./{address}"
