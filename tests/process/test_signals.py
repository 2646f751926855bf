"""Which of several signals was first, and who is told of signals afterwards."""

from __future__ import annotations

import os
import signal
import threading
from itertools import permutations

import pytest

from rl4bio.process.signals import ENDING, Arrivals, Listener, stopped_by

THREE = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]


def send(*numbers: int) -> None:
    """Deliver signals to another thread than this one, which looks at them all afterwards."""
    sender = threading.Thread(target=lambda: [signal.raise_signal(n) for n in numbers])
    sender.start()
    sender.join()


def send_whole(listener: Listener, *numbers: int) -> None:
    """The same, and nothing is raised before the last one is sent."""
    with listener.whole():
        send(*numbers)
    listener.raise_at_once()


@pytest.mark.parametrize("order", permutations(THREE))
def test_the_first_one_that_arrived_counts(order: tuple[int, ...]) -> None:
    listener = Listener()
    with pytest.raises(BaseException) as found, listener.listening(ENDING):  # noqa: PT011
        send_whole(listener, *order)
    assert listener.caught == order[0]
    assert stopped_by(found.value) == order[0]


def test_a_signal_of_somebody_else_is_not_the_first() -> None:
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        listener = Listener()
        with pytest.raises(KeyboardInterrupt), listener.listening([signal.SIGINT]):
            send_whole(listener, signal.SIGUSR2, signal.SIGINT)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_the_earlier_pipe_is_told_again() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write)
    try:
        with Listener().listening(), Listener().listening():
            pass
        assert signal.set_wakeup_fd(before) == write
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


def test_what_came_later_stays() -> None:
    arrivals = Arrivals()
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(-1)
    try:
        arrivals.open()
        signal.set_wakeup_fd(write)
        arrivals.close()
        assert signal.set_wakeup_fd(-1) == write
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


def test_a_forked_child_says_nothing_in_its_parents_name() -> None:
    listener = Listener()
    with listener.listening(ENDING):
        child = os.fork()
        if not child:
            signal.signal(signal.SIGUSR1, lambda *_: None)
            signal.raise_signal(signal.SIGUSR1)
            os._exit(0)
        os.waitpid(child, 0)
        assert listener._arrivals.take() == b""
