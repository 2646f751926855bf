"""Fixtures that every test may use: the shared data folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("RL4BIO_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set RL4BIO_TEST_DATA)")
    return folder
