"""Links from the page of a run to those of its evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from rl4bio.reports.html.page import local_link


def evaluation_links(places: Sequence[str]) -> list[str]:
    """One paragraph, as HTML; nothing where there is no evaluation.

    Args:
        places: of the pages, seen from the run's; several are told apart by their folders.
    """
    if not places:
        return []
    names = ["evaluation"]
    if len(places) > 1:
        names = [f"evaluation: {PurePosixPath(place).parent.name}" for place in places]
    links = (local_link(place, name) for place, name in zip(places, names, strict=True))
    return [f"<p>On held-out data: {' · '.join(links)}</p>"]
