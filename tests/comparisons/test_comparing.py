"""rl4bio compare: run folders beside each other, made by hand with numbers that are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl4bio.compare import main
from rl4bio.comparisons.records import read_run, settings_of
from rl4bio.reports.run.comparison import comparison_charts


def make_run(root: Path, name: str, *, seed: int = 1, lr: float = 1e-4, end: float = 0.5) -> Path:
    """A folder with what `rl4bio fit` leaves and `rl4bio compare` reads."""
    folder = root / name
    folder.mkdir(parents=True)
    config = {
        "name": name,
        "task": "grpo",
        "seed": seed,
        "output_dir": str(root),
        "optim": {"lr": lr},
        "rewards": [{"name": "verdict", "weight": 1.0, "options": {}}],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rows = ["step,reward/total_mean,train/kl", f"1,{end / 2},0.0", f"2,{end},0.1"]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    last = {"reward/total_mean": end, "train/kl": 0.1}
    summary = {"name": name, "seed": seed, "steps": 2, "last": last, "first": last}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "report.html").write_text("<html></html>")
    return folder


def evaluated(folder: Path, right: Sequence[bool | None], *, totals: Sequence[float] = ()) -> None:
    (folder / "evaluation").mkdir()
    items: list[dict[str, Any]] = []
    for model in ("base", "tuned"):
        for n, value in enumerate(right):
            rewards = {"total": totals[n]} if totals else {}
            items.append(
                {
                    "uid": f"q{n}",
                    "model": model,
                    "mode": "tagged prompt, generated",
                    "right": value if model == "tuned" else None,
                    "rewards": rewards,
                }
            )
    text = "".join(json.dumps(item) + "\n" for item in items)
    (folder / "evaluation" / "items.jsonl").write_text(text)


def test_seeds_are_one_setting_with_mean_and_interval(tmp_path: Path, capsys: Any) -> None:
    """.4, .5, .6: mean .5, s = .1, half = 4.3027 x .1 / sqrt(3) = .2484."""
    runs = [make_run(tmp_path, f"run{n}", seed=n, end=0.3 + n / 10) for n in (1, 2, 3)]
    assert main([str(run) for run in runs]) == 0
    out = capsys.readouterr().out
    assert "0.5 [0.252, 0.748]" in out
    assert "differ" not in out
    record = json.loads((tmp_path / "comparison" / "summary.json").read_text())
    assert list(record["settings"]) == ["run1"]
    assert record["differences"] == {}


def test_what_differs_and_the_paired_test(tmp_path: Path, capsys: Any) -> None:
    """Of six items the first alone has one right and the second alone five: p = 14 / 64."""
    old = make_run(tmp_path, "old")
    new = make_run(tmp_path, "new", lr=3e-4, end=0.7)
    evaluated(old, [True, False, False, False, False, False])
    evaluated(new, [False, True, True, True, True, True])
    assert main([str(old), str(new), "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "They differ in optim.lr." in out
    assert "lr=0.0001" in out
    text = " ".join(out.split())
    assert "the same 6 items; only the first right 1, only the second 5, both 0; p = 0.219" in text
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'href="../old/report.html"' in page
    assert "Research use only" in page
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["differences"] == {
        "optim.lr": ["0.0001", "0.0003"]
    }


def test_open_questions_are_compared_by_their_reward(tmp_path: Path, capsys: Any) -> None:
    old, new = make_run(tmp_path, "old"), make_run(tmp_path, "new", lr=1.0)
    evaluated(old, [None] * 3, totals=[0.1, 0.2, 0.3])
    evaluated(new, [None] * 3, totals=[0.2, 0.3, 0.3])
    assert main([str(old), str(new)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "higher reward of the first 0, of the second 2, equal 1; p = 0.500" in text


def test_other_items_are_not_paired(tmp_path: Path, capsys: Any) -> None:
    old, new = make_run(tmp_path, "old"), make_run(tmp_path, "new", lr=1.0)
    evaluated(old, [True, False])
    evaluated(new, [True, False, True])
    assert main([str(old), str(new)]) == 0
    out = capsys.readouterr().out
    assert "p =" not in out
    assert "accuracy %" in out


def test_curves_of_one_setting_look_alike(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, f"a{n}", seed=n) for n in (1, 2)]
    runs += [make_run(tmp_path, "b", lr=1.0)]
    charts = comparison_charts(settings_of([read_run(run) for run in runs]))
    reward = next(chart for chart in charts if chart.title == "Total reward")
    assert [(s.name, s.style) for s in reward.series] == [("lr=0.0001", 0)] * 2 + [("lr=1", 1)]


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (["old", "nothing"], 2, "nothing: no such folder; name folders of"),
        (["old", "old"], 2, "is named twice"),
        (["begun"], 7, "begun: is not finished"),
        (["begun", "."], 7, "begun: is not finished"),
        (["."], 2, ".: no run's folder (no config.yaml), but ./* are; name folders of"),
        (["empty"], 2, "empty: no run's folder (no config.yaml); name folders of"),
        (["old", "broken"], 7, "broken: cannot be read"),
        (["old", "--output", "old"], 7, "is a run's folder; choose another --output"),
        (["old", "bad_items"], 7, "is not what `rl4bio evaluate` writes"),
    ],
)
def test_refusals(
    given: list[str], code: int, message: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("old", "begun", "broken", "bad_items"):
        make_run(tmp_path, name, lr=len(name))
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / "summary.json").unlink()
    (tmp_path / "broken" / "summary.json").write_text('{"name": "bro')
    (tmp_path / "bad_items" / "evaluation").mkdir()
    (tmp_path / "bad_items" / "evaluation" / "items.jsonl").write_text('{"model": "tuned"}\n')
    assert main(given) == code
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_copy_of_a_run_is_no_other_seed(tmp_path: Path, capsys: Any) -> None:
    runs = [make_run(tmp_path, "run"), make_run(tmp_path, "copy"), make_run(tmp_path, "2", seed=2)]
    assert main([str(run) for run in runs]) == 0
    assert "rl4bio: run, copy, 2: not each has a seed of its own" in capsys.readouterr().err


def test_what_a_pattern_names_besides_runs_is_left_out(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """`rl4bio compare runs/*`, with a run that failed, an earlier comparison and a file."""
    monkeypatch.chdir(tmp_path)
    for lr, name in enumerate(("a", "b", "failed")):
        make_run(tmp_path, name, lr=lr)
    (tmp_path / "failed" / "summary.json").unlink()
    (tmp_path / "comparison").mkdir()
    (tmp_path / "notes.txt").touch()
    assert main(sorted(path.name for path in tmp_path.iterdir())) == 0
    out, err = capsys.readouterr()
    assert "failed" not in out
    assert err.splitlines() == [
        "rl4bio: left out: comparison: no run's folder (no config.yaml)",
        "rl4bio: left out: failed: is not finished (no summary.json)",
        "rl4bio: left out: notes.txt: no run's folder (no config.yaml)",
    ]


def test_runs_of_one_name_in_two_folders_stay_apart(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """More than three keys differ, so that settings are called like their runs."""
    for place, value in (("one", 1.0), ("two", 2.0)):
        run = make_run(tmp_path / place, "mine", end=value)
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["grpo"] = dict.fromkeys(("kl_coef", "clip_low", "clip_high", "ratio_cap"), value)
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        evaluated(run, [True, value > 1])
    monkeypatch.chdir(tmp_path / "one" / "mine")
    assert main([".", "../../two/mine", "--output", "out put ü"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[2:4]] == [
        ["one/mine", "1", "50"],
        ["two/mine", "1", "100"],
    ]
    summary = json.loads(Path("out put ü/summary.json").read_text())
    assert list(summary["settings"]) == ["one/mine", "two/mine"]
    page = Path("out put ü/report.html").read_text()
    assert "two/mine/report.html" in page


def test_evaluated_molecules_have_columns(tmp_path: Path, capsys: Any) -> None:
    for name, reward in (("a", 0.5), ("b", 0.75)):
        run = make_run(tmp_path, name, lr=reward)
        (run / "evaluation").mkdir()
        tuned = {"reward_all": {"value": reward}, "validity": {"value": 0.9}}
        tuned["hits"] = {"value": None}  # no goals
        summary = {"models": {"base": {}, "tuned": tuned}}
        (run / "evaluation" / "summary.json").write_text(json.dumps(summary))
    make_run(tmp_path, "not_evaluated")
    assert main([str(tmp_path / name) for name in ("a", "b", "not_evaluated")]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert "evaluated reward  valid %" in head
    assert "hits" not in head
    assert [row.split()[2:4] for row in rows[:3]] == [["0.5", "90"], ["0.75", "90"], ["–", "–"]]
    (tmp_path / "a" / "evaluation" / "summary.json").write_text('{"models": []}')
    assert main([str(tmp_path / "a")]) == 0  # not of molecules
    (tmp_path / "a" / "evaluation" / "summary.json").write_text(
        '{"models": {"tuned": {"hits": 1}}}'
    )
    assert main([str(tmp_path / "a")]) == 7


def test_a_list_that_was_swept_is_one_value(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name) for name in ("a", "b", "c")]
    for run, words in zip(runs, (["x"], ["x", 1.5], None), strict=True):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["data"] = {"options": {"words": words} if words else {"other": 2}}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    names = [setting.name for setting in settings_of([read_run(run) for run in runs])]
    assert names == [
        "other=–, words=[x]",
        "other=–, words=[x, 1.5]",
        "other=2, words=–",
    ]


def test_texts_of_a_run_are_shown_as_text(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a")
    other = make_run(tmp_path, "b")
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["data"] = {"name": "<script>alert(1)</script>"}
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    assert main([str(run), str(other)]) == 0
    page = (tmp_path / "comparison" / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
