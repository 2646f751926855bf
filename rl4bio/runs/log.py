"""The log of a run: what is loaded and our warnings to the terminal, everything to log.txt."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

from rl4bio.callbacks.progress_line import aside
from rl4bio.runs.launchers import process_rank
from rl4bio.text.redaction import mask_secrets

log = logging.getLogger("rl4bio")

MAX_LOG_BYTES = 2**26
MAX_RECORD = 2**20
"""Characters of one message."""
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class TerminalHandler(logging.StreamHandler[TextIO]):
    """Lines on stderr, above a progress line that is drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write above the progress line."""
        with aside():
            super().emit(record)


class _LogFile(logging.FileHandler):
    """A full disk does not spoil the screen: what a run cannot do without says so itself."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class OwnLog(_LogFile, logging.handlers.RotatingFileHandler):
    """Of the first process: at most MAX_LOG_BYTES, and as many of before in `log.txt.1`."""


class SharedLog(_LogFile, logging.handlers.WatchedFileHandler):
    """Of another process: goes to the new file where the first one has begun one."""


class MaskedFormatter(logging.Formatter):
    """Lines without secrets, those of libraries and tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one text, masked and cut."""
        return mask_secrets(super().format(record))[:MAX_RECORD]


def first_process() -> bool:
    """Whether this process is the only one of the run, or the one that writes and prints."""
    return process_rank(os.environ) == 0


def stage(text: str) -> None:
    """Say what is being done before it takes its time: `rl4bio: loading model x ...`."""
    log.info("%s", text)
    if first_process():
        print(f"rl4bio: {text} ...", file=sys.stderr, flush=True)


def set_up_logging() -> None:
    """Our warnings to the terminal; all of our log, and what libraries say, kept for log.txt."""
    close_logging()
    log.setLevel(logging.INFO)
    log.propagate = False
    terminal = TerminalHandler()
    terminal.setLevel(logging.WARNING)
    terminal.setFormatter(MaskedFormatter("rl4bio: %(message)s"))
    kept = logging.handlers.MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
    log.handlers = [terminal, kept]
    logging.getLogger().addHandler(kept)
    logging.captureWarnings(True)
    leave_out_noise()


def leave_out_noise() -> None:
    """Warnings of libraries about other libraries, which a user can do nothing about."""
    for message in (
        ".*treespec.*",
        ".*in eval mode at the start.*",
        ".*no `val_dataloader`.*",
        ".*is_gradient_checkpointing.*",
        ".*sync_dist=True.*",  # our means are reduced before they are logged
        ".*functional.all_gather.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    # Lightning's import, which comes later, sets the level of "lightning.pytorch" itself.
    tips = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")
    for name in (*tips, "lightning_utilities.core.rank_zero", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)


def quiet_libraries() -> None:
    """Take the libraries that are imported by now off the screen; log.txt has what they say.

    Their bars for weights and shards are switched off too; those of downloads stay.
    """
    root = logging.getLogger()
    if not any(_is_ours(handler) for handler in root.handlers):
        return  # nothing is kept, so nothing must be lost
    for name in list(root.manager.loggerDict):
        found = logging.getLogger(name)
        if name.partition(".")[0] == log.name:
            continue
        on_screen = [handler for handler in found.handlers if _is_console(handler)]
        for handler in on_screen:
            found.removeHandler(handler)
        if on_screen:
            found.propagate = True
    transformers: Any = sys.modules.get("transformers")
    if transformers is not None:
        transformers.utils.logging.disable_progress_bar()


def log_to(file: Path) -> None:
    """Send the log to a file, what was kept so far first."""
    to_file: logging.FileHandler
    if first_process():
        to_file = OwnLog(file, maxBytes=MAX_LOG_BYTES, backupCount=1, encoding="utf-8")
    else:
        to_file = SharedLog(file, encoding="utf-8")
    to_file.setFormatter(MaskedFormatter(_FORMAT))
    for logger in (log, logging.getLogger()):
        for handler in list(logger.handlers):
            if _is_ours(handler):
                logger.removeHandler(handler)
                if isinstance(handler, logging.handlers.MemoryHandler):
                    handler.setTarget(to_file)
                    handler.flush()
        logger.addHandler(to_file)


def close_logging() -> None:
    """The end of a command: files are closed, warnings are printed again."""
    logging.captureWarnings(False)
    for logger in (log, logging.getLogger()):
        for handler in [found for found in logger.handlers if _is_ours(found)]:
            logger.removeHandler(handler)
            handler.close()


def _is_ours(handler: logging.Handler) -> bool:
    """Whether it leads to log.txt."""
    formatter = handler.formatter
    file = isinstance(handler, logging.FileHandler) and getattr(formatter, "_fmt", "") == _FORMAT
    return file or isinstance(handler, logging.handlers.MemoryHandler)


def _is_console(handler: logging.Handler) -> bool:
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return isinstance(handler, logging.StreamHandler) and handler.stream in streams


log = logging.getLogger("rl4bio")


def show_progress() -> None:
    """The package's log on stderr, so that an hour of evaluation is not silent."""
    terminal = logging.StreamHandler()
    terminal.setFormatter(MaskedFormatter("rl4bio: %(message)s"))
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        """Every model of an evaluation says what the one before has said."""
        text = record.getMessage()
        known = text in said
        said.add(text)
        return not known or record.levelno >= logging.WARNING

    terminal.addFilter(is_new)
    log.handlers = [terminal]
    log.setLevel(logging.INFO)
    log.propagate = False
    leave_out_noise()
