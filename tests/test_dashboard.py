"""rl4bio dashboard: panels of metrics that runs log."""

from __future__ import annotations

import pytest

from rl4bio.dashboard import STEP, main, panels, workspace


def test_metrics_of_one_chart_share_a_panel() -> None:
    found = panels()
    assert found["Rewards"]["Total reward"] == ["reward/total_mean", "val/reward_mean"]
    assert found["Molecules"]["Diversity"] == ["molecules/intdiv", "molecules/snn"]
    every = [key for own in found.values() for keys in own.values() for key in keys]
    assert len(set(every)) == len(every)
    prefixes = {key.partition("/")[0] for key in every}
    assert prefixes == {"reward", "val", "train", "rollout", "molecules", "time"}


def test_the_workspace_has_them() -> None:
    pytest.importorskip("wandb_workspaces")
    built = workspace("me", "mine", "rl4bio")
    assert [section.name for section in built.sections] == list(panels())
    first = built.sections[0].panels[0]
    assert (first.title, str(first.x)) == ("Total reward", STEP)


def test_without_the_package_or_the_network(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb_workspaces", None)
    assert main(["--entity", "me"]) == 2
    said = capsys.readouterr().err
    assert "pip install 'rl4bio[dashboard]'" in said
    assert said.count("\n") == 1
