"""Engines of a few lines, each run by a bare interpreter that starts quickly."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

PRELUDE = """
import json, os, signal, subprocess, sys, time
def requests():
    return (json.loads(line) for line in sys.stdin)
def answer(request, score):
    print(json.dumps({"id": request["id"], "score": score}), flush=True)
"""

Program = Callable[[str], list[str]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The command of a Python program, which has `requests` and `answer` at hand."""

    def program(source: str) -> list[str]:
        path = tmp_path / f"engine{len(list(tmp_path.glob('engine*')))}.py"
        path.write_text(PRELUDE + textwrap.dedent(source))
        return [sys.executable, "-I", "-S", str(path)]

    return program
