"""rl4bio.statistics.draws: pass@k and the majority vote."""

from __future__ import annotations

import itertools

import pytest

from rl4bio.statistics.draws import majority_vote, pass_at_k, pass_counts


def test_pass_at_k_is_the_share_of_subsets_with_a_right_draw() -> None:
    for n in range(1, 7):
        for c in range(n + 1):
            draws = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                subsets = list(itertools.combinations(draws, k))
                share = sum(any(subset) for subset in subsets) / len(subsets)
                assert pass_at_k(n, c, k) == pytest.approx(share)


def test_pass_at_k_is_unbiased() -> None:
    # the mean over all outcomes of 4 draws that are right with p = 0.3 is 1 - 0.7^k
    for k in (1, 2, 3, 4):
        mean = sum(
            0.3 ** sum(draws) * 0.7 ** (4 - sum(draws)) * pass_at_k(4, sum(draws), k)
            for draws in itertools.product([0, 1], repeat=4)
        )
        assert mean == pytest.approx(1 - 0.7**k)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass_at_k"):
        pass_at_k(n, c, k)


def test_reported_k() -> None:
    assert pass_counts(0) == []
    assert pass_counts(1) == [1]
    assert pass_counts(6) == [1, 2, 4, 6]
    assert pass_counts(8) == [1, 2, 4, 8]


def test_majority_vote() -> None:
    assert majority_vote(["A", "B", None, "B"]) == "B"
    assert majority_vote(["B", "A", "A", "B"]) == "B"  # a tie: the earlier drawn
    assert majority_vote([None, None, None, "C"]) == "C"
    assert majority_vote([None, None]) is None
    assert majority_vote([]) is None
