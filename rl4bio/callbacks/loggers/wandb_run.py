"""A run in W&B, which a resumed run continues."""

from __future__ import annotations

import functools
import json
import logging
import netrc
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from rl4bio.callbacks.loggers.masking import mask_text, masked
from rl4bio.errors import ConfigError, MissingPackageError
from rl4bio.files.deadline import within
from rl4bio.sections import LoggingConfig
from rl4bio.storage.files import write_json
from rl4bio.text.redaction import mask_secrets

_LOG = logging.getLogger(__name__)

ID_FILE = "wandb.json"
LIMIT_S = 12.0
"""For each call of W&B; after the first that fails nothing more is sent."""


def wandb_id(config: LoggingConfig, run_dir: Path) -> str:
    """The id of the folder's run in W&B, kept in wandb.json; a new one for another project."""
    path = run_dir / ID_FILE
    place = {"entity": config.entity, "project": config.project}
    if path.exists():
        stored = json.loads(path.read_text("utf-8"))
        if {key: stored.get(key) for key in place} == place and stored.get("id"):
            return str(stored["id"])
    return new_wandb_id(config, run_dir)


def new_wandb_id(config: LoggingConfig, run_dir: Path) -> str:
    """Another id for the folder's run."""
    new = secrets.token_hex(4)
    if getattr(rank_zero_only, "rank", 0) == 0:
        place = {"entity": config.entity, "project": config.project}
        write_json(run_dir / ID_FILE, {**place, "id": new})
    return new


def start_wandb(
    config: LoggingConfig, run_dir: Path, run_config: Mapping[str, Any]
) -> Logger | None:
    """The run in W&B; offline where it cannot be reached, None where it fails altogether."""
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "logging.loggers: wandb is not installed; run `pip install wandb`, or leave it out"
        ) from error
    offline = wandb_offline(config.mode)
    options: dict[str, Any] = {
        "name": str(run_config.get("name", run_dir.name)),
        "project": config.project,
        "entity": config.entity,
        "group": os.environ.get("WANDB_RUN_GROUP"),  # W&B itself reads it once a process
        "id": wandb_id(config, run_dir),  # Lightning adds resume="allow"
        "save_dir": str(run_dir),
        "config": masked(run_config),
        # Its copy of the console would hold completions and whatever else is printed.
        "settings": wandb.Settings(console="off", silent=True, init_timeout=LIMIT_S),
    }
    logger = _wandb_logger(offline=offline, **options)
    try:
        with _masked_arguments(run_config):
            _ = logger.experiment  # begins the run, on rank 0
    except (wandb.errors.Error, OSError, TimeoutError) as error:
        _LOG.warning(
            "W&B cannot be reached (%s); logging offline to %s, `wandb sync` uploads it later",
            str(error).partition("\n")[0],
            run_dir / "wandb",
        )
        # Its service takes the id of the run that did not begin for one that is in use.
        options["id"] = new_wandb_id(config, run_dir)
        logger = _wandb_logger(offline=True, **options)
        with _masked_arguments(run_config):
            logger.attempt(lambda: logger.experiment)
    return None if logger.failed else logger


class WandbRun(WandbLogger):
    """A logger that costs a warning where W&B fails, and sends no step twice."""

    sent_to = 0
    """Steps up to this one were sent before the run was taken up again."""
    failed = False
    """Whether W&B has failed; nothing is sent any more."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send a step that was not sent before."""
        if step is None or step > self.sent_to:
            self.attempt(super().log_metrics, metrics, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the run."""
        self.attempt(super().finalize, status)

    def attempt(self, call: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """Call W&B; after its first failure nothing more is sent."""
        if self.failed:
            return
        try:
            within(LIMIT_S, call, *arguments, **named)
        except Exception as error:  # its own, and those of sockets and threads
            self.failed = True
            _LOG.warning(
                "W&B fails (%s); training goes on, metrics.csv has everything",
                mask_secrets(str(error).partition("\n")[0] or type(error).__name__),
            )


def _wandb_logger(**options: Any) -> WandbRun:
    logger = WandbRun(**options)
    # Lightning passes it whether it is asked for or not, and W&B answers with a warning.
    logger._wandb_init.pop("anonymous", None)
    return logger


@contextmanager
def _masked_arguments(run_config: Mapping[str, Any]) -> Iterator[None]:
    """The command line without secrets; W&B stores it when a run begins."""
    arguments = sys.argv
    sys.argv = [mask_text(text, run_config) for text in arguments]
    try:
        yield
    finally:
        sys.argv = arguments


@rank_zero_only
def end_wandb(logger: WandbLogger, status: str) -> None:
    """Close the run, so that a later one in this process is another; failed ones say so."""
    experiment = logger._experiment
    if experiment is not None and hasattr(experiment, "finish"):
        folder, offline = Path(experiment.dir).parent, bool(getattr(experiment, "offline", False))
        code = 0 if status == "FINISHED" else 1
        finish = functools.partial(experiment.finish, exit_code=code)
        if isinstance(logger, WandbRun):
            logger.attempt(finish)
        else:
            finish()
        logger._experiment = None
        if offline:
            print(
                f"W&B was offline; upload: wandb sync {shlex.quote(str(folder))}", file=sys.stderr
            )


def wandb_offline(mode: str) -> bool:
    """Whether W&B writes to the disk alone: asked for, or (auto) nothing to log in with.

    Raises:
        ConfigError: mode is online and there is no key.
    """
    if mode == "offline":
        return True
    if mode == "auto" and os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return True
    has_key = bool(os.environ.get("WANDB_API_KEY")) or _in_netrc()
    if mode == "online" and not has_key:
        raise ConfigError(
            "logging.mode: online needs a W&B key; set WANDB_API_KEY or run `wandb login`, or use "
            "auto"
        )
    return not has_key


def _in_netrc() -> bool:
    base = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(str(path)).authenticators(urlparse(base).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
