"""The README.md of a predictor folder."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from rl4bio.predictors.predictor import Target

_HEAD = """# {name}

**Research use only.** A predicted affinity is a guess from similar molecules that were measured; it
is no evidence that a molecule binds, works or is safe.

An ensemble of {members} gradient-boosted models a target, over counted fragments (ECFP4, FCFP4 and
atom pairs, 2048 each) and 12 properties; their mean is the prediction, their spread says how far
they agree. Of a salt the largest fragment is predicted.
{source}
| target | value | molecules | from | to |
|---|---|---|---|---|
{rows}

Measured on a fifth that was held out, then trained again on everything; mean (range) over seeds:
"""
_TAIL = """
The farther a molecule is from the training molecules the larger the error, and the fewer measured
values there are to find it (`by_similarity` in report.json): the reward multiplies by a factor of
the applicability domain.

```yaml
rewards:
  - {line}
```

`predictor.json` describes it, `trees.safetensors` holds its numbers (thresholds, leaves and the
hashed fingerprints of the training molecules), `report.json` the measurements. No code is read.
"""


def write_card(
    name: str, targets: Mapping[str, Target], report: Mapping[str, Any], *, source: str
) -> str:
    """The card of a folder.

    Args:
        name: title.
        targets: by name.
        report: per target what `report.as_json` gave; measurements may be missing.
        source: of the data; a sentence, or "".
    """
    rows = "\n".join(
        f"| {key} | {one.unit} | {len(one.domain):,} | {one.low:.2f} | {one.high:.2f} |"
        for key, one in targets.items()
    )
    members = {len(one.forest.member_trees) for one in targets.values()}
    text = _HEAD.format(
        name=name,
        members=max(members),
        source="\n" + textwrap.fill(f"Data: {source}", 100) + "\n" if source else "",
        rows=rows,
    )
    lines = [
        "| target | split | R2 | MAE | Spearman | MAE of a constant |",
        "|---|---|---|---|---|---|",
    ]
    for key in targets:
        for split, found in report[key].get("summary", {}).items():
            cells = (
                f"{found[measure]['mean']:.3f} "
                f"({found[measure]['low']:.3f} to {found[measure]['high']:.3f})"
                for measure in ("r2", "mae", "spearman", "constant_mae")
            )
            lines.append(f"| {key} | {split} | {' | '.join(cells)} |")
    if len(lines) == 2:
        lines = ["Not measured (`--seeds 0`)."]
    return text + "\n".join(["", *lines, ""]) + _TAIL.format(line=reward_line(name, targets))


def reward_line(place: str, targets: Mapping[str, Target]) -> str:
    """The entry of `rewards` that asks the predictor of a folder, for its first target."""
    several = f", target: {next(iter(targets))}" if len(targets) > 1 else ""
    return f"{{name: affinity, options: {{predictor: {place}{several}}}}}"
