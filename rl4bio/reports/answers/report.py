"""The evaluation report: metric table on top, then case by case, as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rl4bio.answers.open import ANSWERED
from rl4bio.reports.answers import case_table as table_of_cases
from rl4bio.reports.answers.case_table import case_table
from rl4bio.reports.answers.cases import Case, Reply, is_therapeutic, judgement
from rl4bio.reports.answers.paired_words import paired_notes, reasoning_line
from rl4bio.reports.answers.table import MODES_DIFFER, ResultRow, table_cells
from rl4bio.reports.answers.verdict import verdict
from rl4bio.reports.html import dot_plot as dots_of
from rl4bio.reports.html import sorting
from rl4bio.reports.html.dot_plot import Dot, dot_plot
from rl4bio.reports.html.page import (
    RESEARCH_USE,
    block,
    fact_list,
    html_page,
    html_table,
    local_link,
    marked,
    pubmed_link,
    reward_list,
    text,
)
from rl4bio.statistics.bootstrap import Estimate
from rl4bio.statistics.compare import PairedComparison
from rl4bio.text.shared import shared_spans

STYLE = (
    dots_of.STYLE
    + sorting.STYLE
    + table_of_cases.STYLE
    + """
.answer { border-left: .35rem solid var(--edge); padding-left: .8rem; min-width: 0; }
.answer.right { border-color: var(--right); } .answer.wrong { border-color: var(--wrong); }
.question { white-space: pre-line; overflow-wrap: anywhere; }
.badge { font-weight: 600; } .right .badge { color: var(--right); }
.wrong .badge { color: var(--wrong); }
"""
)


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
    training: str = "",
) -> str:
    """The whole page, the verdict first.

    Args:
        title: heading.
        facts: what was evaluated and how, name -> value, shown under the heading.
        rows: the metric table, the main mode first.
        comparisons: mode -> `before` against tuned, the main mode first; {} where one model ran.
        cases: the side-by-side cases.
        reasoning: model and mode -> answers without reasoning against those with it.
        before: what training began with.
        from_base: mode -> base against tuned, where training did not begin with the base.
        training: where the page of the training is, seen from this one; "" for none.
    """
    pubmed = facts.get("data", "").startswith("pubmedqa ")
    paired = paired_notes(comparisons, from_base or {}, before)
    paired += [reasoning_line(found, model) for model, found in (reasoning or {}).items()]
    return html_page(
        title,
        [
            f"<h1>{text(title)}</h1>",
            f'<p class="verdict">{text(verdict(rows, comparisons, before))}</p>',
            _picture(rows),
            RESEARCH_USE,
            *([f"<p>{local_link(training, 'How it was trained')}</p>"] if training else []),
            "<h2>Results</h2>",
            _metric_table(rows),
            f'<p class="note">{text(_how_to_read(rows))} {text(MODES_DIFFER)}</p>',
            *_folded_list("Paired differences", paired),
            *_folded_tables("Answers by label", rows),
            "<h2>What was evaluated</h2>",
            fact_list(facts),
            f"<h2>Case by case ({len(cases)})</h2>",
            case_table(cases, before),
            *(_case(n, case, pubmed=pubmed) for n, case in enumerate(cases, start=1)),
        ],
        style=STYLE + _molecule_style(cases),
        script=sorting.SCRIPT if cases else "",
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


def _picture(rows: Sequence[ResultRow]) -> str:
    """Accuracy of each model in the main mode, or its total reward; the constant answer a line."""
    main = [row for row in rows if row.mode == rows[0].mode]
    constant = next((row for row in rows if row.mode == "constant"), None)
    if not math.isnan(rows[0].metrics.accuracy.value):
        dots = [Dot(name=row.model, value=_percent(row.metrics.accuracy)) for row in main]
        line = None
        if constant is not None:
            line = Dot(name=constant.model, value=_percent(constant.metrics.accuracy))
        return dot_plot("Accuracy, %", dots, line=line)
    totals = {r.model: r.metrics.rewards["total"] for r in main if "total" in r.metrics.rewards}
    return dot_plot("Total reward", [Dot(name=name, value=v) for name, v in totals.items()])


def _percent(share: Estimate) -> Estimate:
    return Estimate(value=100 * share.value, low=100 * share.low, high=100 * share.high)


def _metric_table(rows: Sequence[ResultRow]) -> str:
    """The main mode, and behind a fold all of them."""
    main = [row for row in rows if row.mode in (rows[0].mode, "constant")]
    found = html_table(_upright(main), heads=2, stacked=True)
    if len(main) == len(rows):
        return found
    every = html_table(_upright(rows), heads=2, stacked=True)
    return f"{found}<details><summary>All modes</summary>{every}</details>"


def _upright(rows: Sequence[ResultRow]) -> list[list[str]]:
    """Metrics down, models and modes across."""
    header, body = table_cells(rows)
    return [[name, *(cells[n] for cells in body)] for n, name in enumerate(header)]


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


def _folded_list(summary: str, lines: Sequence[str]) -> list[str]:
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    found = f"<details><summary>{summary}</summary><ul>{items}</ul></details>"
    return [found] if lines else []


def _folded_tables(summary: str, rows: Sequence[ResultRow]) -> list[str]:
    """The confusion of each model in the main mode."""
    shown = [row for row in rows if row.mode == rows[0].mode and row.metrics.confusion]
    tables = "".join(map(_confusion, shown))
    return [f"<details><summary>{summary}</summary>{tables}</details>"] if shown else []


def _case(number: int, case: Case, *, pubmed: bool) -> str:
    """One item; what a completion quotes of the context is marked in both."""
    sample = case.sample
    said = [reply.completion for reply in case.replies.values()]
    quoted = [text for text in said if text]
    is_open = any(reply.answer.gold is None for reply in case.replies.values())
    chosen = sample.extra.get("options", {}).get(sample.target)
    gold = f"{sample.target}. {chosen}" if chosen else sample.target
    context = sample.context or ""
    replies = "".join(_reply(model, reply, case) for model, reply in case.replies.items())
    name = pubmed_link(sample.uid) if pubmed else text(sample.uid)
    evidence = marked(context, shared_spans(context, quoted))
    return (
        f'<section class="case" id="case-{number}">'
        f"<h3>Case {number} ({name})</h3>"
        f'<p class="question">{text(sample.question)}</p>'
        + (_folded("Abstract, with what was quoted of it marked", evidence) if context else "")
        + _asked(case)
        + (f"<p>Expert answer: <strong>{text(gold)}</strong></p>" if gold else "")
        + (_folded("Reference", block(sample.reference)) if is_open and sample.reference else "")
        + f'<div class="pair">{replies}</div></section>'
    )


def _folded(summary: str, value: str) -> str:
    return f"<details><summary>{summary}</summary>{value}</details>"


def _molecule_style(cases: Sequence[Case]) -> str:
    if not any(map(is_therapeutic, cases)):
        return ""  # no need of RDKit
    from rl4bio.reports.html.structures import STYLE as MOLECULE_STYLE

    return MOLECULE_STYLE


def _asked(case: Case) -> str:
    if not is_therapeutic(case):
        return ""
    from rl4bio.reports.answers.case_molecules import asked_molecules

    return asked_molecules(case.sample)


def _answered(reply: Reply, case: Case) -> str:
    if not is_therapeutic(case):
        return ""
    from rl4bio.reports.answers.case_molecules import answered_molecules

    return answered_molecules(reply, case.sample)


def _reply(model: str, reply: Reply, case: Case) -> str:
    answer, context = reply.answer, case.sample.context or ""
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
        + _answered(reply, case)
        + marked(reply.completion, shared_spans(reply.completion, [context]))
        + _draws(reply)
        + reward_list(answer.rewards)
        + "</div>"
    )


def _draws(reply: Reply) -> str:
    """Every completion behind a majority verdict."""
    texts = "".join(block(draw.completion) for draw in reply.draws)
    return _folded(f"All {len(reply.draws)} completions", texts) if reply.draws else ""
