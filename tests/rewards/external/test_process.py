"""Tests of child processes; those that must finish have 60 s, those that must not have a tenth."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.rewards.external import process as module
from rl4bio.rewards.external.failures import ExchangeError
from rl4bio.rewards.external.process import LineProcess

LONG_S = 60.0
SHORT_S = 0.1
Program = Callable[[str], list[str]]


def lines_of(command: list[str], data: bytes = b"", *, timeout_s: float = LONG_S) -> list[bytes]:
    """The output of a process to its end."""
    found: list[bytes] = []

    def keep(line: bytes) -> bool:
        found.append(line)
        return line == b"done"

    process = LineProcess(command)
    try:
        process.exchange(data, keep, timeout_s=timeout_s, last=True)
    finally:
        process.close()
    return found


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds; a zombie has ended."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_what_is_written_comes_back_whatever_its_size(program: Program) -> None:
    # 3 MB are more than both pipes hold, so that neither side may wait for the other.
    command = program(
        """
        for line in sys.stdin:
            sys.stdout.write(line)
            sys.stderr.write(line)
        print("done", end="")  # a last line without its end
        """
    )
    data = b"".join(b"%06d %s\n" % (n, b"x" * 93) for n in range(30_000))
    assert lines_of(command, data) == [*data.split(b"\n")[:-1], b"done"]


def test_one_process_for_many_exchanges(program: Program) -> None:
    process = LineProcess(program("for line in sys.stdin: print(line.strip()[::-1], flush=True)"))
    for text in (b"one", b"two", b"three"):
        found: list[bytes] = []
        process.exchange(
            text + b"\n", lambda line, f=found: f.append(line) is None, timeout_s=LONG_S, last=False
        )
        assert found == [text[::-1]]
    assert process.running
    process.close(gently=True)
    assert not process.running


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("time.sleep(1000)", "time-out", "no answer within 0.1 s"),
        ("sys.exit(3)", "crash", "exited with 3"),
        ("raise KeyError('receptor')", "crash", "exited with 1; stderr ends: KeyError: 'receptor'"),
        ("os.kill(os.getpid(), 9)", "crash", "was killed by signal 9"),
        ("print('something else')", "no answer", "exited with 0"),
        ("os.close(1); time.sleep(1000)", "crash", "closed its output and went on running"),
        ("while True: print('x' * 9999)", "crash", "more than 16 MiB of output"),
        ("print('x' * 3_000_000); time.sleep(1000)", "crash", "a line of more than 1 MiB"),
    ],
)
def test_ways_to_fail(
    program: Program, monkeypatch: pytest.MonkeyPatch, source: str, kind: str, words: str
) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    timeout_s = SHORT_S if kind == "time-out" else LONG_S
    with pytest.raises(ExchangeError) as raised:
        lines_of(program(source), timeout_s=timeout_s)
    assert raised.value.kind == kind
    assert words in str(raised.value)


def test_no_such_program(tmp_path: Path) -> None:
    with pytest.raises(ExchangeError, match=r"cannot be started \(No such file"):
        LineProcess([str(tmp_path / "none")])


def test_a_time_out_tells_the_last_words(program: Program) -> None:
    command = program("print('waiting for a licence', file=sys.stderr); time.sleep(1000)")
    process = LineProcess(command)
    while not process._errors:  # a busy machine may take long to start it
        process._read_errors()
        time.sleep(0.01)
    with pytest.raises(ExchangeError, match="stderr ends: waiting for a licence"):
        process.exchange(b"", lambda line: False, timeout_s=SHORT_S, last=True)
    process.close()


@pytest.mark.parametrize("end", ["os._exit(1)", "print('x' * 3_000_000, flush=True)"])
def test_what_was_said_before_a_crash_is_kept(program: Program, end: str) -> None:
    """A line that is too long is not handed over."""
    process = LineProcess(program(f"print('one', flush=True); {end}"))
    found: list[bytes] = []
    with pytest.raises(ExchangeError):
        process.exchange(
            b"", lambda line: found.append(line) is not None, timeout_s=LONG_S, last=True
        )
    process.close()
    assert found == [b"one"]


def test_all_said_but_no_end(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is ended after GRACE_S, long before the time-out, and its answer counts."""
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    start = time.monotonic()
    assert lines_of(program("print('done', flush=True); time.sleep(1000)")) == [b"done"]
    assert time.monotonic() - start < LONG_S / 2


def test_a_child_of_the_child_does_not_hold_the_output_open(program: Program) -> None:
    start = time.monotonic()
    with pytest.raises(ExchangeError, match="exited with 0"):
        lines_of(program("subprocess.Popen(['sleep', '1000']); print('not all')"))
    assert time.monotonic() - start < LONG_S / 2


def test_killed_with_all_that_it_started_though_it_ignores_sigterm(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    source = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which its own child inherits
    child = subprocess.Popen(['sleep', '1000'])
    print(os.getpid(), child.pid, flush=True)
    time.sleep(1000)
    """
    found: list[bytes] = []
    process = LineProcess(program(source))
    process.exchange(b"", lambda line: found.append(line) is None, timeout_s=LONG_S, last=False)
    process.close()
    assert all(gone(int(pid)) for pid in found[0].split())


def test_sigterm_comes_first_so_that_it_can_tidy_up(program: Program, tmp_path: Path) -> None:
    mark = tmp_path / "tidied"
    source = f"""
    def tidy(number, frame):
        open({str(mark)!r}, "w").close()
        sys.exit()
    signal.signal(signal.SIGTERM, tidy)
    print("ready", flush=True)
    time.sleep(1000)
    """
    process = LineProcess(program(source))
    process.exchange(b"", lambda line: line == b"ready", timeout_s=LONG_S, last=False)
    process.close()
    assert mark.exists()


def test_kill_from_another_thread_ends_an_exchange(program: Program) -> None:
    process = LineProcess(program("print('ready', flush=True); time.sleep(1000)"))
    ready = threading.Event()
    errors: list[ExchangeError] = []

    def wait() -> None:
        try:
            process.exchange(b"", lambda line: ready.set() is not None, timeout_s=LONG_S, last=True)
        except ExchangeError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert ready.wait(LONG_S)
    process.kill()
    thread.join(LONG_S / 2)
    assert [error.kind for error in errors] == ["crash"]
    process.close()


def test_a_forked_child_has_no_hand_in_the_pipes(program: Program) -> None:
    """It closes its copies: else the engine would never see the end of its input."""
    process = LineProcess(program("print('ready', flush=True); sys.stdin.read(); print('done')"))
    process.exchange(b"", lambda line: line == b"ready", timeout_s=LONG_S, last=False)
    pipe = process._stdin.fileno()
    child = os.fork()
    if child == 0:
        try:
            os.fstat(pipe)
            os._exit(1)
        except OSError:
            os._exit(0 if not process.running else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    process.exchange(b"", lambda line: line == b"done", timeout_s=LONG_S, last=True)
    process.close()
