"""The log of a run: warnings to the terminal, everything to log.txt."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

log = logging.getLogger("rl4bio")


def set_up_logging() -> None:
    """Warnings to the terminal, all of our log kept for log.txt; others' tips silenced."""
    import warnings

    log.setLevel(logging.INFO)
    log.propagate = False
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    terminal.setFormatter(logging.Formatter("rl4bio: %(message)s"))
    kept = logging.handlers.MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
    log.handlers = [terminal, kept]
    # Lightning's import, which comes later, sets the level of "lightning.pytorch" itself.
    tips = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")
    for name in (*tips, "lightning_utilities.core.rank_zero", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        ".*treespec.*",
        ".*in eval mode at the start.*",
        ".*no `val_dataloader`.*",
        ".*is_gradient_checkpointing.*",
        ".*sync_dist=True.*",  # our means are reduced before they are logged
        ".*functional.all_gather.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def log_to(file: Path) -> None:
    """Send the log to a file, what was kept so far first."""
    to_file = logging.FileHandler(file, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for handler in log.handlers:
        if isinstance(handler, logging.handlers.MemoryHandler):
            handler.setTarget(to_file)
            handler.flush()
            log.removeHandler(handler)
    log.addHandler(to_file)
