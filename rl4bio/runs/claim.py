"""Whether a run of a name may begin, goes on, or has nothing to do; before anything is loaded."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rl4bio.config.load import config_dict
from rl4bio.config.yaml_reader import dump_yaml
from rl4bio.errors import StorageError
from rl4bio.runs.log import first_process
from rl4bio.runs.paths import with_absolute_paths
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder


def nothing_to_do(config: RunConfig, arguments: argparse.Namespace) -> str:
    """What to say where the run is finished; "" where it may begin or go on.

    Raises:
        StorageError, ConfigError: the name is taken, or the folder is another run's.
    """
    output_dir, stored = Path(config.output_dir), stored_config(config)
    check_writable(output_dir)
    folder = RunFolder(output_dir / config.name)
    if arguments.restart:
        if first_process() and (aside := folder.set_aside()) is not None:
            print(f"starting over; the earlier run is kept in {aside}")
        return ""
    if done := folder.complete(stored, resume=arguments.resume):
        return done
    if first_process():
        RunFolder.check_free(output_dir, config.name, stored, resume=arguments.resume)
    return ""


def stored_config(config: RunConfig) -> str:
    """The configuration as a run keeps it: it holds from every folder, without its secrets."""
    from rl4bio.callbacks.loggers.masking import masked

    return dump_yaml(masked(config_dict(with_absolute_paths(config))))


def find_moved(config: RunConfig, arguments: argparse.Namespace) -> None:
    """Let a run folder's own config.yaml mean the folder that it is in, which may have moved."""
    path = Path(arguments.config).absolute()
    given = {text.lstrip("-").partition("=")[0] for text in arguments.overrides}
    if path.name != "config.yaml" or given & {"name", "output_dir"}:
        return
    if (path.parent / "checkpoints").is_dir() and (path.parent / ".lock").exists():
        config.output_dir, config.name = str(path.parent.parent), path.parent.name


def check_writable(folder: Path, option: str = "output_dir") -> None:
    """Refuse an output folder that cannot be made or written, before anything is loaded.

    Args:
        folder: need not be there.
        option: that names it.

    Raises:
        StorageError: names the file or folder in the way.
    """
    place = nearest(folder)
    if not place.is_dir():
        raise StorageError(f"{place}: is a file; choose another {option}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(f"{place}: cannot be written; choose another {option}")


def check_target(path: Path, option: str = "--output") -> None:
    """Refuse a file to write whose folder is missing or takes none, before anything is computed.

    Raises:
        StorageError: names the folder.
    """
    if not path.parent.is_dir():
        raise StorageError(f"{path}: the folder does not exist; create {path.parent}")
    check_writable(path.parent, option)


def nearest(folder: Path) -> Path:
    """A folder, or the nearest of its parents that is there."""
    place = folder.expanduser().absolute()
    return next(path for path in (place, *place.parents) if path.exists())
