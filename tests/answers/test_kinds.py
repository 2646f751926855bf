"""The kinds of questions: what completions answer, strictly and leniently."""

from __future__ import annotations

import re
from typing import Literal

import pytest

from rl4bio.answers.bins import lenient_bin
from rl4bio.answers.choice import lenient_choice
from rl4bio.answers.forms import Form
from rl4bio.answers.kind import Constant, Kind
from rl4bio.answers.kinds import KINDS, kinds_of
from rl4bio.types import Sample

OPTIONS = {"A": "Aspirin", "B": "Beta blocker", "C": "Calcium channel blocker", "D": "Digoxin"}
CHOICE = Sample(uid="1", prompt="p", target="B", extra={"options": OPTIONS})


def with_options(options: dict[str, str]) -> Sample:
    return Sample(uid="1", prompt="p", target="A", extra={"options": options})


OPEN = Sample(uid="2", prompt="p", target="sepsis")


def tagged(answer: str, thought: str = "The heart beats too fast.", tag: str = "reasoning") -> str:
    return f"<{tag}>{thought}</{tag}><answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("completion", "form", "letter"),
    [
        (tagged("B"), "tags", "B"),
        (tagged("(b) Beta blocker"), "tags", "B"),
        (tagged("Digoxin", tag="thought"), "tags", "D"),
        (tagged("B or C"), "tags", None),
        (tagged("B") + " more", "tags", None),
        ("<answer>B</answer>", "tags", None),
        ("B", "tags", None),
        ("B", "direct", "B"),
        ("The answer is C.", "direct", "C"),
        ("/think It is too fast.\n/answer B", "think", "B"),
        ("It is too fast. B", "think", None),
    ],
)
def test_strict_letters(
    completion: str, form: Literal["tags", "think", "direct"], letter: str | None
) -> None:
    assert KINDS["choice"].strict(completion, CHOICE, form) == letter


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        (tagged("B"), "B"),
        ("<reasoning>too fast</reasoning><answer>B", "B"),
        ("<answer>A</answer> wait <answer>D</answer>", "D"),  # the last block
        ("Too fast, so the answer is (C).", "C"),
        ("First, option A fails.\nThe answer is **B**", "B"),
        ("so \\boxed{D}", "D"),
        ("It is too fast.\n\nC. Calcium channel blocker", "C"),
        ("```\n<Answer>b</Answer>\n```", "B"),
        ("/think too fast\n/answer D", "D"),
        ("The answer is C. This slows the heart.", "C"),
        ("A patient with a fast heart needs help.", None),
        ("B or C", None),
        ("", None),
        ("<answer></answer>", None),
    ],
)
def test_lenient_letters(completion: str, letter: str | None) -> None:
    assert lenient_choice(completion, OPTIONS) == letter


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        ("The answer is C because it acts on vitamin K.", "C"),
        ("The correct option is C as the clot is fresh.", "C"),
        ("The answer is B because a clot moves.", "B"),
        ("So the answer is option c since it slows the heart.", "C"),
        ("The answer is **C** given the rate.", "C"),
        ("The answer is (C) unlike Digoxin", "C"),
        ("The answer should be D which I know", "D"),
        ("The answer is most likely B though", "B"),
        ("The answer is A because it is.", "A"),
        ("the answer is a because it is", "A"),
        ("First the answer is B as it slows.\nNo: the answer is C as it slows more.", "C"),
        ('{"reason": "x", "answer": "C"}', "C"),
        # Another letter or option is named, or the letter is a word or a part of one.
        ("The answer is B rather than C", None),
        ("The answer is C because D is worse", None),
        ("The answer is C Digoxin", None),
        ("The answer is a patient matter.", None),
        ("The answer is as plain as that", None),
        ("The answer is not C because of the rate", None),
        ("The answer is C-reactive protein", None),
        ("The answer is C's own", None),
        ("The answer is E because of the rate", None),
        ("We see \\boxed{E = mc^2}.", None),
    ],
)
def test_a_letter_with_its_reason(completion: str, letter: str | None) -> None:
    assert lenient_choice(completion, OPTIONS) == letter
    assert lenient_choice(tagged(completion), OPTIONS) == letter


WRAPPERS = [
    r"\boxed{\text{%s}}",
    r"$\boxed{\mathbf{%s}}$",
    r"\boxed{ %s }",
    r"\fbox{%s}",
    r"\[ \boxed{%s} \]",
    r"Answer: $%s$",
    r"\(%s\)",
    r"\mathbf{%s}",
    r"\textbf{Answer: %s}",
    "**%s**",
    "__%s__",
    "_%s_",
    "`%s`",
    "***%s***",
    "**Answer:** %s",
    "<b>%s</b>",
    "(%s)",
    "%s)",
    '"%s"',
    "\u201c%s\u201d",
    "\u3010%s\u3011",
    "\u300c%s\u300d",
    "\uff08%s\uff09",
    "[%s]",
    "> %s",
    "## %s",
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
class TestWrappers:
    """One list for letters, options, labels and bins, each bare and in an answer block."""

    def test_letters(self, wrapper: str) -> None:
        said = wrapper % "C"
        for text in (said, tagged(said), f"So it must be slowed.\n{said}"):
            assert KINDS["choice"].lenient(text, CHOICE, "tags") == "C"

    def test_options(self, wrapper: str) -> None:
        said = wrapper % "Calcium channel blocker"
        assert KINDS["choice"].lenient(tagged(said), CHOICE, "tags") == "C"

    @pytest.mark.parametrize("label", ["yes", "No", "maybe"])
    def test_labels(self, wrapper: str, label: str) -> None:
        sample = Sample(uid="3", prompt="p", target="yes")
        said = wrapper % label
        block = f"<thought>It worked.</thought><answer>{said}</answer>"
        for text in (said, block, f"The trial was small.\n{said}"):
            assert KINDS["verdict"].lenient(text, sample, "tags") == label.lower()

    def test_bins(self, wrapper: str) -> None:
        said = wrapper % "437"
        for text in (said, tagged(said)):
            assert lenient_bin(text, "tags") == "437"

    def test_the_strict_reader_stays_as_it_is(self, wrapper: str) -> None:
        """It reads marks of markdown, as ever, and no LaTeX: rewards do not pay for that."""
        strict = KINDS["choice"].strict(tagged(wrapper % "C"), CHOICE, "tags")
        assert strict in ("C", None)
        if "\\" in wrapper or "$" in wrapper:
            assert strict is None


def test_a_box_is_what_counts() -> None:
    text = "No, the first trial failed. The second one did not. \\boxed{yes}"
    assert KINDS["verdict"].lenient(text, Sample(uid="3", prompt="p"), "tags") == "yes"
    assert lenient_choice(r"\boxed{A} was wrong, so \boxed{\text{D}}", OPTIONS) == "D"


def test_options_may_hold_signs_of_wrappers() -> None:
    options = {"A": "$5 < x$", "B": "**bold**", "C": "x_1", "D": r"\beta{2}"}
    for letter, text in options.items():
        assert lenient_choice(tagged(text), options) == letter
        assert KINDS["choice"].strict(tagged(text), with_options(options), "tags") == letter


@pytest.mark.parametrize(
    "text",
    [
        *("<answer>" * 30_000, "the answer is " * 20_000, "```\n" * 30_000, "answer: (" * 20_000),
        *("\\text{" * 30_000, "\\boxed{" * 20_000, "}" * 100_000, "{" * 100_000, "$" * 100_000),
        *("_" * 100_000, "`" * 100_000, "**" * 50_000, "<b>" * 50_000, "\u3010" * 50_000),
        *("the answer is E because " * 10_000, "\\boxed{\\text{E}}" * 10_000, "\\" * 100_000),
    ],
    ids=range(17),
)
def test_hostile_texts_are_read_in_time(text: str) -> None:
    assert lenient_choice(text, OPTIONS) is None


def test_whatever_is_read_strictly_is_read_leniently() -> None:
    for answer in ("A", "b.", "(C)", "Digoxin", "Option D", "The correct answer is B"):
        strict = KINDS["choice"].strict(tagged(answer), CHOICE, "tags")
        assert strict is not None
        assert KINDS["choice"].lenient(tagged(answer), CHOICE, "tags") == strict


def test_open_answers_are_answered_or_not() -> None:
    assert KINDS["open"].strict(tagged("It is sepsis."), OPEN, "tags") == "answered"
    assert KINDS["open"].strict("It is sepsis.", OPEN, "tags") is None
    assert KINDS["open"].lenient("It is sepsis.", OPEN, "tags") is None
    assert KINDS["open"].lenient("<answer>It is sepsis", OPEN, "tags") == "answered"
    assert KINDS["open"].lenient("<answer> </answer>", OPEN, "tags") is None
    assert KINDS["open"].strict("It is sepsis.", OPEN, "direct") == "answered"
    assert KINDS["open"].lenient("It is sepsis.", OPEN, "direct") == "answered"


def test_verdicts_are_read_as_ever() -> None:
    sample = Sample(uid="3", prompt="p", target="yes")
    said = "<thought>It worked.</thought><answer>Yes, it did.</answer>"
    assert KINDS["verdict"].strict(said, sample, "tags") == "yes"
    assert KINDS["verdict"].strict("Yes.", sample, "tags") is None
    assert KINDS["verdict"].strict("Yes.", sample, "direct") == "yes"
    assert KINDS["verdict"].strict("/think It worked.\n/answer no", sample, "think") == "no"
    assert KINDS["verdict"].lenient("So the answer is maybe.", sample, "tags") == "maybe"


@pytest.mark.parametrize(
    ("completion", "form", "digits"),
    [
        (tagged("437"), "tags", "437"),
        (tagged("about 437, not 500"), "tags", "437"),
        ("First 100, then 437", "tags", "437"),
        ("437\n\nInstructions: 500", "direct", "437"),
        ("1000", "direct", "1000"),
        ("0.437 or 43 or 4370 or -437 or 437% or C437", "direct", None),
        ("", "direct", None),
    ],
)
def test_lenient_bins(
    completion: str, form: Literal["tags", "think", "direct"], digits: str | None
) -> None:
    assert lenient_bin(completion, form) == digits


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_says_how_it_is_read(kind: Kind) -> None:
    assert KINDS[kind.name] is kind
    assert kind.reads
    assert bool(kind.ways) == bool(kind.compares)
    assert kind.has_labels or not kind.ways


class Dose(Kind):
    """A dose in milligrams: what a new kind has to say."""

    name = "dose"
    rank = 4
    reads = "strict: a number and mg; lenient: the last number"

    def read(self, answer: str, sample: Sample) -> str | None:
        found = re.fullmatch(r"(\d+) ?mg", answer.strip())
        return found[1] if found else None

    def lenient(self, completion: str, sample: Sample, form: Form) -> str | None:
        return next(iter(reversed(re.findall(r"\d+", completion))), None)


def test_a_new_kind_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "dose", Dose())
    asked = [
        Sample(uid=str(n), prompt="p", target=target, extra={"kind": "dose"})
        for n, target in enumerate(["5", "10", "5"])
    ]
    (kind,) = {*kinds_of(asked)}
    assert kind.strict(tagged("5 mg"), asked[0], "tags") == kind.gold(asked[0])
    assert kind.strict("5 mg", asked[0], "tags") is None
    assert kind.lenient("so 10 mg", asked[0], "tags") == "10"
    assert kind.labels(asked) == ("10", "5")
    assert kind.count(asked) == "3 (1 10, 2 5)"
    assert kind.constants(asked, []) == {"always '5'": [Constant(said="5")] * 3}
    assert kind.positive(asked[0]) is None


@pytest.mark.parametrize(
    ("name", "gold", "label"),
    [
        ("verdict", ["yes", "no", "yes", "maybe"], "yes"),
        ("verdict", ["maybe", "no", "no", "maybe"], "no"),  # on a tie the first label
        ("choice", ["A", "B", "B"], "B"),
    ],
)
def test_the_constant_is_the_most_common_label(name: str, gold: list[str], label: str) -> None:
    asked = [Sample(uid=str(n), prompt="p", target=g) for n, g in enumerate(gold)]
    found = KINDS[name].constants(asked, [])
    assert [*found] == [f"always {label!r}"]
    assert [constant.said for constant in found[f"always {label!r}"]] == [label] * len(gold)


def test_open_questions_have_no_constant() -> None:
    assert KINDS["open"].constants([OPEN], []) == {}
