"""The sentences of the synthetic trials: what is asked, how a trial begins, how it reports.

`plain` is the wording of the shipped policy's warm start. `varied` and `transfer` ask the same
questions, introduce trials in sentences of their own, and report outcomes in plain clauses and in
about as many new ones. Nothing here is medical knowledge: a trial's label follows from its own
sentences alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Finding = Literal[
    "lower",
    "higher",
    "null",
    "trend_lower",
    "trend_higher",
    "split_lower",
    "split_higher",
    "missing",
]


@dataclass(frozen=True, kw_only=True)
class Wording:
    """One way to write a trial; `{n}` becomes numbers in brackets or nothing."""

    ask_lower: tuple[str, ...]
    ask_higher: tuple[str, ...]
    cohort: tuple[str, ...]
    noise: tuple[str, ...]
    lead: tuple[str, ...]
    findings: dict[Finding, tuple[str, ...]]


PLAIN = Wording(
    ask_lower=(
        "Does {d} reduce {o} in {c}?",
        "Does {d} lower {o} in patients with {c}?",
        "Is {o} reduced by {d} in {c}?",
        "Is {o} lower with {d} in patients with {c}?",
    ),
    ask_higher=(
        "Does {d} increase {o} in {c}?",
        "Does {d} raise {o} in patients with {c}?",
        "Is {o} increased by {d} in {c}?",
        "Is {o} higher with {d} in patients with {c}?",
    ),
    cohort=(
        "{m} patients with {c} were assigned to {d} or {k}.",
        "We randomised {m} adults with {c} to {d} or {k}.",
    ),
    noise=(
        "Mean age was {y} years.",
        "Follow-up lasted {w} weeks.",
        "{q} patients left the study early.",
    ),
    lead=(
        "For {o},",
        "Regarding {o},",
        "As to {o},",
        "In the analysis of {o},",
    ),
    findings={
        "lower": (
            "{d} was lower than {k}{n}",
            "{d} gave a significant reduction{n}",
            "values fell with {d}{n}",
            "{d} reduced it clearly{n}",
            "levels dropped after {d}{n}",
            "the {d} group ended below the {k} group{n}",
        ),
        "higher": (
            "{d} was higher than {k}{n}",
            "{d} gave a significant increase{n}",
            "values rose with {d}{n}",
            "{d} raised it clearly{n}",
            "levels climbed after {d}{n}",
            "the {d} group ended above the {k} group{n}",
        ),
        "null": (
            "{d} and {k} were similar{n}",
            "there was no difference between groups{n}",
            "{d} had no effect{n}",
            "{d} did not differ from {k}{n}",
            "the groups were equal{n}",
        ),
        "trend_lower": (
            "{d} showed a trend to lower values{n}",
            "a reduction with {d} was not certain{n}",
            "values fell with {d} but not significantly{n}",
            "a drop after {d} fell short of significance{n}",
        ),
        "trend_higher": (
            "{d} showed a trend to higher values{n}",
            "an increase with {d} was not certain{n}",
            "values rose with {d} but not significantly{n}",
            "a rise after {d} fell short of significance{n}",
        ),
        "split_lower": (
            "{d} was lower at {w} weeks but not at {x} weeks",
            "{d} was lower in women but not in men",
            "values fell with {d} at first but not later",
        ),
        "split_higher": (
            "{d} was higher at {w} weeks but not at {x} weeks",
            "{d} was higher in women but not in men",
            "values rose with {d} at first but not later",
        ),
        "missing": (
            "too few patients had data",
            "only {q} patients were measured and no analysis was possible",
            "results were missing for most patients",
        ),
    },
)


def beside_plain(findings: dict[Finding, tuple[str, ...]]) -> dict[Finding, tuple[str, ...]]:
    """New clauses together with the plain ones, for every finding."""
    return {finding: (*PLAIN.findings[finding], *clauses) for finding, clauses in findings.items()}


WORDINGS: dict[str, Wording] = {
    "plain": PLAIN,
    "varied": Wording(
        ask_lower=PLAIN.ask_lower,
        ask_higher=PLAIN.ask_higher,
        cohort=(
            "This trial compared {d} with {k} in {m} people who had {c}.",
            "A total of {m} participants with {c} received either {d} or {k}.",
        ),
        noise=(
            "Participants were {y} years old on average.",
            "The study ran for {w} weeks at {q} sites.",
            "Protocol deviations occurred in {q} participants.",
            "Groups were comparable at baseline.",
        ),
        lead=(
            *PLAIN.lead,
            "With respect to {o},",
            "In terms of {o},",
            "When {o} was analysed,",
        ),
        findings=beside_plain(
            {
                "lower": (
                    "a clear drop was seen with {d}{n}",
                    "the {d} arm was below the {k} arm{n}",
                    "a significant fall followed {d}{n}",
                    "{d} lowered values against {k}{n}",
                ),
                "higher": (
                    "a clear rise was seen with {d}{n}",
                    "the {d} arm was above the {k} arm{n}",
                    "a significant gain followed {d}{n}",
                    "{d} raised values against {k}{n}",
                ),
                "null": (
                    "no effect of {d} was seen{n}",
                    "the {d} arm and the {k} arm did not differ{n}",
                    "values were similar with {d} and with {k}{n}",
                    "nothing separated {d} from {k}{n}",
                ),
                "trend_lower": (
                    "a drop with {d} was seen but was not significant{n}",
                    "the fall after {d} was short of significance{n}",
                ),
                "trend_higher": (
                    "a rise with {d} was seen but was not significant{n}",
                    "the gain after {d} was short of significance{n}",
                ),
                "split_lower": (
                    "a drop was seen with {d} at week {w} but not at week {x}",
                    "a clear drop was seen with {d} in men but not in women",
                ),
                "split_higher": (
                    "a rise was seen with {d} at week {w} but not at week {x}",
                    "a clear rise was seen with {d} in men but not in women",
                ),
                "missing": (
                    "most participants had no data",
                    "the measurements were too few for an analysis",
                ),
            }
        ),
    ),
    "transfer": Wording(
        ask_lower=PLAIN.ask_lower,
        ask_higher=PLAIN.ask_higher,
        cohort=(
            "Allocation of {m} individuals living with {c} was to {d} or to {k}.",
            "{d} was tested against {k} in {m} individuals with {c}.",
        ),
        noise=(
            "The median age of individuals was {y}.",
            "Visits took place every {w} weeks.",
            "Funding came from {q} centres.",
        ),
        lead=(
            "On {o},",
            "Concerning {o},",
            "For the outcome {o},",
        ),
        findings=beside_plain(
            {
                "lower": (
                    "we found less with {d} than with {k}{n}",
                    "{d} brought a significant decline{n}",
                    "levels were down after {d}{n}",
                ),
                "higher": (
                    "we found more with {d} than with {k}{n}",
                    "{d} brought a significant climb{n}",
                    "levels were up after {d}{n}",
                ),
                "null": (
                    "we found the same with {d} as with {k}{n}",
                    "{d} brought no change{n}",
                    "levels stayed equal after {d} and after {k}{n}",
                ),
                "trend_lower": (
                    "levels were down after {d} but the decline was not certain{n}",
                    "a decline with {d} did not reach significance{n}",
                ),
                "trend_higher": (
                    "levels were up after {d} but the climb was not certain{n}",
                    "a climb with {d} did not reach significance{n}",
                ),
                "split_lower": (
                    "levels were down after {d} at week {w} but not at week {x}",
                    "we found less with {d} in older people but not in younger people",
                ),
                "split_higher": (
                    "levels were up after {d} at week {w} but not at week {x}",
                    "we found more with {d} in older people but not in younger people",
                ),
                "missing": (
                    "data were missing for most people",
                    "too few measurements were made",
                ),
            }
        ),
    ),
}
