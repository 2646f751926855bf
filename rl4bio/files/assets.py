"""What ships with the package: `rl4bio:<name>` is a folder of its own files."""

from __future__ import annotations

from pathlib import Path

import rl4bio

PREFIX = "rl4bio:"
FOLDER = Path(rl4bio.__file__).parent / "assets"


def is_asset(where: str) -> bool:
    """Whether a text names something that ships, known or not."""
    return where.startswith(PREFIX)


def asset(where: str, marker: str) -> Path | None:
    """The folder behind `rl4bio:<name>`; None where no asset of this name holds the marker.

    Args:
        where: with the prefix.
        marker: a file that assets of the wanted sort hold, such as config.json.
    """
    name = where.removeprefix(PREFIX)
    return FOLDER / name if name in shipped(marker) else None


def shipped(marker: str) -> list[str]:
    """Names of the assets that hold a file, sorted, without the prefix."""
    return sorted(path.relative_to(FOLDER).parts[0] for path in FOLDER.glob(f"*/{marker}"))


def shipped_text(marker: str) -> str:
    """The same names as a user writes them, for messages."""
    return ", ".join(PREFIX + name for name in shipped(marker)) or "none"
