"""The evaluation report: metric table on top, then case by case, as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rl4bio.answers.choice import AskedChoice
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
from rl4bio.reports.html.page import html, html_page
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
    paired = paired_notes(comparisons, from_base or {}, before)
    paired += [reasoning_line(found, model) for model, found in (reasoning or {}).items()]
    shown = [row for row in rows if row.mode == rows[0].mode]
    main = [row for row in rows if row.mode in (rows[0].mode, "constant")]
    return html_page(
        title,
        template="evaluation.html",
        style=STYLE + _molecule_style(cases),
        script=sorting.SCRIPT if cases else "",
        verdict=verdict(rows, comparisons, before),
        picture=html(_picture(rows)),
        training=training,
        main=_upright(main),
        every=_upright(rows) if len(main) < len(rows) else [],
        how_to_read=f"{_how_to_read(rows)} {MODES_DIFFER}",
        paired=paired,
        confusions=[row for row in shown if row.metrics.confusion],
        facts=facts,
        pubmed=facts.get("data", "").startswith("pubmedqa "),
        table_of_cases=html(case_table(cases, before)),
        cases=[_case(case) for case in cases],
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


def _upright(rows: Sequence[ResultRow]) -> list[list[str]]:
    """Metrics down, models and modes across."""
    header, body = table_cells(rows)
    return [[name, *(cells[n] for cells in body)] for n, name in enumerate(header)]


def _case(case: Case) -> dict[str, object]:
    """What is shown of one item; what a completion quotes of the context is marked in both."""
    sample = case.sample
    said = [reply.completion for reply in case.replies.values()]
    is_open = any(reply.answer.gold is None for reply in case.replies.values())
    chosen = (AskedChoice.of(sample).options or {}).get(sample.target or "")
    context = sample.context or ""
    return {
        "uid": sample.uid,
        "question": sample.question,
        "context": context,
        "quoted": shared_spans(context, [text for text in said if text]),
        "molecules": html(_asked(case)),
        "gold": f"{sample.target}. {chosen}" if chosen else sample.target,
        "reference": sample.reference if is_open else None,
        "replies": [_reply(model, reply, case) for model, reply in case.replies.items()],
    }


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


def _reply(model: str, reply: Reply, case: Case) -> dict[str, object]:
    """What is shown of a model's reply."""
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
    return {
        "model": model,
        "style": style,
        "badge": judged.capitalize() + said,
        "notes": notes,
        "molecules": html(_answered(reply, case)),
        "completion": reply.completion,
        "quoted": shared_spans(reply.completion, [context]),
        "draws": [draw.completion for draw in reply.draws],
        "rewards": answer.rewards,
    }
