"""What the memory keeps, and what is drawn from it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from rl4bio.errors import ConfigError
from rl4bio.modules.replay.memory import Entry, ReplayMemory
from rl4bio.sections import ReplayConfig


def entry(key: str, score: float, alike: str = "", **more: Any) -> Entry:
    options: dict[str, Any] = {"prompt": [1], "completion": [2, 3], "logprobs": [-1.0, -0.5]}
    options |= more
    return Entry(key=key, alike=alike or key, text=key, score=score, advantage=0.5, **options)


def memory(**options: Any) -> ReplayMemory:
    return ReplayMemory(ReplayConfig(**options))


def keys(one: ReplayMemory) -> list[str]:
    return [entry.key for entry in one.entries]


def test_the_best_stay_best_first_and_each_once() -> None:
    kept = memory(size=3)
    kept.add([entry("a", 0.2), entry("b", 0.9), entry("c", 0.5)])
    kept.add([entry("d", 0.6), entry("b", 0.1), entry("a", 0.7)])
    assert keys(kept) == ["b", "a", "d"]  # b keeps its .9, a rises to .7, c is pushed out
    assert [e.score for e in kept.entries] == [0.9, 0.7, 0.6]
    assert kept.numbers() == {
        "replay/size": 3,
        "replay/score_mean": pytest.approx((0.9 + 0.7 + 0.6) / 3),
        "replay/score_max": 0.9,
    }


def test_of_equal_scores_the_newest_stay() -> None:
    kept = memory(size=2)
    kept.add([entry("a", 1.0), entry("b", 1.0)])
    kept.add([entry("c", 1.0)])
    assert keys(kept) == ["c", "b"]
    kept.add([entry("b", 1.0)])  # seen again: it is the newest now
    assert keys(kept) == ["b", "c"]


def test_only_what_is_above_the_least_score() -> None:
    kept = memory(min_score=0.4)
    kept.add([entry("a", 0.4), entry("b", 0.41), entry("c", float("nan"))])
    assert keys(kept) == ["b"]


def test_a_scaffold_has_its_share() -> None:
    kept = memory(size=4, max_alike=2)
    kept.add([entry(f"x{n}", 0.9 - n / 100, "X") for n in range(5)])
    kept.add([entry("y", 0.1, "Y")])
    assert keys(kept) == ["x0", "x1", "y"]
    kept.add([entry("x9", 0.95, "X")])
    assert keys(kept) == ["x9", "x0", "y"]


def test_a_draw_has_different_rows_and_depends_on_its_seed_alone() -> None:
    kept = memory(rows=4)
    kept.add([entry(f"k{n}", 0.1 + n / 10) for n in range(8)])
    first = kept.draw(5)
    assert len({e.key for e in first}) == 4
    assert kept.draw(5) == first
    assert any(kept.draw(seed) != first for seed in range(6, 9))
    assert len(memory(rows=4).draw(1)) == 0
    kept.section.rows = 100
    assert len(kept.draw(1)) == 8


def test_by_score_a_row_is_drawn_as_often_as_it_is_good() -> None:
    kept = memory(rows=1, draw="score")
    kept.add([entry("a", 0.75), entry("b", 0.25)])
    drawn = Counter(kept.draw(seed)[0].key for seed in range(1000))
    assert drawn["a"] == pytest.approx(750, abs=60)  # four standard deviations
    even = memory(rows=1)
    even.add(kept.entries)
    assert Counter(even.draw(s)[0].key for s in range(1000))["a"] == pytest.approx(500, abs=65)


def test_what_the_model_cannot_write_is_kept_and_never_drawn() -> None:
    kept = memory(rows=5)
    kept.add([entry("a", 0.9, completion=[], logprobs=[]), entry("b", 0.5)])
    assert keys(kept) == ["a", "b"]
    assert [e.key for e in kept.draw(1)] == ["b"]


def test_a_checkpoint_holds_all_of_it() -> None:
    kept = memory(size=3)
    kept.add([entry("a", 0.1 + 0.2), entry("b", 1 / 3, conditions={"properties": [0.5, 1.5]})])
    again = memory(size=3)
    again.load_state_dict(json.loads(json.dumps(kept.state_dict())))
    assert again.entries == kept.entries
    more = [entry("c", 1 / 3)]
    kept.add(more)
    again.add(more)
    assert again.entries == kept.entries


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "grpo.replay.size"),
        ({"max_alike": 0}, "grpo.replay.max_alike"),
        ({"importance_cap": 0.5}, "at least 1"),
        ({"draw": "score", "min_score": -1.0}, "weight"),
    ],
)
def test_limits_of_the_section(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReplayConfig(**options)
