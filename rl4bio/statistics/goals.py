"""Raw values of rewards over a set of molecules, and which molecules reach every goal.

A reward that predicts may say how far each molecule lies inside its predictor's domain: the raw
value `<name>_domain`, 0 outside. There a prediction is worth nothing, and does not count here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rl4bio.chem.properties import PROPERTIES
from rl4bio.chem.reading import Molecule
from rl4bio.errors import ConfigError
from rl4bio.registry import did_you_mean
from rl4bio.statistics.quantities import quantity_columns

DOMAIN = "_domain"

Goals = Mapping[str, Sequence[float | None]]
"""Name -> [lowest, highest], None for no limit."""
RawValues = Mapping[str, Sequence[float]]
"""Name -> one number a text; NaN = none."""


def quantity_values(raw: RawValues, rows: Sequence[int]) -> dict[str, list[float]]:
    """Each quantity over the rows; a prediction over those inside its domain alone.

    The scores of parts of `combined`, which are raw values too, are left out.
    """
    names = [column.removeprefix("raw_") for column in quantity_columns(f"raw_{n}" for n in raw)]
    return {name: [raw[name][row] for row in rows if _is_inside(raw, name, row)] for name in names}


def inside_flags(raw: RawValues, rows: Sequence[int]) -> dict[str, list[float]]:
    """1 or 0 for each row, of each prediction with a domain."""
    return {
        name: [float(_is_inside(raw, name, row)) for row in rows]
        for name in raw
        if name + DOMAIN in raw
    }


def hit_flags(
    molecules: Sequence[Molecule], rows: Sequence[int], raw: RawValues, goals: Goals
) -> list[float]:
    """1 for each molecule of `rows` that reaches every goal, 0 for every other text.

    Args:
        molecules: n, valid or not.
        rows: of different valid molecules.
        raw: of all n.
        goals: see `resolve_goal` for the names.

    Raises:
        ConfigError: a goal's name is unknown.
    """
    flags = [0.0] * len(molecules)
    sources = {name: resolve_goal(name, list(raw)) for name in goals}
    for row in rows:
        values = {
            name: float(PROPERTIES[name](molecules[row])) if source is None else raw[source][row]
            for name, source in sources.items()
        }
        trusted = all(s is None or _is_inside(raw, s, row) for s in sources.values())
        flags[row] = float(trusted and all(_reaches(values[n], goals[n]) for n in goals))
    return flags


def resolve_goal(name: str, raw: Sequence[str]) -> str | None:
    """The raw value that a goal names, in full or by the part behind the last dot.

    Returns:
        None where it is a property that needs no reward, such as sa.

    Raises:
        ConfigError: there is none of this name, or more than one.
    """
    found = [known for known in raw if known == name] or [
        known for known in raw if known.rpartition(".")[2] == name
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"evaluation.goals.{name}: may be any of {', '.join(found)}; write one")
    if name in PROPERTIES:
        return None
    known = [*raw, *PROPERTIES]
    raise ConfigError(
        f"evaluation.goals.{name}: no raw value or property has this name"
        f"{did_you_mean(name, known)}; known: {', '.join(known)}"
    )


def goals_text(goals: Goals) -> str:
    """The goals in words, such as `affinity at least 7, sa at most 4`."""
    words = []
    for name, (low, high) in goals.items():
        limits = {"at least": low, "at most": high}
        words.append(
            f"{name} {' and '.join(f'{w} {v:g}' for w, v in limits.items() if v is not None)}"
        )
    return ", ".join(words)


def _is_inside(raw: RawValues, name: str, row: int) -> bool:
    return name + DOMAIN not in raw or raw[name + DOMAIN][row] > 0


def _reaches(value: float, goal: Sequence[float | None]) -> bool:
    """Whether a value lies between both limits; NaN does not."""
    low, high = goal
    return value == value and (low is None or value >= low) and (high is None or value <= high)
