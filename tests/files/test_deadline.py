"""A server that takes the call and never answers is not waited for."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from rl4bio.errors import DataError, ModelError, Rl4bioError
from rl4bio.files import deadline
from rl4bio.files.deadline import within
from rl4bio.files.folders import data_files
from rl4bio.files.sources import find_rows
from rl4bio.modules.locate import locate
from rl4bio.rewards.meaning.frozen import load_frozen


@pytest.fixture
def silent_server() -> Iterator[str]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_what_comes_in_time_is_given() -> None:
    assert within(10, max, 1, 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 // 0)


def test_a_call_that_hangs_is_left() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
        within(0.2, time.sleep, 30)
    assert time.monotonic() - started < 5


@pytest.fixture
def silent_hub(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", silent_server)
    monkeypatch.setattr(deadline, "HUB_S", 0.5)


DOORS: dict[str, tuple[Callable[[str], object], type[Rl4bioError], str]] = {
    "policy": (locate, ModelError, r"somebody/thing.*no answer within 0\.5 s"),
    "model of a reward": (
        lambda name: load_frozen(name, "encoder"),
        ModelError,
        r"somebody/thing.*no answer within 0\.5 s",
    ),
    "data": (
        lambda name: find_rows(name, "default", files=data_files, key="data.source", advice=""),
        DataError,
        r"the Hub does not answer for 'somebody/thing'.*HF_HUB_OFFLINE=1",
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_hub_that_never_answers(silent_hub: None, door: str) -> None:
    ask, error, message = DOORS[door]
    started = time.monotonic()
    with pytest.raises(error, match=message):
        ask("somebody/thing")
    assert time.monotonic() - started < 30
