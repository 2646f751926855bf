"""The sentence of an evaluation of molecules, and its table in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from rl4bio.reports.molecules.records import MoleculeRecord, make_records
from rl4bio.reports.molecules.table import SCREEN, plain_molecule_table
from rl4bio.reports.molecules.verdict import molecule_picture, molecule_verdict
from rl4bio.statistics.molecules import MoleculeSummary, summarize_molecules
from rl4bio.types import ScoreTable

FOUR = ["CCO", "CCN", "CCC", "C("]


def scored(
    totals: Sequence[float] | None, texts: Sequence[str] = FOUR, parts: Sequence[str] = ()
) -> tuple[MoleculeSummary, list[MoleculeRecord]]:
    scores = None
    if totals is not None:
        values = list(totals)
        scores = ScoreTable(total=values, parts=dict.fromkeys(parts, values), weights={})
    nan = [math.nan] * len(texts)
    records = make_records("m", texts, scores=scores, logprob_policy=nan, logprob_prior=nan)
    return summarize_molecules(texts, rounds=20, seed=1, scores=scores), records


def said(base: Sequence[float] | None, tuned: Sequence[float] | None, texts: Sequence[str]) -> str:
    (old, before), (new, after) = scored(base, texts), scored(tuned, texts)
    return molecule_verdict(
        {"base": old, "tuned": new},
        {"base": before, "tuned": after},
        before="base",
        seed=1,
        rounds=200,
    )


@pytest.mark.parametrize(
    ("base", "tuned", "found"),
    [
        # Valid texts earn 0.5 and 0.6 on average; the invalid one counts as 0: times 3 / 4.
        (
            [0.5, 0.5, 0.5, math.nan],
            [0.6, 0.6, 0.6, math.nan],
            "earns 0.450 a molecule, base 0.375",
        ),
        ([0.5] * 4, [0.5] * 4, "base 0.375; no difference"),
        ([0.1, 0.9, 0.5, 0.0], [0.9, 0.1, 0.6, 0.0], "the difference may be chance, 0.025 ["),
    ],
)
def test_rewards_with_an_invalid_text_as_0(
    base: list[float], tuned: list[float], found: str
) -> None:
    text = said(base, tuned, FOUR)
    assert found in text
    assert text.endswith("75.0% of its texts are valid, 75.0% of base's.")


def test_a_difference_that_chance_does_not_explain() -> None:
    texts = ["C" * n for n in range(1, 9)]
    assert "better than chance explains, by 0.200 [0.200, 0.200]" in said(
        [0.5] * 8, [0.7] * 8, texts
    )
    assert "worse than chance explains, by -0.200" in said([0.7] * 8, [0.5] * 8, texts)


def test_without_rewards_or_without_a_base_it_is_about_validity() -> None:
    assert said(None, None, FOUR).startswith("tuned writes molecules; no difference; 75.0%")
    alone, records = scored(None)
    words = molecule_verdict({"base": alone}, {"base": records}, before="base", seed=1, rounds=9)
    assert words == "base writes molecules; 75.0% of its texts are valid."


def test_the_picture_is_of_rewards_or_of_validity() -> None:
    (rewarded, _), (plain, _) = scored([0.5] * 4), scored(None)
    assert "Mean reward" in molecule_picture({"base": rewarded, "corpus": plain})
    assert "Valid texts, %" in molecule_picture({"base": plain})


def test_a_terminal_gets_a_screen() -> None:
    """Whatever the number of rewards; the page and `full` have every row."""
    found, _ = scored([0.5] * 4, ["C", "C1CC1C#CC#C", "CC", "CCC"], [f"r{n}" for n in range(40)])
    short = plain_molecule_table({"base": found}, full=False).splitlines()
    whole = plain_molecule_table({"base": found}).splitlines()
    assert len(short) <= SCREEN + 4 < len(whole)
    assert short[-1].endswith("more rows: --full, or the page.")
    assert "more rows" not in whole[-1]
