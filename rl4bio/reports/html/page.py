"""The frame of every HTML page that rl4bio writes: one file that loads nothing.

Every text comes from a data set, a model or a configuration and is untrusted. It passes `text`, or
a template of this folder, which escapes by itself, and stands between tags or nowhere: no attribute
or style is made from it, and no link but to a file beside the page (`local_link`) or to a PubMed
record by its number (`pubmed_link`). A content security policy that allows the one style block by
its hash, the script of a page with a table to sort (`sorting`) by another, images that the page
itself holds, and nothing else, is the second lock.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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
.question { white-space: pre-line; overflow-wrap: anywhere; }
.verdict { font-size: 1.15rem; font-weight: 600; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; overflow-wrap: anywhere; }
summary { cursor: pointer; }
.facts dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr));
  gap: .2rem 1.5rem; }
.facts dd { margin-left: 0; }
.warning { border-left: .35rem solid var(--c1); padding: .3rem .8rem; background: var(--warn); }
@media (max-width: 600px) {
  .stacked, .stacked tbody, .stacked tr, .stacked th { display: block; }
  .stacked thead { display: none; }
  .stacked tr { border-bottom: 1px solid var(--line); padding: .35rem 0; }
  .stacked th, .stacked td { border: 0; padding: .05rem 0; white-space: normal; }
  .stacked td { display: flex; justify-content: space-between; gap: 1rem; }
  .stacked td .of { display: inline; color: var(--muted); }
  .stacked td span + span { text-align: right; flex: none; max-width: 70%; }
}
@media print { .case { break-inside: avoid; } }
"""
)


RESEARCH_USE = (
    '<p class="warning"><strong>Research use only.</strong> Not a medical device; not for '
    "diagnosis, treatment or advice.</p>"
)


def text(value: object) -> str:
    """Untrusted text, escaped for a place between two tags."""
    return str(escape(_told(value)))


def block(value: object) -> str:
    """Untrusted text with its own line breaks."""
    return part("block", value)


def fact_list(facts: Mapping[str, object]) -> str:
    """Names with their values below."""
    return part("fact_list", facts)


def reward_list(rewards: Mapping[str, float]) -> str:
    """One line a reward; NaN = not scored. Nothing where there is no reward."""
    return part("reward_list", rewards)


def html_table(
    rows: Sequence[Sequence[str]],
    *,
    heads: int = 1,
    stacked: bool = False,
    sortable: bool = False,
) -> str:
    """A table whose first rows and first column are headings.

    Args:
        rows: of plain text, the headings first.
        heads: rows of headings.
        stacked: on a narrow screen each row is a block, its cells below each other, each behind
            its column's headings; for tables whose columns are compared.
        sortable: the page has the script that sorts it.
    """
    titles = [", ".join(filter(None, column)) for column in zip(*rows[:heads], strict=True)]
    style = " ".join(["metrics", *["stacked"] * stacked, *["sortable"] * sortable])
    return part("table", rows, titles if stacked else [], heads, style)


def marked(value: str, spans: Sequence[tuple[int, int]]) -> str:
    """Untrusted text as a block, pieces of it marked; the spans are disjoint and rise."""
    pieces, last = [], 0
    for start, end in spans:
        pieces += [(value[last:start], False), (value[start:end], True)]
        last = end
    return part("marked", [*pieces, (value[last:], False)])


def pubmed_link(uid: str) -> str:
    """A PubMed record by its number; what is no number is plain text."""
    if not (uid.isascii() and uid.isdigit() and len(uid) <= 8):
        return text(uid)
    return part("pubmed_link", uid)


def local_link(place: str, words: object) -> str:
    """A link to a file near the page.

    Args:
        place: relative path, as the file system has it; quoted here, so that no name of a folder
            becomes another address.
        words: that are shown.
    """
    address = quote(place)
    address = address if address.startswith(".") else f"./{address}"
    return part("local_link", address, words)


def html_page(
    title: str,
    body: Sequence[str] = (),
    *,
    template: str = "page.html",
    style: str = "",
    script: str = "",
    refresh_s: int = 0,
    **values: object,
) -> str:
    """The whole page.

    Args:
        title: of the window, as plain text.
        body: pieces of HTML, escaped already; of pages without a template of their own.
        template: one of the folder `templates`, which extends page.html.
        style: rules of this page, added to the shared ones.
        refresh_s: seconds after which an open page reads itself again; 0 = never.
        script: of this page, which holds nothing of its data; "" for none.
        values: that the template names; escaped there, unless `html` says that they are HTML.
    """
    rules = STYLE + style
    allowed = f"style-src '{_digest(rules)}'" + (
        f"; script-src '{_digest(script)}'" if script else ""
    )
    policy = f"default-src 'none'; {allowed}; img-src data:; base-uri 'none'; form-action 'none'"
    return (
        _templates()
        .get_template(template)
        .render(
            title=title,
            policy=Markup(policy),
            rules=Markup(rules),
            body=[Markup(piece) for piece in body],
            script=Markup(script),
            refresh_s=refresh_s,
            **values,
        )
    )


def html(pieces: str | Iterable[str]) -> Markup:
    """What is HTML already, such as a chart, for a template."""
    return Markup(pieces if isinstance(pieces, str) else "".join(pieces))


@functools.cache
def _templates() -> Environment:
    """The templates of this folder, which escape whatever they put between two tags."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=_told,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    parts = (block, fact_list, reward_list, html_table, marked, pubmed_link, local_link)
    found.globals |= {part.__name__: _as_html(part) for part in parts}
    found.globals["research_use"] = Markup(RESEARCH_USE)
    return found


def _as_html(part: Callable[..., str]) -> Callable[..., Markup]:
    return lambda *values, **options: Markup(part(*values, **options))


def part(name: str, *values: Any) -> str:
    """A macro of parts.html with its values, which it escapes."""
    return str(getattr(_templates().get_template("parts.html").module, name)(*values))


def _told(value: object) -> str:
    """What is to be shown, with characters that nobody sees made visible."""
    return value if isinstance(value, Markup) else visible(str(value))


def _digest(content: str) -> str:
    """What a content security policy calls a block by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
