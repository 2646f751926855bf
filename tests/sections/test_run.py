"""Checks of the sections `logging` and `grpo`."""

from __future__ import annotations

import pytest

from rl4bio.errors import ConfigError
from rl4bio.sections import GRPOConfig, LoggingConfig, ReferenceConfig


@pytest.mark.parametrize(
    "uri", [None, "sqlite:///runs/mlflow.db", "http://localhost:5000", "databricks"]
)
def test_stores(uri: str | None) -> None:
    assert LoggingConfig(mlflow_uri=uri).mlflow_uri == uri


@pytest.mark.parametrize("uri", ["", "mlruns", "./mlruns", "file:./mlruns", "file:///tmp/mlruns"])
def test_folders_are_no_stores(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"^logging\.mlflow_uri: got .* sqlite:///"):
        LoggingConfig(mlflow_uri=uri)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing asks the reference"),
        ({"kl_coef": 0.1, "augmented_sigma": 20.0}, "would move the prior"),
    ],
)
def test_a_moving_reference_has_one_use(options: dict[str, float], message: str) -> None:
    moving = ReferenceConfig(refresh_every=5)
    GRPOConfig(reference=moving, kl_coef=0.1)
    with pytest.raises(ConfigError, match=message):
        GRPOConfig(reference=moving, **options)  # type: ignore[arg-type]
