"""What ships, by name."""

from __future__ import annotations

import pytest

from rl4bio.files.assets import FOLDER, asset, is_asset, shipped, shipped_text


def test_names_lead_to_folders_that_hold_what_is_wanted() -> None:
    assert asset("rl4bio:gemma3-nano", "config.json") == FOLDER / "gemma3-nano"
    assert "molgpt-moses" in shipped("config.json")
    assert "rl4bio:affinity-egfr" in shipped_text("predictor.json")
    assert all((FOLDER / name / "config.json").is_file() for name in shipped("config.json"))


@pytest.mark.parametrize("name", ["rl4bio:none", "rl4bio:", "rl4bio:../assets/gemma3-nano"])
def test_other_names_lead_nowhere(name: str) -> None:
    assert is_asset(name)
    assert asset(name, "config.json") is None


def test_an_asset_of_another_sort_is_none() -> None:
    assert asset("rl4bio:gemma3-nano", "predictor.json") is None
    assert shipped("no such file") == []
    assert shipped_text("no such file") == "none"
