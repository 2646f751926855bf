"""rl4bio.config.shipped: the configurations that are inside the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl4bio.config.load import load_config
from rl4bio.config.shipped import FOLDER, config_path, names
from rl4bio.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_all_of_the_source_ship() -> None:
    assert names() == sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
    assert len(names()) > 10


@pytest.mark.parametrize("name", names())
def test_each_loads_by_name_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(f"rl4bio:{name}").name == name


def test_a_path_is_a_path() -> None:
    assert config_path("configs/x.yaml") == Path("configs/x.yaml")
    assert config_path("rl4bio:pubmedqa_nano") == FOLDER / "pubmedqa_nano.yaml"


def test_a_slip_in_the_name() -> None:
    with pytest.raises(ConfigError) as caught:
        config_path("rl4bio:pubmedqa_nan")
    assert "did you mean 'rl4bio:pubmedqa_nano'" in str(caught.value)
