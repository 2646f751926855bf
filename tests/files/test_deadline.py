"""A server that takes the call and never answers is not waited for."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from rl4bio.errors import ModelError
from rl4bio.files import deadline
from rl4bio.files.deadline import within
from rl4bio.modules.locate import locate


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


def test_a_hub_that_never_answers(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", silent_server)
    monkeypatch.setattr(deadline, "HUB_S", 0.5)
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"somebody/model.*no answer within 0\.5 s"):
        locate("somebody/model")
    assert time.monotonic() - started < 30
