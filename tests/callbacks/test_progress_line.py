"""A progress line in a real terminal: a pseudo-terminal whose width is set."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from rl4bio.callbacks.progress_line import LinePart, ProgressLine, aside, clock, fitting

PARTS = [
    LinePart("step 12/500", "12/500"),
    LinePart("0:01:10 elapsed", drop=4),
    LinePart("0:45:10 left", drop=5),
    LinePart("reward 0.412", bold=True),
    LinePart("kl 0.0031", drop=3),
    LinePart("187 tokens", "187 tok", drop=2),
    LinePart("12% equal groups", "12% equal", drop=1),
]


class Terminal:
    """Both ends of a pseudo-terminal."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self.resize(80)

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def written(self) -> str:
        """All that was written since the last call: the kernel passes it on in its own time."""
        self.stream.write("\0")
        self.stream.flush()
        read = b""
        while not read.endswith(b"\0"):
            read += os.read(self._master, 100_000)
        return read[:-1].decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")  # a stale variable does not count
    made = Terminal()
    yield made
    made.close()


def visible(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).replace("\r", "")


@pytest.mark.parametrize("columns", [20, 40, 60, 79, 80, 81, 100, 120, 200])
def test_a_line_is_never_as_wide_as_the_terminal(terminal: Terminal, columns: int) -> None:
    terminal.resize(columns)
    line = ProgressLine(terminal.stream)
    line.draw(PARTS, 0.5)
    written = terminal.written()
    assert "\n" not in written
    assert len(visible(written)) < columns
    assert "12/500" in written
    assert "reward 0.412" in written or columns < 25


def test_what_80_columns_hold(terminal: Terminal) -> None:
    ProgressLine(terminal.stream).draw(PARTS, 0.5)
    shown = "12/500 · 0:01:10 elapsed · 0:45:10 left · reward 0.412 · kl 0.0031 · 187 tok"
    assert visible(terminal.written()) == shown


def test_a_wide_terminal_has_a_bar(terminal: Terminal) -> None:
    terminal.resize(140)
    ProgressLine(terminal.stream).draw(PARTS, 0.5)
    written = terminal.written()
    assert "\x1b[32m━" in written
    assert visible(written).endswith(" · ".join(part.long for part in PARTS))


def test_no_colour_where_the_user_wants_none(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.resize(140)
    line = ProgressLine(terminal.stream)
    assert line.redraws
    line.draw(PARTS, 0.5)
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.written())


@pytest.mark.parametrize("name", ["dumb", ""])
def test_nothing_is_redrawn_on_a_dumb_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TERM", name or "dumb")
    assert not ProgressLine(terminal.stream).redraws


def test_a_narrower_terminal_leaves_no_dead_lines(terminal: Terminal) -> None:
    """A line of 78 columns takes two rows of 40: both are removed."""
    line = ProgressLine(terminal.stream)
    line.draw(PARTS)
    terminal.written()
    terminal.resize(39)
    line.draw(PARTS)
    assert terminal.written().startswith("\x1b[1A\r\x1b[J")


def test_what_is_printed_meanwhile_stands_above(terminal: Terminal) -> None:
    line = ProgressLine(terminal.stream)
    line.draw(PARTS)
    terminal.written()
    with line.aside():
        terminal.stream.write("a completion\n")
    cleared, _, redrawn = terminal.written().partition("a completion\r\n")
    assert cleared == "\r\x1b[J"
    assert "reward 0.412" in redrawn
    line.leave()
    assert terminal.written() == "\r\n"


def test_an_encoding_without_the_cell(terminal: Terminal) -> None:
    terminal.resize(140)
    terminal.stream.reconfigure(encoding="latin-1")  # type: ignore[attr-defined]
    line = ProgressLine(terminal.stream)
    line.draw(PARTS[:1], 0.5)
    assert "###" in terminal.written()


def test_the_order_in_which_parts_go() -> None:
    for width in range(100, 5, -1):
        texts = [text for text, _ in fitting(PARTS, width)]
        assert texts[0] in ("step 12/500", "12/500")
        assert "reward 0.412" in texts
        gone = [part.drop for part in PARTS if {part.long, part.short}.isdisjoint(texts)]
        assert sorted(gone) == list(range(1, len(gone) + 1))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00:00"), (59.6, "0:01:00"), (3725.2, "1:02:05"), (90000, "25:00:00")],
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_a_line_whose_stream_is_closed_is_forgotten() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream)
    line.draw([LinePart("step 1/5")], 0.2)
    assert ProgressLine.drawn is line
    stream.close()
    with aside():
        pass
    assert ProgressLine.drawn is None
