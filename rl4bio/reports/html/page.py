"""The frame of every HTML page that rl4bio writes: one file that loads nothing and runs nothing.

Every text comes from a data set, a model or a configuration and is untrusted. It passes `text`
and stands between tags or nowhere: no attribute or style is made from it, and no link but to a
file beside the page (`local_link`) or to a PubMed record by its number (`pubmed_link`). A content
security policy that allows the one style block by its hash, and nothing else, is the second lock.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from rl4bio.text.redaction import visible

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem;
  color: #1b1b1b; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
.metrics th, .metrics td { border-bottom: 1px solid #d5d5d5; padding: .3rem .7rem;
  text-align: left; white-space: nowrap; font-size: .85rem; }
.rewards td { padding: 0 .8rem 0 0; font-size: .85rem; color: #444; }
.case { border: 1px solid #bbb; border-radius: .4rem; padding: .8rem 1rem; margin: 1rem 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
  gap: 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.45 ui-monospace, monospace;
  background: #f5f5f5; padding: .6rem; margin: .4rem 0; unicode-bidi: isolate; }
.note { color: #444; font-size: .9rem; } dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
summary { cursor: pointer; }
.warning { border-left: .35rem solid #d55e00; padding: .3rem .8rem; background: #fdf3ec; }
@media print { .case { break-inside: avoid; } }
"""


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
    return f"<dl>{items}</dl>"


def reward_table(rewards: Mapping[str, float]) -> str:
    """One line a reward; NaN = not scored. Nothing where there is no reward."""
    rows = "".join(
        f"<tr><td>{text(part)}</td><td>{'not scored' if math.isnan(v) else f'{v:.2f}'}</td></tr>"
        for part, v in rewards.items()
    )
    return f'<table class="rewards">{rows}</table>' if rows else ""


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row and first column are headings."""
    head = "".join(f'<th scope="col">{text(cell)}</th>' for cell in rows[0])
    lines = (
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td>{text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows[1:]
    )
    return (
        f'<div class="wide"><table class="metrics"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


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


def html_page(title: str, body: Sequence[str], *, style: str = "") -> str:
    """The whole page.

    Args:
        title: of the window, as plain text.
        body: pieces of HTML, escaped already.
        style: rules of this page, added to the shared ones.
    """
    rules = STYLE + style
    digest = base64.b64encode(hashlib.sha256(rules.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title>\n<style>{rules}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )
