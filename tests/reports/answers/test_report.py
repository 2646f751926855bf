"""rl4bio.reports.answers.report: the page shows untrusted text and runs none of it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rl4bio.answers.answer import Answer
from rl4bio.reports.answers.cases import Case, Reply
from rl4bio.reports.answers.report import html_report
from rl4bio.reports.answers.table import ResultRow
from rl4bio.reports.answers.verdict import verdict
from rl4bio.reports.html.sorting import SCRIPT
from rl4bio.statistics.answers import answer_metrics
from rl4bio.statistics.compare import compare_answers
from rl4bio.types import Sample

INJECTIONS = [
    "<script>alert(1)</script>",
    "</script><script src=https://evil.example/x.js></script>",
    "<SCRIPT>alert(1)</SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    '<img src="https://evil.example/pixel.png">',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<body onload=alert(1)>",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=https://evil.example>click</a>",
    "<iframe src=https://evil.example></iframe>",
    "<object data=https://evil.example></object>",
    "<embed src=https://evil.example>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "</style><script>alert(1)</script>",
    "<form action=https://evil.example><input name=a></form>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "</pre></details></section><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "<!-- <script>alert(1)</script> -->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#60;script&#62;",
    "\x00<script\x00>alert(1)</script>\u202e\ud800",
]


class Page(HTMLParser):
    """What a browser would find: elements, attributes and the text between them."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.goes_on = False
        self.marks = 0
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "mark":  # around what is quoted: the text goes on through it
            assert self.open[-1] == "pre"
            self.goes_on = True
            self.marks += 1
            return
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.goes_on = tag == "mark"
        if tag == "mark":
            return
        assert self.open
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.goes_on and self.texts and self.texts[-1][0] == self.open[-1]:
            data = self.texts.pop()[1] + data
        self.goes_on = False
        self.texts.append((self.open[-1] if self.open else "", data))

    def text_of(self, tag: str) -> str:
        return "\n".join(data for holder, data in self.texts if holder == tag)


def answer(verdict: str | None, gold: str = "yes") -> Answer:
    return Answer(gold=gold, strict=verdict, lenient=verdict, tokens=9, rewards={"total": 0.5})


def report(text: str, *, part: str = "total") -> str:
    base = [Answer(gold="yes", strict=None, lenient="yes", tokens=9, rewards={part: 0.5})]
    tuned = [Answer(gold="yes", strict="yes", lenient="yes", tokens=9, rewards={part: 0.9})]
    sample = Sample(uid=text, prompt=text, question=text, context=text, target="yes")
    first = Answer(gold="yes", strict=None, lenient="yes", truncated=True, rewards={part: math.nan})
    replies = {
        f"base {text}": Reply(answer=first, completion=text),
        "tuned": Reply(answer=tuned[0], completion=text),
    }
    rows = [
        ResultRow(model=m, mode=text, metrics=answer_metrics(a, seed=0, rounds=20))
        for m, a in (("base", base), ("tuned", tuned))
    ]
    return html_report(
        title=text,
        facts={"base model": text, text: "value"},
        rows=rows,
        comparisons={text: compare_answers(base, tuned, seed=0, rounds=20)},
        cases=[Case(sample=sample, replies=replies)],
    )


def test_there_are_thirty_injections() -> None:
    assert len(set(INJECTIONS)) == 30


@pytest.mark.parametrize("injection", INJECTIONS)
def test_nothing_of_the_data_becomes_markup(injection: str) -> None:
    harmless, hostile = Page(report("plain", part="plain")), Page(report(injection, part=injection))
    assert hostile.elements == harmless.elements
    assert hostile.attributes == harmless.attributes
    assert hostile.open == []
    assert hostile.elements.count("script") == 1
    assert hostile.text_of("script") == SCRIPT
    assert not [name for _, name, _ in hostile.attributes if name.startswith("on")]
    urls = [v for _, name, v in hostile.attributes if name in ("href", "src", "action", "data")]
    assert urls
    assert all(re.fullmatch(r"#case-\d+", url) for url in urls)
    assert not [v for _, _, v in hostile.attributes if "//" in v or "javascript" in v]


@pytest.mark.parametrize("injection", INJECTIONS[:-1])
def test_the_text_itself_is_shown_unchanged(injection: str) -> None:
    page = Page(report(injection))
    assert page.text_of("pre").count(injection) == 3  # abstract, base, tuned


def test_the_page_is_valid_utf8_and_shows_odd_characters() -> None:
    source = report(INJECTIONS[-1])
    source.encode("utf-8")
    assert "\x00" not in source
    assert "\u202e" not in source


def test_the_policy_allows_the_one_style_block_the_one_script_and_nothing_else() -> None:
    source = report("plain")
    page = Page(source)
    policy = next(v for tag, name, v in page.attributes if tag == "meta" and "default-src" in v)
    style = source[source.index("<style>") + len("<style>") : source.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    script = base64.b64encode(hashlib.sha256(page.text_of("script").encode()).digest()).decode()
    assert policy.startswith(
        f"default-src 'none'; style-src 'sha256-{digest}'; script-src 'sha256-{script}'; "
    )
    assert "unsafe" not in policy
    assert not [a for a in page.attributes if a[1] == "style"]  # the policy would block it


def test_verdicts_are_words_and_not_colour_alone() -> None:
    page = Page(report("<thought>t</thought><answer>yes</answer>"))
    spans = page.text_of("span")
    assert "No answer" in spans
    assert "Right: yes" in spans
    notes = page.text_of("p")
    assert "read leniently it says yes" in notes
    assert "cut off at the length limit" in notes
    assert "Expert answer" in notes
    assert "not scored" in page.text_of("td")


def test_cases_are_listed_by_who_is_right() -> None:
    page = Page(report("x"))
    assert "base wrong, tuned right" in page.text_of("td")
    assert "no answer" in page.text_of("td")
    assert "yes (right)" in page.text_of("td")


def test_a_report_of_one_model_without_cases() -> None:
    answers = [answer("no"), answer("yes")]
    row = ResultRow(model="base", mode="tags", metrics=answer_metrics(answers, seed=0, rounds=20))
    single = Case(
        sample=Sample(uid="1", prompt="p", question="q", context="c", target="yes"),
        replies={"base": Reply(answer=answers[0], completion="no")},
    )
    for cases, listed in (([], ""), ([single], "no (wrong)")):
        source = html_report(title="t", facts={}, rows=[row], comparisons={}, cases=cases)
        page = Page(source)
        assert page.open == []
        assert listed in page.text_of("td")
        assert ("script" in page.elements) == bool(cases)
        assert "McNemar" not in source


def test_real_completions_with_their_tags(shared_data: Path) -> None:
    import json

    lines = (
        (shared_data / "medical/completions/gemma3_1b_pubmedqa_50cases.jsonl")
        .read_text("utf-8")
        .splitlines()
    )
    for line in lines[:20]:
        completion = json.loads(line)["completion"]
        page = Page(report(completion))
        assert page.open == []
        assert page.text_of("pre").count(completion.replace("\r\n", "\n")) == 3


def test_the_confusion_table_of_the_main_mode() -> None:
    answers = [answer("no"), answer("yes"), answer(None)]
    rows = [
        ResultRow(model=m, mode=mode, metrics=answer_metrics(answers, seed=0, rounds=20))
        for m, mode in (("base", "tags"), ("tuned", "tags"), ("base", "log-prob"))
    ]
    page = Page(html_report(title="t", facts={}, rows=rows, comparisons={}, cases=[]))
    assert page.text_of("h3").count("expert answer (down)") == 2
    cells = [data for holder, data in page.texts if holder == "td"]
    # gold yes: 1 yes, 1 no, 0 maybe, 1 none; no gold no or maybe
    assert cells[-24:-12] == cells[-12:] == ["1", "1", "0", "1", *["0"] * 8]


def test_a_choice_names_its_right_option_and_an_open_question_its_rewards() -> None:
    def of(gold: str | None, verdict: str | None, total: float) -> Reply:
        own = Answer(gold=gold, strict=verdict, lenient=verdict, tokens=5, rewards={"total": total})
        return Reply(answer=own, completion="said", draws=[Reply(answer=own)])

    options = {"A": "Aspirin", "B": "Ibuprofen"}
    choice = Sample(uid="c", prompt="p", question="q", target="B", extra={"options": options})
    asked = Sample(uid="o", prompt="p", question="q", target="sepsis", reference="It is sepsis.")
    cases = [
        Case(sample=choice, replies={"base": of("B", "A", 0), "tuned": of("B", "B", 1)}),
        Case(
            sample=asked,
            replies={"base": of(None, None, 0.1), "tuned": of(None, "answered", 0.4)},
        ),
    ]
    row = ResultRow(model="base", mode="m", metrics=answer_metrics([], seed=0, rounds=2))
    page = Page(html_report(title="t", facts={}, rows=[row], comparisons={}, cases=cases))
    assert page.open == []
    assert "B. Ibuprofen" in page.text_of("strong")
    assert "sepsis" in page.text_of("strong")
    assert "It is sepsis." in page.text_of("pre")
    listed = page.text_of("td")
    assert "base wrong, tuned right" in listed
    assert "tuned has the higher reward" in listed
    spans = page.text_of("span")
    assert "Answered" in spans
    assert "Abstract" not in page.text_of("summary")


def test_what_is_quoted_of_the_abstract_is_marked_in_both() -> None:
    context = "Of 120 patients with asthma, pain fell by 12 points."
    sample = Sample(uid="12345678", prompt="p", question="q", context=context, target="yes")
    said = {"base": "It did something else.", "tuned": "I see that pain fell by 12 points here."}
    answers = [answer("yes")]
    rows = [ResultRow(model="base", mode="m", metrics=answer_metrics(answers, seed=0, rounds=20))]
    replies = {name: Reply(answer=answers[0], completion=text) for name, text in said.items()}
    cases = [Case(sample=sample, replies=replies)]

    def page_of(data: str) -> str:
        facts = {"data": data}
        return html_report(title="t", facts=facts, rows=rows, comparisons={}, cases=cases)

    source = page_of("pubmedqa {}, test split")
    assert source.count("<mark>pain fell by 12 points</mark>") == 2
    assert Page(source).marks == 2
    assert 'href="https://pubmed.ncbi.nlm.nih.gov/12345678/"' in source
    assert "pubmed" not in page_of("trials {}, test split")


def test_a_gain_of_one_label_at_the_others_cost_is_said() -> None:
    """Accuracy rises since most are yes; a constant answer does not know more."""
    gold = ["yes"] * 40 + ["no"] * 10
    mixed = ["yes"] * 26 + ["no"] * 14 + ["no"] * 9 + ["yes"]
    before = [answer(said, true) for said, true in zip(mixed, gold, strict=True)]
    after = [answer("yes", true) for true in gold]
    rows = [
        ResultRow(model=model, mode="tags", metrics=answer_metrics(of, seed=0, rounds=200))
        for model, of in (("base", before), ("tuned", after))
    ]
    there = {"tags": compare_answers(before, after, seed=0, rounds=200)}
    said = verdict(rows, there)
    assert said.startswith("tuned is right in 40 of 50, base in 35")
    assert "chance" in said  # 14 won, 9 lost
    assert "macro-F1" not in said  # nothing is claimed, so nothing is taken back
    won = dataclasses.replace(there["tags"], p_value=0.01)
    fall = -100 * won.differences["macro_f1"].value
    assert f"than chance explains, p = 0.010, but macro-F1 falls by {fall:.1f} points" in verdict(
        rows, {"tags": won}
    )
    back = compare_answers(after, before, seed=0, rounds=200)
    lost = verdict(
        [dataclasses.replace(rows[1], model="base"), dataclasses.replace(rows[0], model="tuned")],
        {"tags": dataclasses.replace(back, p_value=0.01)},
    )
    assert f"worse than chance explains, p = 0.010, but macro-F1 rises by {fall:.1f}" in lost


def test_the_verdict_comes_first() -> None:
    """74 of 100 against 63, 8 and 19 alone: p = .052 by the binomial of 27, 8 or fewer."""
    base = [answer("yes")] * 63 + [answer("no")] * 37
    tuned = [answer("yes")] * 55 + [answer("no")] * 8 + [answer("yes")] * 19 + [answer("no")] * 18
    rows = [
        ResultRow(model=name, mode="m", metrics=answer_metrics(answers, seed=0, rounds=20))
        for name, answers in (("base", base), ("tuned", tuned))
    ]
    found = {"m": compare_answers(base, tuned, seed=0, rounds=20)}
    said = verdict(rows, found)
    assert (
        said == "tuned is right in 74 of 100, base in 63; the difference may be chance, p = 0.052."
    )
    page = html_report(title="t", facts={}, rows=rows, comparisons=found, cases=[])
    assert page.index(said) < page.index("<table")
    worse = {"m": compare_answers(tuned, [answer("no")] * 100, seed=0, rounds=20)}
    none = [answer("no")] * 100
    lost = ResultRow(model="tuned", mode="m", metrics=answer_metrics(none, seed=0, rounds=20))
    first = ResultRow(model="base", mode="m", metrics=answer_metrics(tuned, seed=0, rounds=20))
    assert "worse than chance explains, p < 0.001" in verdict([first, lost], worse)
    same = {"m": compare_answers(base, base, seed=0, rounds=20)}
    assert verdict([rows[0], dataclasses.replace(rows[0], model="tuned")], same) == (
        "tuned is right in 63 of 100, base in 63: no difference."
    )


def test_a_phone_shows_every_model_of_a_metric() -> None:
    """Each cell carries the names of its column, which a narrow screen shows."""
    page = report("x")
    assert '<table class="metrics stacked">' in page
    for model in ("base", "tuned"):
        assert f'<td><span class="of">{model}, x</span>' in page
    assert "@media (max-width: 600px)" in page
    assert "prefers-color-scheme: dark" in page
