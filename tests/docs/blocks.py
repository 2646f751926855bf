"""The fenced blocks of the pages that a reader reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "experiments").glob("*/README.md")),
    ROOT / "benchmarks" / "RESULTS.md",
]
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block."""

    page: str
    """Its path in the repository."""
    line: int
    """Of its fence, from 1 on."""
    language: str
    text: str

    @property
    def where(self) -> str:
        """As an editor opens it."""
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name that a first line such as `# my_rewards.py` gives it."""
        found = re.match(r"# (\w+\.py)\b", self.text)
        return found[1] if found else None


def blocks_of(path: Path) -> list[Block]:
    """Those of a page, in their order."""
    text, page = path.read_text("utf-8"), path.relative_to(ROOT).as_posix()
    return [
        Block(
            page=page,
            line=text.count("\n", 0, found.start()) + 1,
            language=found[2],
            text=re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
        )
        for found in FENCE.finditer(text)
    ]


def commands(text: str) -> Iterator[str]:
    """The lines of a shell block, without comments; those that a backslash joins are one."""
    for line in text.replace("\\\n", " ").splitlines():
        words = re.sub(r"(^|\s)#.*", "", line).strip()
        if words:
            yield words
