"""How a command ends: the exit code, the one line and the traceback of what ended it."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from rl4bio.errors import (
    EXIT_OUT_OF_MEMORY,
    EXIT_RANK_FAILURE,
    ConfigError,
    Rl4bioError,
    StorageError,
)
from rl4bio.process.signals import stopped_by
from rl4bio.text.redaction import mask_secrets, one_line

_RANK_FAILURES = {
    "DistBackendError",
    "DistNetworkError",
    "DistStoreError",
    "ProcessExitedException",
    "ProcessRaisedException",
}
_STORAGE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_MEMORY_HINT = "lower grpo.tokens_per_micro_batch, rollout.max_completion_tokens or grpo.group_size"

_run_folder: Path | None = None


def set_run_folder(folder: Path | None) -> None:
    """Name the folder whose log.txt takes tracebacks; None goes back to the temporary folder."""
    global _run_folder
    _run_folder = folder


def exit_code_of(error: BaseException) -> int:
    """The exit code of an exception that ends a command."""
    if (number := stopped_by(error)) is not None:
        return 128 + number
    if isinstance(error, Rl4bioError):
        return error.exit_code
    if _out_of_memory(error):
        return EXIT_OUT_OF_MEMORY
    if _lost_a_rank(error):
        return EXIT_RANK_FAILURE
    number = error.errno if isinstance(error, OSError) else None
    full = StorageError.exit_code if number in _STORAGE_ERRNOS else 1
    return ConfigError.exit_code if number == errno.ENAMETOOLONG else full


def closing_line(error: BaseException, debug: bool) -> tuple[int, str]:
    """The exit code and the closing line of an exception."""
    if (number := stopped_by(error)) is not None:
        name = signal.Signals(number).name
        how = f"Ctrl-C ({name})" if number == signal.SIGINT else name
        return 128 + number, f"rl4bio: stopped by {how}"
    if isinstance(error, SystemExit) and type(error) is SystemExit:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0, ""
        return 1, _error_line("internal", str(error.code))
    if type(error).__name__ == "SIGTERMException":  # of a Trainer that is not ours
        return 128 + signal.SIGTERM, "rl4bio: stopped by SIGTERM"
    if isinstance(error, BrokenPipeError):
        # The reader (`| head`) has left: nobody is there to be told, at interpreter exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE, ""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        error = ConfigError(f"{error.filename}"[:120] + "...: the name is too long; choose another")
    where = "" if debug else _keep_traceback(error)
    if isinstance(error, Rl4bioError):
        return error.exit_code, _error_line(error.kind, str(error))
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if _out_of_memory(error):
        hint = "; ".join(getattr(error, "__notes__", ())) or _MEMORY_HINT
        return EXIT_OUT_OF_MEMORY, _error_line("memory", f"{reason}; {hint}")
    if _lost_a_rank(error):
        return EXIT_RANK_FAILURE, _error_line(
            "rank", f"{reason}; another process of the run has failed, see its messages"
        )
    if exit_code_of(error) == StorageError.exit_code:
        return StorageError.exit_code, _error_line(
            "storage", f"{reason}; make room or choose another output_dir"
        )
    return 1, _error_line("internal", f"{reason}{where}")


def _error_line(kind: str, message: str) -> str:
    return f"rl4bio: error[{kind}]: {one_line(mask_secrets(message))}"


def _lost_a_rank(error: BaseException) -> bool:
    """Whether another process is gone; gloo, on CPUs, says so in a plain RuntimeError."""
    if type(error).__name__ in _RANK_FAILURES:
        return True
    return isinstance(error, RuntimeError) and "gloo/transport" in str(error)


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _keep_traceback(error: BaseException) -> str:
    """Write the traceback where it can be found; returns the end of the message that says where."""
    expected = isinstance(error, Rl4bioError)
    if expected and _run_folder is None:
        return ""
    text = mask_secrets("".join(traceback.format_exception(error)))
    try:
        if _run_folder is not None:
            path = _run_folder / "log.txt"
            with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(text)
        else:
            handle, name = tempfile.mkstemp(prefix="rl4bio-", suffix=".txt")
            path = Path(name)
            with open(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
                log.write(text)
    except OSError:
        return "; run again with --debug to see the traceback"
    return f"; traceback in {path}"
