"""`rl4bio dashboard`: a workspace of W&B whose panels show what a report shows, in its order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from rl4bio.cli import run_command
from rl4bio.errors import ConfigError, MissingPackageError
from rl4bio.reports.run.known_metrics import KL, LOSS, MOLECULES, ROLLOUT, SPREAD, UPDATE, Metric
from rl4bio.runs.launchers import alone

STEP = "trainer/global_step"
"""What runs along the horizontal axis of every panel."""
LAYOUT: dict[str, Sequence[Metric]] = {
    "Rewards": (
        Metric(key="reward/total_mean", title="Total reward", meaning=""),
        Metric(key="val/reward_mean", title="Total reward", meaning="", label="validation"),
        *SPREAD,
    ),
    "Learning": (KL, *UPDATE, *LOSS),
    "Completions": ROLLOUT,
    "Molecules": MOLECULES,
    "Time": tuple(
        Metric(key=f"time/{name}_s", title="Seconds a step", meaning="")
        for name in ("generate", "score", "reference", "update")
    ),
}
"""Section -> its metrics; those of one title share a panel."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="rl4bio dashboard",
        description="Save a workspace with arranged panels in a project of W&B, which every run of "
        "the project then shows. It needs the network, a key of W&B, and rl4bio[dashboard]. "
        "Tables, pictures and single rewards stand below, in W&B's own sections.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--project", metavar="NAME", default="rl4bio", help="as logging.project (%(default)s)"
    )
    parser.add_argument(
        "--entity", metavar="TEAM", help="your team, as logging.entity; your own without it"
    )
    parser.add_argument(
        "--name", metavar="WORDS", default="rl4bio", help="of the workspace (%(default)s)"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return run_command(alone(dashboard, "dashboard"), parser, argv)


def dashboard(arguments: argparse.Namespace) -> None:
    """Build the workspace and save it.

    Raises:
        MissingPackageError: wandb-workspaces is not installed.
        ConfigError: W&B cannot be reached, or refuses.
    """
    _package()
    try:
        entity = arguments.entity or _own_entity()
        built = workspace(entity, arguments.project, arguments.name)
        built.save()
    except Exception as error:  # of W&B, its client and the network, which share no class
        raise ConfigError(
            f"W&B: no workspace was saved ({type(error).__name__}: {error}); run `wandb login`, "
            "and see that --entity and --project exist"
        ) from error
    print(f"workspace: {built.url}")


def panels() -> dict[str, dict[str, list[str]]]:
    """Section -> title of each panel -> its metrics."""
    found: dict[str, dict[str, list[str]]] = {}
    for section, metrics in LAYOUT.items():
        own = found.setdefault(section, {})
        for metric in metrics:
            own.setdefault(metric.chart or metric.title, []).append(metric.key)
    return found


def workspace(entity: str, project: str, name: str) -> Any:
    """The workspace, which is not saved yet."""
    ws, wr = _package()
    sections = [
        ws.Section(
            name=section,
            is_open=True,
            panels=[wr.LinePlot(title=title, x=STEP, y=keys) for title, keys in own.items()],
        )
        for section, own in panels().items()
    ]
    return ws.Workspace(entity=entity, project=project, name=name, sections=sections)


def _package() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "dashboard: wandb-workspaces is not installed; run `pip install 'rl4bio[dashboard]'`"
        ) from error
    return ws, wr


def _own_entity() -> str:
    import wandb

    return str(wandb.Api().default_entity)


if __name__ == "__main__":
    sys.exit(main())
