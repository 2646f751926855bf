"""The report as one HTML file that loads nothing: metric table on top, then case by case.

Every text comes from a data set or a model and is untrusted. It passes `html.escape` and stands
between tags or nowhere: no attribute, style or link is made from it. A content security policy
that allows the one style block by its hash, and nothing else, is the second lock.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
from collections.abc import Sequence

from rl4bio.evaluation.cases import Case, Reply, judgement, visible
from rl4bio.evaluation.compare import PairedComparison
from rl4bio.evaluation.table import MODES_DIFFER, ResultRow, paired_lines, table_cells

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
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
.answer { border-left: .35rem solid #777; padding-left: .8rem; min-width: 0; }
.answer.right { border-color: #1a7f37; } .answer.wrong { border-color: #b42318; }
.badge { font-weight: 600; } .right .badge { color: #14632b; } .wrong .badge { color: #932018; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.45 ui-monospace, monospace;
  background: #f5f5f5; padding: .6rem; margin: .4rem 0; unicode-bidi: isolate; }
.note { color: #444; font-size: .9rem; } dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
summary { cursor: pointer; }
@media print { .case { break-inside: avoid; } }
"""

_OUTCOMES = {
    "base wrong, tuned right": (False, True),
    "base right, tuned wrong": (True, False),
    "both right": (True, True),
    "both wrong": (False, False),
}


def text(value: object) -> str:
    """Untrusted text, escaped for a place between two tags."""
    return html.escape(visible(str(value)), quote=True)


def html_report(
    *,
    title: str,
    facts: dict[str, str],
    rows: Sequence[ResultRow],
    comparison: PairedComparison | None,
    cases: Sequence[Case],
) -> str:
    """The whole page.

    Args:
        title: heading.
        facts: what was evaluated and how, name -> value, shown under the heading.
        rows: the metric table; `comparison` belongs to the mode of the first row.
        comparison: base against tuned, or None where only one model ran.
        cases: the side-by-side cases.
    """
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    described = "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in facts.items())
    paired = paired_lines(comparison, rows[0].mode) if comparison is not None else []
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<h1>{text(title)}</h1>",
            '<p class="note">A research evaluation of language models. '
            "Not medical advice, and not for clinical use.</p>",
            "<h2>Results</h2>",
            _metric_table(rows),
            '<p class="note">Accuracy: share of questions answered with the expert label; an '
            "answer outside the required form counts as wrong. Brackets: 95% bootstrap intervals "
            f"over questions. {text(MODES_DIFFER)}</p>",
            *(f"<p>{text(line)}</p>" for line in paired),
            f"<h2>What was evaluated</h2>\n<dl>{described}</dl>",
            f"<h2>Case by case ({len(cases)})</h2>",
            _contents(cases),
            *(_case(number, case) for number, case in enumerate(cases, start=1)),
            "</body>\n</html>\n",
        ]
    )


def _metric_table(rows: Sequence[ResultRow]) -> str:
    header, body = table_cells(rows)
    lines = []
    for position, name in enumerate(header):
        tag = "th" if position < 2 else "td"
        cells = "".join(f"<{tag}>{text(cells[position])}</{tag}>" for cells in body)
        lines.append(f'<tr><th scope="row">{text(name)}</th>{cells}</tr>')
    return '<div class="wide"><table class="metrics">' + "\n".join(lines) + "</table></div>"


def _contents(cases: Sequence[Case]) -> str:
    """Links to the cases, grouped by who is right."""
    groups: dict[str, list[int]] = {}
    for number, case in enumerate(cases, start=1):
        groups.setdefault(_outcome(case), []).append(number)
    lines = []
    for name in sorted(groups, key=[*_OUTCOMES, "right", "wrong", "no answer"].index):
        links = " ".join(f'<a href="#case-{n}">{n}</a>' for n in groups[name])
        lines.append(f"<li>{text(name)} ({len(groups[name])}): {links}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _outcome(case: Case) -> str:
    judged = [judgement(reply.answer) for reply in case.replies.values()]
    if len(judged) == 1:
        return judged[0]
    pair = (judged[0] == "right", judged[1] == "right")
    return next(name for name, wanted in _OUTCOMES.items() if wanted == pair)


def _case(number: int, case: Case) -> str:
    sample = case.sample
    replies = "".join(_reply(model, reply) for model, reply in case.replies.items())
    return (
        f'<section class="case" id="case-{number}">'
        f"<h3>Case {number} ({text(sample.uid)})</h3>"
        f"<p>{text(sample.question)}</p>"
        f"<details><summary>Abstract</summary>{_block(sample.context)}</details>"
        f"<p>Expert answer: <strong>{text(sample.target)}</strong></p>"
        f'<div class="pair">{replies}</div></section>'
    )


def _reply(model: str, reply: Reply) -> str:
    answer = reply.answer
    judged = judgement(answer)
    style = "right" if answer.right else "wrong"
    said = "" if answer.strict is None else f": {answer.strict}"
    notes = []
    if answer.strict is None and answer.lenient is not None:
        notes.append(f"not in the required form; read leniently it says {answer.lenient}")
    if answer.truncated:
        notes.append("cut off at the length limit")
    rewards = "".join(
        f"<tr><td>{text(part)}</td><td>{'not scored' if math.isnan(v) else f'{v:.2f}'}</td></tr>"
        for part, v in answer.rewards.items()
    )
    return (
        f'<div class="answer {style}"><h3>{text(model)}</h3>'
        f'<p><span class="badge">{text(judged.capitalize() + said)}</span></p>'
        + "".join(f'<p class="note">{text(note)}</p>' for note in notes)
        + _block(reply.completion)
        + (f'<table class="rewards">{rewards}</table>' if rewards else "")
        + "</div>"
    )


def _block(value: str) -> str:
    return f"<pre>\n{text(value)}</pre>"  # HTML drops the first newline of a pre, so give it one
