"""rl4bio.evaluation.replies: completions of therapeutic tasks, read and counted."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rl4bio.answers.kinds import KINDS
from rl4bio.answers.open import ANSWERED
from rl4bio.evaluation.replies import Completion, Questions, form_of, make_reply, without_reasoning
from rl4bio.reports.answers.cases import Reply, merge_draws
from rl4bio.types import Prompt, Sample

OPTIONS = {"A": "does not cross the BBB", "B": "crosses the BBB"}
CHAT: Prompt = [{"role": "user", "content": "p"}]
NUMBER = {
    "kind": "bin",
    "label": 1.5,
    "scale": {"low": -1.0, "high": 4.0},
    "constant": {"bin": 600, "mae": 150.0},
}
OPTION = {"kind": "option", "options": OPTIONS}
REACTANTS = {"kind": "reactants"}


def questions(extra: dict[str, Any], target: str, *, form: str = "plain") -> Questions:
    sample = Sample(
        uid="1",
        prompt="p" if form == "plain" else CHAT,
        target=target,
        extra={**extra, "answer_form": form, "task": "T"},
    )
    return Questions(
        samples=[sample],
        prompts=[[1]],
        form=form_of([sample], "tags"),
        kind=KINDS[extra["kind"]],
    )


def reply(asked: Questions, text: str) -> Reply:
    return make_reply(Completion(text=text, tokens=3, truncated=False), asked, 0, {})


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        (" (B)", "B", "B"),
        (" (A)<eos>", "A", "A"),
        ("The answer is (B).", "B", "B"),
        (" (A) (B)", None, None),
        ("", None, None),
    ],
)
def test_letters_of_a_predict_prompt(text: str, strict: str | None, lenient: str | None) -> None:
    answer = reply(questions(OPTION, "B"), text).answer
    assert (answer.strict, answer.lenient) == (strict, lenient)
    assert answer.right is (strict == "B")
    assert answer.positive == "B"
    assert math.isnan(answer.log_odds)
    assert answer.measures == {}  # the prompt asks for no reasoning


def test_letters_in_an_answer_block() -> None:
    asked = questions(OPTION, "B", form="tags")
    assert asked.name == "tagged prompt"
    good = "<reasoning>It is small. Wait, no.</reasoning><answer>(B)</answer>"
    answer = reply(asked, good).answer
    assert (answer.strict, answer.lenient) == ("B", "B")
    assert answer.measures == {"reasoning_words": 5, "self_correction": 1}
    loose = reply(asked, "It is small.<answer>(B)").answer
    assert (loose.strict, loose.lenient) == (None, "B")
    assert loose.measures == {"reasoning_words": 3, "self_correction": 0}


@pytest.mark.parametrize(
    ("text", "strict", "value"),
    [
        # 3-digit bins of the scale -1 to 4: -1 + 5 * 0.5 = 1.5
        (" 500", "500", 1.5),
        ("1000", "1000", 4.0),
        ("000", "000", -1.0),
        ("50", None, math.nan),
        ("500 or so", None, math.nan),
    ],
)
def test_numbers_are_scaled_back(text: str, strict: str | None, value: float) -> None:
    answer = reply(questions(NUMBER, "500"), text).answer
    assert answer.strict == strict
    assert answer.gold is None
    assert answer.number is not None
    assert answer.number.label == 1.5
    assert answer.number.constant == 2.0  # -1 + 5 * 0.6
    assert answer.number.said == pytest.approx(value, nan_ok=True)


def test_the_median_of_several_numbers() -> None:
    asked = questions(NUMBER, "500")
    merged = merge_draws([reply(asked, text) for text in ("900", "none", "100", "300", "301")])
    assert merged.answer.strict == "300"  # the lower of the two middle ones of 100 300 301 900
    assert merged.answer.number is not None
    assert merged.answer.number.said == pytest.approx(-1 + 5 * 0.3)
    assert merged.completion == "300"
    assert merged.answer.num_parsed == 4
    silent = merge_draws([reply(asked, "none")] * 2).answer
    assert silent.strict is None
    assert silent.number is not None
    assert math.isnan(silent.number.said)


def test_reactants_are_compared_as_sets() -> None:
    asked = questions(REACTANTS, "CC(=O)Cl.NCC")
    same = reply(asked, "CCN.O=C(C)Cl").answer  # another order and spelling
    assert same.strict == ANSWERED
    assert same.measures == {"exact_set": 1, "tanimoto": 1}
    half = reply(asked, "CCN").answer.measures
    assert half == {"exact_set": 0, "tanimoto": 0.5}  # one of two molecules
    assert reply(asked, "no molecule").answer.measures == {"exact_set": 0, "tanimoto": 0}


@pytest.mark.parametrize(
    ("extra", "target", "opened", "text", "strict", "lenient"),
    [
        (OPTION, "B", "<reasoning></reasoning><answer>(", "B)</answer>", "B", "B"),
        (OPTION, "B", "<reasoning></reasoning><answer>(", "B)", None, "B"),
        (OPTION, "B", "<reasoning></reasoning><answer>(", "B)</answer> so", None, "B"),
        (NUMBER, "500", "<reasoning></reasoning><answer>", "500</answer>", "500", "500"),
        (NUMBER, "500", "<reasoning></reasoning><answer>", "about 500", None, "500"),
        (REACTANTS, "CCO", "<reasoning></reasoning><answer>", "OCC</answer>", ANSWERED, ANSWERED),
    ],
)
def test_answers_behind_an_empty_reasoning(
    extra: dict[str, Any],
    target: str,
    opened: str,
    text: str,
    strict: str | None,
    lenient: str | None,
) -> None:
    asked = without_reasoning(questions(extra, target, form="tags"))
    assert asked.opened == [opened]
    found = reply(asked, text)
    assert found.completion == opened + text
    assert (found.answer.strict, found.answer.lenient) == (strict, lenient)
    assert "reasoning_words" not in found.answer.measures


def test_other_corpora_keep_their_tags_and_are_not_measured() -> None:
    verdict = Sample(uid="1", prompt="p", target="yes")
    asked = Questions(samples=[verdict], prompts=[[1]], form="tags", kind=KINDS["verdict"])
    bare = without_reasoning(asked)
    assert bare.opened == ["<thought></thought><answer>"]
    assert reply(bare, "yes</answer>").answer.right
    whole = reply(asked, "<thought>It is so.</thought><answer>yes</answer>").answer
    assert whole.right
    assert whole.measures == {}
    assert whole.positive is None


def test_a_prompt_is_called_by_what_it_asks_for() -> None:
    assert questions(OPTION, "B").name == "predict prompt"
    direct = questions(OPTION, "B")
    direct.samples[0].prompt = CHAT
    assert direct.name == "direct prompt"
    assert form_of([Sample(uid="1", prompt="p")], "think") == "think"
