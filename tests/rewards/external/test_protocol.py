"""Tests of the lines between us and an engine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rl4bio.rewards.external.failures import Failure
from rl4bio.rewards.external.protocol import AnswerReader, request_lines


def read(*lines: bytes, ids: tuple[str, ...] = ("0", "1")) -> AnswerReader:
    reader = AnswerReader(ids, "score")
    for line in lines:
        reader.read_line(line)
    return reader


def test_requests() -> None:
    lines = request_lines({"7": "CCO", "8": "C/C=C\\C"}).splitlines()
    assert lines[0] == b'{"id": "7", "smiles": "CCO"}'
    assert json.loads(lines[1]) == {"id": "8", "smiles": "C/C=C\\C"}


def test_answers_in_any_order_with_more_fields() -> None:
    reader = AnswerReader(["0", "1"], "score")
    assert not reader.read_line(b'{"pose": [1, 2], "id": "1", "score": -7.25}\r')
    assert not reader.read_line(b"  ")
    assert reader.read_line(b'{"id": 0, "score": 3, "error": null}')  # an id as a number
    assert reader.found == {"1": -7.25, "0": 3.0}
    assert reader.noise == []


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ({"error": "no conformer"}, "refused", "no conformer"),
        ({"error": "clash", "score": 1}, "refused", "clash"),
        ({"score": None}, "refused", "score is null"),
        ({"score": float("nan")}, "refused", "score is NaN"),
        ({"score": float("-inf")}, "unusable", "no finite number"),
        ({"score": 1e39}, "unusable", "no finite number"),
        ({"score": 10**400}, "unusable", "no finite number"),
        ({"score": "-7.2"}, "unusable", 'score is "-7.2" (str), not a number'),
        ({"score": True}, "unusable", "score is true (bool)"),
        ({"score": [1]}, "unusable", "(list)"),
        ({"affinity": -7.2, "pose": 1}, "unusable", "no 'score' but affinity, pose"),
        ({}, "unusable", "but nothing"),
    ],
)
def test_answers_without_a_score(answer: dict[str, Any], kind: str, words: str) -> None:
    found = read(json.dumps({"id": "0", **answer}).encode()).found["0"]
    assert isinstance(found, Failure)
    assert (found.kind, found.final) == (kind, True)
    assert words in found.reason


@pytest.mark.parametrize(
    "line",
    [b"AutoDock Vina 1.2", b"-7.2", b"null", b"[]", b'{"id": "0"', b"\xff\xfe", b'{"score": 1}',
     b'{"id": "2", "score": 1}', b'{"id": ["0"], "score": 1}', b'{"id": true, "score": 1}',
     b"[" * 100_000, b'{"id": "0", "score": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_noise_is_no_answer(line: bytes) -> None:
    reader = read(line, b'{"id": "1", "score": 0.5}')
    assert reader.found == {"1": 0.5}
    assert len(reader.noise) == 1
    assert not reader.complete


def test_answered_twice() -> None:
    line = b'{"id": "0", "score": -7.2}'
    assert read(line, line).found == {"0": -7.2}  # the same is no contradiction
    found = read(line, b'{"id": "0", "score": -6.9}', line).found["0"]
    assert isinstance(found, Failure)
    assert found.reason == "answered twice, with -7.2 and -6.9"


def test_a_body_is_lines_or_a_list() -> None:
    rows = [{"id": "0", "score": 1.5}, {"id": "1", "error": "no"}]
    for body in ("\n".join(map(json.dumps, rows)), json.dumps(rows), json.dumps(rows, indent=2)):
        reader = AnswerReader(["0", "1"], "score")
        reader.read_body(body.encode())
        assert reader.found == {"0": 1.5, "1": Failure("refused", "no")}
    reader = AnswerReader(["0", "1"], "score")
    reader.read_body(b"[1, 2")
    assert (reader.found, len(reader.noise)) == ({}, 1)


def test_an_engines_words_are_masked_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCK_TOKEN", "s3cret-of-the-service")
    error = "s3cret-of-the-service\n\x1b[31m" + "x" * 10_000
    found = read(json.dumps({"id": "0", "error": error}).encode()).found["0"]
    assert isinstance(found, Failure)
    assert found.reason.startswith("***\\n\\x1b[31mx")
    assert len(found.reason) <= 300
