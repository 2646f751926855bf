"""Checks of the `logging` section."""

from __future__ import annotations

import pytest

from rl4bio.errors import ConfigError
from rl4bio.sections import LoggingConfig


@pytest.mark.parametrize(
    "uri", [None, "sqlite:///runs/mlflow.db", "http://localhost:5000", "databricks"]
)
def test_stores(uri: str | None) -> None:
    assert LoggingConfig(mlflow_uri=uri).mlflow_uri == uri


@pytest.mark.parametrize("uri", ["", "mlruns", "./mlruns", "file:./mlruns", "file:///tmp/mlruns"])
def test_folders_are_no_stores(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"^logging\.mlflow_uri: got .* sqlite:///"):
        LoggingConfig(mlflow_uri=uri)
