"""The metrics of a training run that its report shows, each with its unit and in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rl4bio.reports.html.charts import Chart, Point, Series
from rl4bio.reports.run.known_metrics import (
    BARE,
    BEST,
    CALLS,
    KL,
    LOSS,
    MOLECULES,
    ROLLOUT,
    SPREAD,
    UPDATE,
    Metric,
    with_and_without,
)

Row = dict[str, float]
"""One logged step: `step` and whatever was logged with it."""


_TIMES = {
    "generate": "Sampling the completions.",
    "score": "Computing the rewards.",
    "refill": "Sampling again for prompts whose completions all got the same reward.",
    "reference": "Log-probabilities of the reference model.",
    "update": "The gradient steps.",
}


def run_metrics(config: dict[str, Any], rows: Sequence[Row]) -> list[Metric]:
    """The metrics to show that a run has logged, in reading order.

    Rewards and their parts, molecules, KL, rollout and update for a run with rewards; else the
    loss.

    Args:
        config: the resolved configuration; its `rewards` give the order of the parts and weights.
        rows: the logged steps.
    """
    logged = {key for row in rows for key in row}
    if "reward/total_mean" in logged:
        metrics = [*_rewards(config, logged), *CALLS, *MOLECULES, KL, *ROLLOUT, *UPDATE]
    else:
        metrics = [*LOSS, *UPDATE]
    return [
        m
        for m in (*metrics, *_times(logged))
        if m.key in logged and (m.always or any(row.get(m.key) for row in rows))
    ]


def _rewards(config: dict[str, Any], logged: set[str]) -> list[Metric]:
    weights = {str(r["name"]): r.get("weight", 1.0) for r in config.get("rewards") or []}
    found = {k.removeprefix("reward/").removesuffix("_mean") for k in logged if _is_reward(k)}
    parts = [name for name in weights if name in found]
    parts += sorted(found - {"total", *weights})
    return [
        Metric(
            key="reward/total_mean",
            title="Total reward",
            meaning="Weighted sum of the rewards below, mean over the step's completions: what "
            "training raises.",
            floor=None,
            label="training, sampled",
        ),
        Metric(
            key="val/reward_mean",
            title="Total reward, validation",
            meaning="The same for greedy completions of prompts that are not trained on.",
            floor=None,
            chart="Total reward",
            label="validation, greedy",
            smooth=False,
        ),
        *(
            Metric(
                key=f"reward/{name}_mean",
                title=f"Reward: {name}",
                unit=f"weight {weights[name]:g}" if name in weights else "",
                meaning=f"Mean of the reward {name!r} before its weight.",
                floor=None,
            )
            for name in parts
        ),
        *(m for name in parts if f"val/{name}{BARE}" in logged for m in with_and_without(name)),
        *SPREAD,
    ]


def _is_reward(key: str) -> bool:
    return key.startswith("reward/") and key.endswith("_mean")


def _times(logged: set[str]) -> list[Metric]:
    found = {k[len("time/") : -len("_s")] for k in logged if k[:5] == "time/" and k[-2:] == "_s"}
    names = [name for name in _TIMES if name in found] + sorted(found - _TIMES.keys())
    return [
        Metric(
            key=f"time/{name}_s",
            title=f"Time: {name}",
            unit="s",
            meaning=_TIMES.get(name, ""),
            chart="Time per step",
            label=name,
            smooth=False,
        )
        for name in names
    ]


def points(metric: Metric, rows: Sequence[Row]) -> list[Point]:
    """Steps and shown values of the rows that logged the metric.

    A row without it is no gap (validation runs now and then); a value that is not finite is one.
    """
    return [(row["step"], row[metric.key] * metric.scale) for row in rows if metric.key in row]


def run_charts(metrics: Sequence[Metric], rows: Sequence[Row]) -> list[Chart]:
    """One chart a quantity; a metric without one finite value has none."""
    groups: dict[str, list[Metric]] = {}
    for metric in metrics:
        if any(math.isfinite(value) for _, value in points(metric, rows)):
            groups.setdefault(metric.chart or metric.title, []).append(metric)
    return [
        Chart(
            title=title,
            unit=members[0].unit,
            floor=members[0].floor,
            series=[
                Series(name=m.label or m.title, points=points(m, rows), smooth=m.smooth)
                for m in members
            ],
        )
        for title, members in groups.items()
    ]


def calls_chart(rows: Sequence[Row]) -> list[Chart]:
    """The best scores over the molecules that were scored; nothing where they were not counted."""
    counted = [row for row in rows if row.get("molecules/calls")]
    if not counted:
        return []
    series = [
        Series(
            name=name,
            points=[(row["molecules/calls"], row[key]) for row in counted if key in row],
            smooth=False,
        )
        for name, key in BEST.items()
    ]
    first, last = counted[0], counted[-1]
    return [
        Chart(
            title="Best scores by calls",
            unit="",
            series=[one for one in series if one.points],
            floor=0.0,
            axis="scored molecules",
            description=f"After {first['molecules/calls']:.0f} scored molecules the best scored "
            f"{first['molecules/top1']:.3g}, after {last['molecules/calls']:.0f} "
            f"{last['molecules/top1']:.3g}.",
        )
    ]
