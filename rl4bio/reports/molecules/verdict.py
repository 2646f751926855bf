"""What an evaluation of written molecules found: one sentence, and one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rl4bio.reports.answers.estimates import number_interval, percent
from rl4bio.reports.html.dot_plot import Dot, dot_plot
from rl4bio.reports.molecules.records import MoleculeRecord
from rl4bio.statistics.bootstrap import Estimate, estimate, mean_statistic
from rl4bio.statistics.molecules import MoleculeSummary


def molecule_verdict(
    summaries: Mapping[str, MoleculeSummary],
    records: Mapping[str, Sequence[MoleculeRecord]],
    *,
    before: str,
    seed: int,
    rounds: int,
) -> str:
    """The sentence: mean reward, or validity without one, of tuned and of what it began with.

    Args:
        summaries: of every model.
        records: n a model, row by row from the same sampling noise.
        before: what training began with.
        seed: of the interval of the difference.
        rounds: its resamples.
    """
    name = list(records)[-1]
    new, old = summaries[name], summaries.get(before)
    rewarded = not math.isnan(new.reward_all.value)
    mean = new.reward_all.value
    said = f"{name} earns {mean:.3f} a molecule" if rewarded else f"{name} writes molecules"
    valid = f"{percent(new.validity.value)}% of its texts are valid"
    if old is None or name == before:
        return f"{said}; {valid}."
    if rewarded:
        said += f", {before} {old.reward_all.value:.3f}"
    gain = _gain(records[name], records[before], rewarded=rewarded, seed=seed, rounds=rounds)
    return f"{said}; {_judged(gain)}; {valid}, {percent(old.validity.value)}% of {before}'s."


def molecule_picture(summaries: Mapping[str, MoleculeSummary]) -> str:
    """A figure of each model's mean reward, or of its validity without one."""
    totals = [Dot(name=name, value=found.reward_all) for name, found in summaries.items()]
    if any(not math.isnan(dot.value.value) for dot in totals):
        return dot_plot("Mean reward of all texts, an invalid one counted as 0", totals)
    shares = {name: found.validity for name, found in summaries.items() if name != "corpus"}
    dots = [Dot(name=name, value=_percent(share)) for name, share in shares.items()]
    return dot_plot("Valid texts, %", dots)


def _gain(
    new: Sequence[MoleculeRecord],
    old: Sequence[MoleculeRecord],
    *,
    rewarded: bool,
    seed: int,
    rounds: int,
) -> Estimate:
    """The mean difference row by row, with its interval."""

    def value(record: MoleculeRecord) -> float:
        if not record.molecule.valid:
            return 0.0
        return record.total if rewarded else 1.0

    gains = [value(after) - value(first) for after, first in zip(new, old, strict=True)]
    return estimate(mean_statistic(gains), size=len(gains), seed=seed, rounds=rounds)


def _judged(gain: Estimate) -> str:
    if gain.low == gain.high == 0:
        return "no difference"
    if gain.low <= 0 <= gain.high:
        return f"the difference may be chance, {number_interval(gain)}"
    better = "better" if gain.value > 0 else "worse"
    return f"{better} than chance explains, by {number_interval(gain)}"


def _percent(share: Estimate) -> Estimate:
    return Estimate(value=100 * share.value, low=100 * share.low, high=100 * share.high)
