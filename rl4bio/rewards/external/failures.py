"""Why a molecule has no score."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rl4bio.text.redaction import mask_secrets, one_line

log = logging.getLogger("rl4bio")

Kind: TypeAlias = Literal["time-out", "crash", "unreachable", "no answer", "unusable", "refused"]
"""refused: the engine says that it has no score; unusable: it gave something else than a number;
the others: the batch was not answered, which may go better next time."""

MAX_REASON_CHARACTERS = 300


class ExchangeError(Exception):
    """A batch could not be exchanged with an engine; its message says why.

    Args:
        kind: of the failure.
        reason: as the engine or the system gave it, untrusted.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(shown_reason(reason))
        self.kind: Kind = kind


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands where a score would."""

    kind: Kind
    reason: str
    """On one line, without secrets."""

    @property
    def final(self) -> bool:
        """Whether asking again would bring the same."""
        return self.kind in ("refused", "unusable")

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


def shown_reason(text: str) -> str:
    """An engine's words, fit for a message."""
    return one_line(mask_secrets(text.strip()), MAX_REASON_CHARACTERS)


class Tally:
    """Counts events by kind and logs the 1st, 10th, 100th, ... of each.

    Args:
        subject: what the lines begin with.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.counts: Counter[str] = Counter()

    def add(self, kind: str, count: int, example: str) -> None:
        """Count some events of a kind; a line shows the count so far and this example."""
        before = self.counts[kind]
        self.counts[kind] += count
        if len(str(self.counts[kind])) > len(str(before)) or (count and not before):
            log.warning("%s: %s, %d so far; %s", self.subject, kind, self.counts[kind], example)
