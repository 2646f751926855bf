"""rl4bio.reports.answers.case_molecules: what a therapeutic case is about, drawn."""

from __future__ import annotations

import math

from rl4bio.answers.answer import Answer
from rl4bio.reports.answers.case_molecules import answered_molecules, asked_molecules
from rl4bio.reports.answers.cases import Case, Reply
from rl4bio.reports.answers.report import html_report
from rl4bio.reports.answers.table import ResultRow
from rl4bio.statistics.answers import answer_metrics
from rl4bio.types import Sample

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def sample(kind: str, **inputs: str) -> Sample:
    extra = {"kind": kind, "answer_form": "plain", "inputs": inputs, "task": "t"}
    return Sample(uid="1", prompt="p", question="q", target="B", extra=extra)


def test_inputs_that_are_molecules_are_drawn_under_their_names() -> None:
    """A sequence of amino acids may read as a SMILES: CCN is one of both."""
    asked = asked_molecules(
        sample("option", **{"drug SMILES": ASPIRIN, "Target sequence": "CCN", "text": "a cell"})
    )
    assert asked.count("<figure") == 1
    assert "drug SMILES" in asked
    assert asked_molecules(sample("option", text="hypertension")) == ""


def test_a_design_shows_what_was_measured_in_it_and_what_is_refused() -> None:
    raw = {
        "affinity": 7.249,
        "sa": math.nan,
        "combined.affinity": 6.5,
        "combined.affinity_score": 1,
    }
    drawn = answered_molecules(
        Reply(
            answer=Answer(gold=None, strict="answered", lenient=None), completion="CCOO", raw=raw
        ),
        sample("design"),
    )
    assert "affinity 7.25" in drawn
    assert "6.5" in drawn
    assert "sa" not in drawn.partition("<figcaption>")[2].split("<")[0].split()
    assert "refused for unstable" in drawn
    none = Reply(answer=Answer(gold=None, strict=None, lenient=None), completion="no molecule")
    assert answered_molecules(none, sample("design")) == ""


def test_a_letter_is_no_molecule() -> None:
    said = Reply(answer=Answer(gold="B", strict="B", lenient="B"), completion="B")
    assert answered_molecules(said, sample("option")) == ""


def test_the_page_draws_every_case() -> None:
    answers = [Answer(gold="B", strict="B", lenient="B", tokens=1)]
    rows = [ResultRow(model="base", mode="m", metrics=answer_metrics([], seed=0, rounds=2))]
    replies = {"base": Reply(answer=answers[0], completion="B")}
    cases = [Case(sample=sample("option", drug=s), replies=replies) for s in (ASPIRIN, "CCO")]
    page = html_report(title="t", facts={}, rows=rows, comparisons={}, cases=cases)
    assert page.count('<figure class="molecule">') == 2
    assert ".molecule img" in page
