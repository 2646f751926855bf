"""A line that is redrawn in place, as wide as the terminal is at that moment."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, TextIO

SEPARATOR = " · "
BAR = ("━", "#")
"""A cell of the bar, and what stands for it where the terminal's encoding lacks it."""
LEAST_BAR, MOST_BAR = 8, 30
_COLOURS = {"bar": "\x1b[32m", "rest": "\x1b[2m", "bold": "\x1b[1m"}
_PLAIN = "\x1b[0m"


@dataclass(slots=True)
class LinePart:
    """A piece of the line, and what becomes of it where there is little room."""

    long: str
    short: str = ""
    """Empty = the long one."""
    drop: int = 0
    """Where the line is too wide, the lowest number above 0 goes first; 0 stays."""
    bold: bool = False


class ProgressLine:
    """Where progress is shown. Nothing is redrawn where the stream is no terminal, or a dumb one.

    Colours obey NO_COLOR (no-color.org). The last column stays free, since some terminals go to the
    next line when it is written.
    """

    drawn: ClassVar[ProgressLine | None] = None
    """The line that is on the screen now."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.redraws = self.stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.coloured = self.redraws and not os.environ.get("NO_COLOR")
        self._drawn = 0
        """Columns of the line on the screen; 0 = there is none."""
        self._parts: Sequence[LinePart] = ()
        self._done: float | None = None

    def keep(self, parts: Sequence[LinePart], done: float | None = None) -> None:
        """Remember the newest state, for `write_line` and after something else was printed."""
        self._parts, self._done = parts, done

    def draw(self, parts: Sequence[LinePart], done: float | None = None) -> None:
        """Put the line in the place of the last one.

        Args:
            parts: from left to right.
            done: share of the whole, for a bar where there is room for one.
        """
        self.keep(parts, done)
        width = self._columns() - 1
        shown = fitting(parts, width)
        plain = SEPARATOR.join(text for text, _ in shown)[:width]
        text = plain
        if self.coloured and len(plain) < width:
            bold = _COLOURS["bold"]
            text = SEPARATOR.join(f"{bold}{t}{_PLAIN}" if b else t for t, b in shown)
        room = min(width - len(plain) - 1, MOST_BAR)
        if done is not None and room >= LEAST_BAR:
            text, plain = f"{self._bar(done, room)} {text}", f"{' ' * room} {plain}"
        self.stream.write(f"{self._clearing()}{text}")
        self.stream.flush()
        self._drawn = len(plain)
        ProgressLine.drawn = self

    def write_line(self) -> None:
        """The newest state as a line of its own, whole."""
        self.stream.write(SEPARATOR.join(part.long for part in self._parts) + "\n")
        self.stream.flush()

    def leave(self) -> None:
        """End the line; what is written next begins on its own."""
        if self._drawn:
            self.stream.write("\n")
            self.stream.flush()
        self._drawn = 0
        ProgressLine.drawn = None

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Room above the line for what is printed meanwhile."""
        drawn = self._drawn > 0
        if drawn:
            self.stream.write(self._clearing())
            self.stream.flush()
            self._drawn = 0
        yield
        if drawn:
            self.draw(self._parts, self._done)

    def _columns(self) -> int:
        try:
            found = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):  # a stream without a file
            found = 0
        return found or 80

    def _clearing(self) -> str:
        """Remove the line; in a terminal that was made narrower since, it has become several."""
        above = max(self._drawn - 1, 0) // self._columns()
        return (f"\x1b[{above}A" if above else "") + "\r\x1b[J"

    def _bar(self, done: float, width: int) -> str:
        cell = BAR[0]
        try:
            cell.encode(self.stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            cell = BAR[1]
        full = min(width, int(done * width))
        if not self.coloured:
            return cell * full + "-" * (width - full)
        rest = f"{_COLOURS['rest']}{cell * (width - full)}{_PLAIN}"
        return f"{_COLOURS['bar']}{cell * full}{_PLAIN}{rest}"


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Room above the line that is on the screen, where there is one."""
    line = ProgressLine.drawn
    if line is not None and getattr(line.stream, "closed", False):
        line = ProgressLine.drawn = None  # whose screen is gone
    with contextlib.nullcontext() if line is None else line.aside():
        yield


def fitting(parts: Sequence[LinePart], width: int) -> list[tuple[str, bool]]:
    """The texts that fit a width, and whether each is bold: long, else short, else fewer."""

    def columns(texts: Sequence[tuple[str, bool]]) -> int:
        return sum(len(text) for text, _ in texts) + len(SEPARATOR) * (len(texts) - 1)

    left = list(parts)
    shown = [(part.long, part.bold) for part in left]
    while columns(shown) > width:
        shown = [(part.short or part.long, part.bold) for part in left]
        droppable = [part for part in left if part.drop]
        if columns(shown) <= width or not droppable:
            break
        left.remove(min(droppable, key=lambda part: part.drop))
    return shown


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 3725.2 -> 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
