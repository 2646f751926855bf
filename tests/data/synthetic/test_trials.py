"""Synthetic trials: an independent reader of the evidence finds the label."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any, get_args

import pytest

from rl4bio.data import CORPORA
from rl4bio.data.synthetic.trials import (
    NUMBERS_ONLY,
    TrialsCorpus,
    WordingName,
    draw_entities,
    draw_finding,
)
from rl4bio.data.synthetic.trials_wordings import WORDINGS, Finding
from rl4bio.data.synthetic.trials_words import COMPARATORS, INTERVENTIONS
from rl4bio.errors import ConfigError
from rl4bio.types import Sample

LABELS = ("yes", "no", "maybe")
NAMES: tuple[str, ...] = get_args(WordingName)
FINDINGS: tuple[Finding, ...] = get_args(Finding)
SHARED_BY_DESIGN = "plain"
"""The other wordings repeat its questions and clauses and add their own."""

DRUG = "|".join([r"[A-Z][a-z]+", *map(re.escape, INTERVENTIONS)])
PIECES = {
    "{d}": f"(?:{DRUG})",
    "{k}": f"(?:{'|'.join(map(re.escape, COMPARATORS))})",
    "{n}": r"(?: \((?P<a>\d+)%? vs (?P<b>\d+)%?; p (?P<p>[<=] [\d.]+)\))?",
    "{a}": r"(?P<a>\d+)%?",
    "{b}": r"(?P<b>\d+)%?",
    "{p}": r"(?P<p>[<=] [\d.]+)",
    **dict.fromkeys(("{w}", "{x}", "{q}", "{m}", "{y}"), r"\d+"),
    "{o}": ".+",
    "{c}": ".+",
}


def pattern(template: str) -> re.Pattern[str]:
    """A regular expression that a filled template matches."""
    parts = re.split(r"(\{\w\})", template)
    return re.compile("".join(PIECES.get(part, re.escape(part)) for part in parts))


def numbers_say(found: dict[str, str | None]) -> str | None:
    """The finding that two values and a p value state; None where there are none."""
    if found.get("p") is None:
        return None
    a, b, p = float(found["a"] or ""), float(found["b"] or ""), float((found["p"] or "").split()[1])
    if p >= 0.2:
        return "null"
    direction = "lower" if a < b else "higher"
    return direction if p < 0.05 else f"trend_{direction}"


def read_finding(evidence: str, wording: str) -> set[str]:
    """Every finding that a result sentence states, in words and in numbers."""
    clause = evidence.split(", ", 1)[1].removesuffix(".")
    found: set[str] = set()
    numbers = pattern(NUMBERS_ONLY).fullmatch(clause)
    if numbers is not None:
        found.add(str(numbers_say(numbers.groupdict())))
    for finding, templates in WORDINGS[wording].findings.items():
        for template in templates:
            match = pattern(template).fullmatch(clause)
            if match is not None:
                found.add(finding)
                stated = numbers_say(match.groupdict())
                found.update([stated] if stated is not None else [])
    return found


def asked_direction(sample: Sample) -> str:
    words = WORDINGS[sample.extra["wording"]]
    lower = any(pattern(t).fullmatch(sample.question) for t in words.ask_lower)
    higher = any(pattern(t).fullmatch(sample.question) for t in words.ask_higher)
    assert lower != higher
    return "lower" if lower else "higher"


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    corpus = TrialsCorpus(num_train=1500, num_test=300, wordings=list(NAMES), seed=4)  # type: ignore
    return [*corpus.samples("train"), *corpus.samples("test")]


def test_label_follows_from_the_evidence(samples: list[Sample]) -> None:
    verdict = {"trend": "maybe", "split": "maybe", "missing": "maybe", "null": "no"}
    seen: Counter[str] = Counter()
    for sample in samples:
        findings = read_finding(sample.extra["evidence"], sample.extra["wording"])
        assert len(findings) == 1, sample.extra["evidence"]  # words and numbers agree
        finding = findings.pop()
        seen[finding] += 1
        asked = asked_direction(sample)
        wanted = verdict.get(finding.split("_")[0], "yes" if finding == asked else "no")
        assert sample.target == wanted, (sample.question, sample.extra["evidence"])
    assert set(seen) == set(FINDINGS)


def test_evidence_is_the_one_sentence_on_the_asked_outcome(samples: list[Sample]) -> None:
    for sample in samples:
        evidence = sample.extra["evidence"]
        assert sample.context.count(evidence) == 1
        head = evidence.split(",")[0]  # "For the outcome pain score": names the outcome
        assert sample.context.count(f"{head},") == 1
        assert sample.demonstration == (
            f"<thought>{evidence}</thought><answer>{sample.target}</answer>"
        )
        turns = sample.prompt
        assert isinstance(turns, list)
        assert sample.question in turns[-1]["content"]
        assert sample.context in turns[-1]["content"]
        assert "{" not in sample.context + sample.question + sample.reference


def test_place_of_the_evidence_tells_nothing(samples: list[Sample]) -> None:
    """First or last of 3 to 6 result sentences: 1/5 to 1/3 each, were it not for the noise."""
    last = sum(sample.context.endswith(sample.extra["evidence"]) for sample in samples)
    cohorts = [sample.context.split(". ")[0] for sample in samples]
    first = sum(
        sample.context.startswith(f"{cohort}. {sample.extra['evidence']}")
        for cohort, sample in zip(cohorts, samples, strict=True)
    )
    assert 0.15 < last / len(samples) < 0.35
    assert 0.15 < first / len(samples) < 0.35


def label_of(finding: Finding, asked: str) -> str:
    """The verdict that a finding supports for a question about a change in the asked direction."""
    if finding in ("lower", "higher"):
        return "yes" if finding == asked else "no"
    return "no" if finding == "null" else "maybe"


@pytest.mark.parametrize("asked", ["lower", "higher"])
@pytest.mark.parametrize("label", LABELS)
def test_drawn_findings_lead_to_their_label(asked: Any, label: Any) -> None:
    rng = random.Random(0)
    findings = {draw_finding(rng, label, asked) for _ in range(200)}
    assert {label_of(finding, asked) for finding in findings} == {label}
    # yes: the asked change; no: none or the other way; maybe: trend, split or missing.
    assert len(findings) == {"yes": 1, "no": 2, "maybe": 3}[label]
    other = "higher" if asked == "lower" else "lower"
    assert not any(finding.endswith(f"_{other}") for finding in findings)


def test_label_mix(samples: list[Sample]) -> None:
    counts = Counter(sample.target for sample in samples)
    for label, share in (("yes", 0.40), ("no", 0.35), ("maybe", 0.25)):
        spread = (share * (1 - share) / len(samples)) ** 0.5
        assert abs(counts[label] / len(samples) - share) < 4 * spread


def test_the_question_does_not_tell_the_label(samples: list[Sample]) -> None:
    """Among questions of either direction the labels are mixed alike."""
    for direction in ("lower", "higher"):
        part = [s.target for s in samples if asked_direction(s) == direction]
        assert len(part) > 300
        spread = (0.4 * 0.6 / len(part)) ** 0.5
        assert abs(part.count("yes") / len(part) - 0.40) < 4 * spread


def test_train_and_test_share_no_entities() -> None:
    rng = random.Random(1)
    seen: dict[str, list[set[str]]] = {}
    for split in ("train", "val", "test"):
        drawn = [draw_entities(rng, split, distractors=4) for _ in range(1500)]  # type: ignore
        seen[split] = [
            {entities.intervention for entities in drawn},
            {entities.condition for entities in drawn},
            {outcome for entities in drawn for outcome in entities.outcomes},
        ]
        assert all(len(set(entities.outcomes)) == 5 for entities in drawn)
    for train, val, test in zip(*seen.values(), strict=True):
        assert not test & (train | val)
        assert train & val
    for kind in (1, 2):  # conditions and outcomes: three quarters of each list are for training
        assert len(seen["train"][kind]) > 2 * len(seen["test"][kind]) >= 10


def test_samples_depend_on_seed_split_and_index_alone() -> None:
    few = TrialsCorpus(num_train=5).samples("train")
    assert few == TrialsCorpus(num_train=40).samples("train")[:5]
    assert few == TrialsCorpus(num_train=5).samples("train")
    assert few != TrialsCorpus(num_train=5, seed=1).samples("train")
    corpus = TrialsCorpus(num_train=200, num_val=50, num_test=50)
    uids = [s.uid for split in ("train", "val", "test") for s in corpus.samples(split)]  # type: ignore
    assert len(set(uids)) == 300
    texts = {s.context for s in corpus.samples("train")}
    assert len(texts) == 200
    assert not texts & {s.context for s in corpus.samples("val")}


def test_a_clause_has_one_meaning() -> None:
    """No template of one finding is also one of another, in any wording."""
    meanings: dict[str, set[str]] = {}
    for wording in WORDINGS.values():
        assert set(wording.findings) == set(FINDINGS)
        for finding, templates in wording.findings.items():
            assert len(set(templates)) == len(templates)
            for template in templates:
                meanings.setdefault(template, set()).add(finding)
    assert all(len(findings) == 1 for findings in meanings.values())


def test_own_phrases_of_the_wordings_are_disjoint() -> None:
    """Beyond what both take over from the plain wording, test wordings are new."""
    assert set(WORDINGS) == set(NAMES)

    def own(name: str) -> set[str]:
        words = WORDINGS[name]
        phrases = {*words.cohort, *words.noise, *words.lead, *words.ask_lower, *words.ask_higher}
        phrases |= {text for texts in words.findings.values() for text in texts}
        return phrases

    plain = own(SHARED_BY_DESIGN)
    varied, transfer = own("varied") - plain, own("transfer") - plain
    assert not varied & transfer
    for name, phrases in (("varied", varied), ("transfer", transfer)):
        words = WORDINGS[name]
        assert {*words.cohort, *words.noise} <= phrases
        for texts in words.findings.values():  # every finding has clauses of its own
            assert set(texts) & phrases


def test_wordings_are_those_asked_for() -> None:
    corpus = TrialsCorpus(
        num_train=60, num_test=30, wordings=["plain"], test_wordings=["varied", "transfer"]
    )
    assert {s.extra["wording"] for s in corpus.samples("train")} == {"plain"}
    assert {s.extra["wording"] for s in corpus.samples("test")} == {"varied", "transfer"}


def test_distractors_and_form() -> None:
    corpus = TrialsCorpus(num_train=40, distractors=[0, 0], wordings=["plain"])
    leads = [lead.split("{")[0] for lead in WORDINGS["plain"].lead]
    for sample, tagged in zip(
        TrialsCorpus(num_train=40, distractors=[0, 0], wordings=["plain"], form="direct").samples(
            "train"
        ),
        corpus.samples("train"),
        strict=True,
    ):
        sentences = re.split(r"(?<=\.) ", tagged.context)
        assert sum(sentence.startswith(tuple(leads)) for sentence in sentences) == 1
        assert sample.context == tagged.context  # only the instruction differs
        assert sample.prompt != tagged.prompt
    many = TrialsCorpus(num_train=40, distractors=[3, 3], wordings=["plain"]).samples("train")
    assert all(len(re.split(r"(?<=\.) ", s.context)) in (5, 6) for s in many)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_train": -1}, "num_train: got -1"),
        ({"wordings": []}, "at least one wording"),
        ({"distractors": [3, 2]}, r"distractors: got \[3, 2\]"),
        ({"distractors": [0, 9]}, r"within 0\.\.8"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CORPORA.build("trials", options, where="data")


def test_nothing_is_cut_from_a_trial() -> None:
    corpus = TrialsCorpus(num_train=1)
    assert corpus.shorten(corpus.samples("train")[0], lambda sample: True) is None
