"""The table of cases: who is right where, a line a case, to sort and to filter."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rl4bio.answers.open import ANSWERED
from rl4bio.reports.answers.cases import Case, Reply, judgement
from rl4bio.reports.html.page import text
from rl4bio.reports.html.sorting import FILTERED, SORTABLE
from rl4bio.reports.html.ticks import number_text
from rl4bio.statistics.compare import error_table

STYLE = """
.cases td, .cases tbody th { vertical-align: top; }
.cases td.words { white-space: normal; min-width: 14rem; }
@media (max-width: 600px) { .cases .words { display: none; } .cases td { white-space: normal; }
  .cases th, .cases td { padding: .3rem .35rem; } }
"""
LONGEST = 120
"""Characters of a question in the table."""

_OUTCOMES = {
    "base wrong, tuned right": (False, True),
    "base right, tuned wrong": (True, False),
    "both right": (True, True),
    "both wrong": (False, False),
}
_BY_REWARD = ("tuned has the higher reward", "base has the higher reward", "equal rewards")
_BY_ERROR = ("tuned is nearer", "base is nearer", "equally near")
_GROUPS = (*_OUTCOMES, *_BY_REWARD, *_BY_ERROR, "right", "wrong", ANSWERED, "no answer")


def case_table(cases: Sequence[Case], before: str) -> str:
    """One line a case, those first where tuned is right and what was before it is not.

    Args:
        cases: numbered from 1 as their parts of the page are (`#case-1`).
        before: what training began with.
    """
    if not cases:
        return ""
    models = list(cases[0].replies)
    outcomes = [outcome(case) for case in cases]
    order = sorted(range(len(cases)), key=lambda n: _GROUPS.index(outcomes[n]))
    totals = any("total" in r.answer.rewards for case in cases for r in case.replies.values())
    heads = ["Expert", *models, *([f"Reward, {model}" for model in models] if totals else [])]
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    lines = []
    for n in order:
        case = cases[n]
        cells = [case.sample.target or "", *(_said(reply) for reply in case.replies.values())]
        if totals:
            cells += [_total(reply) for reply in case.replies.values()]
        lines.append(
            f'<tr><th scope="row"><a href="#case-{n + 1}">{n + 1}</a></th>'
            f"<td>{text(outcomes[n].replace('base', before))}</td>"
            f'<td class="words">{text(_short(case.sample.question))}</td>'
            + "".join(f"<td>{text(_short(cell))}</td>" for cell in cells)
            + "</tr>"
        )
    return (
        f'<div class="wide"><table class="metrics cases {SORTABLE} {FILTERED}"><thead><tr>'
        '<th scope="col">Case</th><th scope="col" class="choose">Outcome</th>'
        f'<th scope="col" class="words">Question</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def outcome(case: Case) -> str:
    """Who is right: tuned, and what training began with; or whose reward or error is better."""
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


def _said(reply: Reply) -> str:
    answer = reply.answer
    if answer.strict in (None, ANSWERED):
        return judgement(answer)
    return f"{answer.strict} ({judgement(answer)})"


def _total(reply: Reply) -> str:
    return number_text(reply.answer.rewards.get("total", math.nan))


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
