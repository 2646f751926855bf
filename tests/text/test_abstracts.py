"""Which sentences of an abstract state an aim, by hand."""

from __future__ import annotations

import pytest

from rl4bio.text.abstracts import comes_before, holds_findings, states_aim
from rl4bio.text.words import tokens


@pytest.mark.parametrize(
    "text",
    [
        "To determine whether aspirin lowers the risk.",
        "The aim of the present study was to assess pain.",
        "Our primary objective is a shorter stay.",
        "Objective: to compare two lozenges.",
        "We sought to find out how nurses decide.",
        "We hypothesized that zinc shortens colds.",
        "This study examined 92 undergraduates.",
        "Therefore, the present trial evaluated zinc in adults.",
    ],
)
def test_aims(text: str) -> None:
    assert states_aim(tokens(text))


@pytest.mark.parametrize(
    "text",
    [
        "Zinc shortened colds by two days.",
        "Compared to placebo, pain was lower in the study group.",
        "In the study group, colds were shorter.",
        "The severity was less in the study group compared with the control group.",
        "We believe our results are objective and reproducible.",
        "In this study, 40 of 92 patients recovered.",
        "The present study showed that zinc shortens colds.",
        "",
    ],
)
def test_findings(text: str) -> None:
    assert not states_aim(tokens(text))


def test_labels() -> None:
    assert all(map(comes_before, ("BACKGROUND", "Background and Aims", "STUDY OBJECTIVE")))
    kept = ("", "METHODS", "RESULTS", "OBJECTIVE AND METHODS", "BACKGROUND/RESULTS", "DESIGN")
    assert not any(map(comes_before, kept))
    assert holds_findings("Methods and Results")
    assert not holds_findings("METHODS")
