"""The trade-off between two objectives as inline SVG, with the molecules that nothing else beats.

Two sets of molecules stand out by colour and by shape: those of a first and of a last step, or of
a base and of a tuned model.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rl4bio.reports.html.charts import HEIGHT, WIDTH, Frame, axes, place
from rl4bio.reports.html.page import html_table, text
from rl4bio.reports.html.ticks import exponent_of, nice_ticks, number_text, power_text
from rl4bio.statistics.quantities import Tradeoff

MOST_POINTS = 2000
"""Molecules that are drawn; the front and the two sets come first, the others are thinned."""
MOST_LISTED = 50
"""Members of the front in its table."""

STYLE = """
.pareto { max-width: 40rem; margin: 0; } .pareto svg { width: 100%; height: auto; display: block; }
.pareto text { font: 11px system-ui, sans-serif; fill: var(--muted); }
.p-rest { stroke: var(--edge); stroke-width: 2; stroke-linecap: round; fill: none; opacity: .55; }
.p-first { stroke: var(--c0); fill: none; } .p-last { stroke: none; fill: var(--c1); }
.p-front { stroke: var(--ink); fill: none; stroke-linejoin: round; }
.p-member { stroke: var(--ink); fill: none; pointer-events: all; }
.pareto .legend svg { display: inline-block; width: 1rem; vertical-align: middle; }
"""

_SHAPES = {
    "p-first": "m0,-3l3,3l-3,3l-3,-3z",  # a hollow diamond
    "p-last": "m0,-3l3,5.2h-6z",  # a filled triangle
    "p-rest": "h0",  # a round dot, by its line cap
}


def pareto_section(
    found: Tradeoff,
    sets: Mapping[str, NDArray[np.bool_]],
    *,
    smiles: Sequence[str],
    listed: Mapping[str, Sequence[str]],
    rest: str,
    structures: tuple[str, Collection[int]] = ("", ()),
) -> str:
    """Heading, picture and the members of the front, as HTML.

    Args:
        found: n different molecules.
        sets: one or two names -> bool [n], which molecules are drawn as its own.
        smiles: n, canonical.
        listed: more columns of the table, heading -> n cells.
        rest: what the other molecules are called in the legend; "" where there are none.
        structures: HTML with a part `front-r` for some ranks r of the front, and those ranks.
    """
    first, second = found.objectives
    drawn, linked = structures
    members = front_members(found)
    left_out = int((~found.accepted).sum())
    notes = [
        f"{_capital(first.title)}: {first.better} is better; {second.title}: {second.better} is "
        "better. The line is the front: no other molecule is at least as good in both and better "
        "in one.",
    ]
    if left_out:
        notes.append(
            f"{left_out:,} of {len(smiles):,} molecules cannot be on it: some reward gives them 0, "
            "as to one outside of what a predictor knows, or one that a filter refuses."
        )
    if len(members) > MOST_LISTED:
        notes.append(f"The table shows {MOST_LISTED} of {len(members)}.")
    rows = [
        [
            str(rank),
            smiles[n],
            *(number_text(value) for value in found.values[n]),
            *(cells[n] for cells in listed.values()),
        ]
        for rank, n in enumerate(members[:MOST_LISTED], start=1)
    ]
    header = ["", "SMILES", first.title, second.title, *listed]
    return (
        f"<h3>{text(_capital(first.title))} against {text(second.title)}: "
        f"{len(members)} molecules on the front</h3>"
        f"{pareto_chart(found, sets, rest=rest, linked=linked)}"
        f'<p class="note">{text(" ".join(notes))}</p>{drawn}'
        f"{html_table([header, *rows], sortable=True)}"
    )


def pareto_chart(
    found: Tradeoff,
    sets: Mapping[str, NDArray[np.bool_]],
    *,
    rest: str,
    linked: Collection[int] = (),
) -> str:
    """The figure: the second objective across, the first one upward, as in `pareto_section`.

    The rings of the ranks in `linked` lead to the parts of the page of their names.
    """
    first, second = found.objectives
    shown = _drawn(found, list(sets.values()))
    up, across = found.values[shown, 0], found.values[shown, 1]
    ticks = nice_ticks(float(up.min()), float(up.max()))
    around = nice_ticks(float(across.min()), float(across.max()))
    frame = Frame(left=around[0], right=around[-1], low=ticks[0], high=ticks[-1])
    exponent = exponent_of(max(abs(ticks[0]), abs(ticks[-1])))
    unit = f" ×{power_text(exponent)}" if exponent else ""
    styles = dict(zip(("p-first", "p-last"), sets, strict=False))
    marked = np.zeros(len(found.values), dtype=np.bool_)
    for members in sets.values():
        marked |= members
    layers = {"p-rest": shown[~marked[shown]]} | {
        style: shown[sets[name][shown]] for style, name in styles.items()
    }
    marks = "".join(_marks(style, found.values[rows], frame) for style, rows in layers.items())
    legend = {"p-rest": rest, **styles} if rest else styles
    return (
        f'<figure class="pareto"><figcaption><strong>{text(_capital(first.title))}</strong> '
        f'<span class="unit">upward{text(unit)}, {first.better} is better</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="pareto">'
        f'<title id="pareto">{text(_description(found, sets))}</title>'
        f"{axes(frame, ticks, exponent, f'{second.title}, {second.better} is better')}"
        f"{marks}{_front(found, frame, linked)}</svg>{_legend(legend)}</figure>"
    )


def front_members(found: Tradeoff) -> list[int]:
    """The rows of the front, best first in the first objective."""
    rows = np.flatnonzero(found.on_front)
    order = np.lexsort((rows, -found.objectives[0].sign * found.values[rows, 0]))
    return [int(row) for row in rows[order]]


def _drawn(found: Tradeoff, sets: Iterable[NDArray[np.bool_]]) -> NDArray[np.intp]:
    """The rows in the picture, rising: the front, then the sets, then others, evenly thinned."""
    finite = np.isfinite(found.values.sum(axis=1))
    kept = np.zeros(len(finite), dtype=np.bool_)
    for wanted in (found.on_front, *sets, finite):
        rows: NDArray[np.intp] = np.flatnonzero(wanted & finite & ~kept)
        room = max(0, MOST_POINTS - int(kept.sum()))
        if len(rows) > room:
            rows = rows[np.linspace(0, len(rows) - 1, room).astype(np.intp)]
        kept[rows] = True
    return np.flatnonzero(kept)


def _marks(style: str, values: NDArray[np.float64], frame: Frame) -> str:
    shape = _SHAPES[style]
    data = "".join(f"M{place(frame.x(x))},{place(frame.y(y))}{shape}" for y, x in values)
    return f'<path class="{style}" d="{data}"/>' if data else ""


def _front(found: Tradeoff, frame: Frame, linked: Collection[int]) -> str:
    """The staircase that bounds what is dominated, and a ring around each member."""
    ranks = {row: rank for rank, row in enumerate(front_members(found), start=1)}
    members = [row for row in ranks if np.isfinite(found.values[row]).all()]
    places = [(frame.x(x), frame.y(y)) for y, x in found.values[members]]
    if not places:
        return ""
    steps = [f"M{place(places[0][0])},{place(places[0][1])}"]
    for x, y in places[1:]:
        # Falling in the first objective first: the corner lies on the dominated side.
        steps.append(f"V{place(y)}H{place(x)}")
    rings = ""
    for (x, y), row in zip(places, members, strict=True):
        ring = (
            f'<circle class="p-member" cx="{place(x)}" cy="{place(y)}" r="4">'
            f"<title>{text(pair_text(found, row))}</title></circle>"
        )
        rank = ranks[row]
        rings += f'<a href="#front-{rank}">{ring}</a>' if rank in linked else ring
    return f'<path class="p-front" d="{"".join(steps)}"/>{rings}'


def _legend(names: Mapping[str, str]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true"><path class="{style}" '
        f'd="M5,5{_SHAPES[style]}"/></svg> {text(name)}</li>'
        for style, name in names.items()
    )
    return f'<ul class="legend">{items}</ul>'


def _description(found: Tradeoff, sets: Mapping[str, NDArray[np.bool_]]) -> str:
    """The picture in words, for those who cannot see it."""
    first, second = found.objectives
    parts = [
        f"{first.title} ({first.better} is better) against {second.title} ({second.better} is "
        f"better) of {len(found.values):,} molecules"
    ]
    for name, own in sets.items():
        medians = [_median(found.values[own, k]) for k in range(2)]
        parts.append(f"{name}: medians {number_text(medians[0])} and {number_text(medians[1])}")
    members = front_members(found)
    if members:
        ends = " to ".join(
            dict.fromkeys(pair_text(found, row) for row in (members[0], members[-1]))
        )
        parts.append(f"the front has {len(members)} molecules, from {ends}")
    return f"{'; '.join(parts)}."


def pair_text(found: Tradeoff, row: int) -> str:
    """Both values of a molecule, with their names."""
    return " and ".join(
        f"{objective.title} {number_text(value)}"
        for objective, value in zip(found.objectives, found.values[row], strict=True)
    )


def _median(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else math.nan


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]
