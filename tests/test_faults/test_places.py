"""Places where nothing can be written are found before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_faults.forks import Ended

LOADED = "loading libraries"


def test_a_file_in_the_way(fit: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    ended = fit(f"output_dir={tmp_path / 'file' / 'runs'}")
    assert ended.code == 7
    assert f"{tmp_path / 'file'}: is a file; choose another output_dir" in ended.err
    assert LOADED not in ended.err


@pytest.mark.parametrize("place", ["/proc/runs", "/sys/runs"])
def test_a_folder_that_takes_nothing(fit: Callable[..., Ended], place: str) -> None:
    ended = fit(f"output_dir={place}")
    assert ended.code == 7
    assert "Traceback" not in ended.err


def test_no_room_for_the_checkpoints(fit: Callable[..., Ended], tmp_path: Path) -> None:
    """A billion of them; the folder is not made."""
    ended = fit("trainer.keep_checkpoints=1000000000")
    assert ended.code == 7, ended.err
    assert "GB free, the run needs" in ended.err
    assert LOADED not in ended.err
    assert not (tmp_path / "runs").exists()
