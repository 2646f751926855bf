"""rl4bio.reports.run.report: the page of a run, from its numbers, safe with any text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import statistics
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rl4bio.errors import StorageError
from rl4bio.reports.run.report import duration, run_report, write_run_report

INJECTIONS = [
    "<script>alert(1)</script>",
    '"><script src="https://evil.example/x.js"></script>',
    "<img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "</title></svg></figure><script>alert(1)</script>",
    "</pre></details></section><iframe src=https://evil.example></iframe>",
    "</style><link rel=stylesheet href=https://evil.example/x.css>",
    "<svg onload=alert(1)><use href='https://evil.example/x.svg#a'/></svg>",
    "<a href='javascript:alert(1)'>x</a>",
    "]]><!-- &lt;script&gt; --> \x00\u202e\ud800",
]
VOID = {"meta"}


class Page(HTMLParser):
    """Elements, attributes, and the text of each element by its tag; refuses bad nesting."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def text_of(self, tag: str) -> list[str]:
        return [data for holder, data in self.texts if holder == tag]

    @property
    def charts(self) -> list[str]:
        """Titles of the charts, in order."""
        return self.text_of("strong")[1:]  # the first is the warning


def row(step: int, **changes: float) -> dict[str, float]:
    logged = {
        "step": float(step),
        "reward/total_mean": 0.4 + 0.01 * step,
        "reward/total_std": 0.2,
        "reward/verdict_mean": 0.3 + 0.01 * step,
        "reward/structure_mean": 0.9,
        "reward/structure_p05": 0.1,
        "reward/zero_spread_fraction": 0.25,
        "reward/unscored_fraction": 0.0,
        "train/loss": 0.01,
        "train/kl": 0.001 * step,
        "train/entropy": 0.7,
        "train/grad_norm": 1.1,
        "rollout/completion_tokens_mean": 33.0,
        "rollout/truncated_fraction": 0.05,
        "time/generate_s": 2.0,
        "time/score_s": 0.01,
        "time/update_s": 5.0,
    }
    return logged | {key.replace("__", "/"): value for key, value in changes.items()}


def summary_of(rows: list[dict[str, float]], **changes: Any) -> dict[str, Any]:
    def means(part: list[dict[str, float]]) -> dict[str, float | None]:
        known = {k: [r[k] for r in part if math.isfinite(r.get(k, math.nan))] for k in names}
        return {k: statistics.fmean(v) if v else None for k, v in known.items()}

    names = {name for r in rows for name in r}
    facts = {
        "task": "grpo",
        "base": "google/gemma-3-1b-it",
        "seed": 7,
        "steps": len(rows),
        "prompts": 8 * len(rows),
        "seconds": 133.0,
        "versions": {"torch": "2.13.0"},
        "window_steps": 10,
        "first": means(rows[:10]),
        "last": means(rows[-10:]),
    }
    return facts | changes


CONFIG: dict[str, Any] = {
    "name": "nano",
    "data": {"name": "trials", "options": {}},
    "rewards": [{"name": "verdict", "weight": 1.0}, {"name": "structure", "weight": 0.2}],
}


def page(
    rows: list[dict[str, float]], config: dict[str, Any] = CONFIG, folder: Path = Path("none")
) -> Page:
    source = run_report(
        title="nano", config=config, summary=summary_of(rows), metrics=rows, completions=folder
    )
    return Page(source)


def record_step(folder: Path, step: int, text: str, part: str = "verdict") -> None:
    lines = [
        json.dumps(
            {
                "id": f"{step}/{k}",
                "prompt": text,
                "completion": f"{k}: {text}",
                "rewards": {part: k / 2},
                "total": k / 2,
                "advantage": 0.1,
                "tokens": 5,
                "truncated": False,
            }
        )
        for k in range(3)
    ]
    (folder / f"step-{step:06d}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_first_sentence_says_how_the_main_metric_went() -> None:
    rewarded = [{"step": n, "reward/total_mean": n / 10, "train/loss": 0.0} for n in range(1, 31)]
    words = "Total reward: 0.55 in steps 1–10, 2.55 in steps 21–30, on what it trained on."
    assert ("p", words) in page(rewarded).texts
    losses = [{"step": n, "train/loss": 3.0 - n} for n in (1, 2)]
    assert any(text.startswith("Loss: 1.5 in steps 1–2") for _, text in page(losses).texts)
    assert not [t for _, t in page(rewarded[:1]).texts if t.startswith("Total reward:")]


def test_a_run_with_rewards_has_a_chart_for_each_quantity() -> None:
    shown = page([row(k) for k in range(1, 31)])
    assert shown.charts == [
        "Total reward",
        "Reward: verdict",
        "Reward: structure",
        "KL to the reference",
        "Completion length",
        "Truncated completions",
        "Groups without spread",
        "Entropy",
        "Gradient norm",
        "Time per step",
    ]
    assert [t.strip() for t in shown.text_of("li")] == ["generate", "score", "update"]


def test_the_header_says_what_ran() -> None:
    shown = page([row(1)])
    facts = dict(zip(shown.text_of("dt"), shown.text_of("dd"), strict=True))
    assert facts == {
        "Task": "GRPO (reinforcement learning from rewards)",
        "Base model": "google/gemma-3-1b-it",
        "Data": "trials",
        "Rewards": "verdict × 1, structure × 0.2",
        "Training steps": "1",
        "Prompts seen": "8",
        "Seed": "7",
        "Time": "2 min 13 s",
        "Software": "torch 2.13.0",
    }
    assert "Research use only." in shown.text_of("strong")


def test_the_table_compares_the_first_with_the_last_steps() -> None:
    shown = page([row(k) for k in range(1, 31)])
    assert shown.text_of("th")[:4] == ["metric", "steps 1–10", "steps 21–30", "change"]
    cells = shown.text_of("td")
    # Total reward 0.4 + 0.01 step: mean step 5.5 and 25.5 give 0.455 and 0.655.
    assert cells[:3] == ["0.455", "0.655", "+0.2"]
    # Shares are shown in percent.
    place = cells.index("Share of completions that were cut off at the length limit.")
    assert cells[place - 3 : place] == ["5", "5", "0"]
    assert "share steps" not in " ".join(shown.text_of("p"))
    assert "share steps" in " ".join(page([row(k) for k in range(1, 13)]).text_of("p"))


def test_a_metric_that_was_not_logged_is_left_out() -> None:
    rows = [row(k) for k in range(1, 5)]
    for logged in rows:
        del logged["train/kl"], logged["time/score_s"]
    shown = page(rows)
    assert "KL to the reference" not in shown.charts
    assert not [t for t in shown.text_of("th") if "KL" in t]
    assert [t.strip() for t in shown.text_of("li")] == ["generate", "update"]


def test_a_metric_without_any_finite_value_has_a_row_and_no_chart() -> None:
    shown = page([row(k, train__grad_norm=math.nan) for k in range(1, 5)])
    assert "Gradient norm" not in shown.charts
    assert "Gradient norm" in shown.text_of("th")
    assert shown.text_of("td").count("–") == 3


def test_gaps_break_the_line_and_missing_cells_do_not() -> None:
    rows = [row(k) for k in range(1, 5)]
    rows[1]["train/kl"] = math.nan
    del rows[1]["train/entropy"]
    shown = page(rows)
    # A chart of a short line has three paths: grid, axis, line.
    drawn = [v for tag, name, v in shown.attributes if (tag, name) == ("path", "d")][2::3]
    lines = dict(zip(shown.charts, drawn, strict=False))
    assert lines["KL to the reference"].count("M") == 2
    assert lines["Entropy"].count("M") == 1
    assert lines["Entropy"].count("L") == 2


def test_unscored_completions_show_where_there_are_any() -> None:
    assert "Unscored completions" not in page([row(1), row(2)]).charts
    rows = [row(1), row(2, reward__unscored_fraction=0.5)]
    assert "Unscored completions" in page(rows).charts


def test_validation_shares_the_chart_of_its_quantity() -> None:
    rows = [row(1), row(2, val__reward_mean=0.6), row(3), row(4, val__reward_mean=0.7)]
    shown = page(rows)
    assert shown.charts.count("Total reward") == 1
    assert "Total reward, validation" in shown.text_of("th")
    assert [t.strip() for t in shown.text_of("li")][:2] == [
        "training, sampled",
        "validation, greedy",
    ]


def test_a_reward_with_and_without_reasoning_shares_a_chart() -> None:
    signs = {"rollout__reasoning_words_mean": 20.0, "rollout__self_correction_fraction": 0.25}
    rows = [
        row(1, **signs),
        row(2, val__verdict_mean=0.6, val__verdict_no_reasoning_mean=0.5),
        row(3, **signs),
    ]
    shown = page(rows)
    assert shown.charts.count("Reward: verdict, validation") == 1
    assert {"Reasoning length", "Self-corrections"} < set(shown.charts)
    lines = [t.strip() for t in shown.text_of("li")]
    start = lines.index("with reasoning")
    assert lines[start : start + 2] == ["with reasoning", "without reasoning"]
    # a run that is not validated without reasoning has no such chart
    assert "Reward: verdict, validation" not in page([row(1, val__verdict_mean=0.6)]).charts


def test_rewards_that_the_configuration_does_not_name_come_last() -> None:
    shown = page([row(1, reward__extra_mean=0.5)])
    assert shown.charts[1:4] == ["Reward: verdict", "Reward: structure", "Reward: extra"]


@pytest.mark.parametrize("num_steps", [0, 1, 2])
def test_runs_of_hardly_any_steps(num_steps: int) -> None:
    shown = page([row(k) for k in range(1, num_steps + 1)])
    assert len(shown.charts) == (10 if num_steps else 0)
    assert len([e for e in shown.elements if e == "table"]) == (1 if num_steps else 0)


def test_supervised_fine_tuning_shows_the_loss_and_no_completions() -> None:
    rows = [
        {"step": float(k), "train/loss": 3.0 - k / 10, "train/grad_norm": 1.0, "time/update_s": 1.0}
        for k in range(1, 11)
    ]
    rows[4]["val/loss"] = 2.9
    shown = page(rows, {"data": {"name": "trials"}, "rewards": []})
    assert shown.charts == ["Loss", "Gradient norm", "Time per step"]
    assert [t.strip() for t in shown.text_of("li")] == ["training", "validation"]
    assert "Sample completions" not in shown.text_of("h2")


def hostile(text: str, folder: Path) -> str:
    """A page with the text in every place that data, model or configuration fill."""
    record_step(folder, 1, text, part=text)
    rows = [row(k) | {f"reward/{text}_mean": 0.5, f"time/{text}_s": 1.0} for k in (1, 2)]
    config = {
        "data": {"name": text},
        "rewards": [{"name": text, "weight": 1.0}],
        "plugins": [text],
    }
    summary = summary_of(rows, task=text, base=text, seed=text, versions={text: text})
    return run_report(title=text, config=config, summary=summary, metrics=rows, completions=folder)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_nothing_of_the_data_becomes_markup(injection: str, tmp_path: Path) -> None:
    source = hostile(injection, tmp_path)
    plain, shown = Page(hostile("plain", tmp_path)), Page(source)
    source.encode("utf-8")
    assert shown.elements == plain.elements
    # Only the coordinates of lines may differ, and they do not: the numbers are the same.
    assert shown.attributes == plain.attributes
    assert "script" not in shown.elements
    names = {name for _, name, _ in shown.attributes}
    assert not [name for name in names if name.startswith("on")]
    assert not names & {"href", "src", "action", "data", "style", "xlink:href", "srcset"}
    assert not [v for _, _, v in shown.attributes if "//" in v or "javascript" in v]


def test_the_policy_allows_the_one_style_block_and_nothing_else(tmp_path: Path) -> None:
    source = hostile("plain", tmp_path)
    policy = next(v for t, n, v in Page(source).attributes if t == "meta" and "default-src" in v)
    style = source[source.index("<style>") + len("<style>") : source.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "url(" not in style
    assert "@import" not in style


def test_every_chart_has_its_own_identifier() -> None:
    shown = page([row(1), row(2)])
    names = [v for tag, name, v in shown.attributes if name == "id"]
    labels = [v for tag, name, v in shown.attributes if name == "aria-labelledby"]
    assert names == labels == [f"chart-{k}" for k in range(1, 11)]


def test_secrets_of_the_environment_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_TOKEN", "open-sesame-77")
    shown = page([row(1)], CONFIG | {"plugins": ["https://open-sesame-77@host/x"]})
    (settings,) = shown.text_of("pre")
    assert "name: nano" in settings
    assert "open-sesame-77" not in settings


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(7.25, "7.2 s"), (59.97, "1 min 00 s"), (133.0, "2 min 13 s"), (7325.0, "2 h 02 min")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_the_page_is_written_with_real_completions(shared_data: Path, tmp_path: Path) -> None:
    lines = (
        (shared_data / "medical/completions/gemma3_1b_pubmedqa_50cases.jsonl")
        .read_text("utf-8")
        .splitlines()
    )
    completion = json.loads(lines[0])["completion"]
    record_step(tmp_path, 1, completion)
    rows = [row(1), row(2)]
    path = tmp_path / "report.html"
    page = run_report(
        title="real",
        config=CONFIG,
        summary=summary_of(rows),
        metrics=rows,
        completions=tmp_path,
    )
    write_run_report(path, page)
    shown = "".join(Page(path.read_text(encoding="utf-8")).text_of("pre"))
    assert all(f"{k}: {completion}" in shown for k in range(3))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing/report\.html: cannot be written"):
        write_run_report(tmp_path / "missing" / "report.html", "<p>a page</p>")
