"""What tests of molecule rewards share."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.types import Sample

Rewarded = Callable[..., list[float]]


@pytest.fixture
def build() -> Callable[..., Reward]:
    """A reward by its name, as a configuration would build it."""

    def build(name: str, /, **options: Any) -> Reward:
        return REWARDS.build(name, options, where="rewards[0]")

    return build


@pytest.fixture
def rewards_of(build: Callable[..., Reward]) -> Rewarded:
    """The rewards of some SMILES."""

    def rewards_of(name: str, smiles: Sequence[str], /, **options: Any) -> list[float]:
        return build(name, **options)(smiles, [Sample(uid="1", prompt="") for _ in smiles])

    return rewards_of


@pytest.fixture(scope="session")
def moses_rows(shared_data: Path) -> list[dict[str, str]]:
    """The first 200 molecules of a MOSES sample, with properties computed by others."""
    with gzip.open(shared_data / "smiles/moses2_sample.csv.gz", "rt") as stream:
        return list(islice(csv.DictReader(stream), 200))
