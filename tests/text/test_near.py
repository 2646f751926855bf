"""Near-duplicates by hand and against every pair."""

from __future__ import annotations

import random

import pytest

from rl4bio.text.near import THRESHOLD, NearIndex, jaccard, shingles


class TestShingles:
    def test_word_triples_of_folded_text(self) -> None:
        assert shingles("A 45-year-old MAN.") == {"a 45 year", "45 year old", "year old man"}
        assert shingles("auditory tube") == {"auditory tube"}
        assert shingles(" ... ") == frozenset()

    def test_chinese_counts_characters(self) -> None:
        assert shingles("MRI检查") == {"mri 检 查"}
        assert len(shingles("牙周炎的治疗方法")) == 6

    def test_jaccard_by_hand(self) -> None:
        # a b c d e: abc bcd cde; a b c d f: abc bcd cdf: 2 common of 4.
        assert jaccard(shingles("a b c d e"), shingles("a b c d f")) == 0.5
        assert jaccard(shingles(""), shingles("")) == 0.0


class TestNearIndex:
    def test_the_threshold_itself_is_near(self) -> None:
        index = NearIndex([shingles("a b c d e")])
        assert index.near(shingles("a b c d f")) == 0
        # a b c d g h: abc bcd cdg dgh: 2 common of 5.
        assert index.near(shingles("a b c d g h")) is None
        assert index.near(frozenset()) is None
        assert NearIndex([]).near(shingles("a b c")) is None

    @pytest.mark.parametrize("seed", range(3))
    def test_same_as_comparing_every_pair(self, seed: int) -> None:
        rng = random.Random(seed)
        members = [f"m{n}" for n in range(12)]
        sets = [frozenset(rng.sample(members, rng.randint(1, 8))) for _ in range(300)]
        known, asked = sets[:100], sets[100:]
        index = NearIndex(known)
        expected = [any(jaccard(a, k) >= THRESHOLD for k in known) for a in asked]
        assert [index.near(a) is not None for a in asked] == expected
        few = NearIndex(known[:5])
        fewer = [any(jaccard(a, k) >= THRESHOLD for k in known[:5]) for a in asked]
        assert [few.near(a) is not None for a in asked] == fewer
        assert True in fewer
        assert False in fewer
