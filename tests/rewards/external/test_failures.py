"""Tests of what is logged."""

from __future__ import annotations

import pytest

from rl4bio.rewards.external.failures import Tally


def test_each_kind_is_logged_at_powers_of_ten(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally("external")
    with caplog.at_level("WARNING", logger="rl4bio"):
        tally.add("crash", 0, "nothing")
        for number in range(1, 121):
            tally.add("crash", 1, f"example {number}")
        tally.add("time-out", 7, "slow")
    assert [record.message for record in caplog.records] == [
        "external: crash, 1 so far; example 1",
        "external: crash, 10 so far; example 10",
        "external: crash, 100 so far; example 100",
        "external: time-out, 7 so far; slow",
    ]
    assert tally.counts == {"crash": 120, "time-out": 7}
