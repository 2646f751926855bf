"""Tests of the tag scanner, the strict parser and both verdict readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rl4bio.answers.tags import TERMINATORS, check_names, scan_tags, strict_parse, strip_terminators
from rl4bio.answers.verdict import lenient_verdict, strict_verdict, verdict_of

GOOD = "<thought>Mortality fell.</thought>\n<answer>yes</answer>"


def test_scan_gives_tags_in_order_with_their_places() -> None:
    text = "a<thought>b</thought><Answer></answer >"
    assert [text[t.start : t.end] for t in scan_tags(text)] == ["<thought>", "</thought>"]
    assert [(t.name, t.closing) for t in scan_tags(text)] == [("thought", False), ("thought", True)]
    assert len(scan_tags("<answer>" * 9, limit=4)) == 4


def test_terminators_go_at_the_end_only() -> None:
    for end in TERMINATORS:
        assert strip_terminators(f"a{end}b {end}\n{end} ") == f"a{end}b"


def test_strict_parse_gives_both_parts() -> None:
    parsed = strict_parse(GOOD + "<end_of_turn>\n<eos>")
    assert parsed is not None
    assert (parsed.thought, parsed.answer) == ("Mortality fell.", "yes")


def test_strict_parse_takes_other_names() -> None:
    text = "<reasoning>because</reasoning><answer>B</answer>"
    assert strict_parse(text) is None
    assert strict_parse(text, ("reasoning", "answer")) is not None


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "yes",
        "<answer>yes</answer>",
        "<thought>Mortality fell.</thought>",
        "<thought>Mortality fell.</thought><answer>yes",
        "<thought>Mortality fell.<answer>yes</answer>",
        "<thought></thought><answer>yes</answer>",
        "<thought> ... </thought><answer>yes</answer>",
        "<thought>\u200b\u200b\u200b\u200b</thought><answer>yes</answer>",
        "<thought>Mortality fell.</thought><answer></answer>",
        "<thought>Mortality fell.</thought><answer> ! </answer>",
        "<answer>yes</answer><thought>Mortality fell.</thought>",
        "<thought>Mortality <answer>yes</answer> fell.</thought>",
        "<thought>a<thought>Mortality fell.</thought></thought><answer>yes</answer>",
        GOOD + GOOD,
        GOOD + "<answer>yes</answer>",
        "Sure! " + GOOD,
        GOOD + " Hope this helps.",
        GOOD.replace("\n", " so "),
        GOOD.replace("\n", "\u200b"),  # not white space
        "<end_of_turn>" + GOOD,
        GOOD.upper(),
        GOOD.replace("<answer>", "<answer >"),
        GOOD.replace("<answer>", "<ans\u200bwer>"),
        GOOD.replace("answer", "аnswer"),  # a Cyrillic a
        GOOD.replace("<", "＜"),
        "```\n" + GOOD + "\n```",
    ],
)
def test_strict_parse_refuses(completion: str) -> None:
    assert strict_parse(completion) is None
    assert strict_verdict(completion) is None


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("yes", "yes"),
        ("No.", "no"),
        ("MAYBE!", "maybe"),
        ("**Yes**", "yes"),
        ("“Yes”, it did.", "yes"),
        ("(no)", "no"),
        ("- yes", "yes"),
        ("`maybe`", "maybe"),
        ("Answer: yes", "yes"),
        ("**Answer:** no", "no"),
        ("The final answer is maybe.", "maybe"),
        ("ｙｅｓ", "yes"),  # full width: NFKC
        ("y\u200be\u200bs", "yes"),  # zero width
        ("\u202eyes\u202c", "yes"),  # bidirectional marks
        ("Yes, no difference was found.", "yes"),  # the second "no" belongs to a noun
        ("No, no difference was found.", "no"),
        ("No it does not.", "no"),
        ("No\n\nThe groups were alike.", "no"),
        ("No - the trial failed", "no"),
        ("No—the trial failed", "no"),
        ("No.The trial failed", "no"),
        ("Yes>", "yes"),
        # no label, or not as a word of its own
        ("", None),
        ("None", None),
        ("not", None),
        ("not yes", None),
        ("yesterday", None),
        ("nope", None),
        ("yes_no", None),
        ("YES-associated protein", None),
        ("y\u0336e\u0336s\u0336", None),  # struck out
        ("~~yes~~", None),
        ("уеs", None),  # Cyrillic letters
        ("the study says yes", None),
        ("The answer is not yes.", None),
        # "no" of a noun
        ("No difference was found.", None),
        ("No significant effect", None),
        ("no one knows", None),
        # the label is only named
        ("Yes is not the answer", None),
        ("'no' would be wrong", None),
        # two labels
        ("yes/no", None),
        ("yes or no", None),
        ("yes and/or maybe", None),
        ("yes no maybe", None),
        ("Yes. No.", None),
        ("no → yes", None),
        ("yes, maybe", None),
        ("Yes. It fell by half. Actually, no.", None),
        ("Yes, it fell.\nNo.", None),
        ("yes yes yes", "yes"),
    ],
)
def test_verdict_is_what_a_careful_reader_finds(answer: str, verdict: str | None) -> None:
    assert verdict_of(answer) == verdict
    assert strict_verdict(f"<thought>Mortality fell.</thought><answer>{answer}</answer>") == verdict


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        (GOOD, "yes"),
        ("<answer>Yes, the study", "yes"),
        ("```xml\n<answer>\nno\n</answer>\n```", "no"),
        ("<THOUGHT>hm</THOUGHT><ANSWER>No</ANSWER>", "no"),
        ("hm\nanswer>\nNo, it did not.", "no"),
        ("<thought>hm <answer>yes</answer> or so</thought><answer>no</answer>", "no"),
        ("<answer>no</answer> then <answer>yes</answer>", None),
        ("<answer>no</answer> so <answer>No.</answer>", "no"),
        ("<answer>maybe</answer> more <answer>no", "maybe"),  # closed before unclosed
        ("<answer></answer>", None),
        ("Yes, the text suggests it.", "yes"),
        ("We see a fall. Therefore, the answer is no.", "no"),
        ("The answer is yes. On reflection, the answer is: **maybe**", "maybe"),
        ("The answer is C) maybe", "maybe"),
        ("So no difference was found.", None),
        ("The study was large.", None),
        ("", None),
    ],
)
def test_lenient_reader(completion: str, verdict: str | None) -> None:
    assert lenient_verdict(completion) == verdict


def test_lenient_reader_agrees_with_every_strict_verdict() -> None:
    for label in ("yes", "no", "maybe"):
        for answer in (label, f"**{label.title()}**.", f"Answer: {label}"):
            completion = f"<thought>The answer is unclear.</thought><answer>{answer}</answer>"
            assert strict_verdict(completion) == lenient_verdict(completion) == label


def test_published_gemma_outputs(shared_data: Path) -> None:
    path = shared_data / "medical/completions/gemma3_1b_pubmedqa_50cases.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def counts(model: str) -> dict[str, int]:
        mine = [row for row in rows if row["model"].endswith(model)]
        verdicts = [lenient_verdict(row["completion"]) for row in mine]
        tags = [{(t.name, t.closing) for t in scan_tags(row["completion"])} for row in mine]
        return {
            "rows": len(mine),
            "thought": sum(("thought", False) in t for t in tags),
            "/thought": sum(("thought", True) in t for t in tags),
            "answer": sum(("answer", False) in t for t in tags),
            "/answer": sum(("answer", True) in t for t in tags),
            "strict": sum(strict_verdict(row["completion"]) is not None for row in mine),
            "right": sum(v == row["label"] for v, row in zip(verdicts, mine, strict=True)),
            "none": verdicts.count(None),
        }

    # No output closes its thought, so no output has the strict form.
    # A count that reads only the text behind <answer> (or the whole text where that is missing)
    # gives 18 right and 12 without verdict for base, 12 and 19 for tuned. Read by hand, base says
    # more: cases 12 and 44 end their thought with "the answer is yes" (right, wrong), and case 42
    # writes "answer>" without its bracket, then "No," (right). Tuned writes that in case 42 too.
    assert counts("base") == {
        "rows": 50, "thought": 13, "/thought": 0, "answer": 42, "/answer": 1,
        "strict": 0, "right": 18 + 2, "none": 12 - 3,
    }  # fmt: skip
    assert counts("grpo") == {
        "rows": 50, "thought": 26, "/thought": 0, "answer": 39, "/answer": 1,
        "strict": 0, "right": 12 + 1, "none": 19 - 1,
    }  # fmt: skip


def test_lenient_reader_finds_gpt3_direct_answers(shared_data: Path) -> None:
    """The authors marked the same completions; where a label is written out, we agree with them."""
    path = shared_data / "medical/completions/gpt3_pubmedqa_test_cot.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    read = [(lenient_verdict(r["completion"]), r) for r in rows if r["prompt"] == "direct"]
    found = [(verdict, r) for verdict, r in read if verdict]
    assert len(found) >= 40
    assert all((verdict == r["gold"]) == r["marked_correct"] for verdict, r in found)


@pytest.mark.parametrize("tags", [["a"], ["a", "a"], ["a", "b", "c"], ["a", "b c"], ["a", {}]])
def test_names_of_blocks_are_checked(tags: list[object]) -> None:
    with pytest.raises(ValueError, match=r"tags: got .*, needs two different names"):
        check_names(tags)
    check_names(["thought", "answer"])
