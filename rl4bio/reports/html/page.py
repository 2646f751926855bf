"""The frame of every HTML page that rl4bio writes: one file that loads nothing.

Every text comes from a data set, a model or a configuration and is untrusted. It passes `text`
and stands between tags or nowhere: no attribute or style is made from it, and no link but to a
file beside the page (`local_link`) or to a PubMed record by its number (`pubmed_link`). A content
security policy that allows the one style block by its hash, the script of a page with a table to
sort (`sorting`) by another, and nothing else, is the second lock.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
from collections.abc import Mapping, Sequence
from urllib.parse import quote

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
    return html.escape(visible(str(value)), quote=True)


def block(value: object) -> str:
    """Untrusted text with its own line breaks."""
    return f"<pre>\n{text(value)}</pre>"  # HTML drops the first newline of a pre, so give it one


def fact_list(facts: Mapping[str, object]) -> str:
    """Names with their values below."""
    items = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in facts.items())
    return f'<div class="facts"><dl>{items}</dl></div>'


def reward_list(rewards: Mapping[str, float]) -> str:
    """One line a reward; NaN = not scored. Nothing where there is no reward."""
    rows = "".join(
        f"<tr><td>{text(part)}</td><td>{'not scored' if math.isnan(v) else f'{v:.2f}'}</td></tr>"
        for part, v in rewards.items()
    )
    return f'<table class="rewards">{rows}</table>' if rows else ""


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
    head = "".join(
        "<tr>" + "".join(f'<th scope="col">{text(cell)}</th>' for cell in row) + "</tr>"
        for row in rows[:heads]
    )

    def cells(row: Sequence[str]) -> str:
        if not stacked:
            return "".join(f"<td>{text(cell)}</td>" for cell in row[1:])
        return "".join(
            f'<td><span class="of">{text(title)}</span> <span>{text(cell)}</span></td>'
            for title, cell in zip(titles[1:], row[1:], strict=True)
        )

    lines = (f'<tr><th scope="row">{text(row[0])}</th>{cells(row)}</tr>' for row in rows[heads:])
    style = " ".join(["metrics", *["stacked"] * stacked, *["sortable"] * sortable])
    return (
        f'<div class="wide"><table class="{style}"><thead>{head}</thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def marked(value: str, spans: Sequence[tuple[int, int]]) -> str:
    """Untrusted text as a block, pieces of it marked; the spans are disjoint and rise."""
    parts, last = [], 0
    for start, end in spans:
        parts += [text(value[last:start]), f"<mark>{text(value[start:end])}</mark>"]
        last = end
    return f"<pre>\n{''.join(parts)}{text(value[last:])}</pre>"


def pubmed_link(uid: str) -> str:
    """A PubMed record by its number; what is no number is plain text."""
    if not (uid.isascii() and uid.isdigit() and len(uid) <= 8):
        return text(uid)
    return f'<a href="https://pubmed.ncbi.nlm.nih.gov/{uid}/" rel="noreferrer">PMID {uid}</a>'


def local_link(place: str, words: object) -> str:
    """A link to a file near the page.

    Args:
        place: relative path, as the file system has it; quoted here, so that no name of a folder
            becomes another address.
        words: that are shown.
    """
    address = quote(place)
    address = address if address.startswith(".") else f"./{address}"
    return f'<a href="{address}">{text(words)}</a>'


def html_page(
    title: str,
    body: Sequence[str],
    *,
    style: str = "",
    script: str = "",
    refresh_s: int = 0,
) -> str:
    """The whole page.

    Args:
        title: of the window, as plain text.
        body: pieces of HTML, escaped already.
        style: rules of this page, added to the shared ones.
        refresh_s: seconds after which an open page reads itself again; 0 = never.
        script: of this page, which holds nothing of its data; "" for none.
    """
    rules = STYLE + style
    allowed = f"style-src '{_digest(rules)}'" + (
        f"; script-src '{_digest(script)}'" if script else ""
    )
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            *([f'<meta http-equiv="refresh" content="{refresh_s}">'] if refresh_s else []),
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title>\n<style>{rules}</style>\n</head>\n<body>",
            *body,
            *([f"<script>{script}</script>"] if script else []),
            "</body>\n</html>\n",
        ]
    )


def _digest(content: str) -> str:
    """What a content security policy calls a block by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
