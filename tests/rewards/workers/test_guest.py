"""Rewards in processes of their own: what they do to themselves happens to nobody else."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rl4bio.config.plugins import import_plugins
from rl4bio.errors import ConfigError, DataError, RewardError
from rl4bio.rewards.combine import WeightedRewards, needs_process
from rl4bio.rewards.workers.orphans import VARIABLE
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

PLUGIN = '''
import ctypes
import os
import random
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from rl4bio.errors import DataError
from rl4bio.rewards import REWARDS, Reward
from rl4bio.signals import ENDING


class Mute(Exception):
    def __str__(self):
        raise ValueError("no words")


@REWARDS.register("guest")
@dataclass(kw_only=True)
class Guest(Reward):
    """Does what the completion says; else a tenth of its length."""

    folder: str = "/nowhere"
    breaks: bool = False

    def prepare(self):
        if self.breaks:
            raise DataError("guest: a file is missing")

    def score(self, completion, sample):
        word, _, rest = completion.partition(" ")
        if word == "loop":
            while True:
                pass
        if word == "sleep":
            time.sleep(10_000)
        if word == "regex":  # in C, which holds the interpreter
            re.match(r"(a+)+$", "a" * 60 + "b")
        if word == "socket":
            socket.create_server(("127.0.0.1", 0)).accept()
        if word == "child":
            subprocess.run(["sleep", "5000"])
        if word == "segfault":
            ctypes.string_at(0)
        if word == "exit":
            os._exit(0)
        if word == "server":
            os.kill(os.getppid(), signal.SIGKILL)
        if word == "signals":  # as a scheduler sends them to all processes of a job
            for number in ENDING:
                os.kill(os.getppid(), number)
                os.kill(os.getpid(), number)
        if word == "interrupt":
            raise KeyboardInterrupt
        if word == "mute":
            raise Mute
        if word == "SystemExit":
            raise SystemExit(0)
        if word == "raise":
            raise KeyError("no such thing")
        if word == "fork":
            os.fork()
        if word == "memory":
            kept = []
            while True:
                kept.append(bytearray(100_000_000))
        if word == "print":
            for _ in range(200):
                print("x" * 1_000_000)
        if word == "daemon":
            subprocess.Popen(["sleep", "5000"], start_new_session=True)
            if not os.fork():
                os.setsid()
                time.sleep(5000)
            time.sleep(5000)
        if word == "spoil":
            os.chdir("/")
            os.environ["HOME"] = "gone"
            random.seed(3)
            sample.extra["spoilt"] = True
        if word == "where":
            return float(os.getcwd() != "/" and os.environ["HOME"] != "gone")
        if word == "draw":
            return random.random()
        if word == "once":  # fails the first time
            path = Path(self.folder) / "tried"
            if not path.exists():
                path.touch()
                time.sleep(10_000)
        if word == "none":
            return None
        return len(completion) / 10


@REWARDS.register("together")
@dataclass(kw_only=True)
class Together(Reward):
    """The whole batch in one call, and raw values."""

    def __call__(self, completions, samples):
        if "hang" in completions:
            time.sleep(10_000)
        return [float(len(text)) for text in completions]

    def raw_values(self, completions, samples):
        return {"": [float(len(text)) for text in completions]}
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "guests.py"
    path.write_text(PLUGIN)
    import_plugins([str(path)])
    return path


@pytest.fixture
def scorer(plugin: Path) -> Iterator[Callable[..., WeightedRewards]]:
    made: list[WeightedRewards] = []

    def make(name: str = "guest", **options: object) -> WeightedRewards:
        made.append(WeightedRewards.from_config([RewardConfig(name=name, **options)]))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        for guest in one.guests.values():
            guest.close()


def score(scorer: WeightedRewards, *texts: str) -> list[float]:
    samples = [Sample(uid=str(n), prompt="", extra={"pair": (1, 2)}) for n, _ in enumerate(texts)]
    (values,) = scorer(texts, samples).parts.values()
    assert all(sample.extra == {"pair": (1, 2)} for sample in samples)
    return values


def marked(token: str) -> list[int]:
    """Processes that a guest has started, alive."""
    mark, found = f"{VARIABLE}={token}".encode(), []
    for name in os.listdir("/proc"):
        try:
            text = Path(f"/proc/{name}/environ").read_bytes() if name.isdecimal() else b""
            state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            continue
        if mark in text and state != "Z":
            found.append(int(name))
    return found


def gone(token: str, left: int = 0) -> bool:
    """Whether no more than so many of them are left within ten seconds."""
    for _ in range(200):
        if len(marked(token)) <= left:
            return True
        time.sleep(0.05)
    return False


class TestHarm:
    @pytest.mark.parametrize("workers", [1, 3])
    def test_others_keep_their_values(
        self, scorer: Callable[..., WeightedRewards], workers: int
    ) -> None:
        made = scorer(timeout_s=2.0, memory_gb=0.5, on_error="skip", workers=workers)
        harm = ["loop", "sleep", "segfault", "exit", "SystemExit", "raise", "memory", "daemon"]
        texts = [
            word for pair in zip(harm, map(str, range(100, 108)), strict=True) for word in pair
        ]
        texts += ["fork", "print", "none"]
        started = time.monotonic()
        values = score(made, *texts)
        assert time.monotonic() - started < 3 * 2.0 + 25  # three time-outs, memory, a busy machine
        assert all(math.isnan(value) for value in values[:16:2])
        assert values[1:16:2] == [0.3] * 8
        assert values[16:18] == [0.4, 0.5]
        assert math.isnan(values[18])
        assert made.guests["guest"].failures == {"time-out": 3, "crash": 2, "error": 3}
        token = made.guests["guest"].token
        assert gone(token, left=1 + workers)
        made.guests["guest"].close()
        assert gone(token)

    def test_a_server_that_is_killed_is_replaced(
        self, scorer: Callable[..., WeightedRewards]
    ) -> None:
        made = scorer(on_error="skip")
        values = score(made, "server", "abc", "interrupt", "abcd", "mute", "ab")
        assert values[0] == 0.6
        assert all(map(math.isnan, values[2::2]))
        assert values[1::2] == [0.3, 0.4, 0.2]
        assert made.guests["guest"].failures == {"crash": 2}
        assert gone(made.guests["guest"].token, left=2)

    def test_signals_that_end_a_run_are_for_the_run(
        self, scorer: Callable[..., WeightedRewards]
    ) -> None:
        """It decides when the step at hand is over, and needs its rewards until then."""
        made = scorer()
        server = made.guests["guest"]._server
        assert score(made, "signals", "abc") == [0.7, 0.3]
        assert server.poll() is None
        assert made.guests["guest"]._server is server

    def test_this_process_is_as_it_was(self, scorer: Callable[..., WeightedRewards]) -> None:
        made = scorer()
        before = (os.getcwd(), dict(os.environ), random.getstate())
        assert score(made, "spoil") == [0.5]
        assert (os.getcwd(), dict(os.environ), random.getstate()) == before
        assert score(made, "where") == [1.0]  # nor is the next call's

    def test_what_is_drawn_depends_on_what_is_scored(
        self, scorer: Callable[..., WeightedRewards]
    ) -> None:
        first, second = score(scorer(), "draw a"), score(scorer(), "draw a")
        assert first == second != score(scorer(), "draw b")

    def test_nothing_outlives_a_run_that_is_killed(self, plugin: Path, tmp_path: Path) -> None:
        program = tmp_path / "run.py"
        program.write_text(
            "from rl4bio.config.plugins import import_plugins\n"
            "from rl4bio.rewards.combine import WeightedRewards\n"
            "from rl4bio.sections import RewardConfig\n"
            "from rl4bio.types import Sample\n"
            f"import_plugins([{str(plugin)!r}])\n"
            "scorer = WeightedRewards.from_config([RewardConfig(name='guest')])\n"
            "print(scorer.guests['guest'].token, flush=True)\n"
            "scorer(['daemon'], [Sample(uid='1', prompt='')])\n"
        )
        command = [sys.executable, str(program)]
        root = str(Path(__file__).resolve().parents[3])
        environment = {**os.environ, "PYTHONPATH": root}
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert run.stdout is not None
        token = run.stdout.readline().strip()
        for _ in range(200):  # server, worker, its child, and a daemon
            if len(marked(token)) >= 4:
                break
            time.sleep(0.05)
        assert len(marked(token)) >= 4
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
        assert gone(token)


class TestPolicy:
    @pytest.mark.parametrize(
        ("word", "line"),
        [
            ("sleep", "gave no answer within 0.5 s and was ended; on sample 1, completion 'sleep'"),
            ("segfault", "lost its process, which was killed by signal 11; on sample 1"),
            ("exit", "lost its process, which exited with 0; on sample 1"),
            ("raise", "raised KeyError: 'no such thing'; on sample 1, completion 'raise'"),
            ("SystemExit", "raised SystemExit: 0; on sample 1"),
        ],
    )
    def test_stop(self, scorer: Callable[..., WeightedRewards], word: str, line: str) -> None:
        made = scorer(timeout_s=0.5)
        with pytest.raises(RewardError, match="reward 'guest' ") as error:
            score(made, "a", word, "b")
        assert line in str(error.value)
        assert score(made, "abc") == [0.3]  # with another worker

    def test_asked_again(self, scorer: Callable[..., WeightedRewards], tmp_path: Path) -> None:
        options = {"folder": str(tmp_path)}
        made = scorer(timeout_s=0.5, on_error={"retries": 1}, options=options)
        assert score(made, "ab", "once", "c") == [0.2, 0.4, 0.1]
        with pytest.raises(RewardError, match="gave no answer"):
            score(made, "ab", "sleep")

    def test_a_whole_batch(self, scorer: Callable[..., WeightedRewards]) -> None:
        made = scorer("together", timeout_s=0.5, on_error="skip")
        table = made(["a", "bc"], [Sample(uid="1", prompt="")] * 2)
        assert table.parts == {"together": [1.0, 2.0]}
        assert table.raw == {"together": [1.0, 2.0]}
        assert table.failures == {"together": 0}
        table = made(["a", "hang"], [Sample(uid="1", prompt="")] * 2)
        assert all(map(math.isnan, table.total))
        assert table.failures == {"together": 2}
        assert made([], []).parts == {"together": []}

    @pytest.mark.parametrize("policy", ["ignore", {"retries": 0}, {"tries": 2}, 3])
    def test_words_that_mean_nothing(self, policy: object) -> None:
        with pytest.raises(ConfigError, match=r"on_error: got .* needs stop, skip or"):
            RewardConfig(name="qed", on_error=policy)


class TestWhere:
    def test_who_is_a_guest(self, plugin: Path) -> None:
        assert needs_process(RewardConfig(name="guest"))
        assert not needs_process(RewardConfig(name="guest", isolation="none"))
        assert not needs_process(RewardConfig(name="qed"))
        assert needs_process(RewardConfig(name="qed", isolation="process"))
        assert needs_process(RewardConfig(name="qed", on_error="skip"))
        assert needs_process(RewardConfig(name="smarts", options={"present": ["[#6]"]}))
        rules = {"rules": {"alerts": ["[#6]"]}}
        assert needs_process(RewardConfig(name="qed", options=rules))
        assert not needs_process(RewardConfig(name="qed", options={"rules": "standard"}))
        parts = [{"name": "qed"}, {"name": "smarts", "options": {"present": ["[#6]"]}}]
        assert needs_process(RewardConfig(name="combined", options={"parts": parts}))

    def test_the_same_values_as_here(self) -> None:
        texts = ["CCO", "c1ccccc1O", "C(", "CC(=O)Nc1ccc(O)cc1"] * 3
        samples = [Sample(uid="1", prompt="")] * len(texts)
        parts = [{"name": "qed"}, {"name": "smarts", "options": {"present": ["[OX2H]"]}}]
        tables = []
        for isolation in ("process", "none"):
            config = RewardConfig(
                name="combined", options={"parts": parts}, isolation=isolation, workers=1
            )
            tables.append(WeightedRewards.from_config([config])(texts, samples))
        one, other = tables
        assert one.parts == other.parts
        assert repr(one.raw) == repr(other.raw)  # NaN
        assert list(one.raw) == list(other.raw)

    def test_what_its_start_says(self, scorer: Callable[..., WeightedRewards]) -> None:
        with pytest.raises(DataError, match="guest: a file is missing"):
            scorer(options={"breaks": True})


def test_a_series_of_other_rows(plugin: Path) -> None:
    pd = pytest.importorskip("pandas")
    from rl4bio.rewards.checked import checked_scores

    assert checked_scores("x", pd.Series([0.1, 0.2]), 2) == [0.1, 0.2]
    for index in ([1, 0], ["a", "b"], [0, 2]):
        with pytest.raises(RewardError, match="may belong to other rows"):
            checked_scores("x", pd.Series([0.1, 0.2], index=index), 2)
