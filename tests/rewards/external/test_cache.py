"""Tests of the file of scores."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from rl4bio.errors import ConfigError
from rl4bio.rewards.external.cache import ScoreCache, engine_key

KEY = engine_key(["dock"], "score", "")


def read(path: Path, engine: str = KEY) -> dict[str, float]:
    cache = ScoreCache(str(path), engine)
    cache.refresh()
    return cache.scores


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    scores = {"CCO": -7.2, "C/C=C\\C": 0.1 + 0.2}
    ScoreCache(str(path), KEY).add(scores)
    ScoreCache(str(path), KEY).add({"C": 3.0})
    assert read(path) == {**scores, "C": 3.0}
    assert path.read_bytes().count(b"\n") == 3


def test_each_engine_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    keys = [KEY, engine_key(["dock"], "score", "2"), engine_key("http://dock", "score", "")]
    for number, key in enumerate(keys):
        ScoreCache(str(path), key).add({"C": float(number)})
    assert [read(path, key) for key in keys] == [{"C": 0.0}, {"C": 1.0}, {"C": 2.0}]


def test_memory_alone() -> None:
    cache = ScoreCache(None, KEY)
    cache.check()
    cache.refresh()
    cache.add({"C": 1.0})
    assert cache.scores == {"C": 1.0}


def test_what_others_append_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    one, other = ScoreCache(str(path), KEY), ScoreCache(str(path), KEY)
    one.add({"C": 1.0})
    other.refresh()
    one.add({"CC": 2.0})
    other.refresh()
    assert other.scores == {"C": 1.0, "CC": 2.0}


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    ScoreCache(str(path), KEY).add({"C": 1.0, "CC": 2.0})
    path.write_bytes(path.read_bytes()[:-5])
    assert read(path) == {"C": 1.0}
    ScoreCache(str(path), KEY).add({"CCC": 3.0})
    assert read(path) == {"C": 1.0, "CCC": 3.0}


@pytest.mark.parametrize("score", ["NaN", "Infinity", '"1"', "null", "[1]", "1" * 400])
def test_lines_without_a_score_are_skipped(tmp_path: Path, score: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(f'{{"engine": "{KEY}", "smiles": "C", "score": {score}}}\n\nnot JSON\n[1]\n')
    ScoreCache(str(path), KEY).add({"CC": 2.0})
    assert read(path) == {"CC": 2.0}


def append(path: str, worker: int) -> None:
    cache = ScoreCache(path, KEY)
    for step in range(50):
        cache.add({f"{worker}-{step}-{n}": float(worker) for n in range(20)})


def test_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    workers = [
        multiprocessing.get_context("fork").Process(target=append, args=(str(path), n))
        for n in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(read(path)) == 4 * 50 * 20
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_file_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cache: no folder .*; make it"):
        ScoreCache(str(tmp_path / "none" / "scores.jsonl"), KEY).check()
    with pytest.raises(ConfigError, match="cannot be written"):
        ScoreCache(str(tmp_path), KEY).check()
    os.mkfifo(tmp_path / "pipe")  # opened, it would never answer
    with pytest.raises(ConfigError, match="cannot be written"):
        ScoreCache(str(tmp_path / "pipe"), KEY).check()


def test_a_full_disk_costs_the_file_and_not_the_scores(caplog: pytest.LogCaptureFixture) -> None:
    cache = ScoreCache("/dev/full", KEY)
    with caplog.at_level("WARNING", logger="rl4bio"):
        cache.add({"C": 1.0})
        cache.add({"CC": 2.0})
    assert cache.scores == {"C": 1.0, "CC": 2.0}
    assert [r.message for r in caplog.records] == [
        "/dev/full: cannot be written (No space left on device); scores stay in memory"
    ]
