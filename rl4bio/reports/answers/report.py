"""The evaluation report: metric table on top, then case by case, as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rl4bio.answers.open import ANSWERED
from rl4bio.reports.answers.cases import Case, Reply, judgement
from rl4bio.reports.answers.paired_words import paired_notes, reasoning_line
from rl4bio.reports.answers.table import MODES_DIFFER, ResultRow, table_cells
from rl4bio.reports.html.page import block, fact_list, html_page, reward_table, text
from rl4bio.statistics.compare import PairedComparison, error_table

STYLE = """
.answer { border-left: .35rem solid #777; padding-left: .8rem; min-width: 0; }
.answer.right { border-color: #1a7f37; } .answer.wrong { border-color: #b42318; }
.question { white-space: pre-line; overflow-wrap: anywhere; }
.badge { font-weight: 600; } .right .badge { color: #14632b; } .wrong .badge { color: #932018; }
"""

_OUTCOMES = {
    "base wrong, tuned right": (False, True),
    "base right, tuned wrong": (True, False),
    "both right": (True, True),
    "both wrong": (False, False),
}
_BY_REWARD = ("tuned has the higher reward", "base has the higher reward", "equal rewards")
_BY_ERROR = ("tuned is nearer", "base is nearer", "equally near")
_GROUPS = (*_OUTCOMES, *_BY_REWARD, *_BY_ERROR, "right", "wrong", ANSWERED, "no answer")


def html_report(
    *,
    title: str,
    facts: dict[str, str],
    rows: Sequence[ResultRow],
    comparisons: Mapping[str, PairedComparison],
    cases: Sequence[Case],
    reasoning: Mapping[str, PairedComparison] | None = None,
    before: str = "base",
    from_base: Mapping[str, PairedComparison] | None = None,
) -> str:
    """The whole page.

    Args:
        title: heading.
        facts: what was evaluated and how, name -> value, shown under the heading.
        rows: the metric table, the main mode first.
        comparisons: mode -> `before` against tuned, the main mode first; {} where one model ran.
        cases: the side-by-side cases.
        reasoning: model and mode -> answers without reasoning against those with it.
        before: what training began with.
        from_base: mode -> base against tuned, where training did not begin with the base.
    """
    paired = paired_notes(comparisons, from_base or {}, before)
    paired += [reasoning_line(found, model) for model, found in (reasoning or {}).items()]
    return html_page(
        title,
        [
            f"<h1>{text(title)}</h1>",
            '<p class="note">A research evaluation of language models. '
            "Not medical advice, and not for clinical use.</p>",
            "<h2>Results</h2>",
            _metric_table(rows),
            f'<p class="note">{text(_how_to_read(rows))} {text(MODES_DIFFER)}</p>',
            *(f"<p>{text(line)}</p>" for line in paired),
            *(
                _confusion(row)
                for row in rows
                if row.mode == rows[0].mode and row.metrics.confusion
            ),
            "<h2>What was evaluated</h2>",
            fact_list(facts),
            f"<h2>Case by case ({len(cases)})</h2>",
            _contents(cases, before),
            *(_case(number, case) for number, case in enumerate(cases, start=1)),
        ],
        style=STYLE,
    )


def _how_to_read(rows: Sequence[ResultRow]) -> str:
    """What the columns mean."""
    more = {name for row in rows for name in row.metrics.more}
    lines = [
        "Accuracy: share of questions answered with the expert label; an answer outside the "
        "required form counts as wrong."
    ]
    if "mae" in more:
        lines = [
            "MAE: mean absolute error in the unit of the label; an answer that could not be read "
            "counts as the median of the training labels, in Spearman and R2 too."
        ]
    if "auroc" in more:
        lines.append(
            "AUROC and AUPRC rank items by the probability of the second option; one half and the "
            "share of that option for a model that knows nothing."
        )
    if "self_correction" in more:
        lines.append("Self-corrections: share of completions with a phrase such as 'wait, no'.")
    return " ".join([*lines, "Brackets: 95% bootstrap intervals over questions."])


def _metric_table(rows: Sequence[ResultRow]) -> str:
    header, body = table_cells(rows)
    lines = []
    for position, name in enumerate(header):
        tag = "th" if position < 2 else "td"
        cells = "".join(f"<{tag}>{text(cells[position])}</{tag}>" for cells in body)
        lines.append(f'<tr><th scope="row">{text(name)}</th>{cells}</tr>')
    return '<div class="wide"><table class="metrics">' + "\n".join(lines) + "</table></div>"


def _confusion(row: ResultRow) -> str:
    """Gold labels down, predictions across."""
    counts = row.metrics.confusion
    columns = list(next(iter(counts.values())))
    head = "".join(f"<th>{text(column)}</th>" for column in columns)
    lines = [
        f'<tr><th scope="row">{text(gold)}</th>'
        + "".join(f"<td>{found[column]}</td>" for column in columns)
        + "</tr>"
        for gold, found in counts.items()
    ]
    return (
        f"<h3>{text(row.model)}: expert answer (down) by verdict (across)</h3>"
        f'<div class="wide"><table class="metrics"><tr><th></th>{head}</tr>'
        + "\n".join(lines)
        + "</table></div>"
    )


def _contents(cases: Sequence[Case], before: str) -> str:
    """Links to the cases, grouped by who is right: tuned, and what training began with."""
    groups: dict[str, list[int]] = {}
    for number, case in enumerate(cases, start=1):
        groups.setdefault(_outcome(case), []).append(number)
    lines = []
    for name in sorted(groups, key=_GROUPS.index):
        links = " ".join(f'<a href="#case-{n}">{n}</a>' for n in groups[name])
        said = text(name.replace("base", before))
        lines.append(f"<li>{said} ({len(groups[name])}): {links}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _outcome(case: Case) -> str:
    judged = [judgement(reply.answer) for reply in case.replies.values()]
    if len(judged) == 1:
        return judged[0]
    base, tuned = (reply.answer for reply in [*case.replies.values()][-2:])
    judged = judged[-2:]
    if base.number is not None and tuned.number is not None:
        found = error_table([base.number.error], [tuned.number.error])
        return _BY_ERROR[0 if found.nearer_tuned else 1 if found.nearer_base else 2]
    if base.gold is None:
        gain = tuned.rewards.get("total", math.nan) - base.rewards.get("total", math.nan)
        return _BY_REWARD[0 if gain > 0 else 1 if gain < 0 else 2]
    pair = (judged[0] == "right", judged[1] == "right")
    return next(name for name, wanted in _OUTCOMES.items() if wanted == pair)


def _case(number: int, case: Case) -> str:
    sample = case.sample
    is_open = any(reply.answer.gold is None for reply in case.replies.values())
    chosen = sample.extra.get("options", {}).get(sample.target)
    gold = f"{sample.target}. {chosen}" if chosen else sample.target
    replies = "".join(_reply(model, reply) for model, reply in case.replies.items())
    return (
        f'<section class="case" id="case-{number}">'
        f"<h3>Case {number} ({text(sample.uid)})</h3>"
        f'<p class="question">{text(sample.question)}</p>'
        + (_folded("Abstract", sample.context) if sample.context else "")
        + (f"<p>Expert answer: <strong>{text(gold)}</strong></p>" if gold else "")
        + (_folded("Reference", sample.reference) if is_open and sample.reference else "")
        + f'<div class="pair">{replies}</div></section>'
    )


def _folded(summary: str, value: str) -> str:
    return f"<details><summary>{summary}</summary>{block(value)}</details>"


def _reply(model: str, reply: Reply) -> str:
    answer = reply.answer
    judged = judgement(answer)
    style = "open" if answer.gold is None else "right" if answer.right else "wrong"
    said = "" if answer.strict in (None, ANSWERED) else f": {answer.strict}"
    notes = []
    if reply.draws:
        right = "" if answer.gold is None else f", {answer.num_right} right"
        notes.append(f"the first for this verdict of {answer.num_draws} completions{right}")
    if answer.strict is None and answer.lenient is not None:
        notes.append(f"not in the required form; read leniently it says {answer.lenient}")
    if answer.number is not None:
        said = f"{said} = {answer.number.said:.4g}" if answer.strict is not None else said
        notes.append(f"label {answer.number.label:.4g}, error {answer.number.error:.3g}")
    if answer.truncated:
        share = f" ({answer.truncated:.0%} of the completions)" if reply.draws else ""
        notes.append(f"cut off at the length limit{share}")
    return (
        f'<div class="answer {style}"><h3>{text(model)}</h3>'
        f'<p><span class="badge">{text(judged.capitalize() + said)}</span></p>'
        + "".join(f'<p class="note">{text(note)}</p>' for note in notes)
        + block(reply.completion)
        + reward_table(answer.rewards)
        + "</div>"
    )
