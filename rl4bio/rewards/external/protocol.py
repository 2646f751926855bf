"""Requests and answers of an engine, one JSON object a line.

    {"id": "0", "smiles": "CCO"}                     to the engine
    {"id": "0", "score": -7.2, "anything": "else"}   from it, in any order
    {"id": "1", "error": "no 3-D conformer"}

The engine is untrusted: whatever else it writes is counted and otherwise ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rl4bio.rewards.external.failures import Failure, shown_reason

MAX_FLOAT32 = 3.4028234663852886e38
_SHOWN_BYTES = 120


def request_lines(molecules: Mapping[str, str]) -> bytes:
    """The requests for some SMILES by their ids."""
    rows = ({"id": key, "smiles": smiles} for key, smiles in molecules.items())
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class AnswerReader:
    """Reads the answers to one batch.

    Args:
        ids: of the requests.
        field: name of the score in an answer.
    """

    def __init__(self, ids: Sequence[str], field: str) -> None:
        self.field = field
        self.found: dict[str, float | Failure] = {}
        """By id; ids that were not answered are missing."""
        self.noise: list[tuple[str, str]] = []
        """What was ignored: its kind and an example."""
        self._ids = frozenset(ids)
        self._contradicted: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether every request has its answer."""
        return len(self.found) == len(self._ids)

    def read_line(self, line: bytes) -> bool:
        """Take a line; whether all is answered now."""
        if line.strip():
            self._take(_parsed(line), line)
        return self.complete

    def read_body(self, body: bytes) -> None:
        """Take a whole answer: lines, or one JSON list of objects."""
        if not body.lstrip().startswith(b"["):
            for line in body.split(b"\n"):
                self.read_line(line)
            return
        values = _parsed(body)
        for value in values if isinstance(values, list) else [None]:
            self._take(value, body if value is None else json.dumps(value).encode())

    def _take(self, answer: Any, line: bytes) -> None:
        example = shown_reason(line[:_SHOWN_BYTES].decode("utf-8", "replace"))
        if not isinstance(answer, dict):
            self.noise.append(("output that is no JSON object; write logs to stderr", example))
            return
        key = answer.get("id")
        # An id that came back as a number is still clear.
        key = str(key) if isinstance(key, int) and not isinstance(key, bool) else key
        if not isinstance(key, str) or key not in self._ids:
            self.noise.append(("answers without an id of their batch", example))
            return
        value = self._value(answer)
        before = self.found.setdefault(key, value)
        if before != value and key not in self._contradicted:
            self._contradicted.add(key)
            reason = f"answered twice, with {_told(before)} and {_told(value)}"
            self.found[key] = Failure("unusable", shown_reason(reason))

    def _value(self, answer: dict[str, Any]) -> float | Failure:
        """The score of an answer, or why it has none."""
        if answer.get("error") not in (None, "", False):
            return Failure("refused", shown_reason(str(answer["error"])))
        if self.field not in answer:
            fields = ", ".join(str(name) for name in answer if name != "id") or "nothing"
            reason = f"an answer has no {self.field!r} but {fields}; see option field"
            return Failure("unusable", shown_reason(reason))
        value = answer[self.field]
        if value is None:
            return Failure("refused", f"{self.field} is null")
        if isinstance(value, bool) or not isinstance(value, int | float):
            kind = type(value).__name__
            reason = f"{self.field} is {json.dumps(value)} ({kind}), not a number"
            return Failure("unusable", shown_reason(reason))
        if isinstance(value, float) and math.isnan(value):
            return Failure("refused", f"{self.field} is NaN")
        if abs(value) > MAX_FLOAT32:
            return Failure("unusable", f"{self.field} is no finite number (float32)")
        return float(value)


def _parsed(text: bytes) -> Any:
    """The JSON value of a text; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # ValueError: UnicodeDecodeError and huge integers too
        return None


def _told(value: float | Failure) -> str:
    return str(value.reason if isinstance(value, Failure) else value)
