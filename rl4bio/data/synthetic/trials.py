"""Synthetic trial abstracts in PubMedQA form, whose label follows from what the abstract states.

A question asks whether an intervention lowers or raises one outcome. The abstract reports that
outcome and several others in shuffled order; the label is

    yes    the asked change is reported as clear (in words, or by numbers with p < 0.05)
    no     no difference, or a clear change the other way
    maybe  a trend short of significance, a change in one subgroup or at one time only, or no data

so the evidence has to be found and read. Train and test share no intervention, condition or outcome
(three quarters of each list against the rest), and wordings can be held out as well. The labels
are the generator's, not medical truth.
"""

from __future__ import annotations

import dataclasses
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from rl4bio.data.base import QuestionCorpus, Split
from rl4bio.data.pubmedqa.instructions import DIRECT_SYSTEM, TAGS_SYSTEM, qa_user
from rl4bio.data.synthetic.trials_wordings import WORDINGS, Finding
from rl4bio.data.synthetic.trials_words import (
    COMPARATORS,
    CONDITIONS,
    DRUG_ENDS,
    DRUG_MIDDLES,
    DRUG_STARTS,
    EVENTS,
    HIGHER_BETTER,
    INTERVENTIONS,
    LOWER_BETTER,
)
from rl4bio.sections.checks import at_least
from rl4bio.text.sentences import chat
from rl4bio.types import Extra, Sample

Label = Literal["yes", "no", "maybe"]
WordingName = Literal["plain", "varied", "transfer"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial(Extra):
    """How the abstract of a trial was made."""

    wording: str
    evidence: str
    """The sentence that decides the label."""


NUMBERS_ONLY = "{a} with {d} and {b} with {k} (p {p})"


@dataclass(frozen=True, kw_only=True)
class Entities:
    """What a trial is about; `outcomes` holds the asked one first, then the distractors."""

    intervention: str
    condition: str
    comparator: str
    outcomes: tuple[str, ...]


def _is_test(name: str) -> bool:
    return zlib.crc32(name.encode()) % 4 == 0


def draw_entities(rng: random.Random, split: Split, *, distractors: int) -> Entities:
    """Entities of a split; train and validation share theirs, test has its own."""
    test = split == "test"

    def pick(names: Sequence[str]) -> str:
        return rng.choice([name for name in names if _is_test(name) == test])

    while True:
        drug = rng.choice(DRUG_STARTS) + rng.choice(DRUG_MIDDLES) + rng.choice(DRUG_ENDS)
        if _is_test(drug) == test:
            break
    outcomes = [n for n in (*EVENTS, *LOWER_BETTER, *HIGHER_BETTER) if _is_test(n) == test]
    return Entities(
        intervention=drug if rng.random() < 0.65 else pick(INTERVENTIONS),
        condition=pick(CONDITIONS),
        comparator=rng.choice(COMPARATORS),
        outcomes=tuple(rng.sample(outcomes, 1 + distractors)),
    )


def draw_finding(rng: random.Random, label: Label, asked: Literal["lower", "higher"]) -> Finding:
    """A finding that leads to the label."""
    other: Finding = "higher" if asked == "lower" else "lower"
    if label == "yes":
        return asked
    if label == "no":
        return "null" if rng.random() < 0.75 else other
    kinds: tuple[Finding, ...] = (
        ("trend_lower", "split_lower", "missing")
        if asked == "lower"
        else ("trend_higher", "split_higher", "missing")
    )
    return rng.choices(kinds, weights=(4, 3, 2))[0]


def _numbers(rng: random.Random, outcome: str, finding: Finding) -> tuple[str, str, str]:
    """Values with intervention and comparator, and the p value with its sign, fitting a finding."""
    base = rng.randint(18, 80)
    clear = finding in ("lower", "higher")
    gap = rng.randint(6, 15) if clear else rng.randint(3, 6) if finding != "null" else 1
    low, high = base - gap, base
    a, b = (low, high) if finding.endswith("lower") else (high, low)
    if finding == "null" and rng.random() < 0.5:
        a, b = b, a
    if clear:
        p = "< 0.001" if rng.random() < 0.25 else f"= 0.0{rng.randint(1, 44):02d}"
    elif finding == "null":
        p = f"= 0.{rng.randint(25, 97)}"
    else:
        p = f"= 0.{rng.randint(6, 14):02d}"
    unit = "%" if outcome in EVENTS else ""
    return f"{a}{unit}", f"{b}{unit}", p


def reported(
    rng: random.Random, entities: Entities, outcome: str, finding: Finding, wording_name: str
) -> str:
    """One result sentence: which outcome, then what was found, in words, numbers or both."""
    wording = WORDINGS[wording_name]
    a, b, p = _numbers(rng, outcome, finding)
    counted = not finding.startswith("split") and finding != "missing"
    template = rng.choice(wording.findings[finding])
    if counted and finding != "null" and rng.random() < 0.25:
        template = NUMBERS_ONLY
    shown = f" ({a} vs {b}; p {p})" if rng.random() < 0.75 else ""
    early = rng.choice((2, 4, 6))
    clause = template.format(
        d=entities.intervention,
        k=entities.comparator,
        n=shown,
        a=a,
        b=b,
        p=p,
        w=early,
        x=early * rng.choice((3, 4)),
        q=rng.randint(3, 9),
    )
    return f"{rng.choice(wording.lead).format(o=outcome)} {clause}."


def make_trial(
    rng: random.Random, entities: Entities, *, wording: str, label: Label, uid: str, form: str
) -> Sample:
    """One trial as a sample: question, abstract, label, evidence sentence.

    Args:
        rng: source of every choice.
        entities: intervention, condition, comparator and outcomes (asked one first).
        wording: a key of WORDINGS.
        label: the verdict that the asked outcome must support.
        uid: identifier of the sample.
        form: "tags" asks for thought and answer, "direct" for the one-word answer.
    """
    words = WORDINGS[wording]
    asked_outcome, *others = entities.outcomes
    better_low = asked_outcome not in HIGHER_BETTER
    harm = rng.random() < 0.15
    asked: Literal["lower", "higher"] = "lower" if better_low != harm else "higher"
    evidence = reported(rng, entities, asked_outcome, draw_finding(rng, label, asked), wording)
    results = [evidence]
    for outcome in others:
        direction: Literal["lower", "higher"] = "higher" if outcome in HIGHER_BETTER else "lower"
        drawn = draw_label(rng)
        results.append(
            reported(rng, entities, outcome, draw_finding(rng, drawn, direction), wording)
        )
    rng.shuffle(results)
    fill = {
        "d": entities.intervention,
        "k": entities.comparator,
        "c": entities.condition,
        "o": asked_outcome,
        "m": rng.randint(24, 980),
        "y": rng.randint(19, 78),
        "w": rng.randint(2, 52),
        "q": rng.randint(2, 19),
    }
    cohort = rng.choice(words.cohort).format(**fill)
    lines = [cohort[0].upper() + cohort[1:]]
    if rng.random() < 0.5:
        results.insert(rng.randint(0, len(results)), rng.choice(words.noise).format(**fill))
    abstract = " ".join([*lines, *results])
    question = rng.choice(words.ask_lower if asked == "lower" else words.ask_higher).format(**fill)
    negation = {"yes": "", "no": " not", "maybe": " possibly"}[label]
    verb = "reduce" if asked == "lower" else "increase"
    system = TAGS_SYSTEM if form == "tags" else DIRECT_SYSTEM
    return Sample(
        uid=uid,
        prompt=chat(qa_user(question, abstract), system=system),
        target=label,
        question=question,
        context=abstract,
        reference=(
            f"In {entities.condition}, {entities.intervention} does{negation} {verb} "
            f"{asked_outcome}."
        ),
        demonstration=f"<thought>{evidence}</thought><answer>{label}</answer>",
        extra=Trial(wording=wording, evidence=evidence),
    )


def draw_label(rng: random.Random) -> Label:
    """A label from the mix .40 yes, .35 no, .25 maybe."""
    labels: tuple[Label, ...] = ("yes", "no", "maybe")
    return rng.choices(labels, weights=(40, 35, 25))[0]


@dataclass(kw_only=True)
class TrialsCorpus(QuestionCorpus):
    """Generated trials; every sample depends only on (seed, split, index)."""

    keeps_apart: ClassVar[bool] = True
    seed: int = 0
    num_train: int = 4096
    num_val: int = 128
    num_test: int = 240
    wordings: list[WordingName] = field(default_factory=lambda: ["plain", "varied"])
    """Wordings of train and val."""
    test_wordings: list[WordingName] = field(default_factory=lambda: ["varied"])
    distractors: list[int] = field(default_factory=lambda: [2, 4])
    """Smallest and largest number of other outcomes that an abstract reports."""
    form: Literal["tags", "direct"] = "tags"
    open_block: bool = False
    """Of the form tags: end the prompt with <thought>, so that the model goes on inside it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, num_train=self.num_train, num_val=self.num_val, num_test=self.num_test)
        if not self.wordings or not self.test_wordings:
            raise ValueError("wordings, test_wordings: need at least one wording each")
        low_high = self.distractors
        if len(low_high) != 2 or not 0 <= low_high[0] <= low_high[1] <= 8:
            raise ValueError(f"distractors: got {low_high}, needs [smallest, largest] within 0..8")
        self._made: dict[Split, list[Sample]] = {}

    @property
    def begins(self) -> str:
        return "<thought>" if self.form == "tags" else ""

    def samples(self, split: Split) -> Sequence[Sample]:
        """The trials of a split, the same at every call; made once."""
        if split not in self._made:
            self._made[split] = self._make(split)
        return self._made[split]

    def _make(self, split: Split) -> list[Sample]:
        count = {"train": self.num_train, "val": self.num_val, "test": self.num_test}[split]
        names = self.test_wordings if split == "test" else self.wordings
        return [self._sample(split, index, names) for index in range(count)]

    def _sample(self, split: Split, index: int, names: Sequence[WordingName]) -> Sample:
        rng = random.Random(f"{self.seed}/{split}/{index}")
        entities = draw_entities(rng, split, distractors=rng.randint(*self.distractors))
        trial = make_trial(
            rng,
            entities,
            wording=rng.choice(names),
            label=draw_label(rng),
            uid=f"trials-{split}-{self.seed}-{index}",
            form=self.form,
        )
        return dataclasses.replace(trial, opening=self.opening)

    def shorten(self, sample: Sample, fits: Callable[[Sample], bool]) -> Sample | None:
        """None: a trial's abstract is short, and any sentence may be the evidence."""
        return None
