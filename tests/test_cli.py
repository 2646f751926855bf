"""The command-line frame: exit codes, the closing line, secrets, signals, instant help."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl4bio import __version__, cli
from rl4bio.__main__ import COMMANDS
from rl4bio.__main__ import main as rl4bio
from rl4bio.errors import (
    ConfigError,
    DataError,
    MissingPackageError,
    ModelError,
    NonFiniteError,
    RewardError,
    StorageError,
)
from rl4bio.process import signals
from rl4bio.process.endings import set_run_folder
from rl4bio.text.redaction import MAX_SHOWN_CHARACTERS, mask_secrets, one_line


class OutOfMemoryError(RuntimeError):
    """Has the name of torch's own; the frame knows it by name, since it imports no torch."""


class SIGTERMException(SystemExit):
    """Has the name of Lightning's own."""


class DistBackendError(RuntimeError):
    """Has the name of torch.distributed's own."""


@pytest.fixture(autouse=True)
def _no_run_folder() -> Iterator[None]:
    yield
    set_run_folder(None)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="rl4bio try")
    cli.add_config_arguments(made)
    made.add_argument("--resume", action="store_true")
    return made


def run(error: BaseException | int | None, *arguments: str) -> int:
    def main(_: argparse.Namespace) -> int | None:
        if isinstance(error, BaseException):
            raise error
        return error

    return cli.run_command(main, parser(), ["--config", "x.yaml", *arguments])


def noted(error: BaseException, note: str) -> BaseException:
    error.add_note(note)
    return error


ENDINGS = [
    (None, 0, ""),
    (0, 0, ""),
    (3, 3, ""),
    (ConfigError("a: b; c"), 2, "rl4bio: error[config]: a: b; c"),
    (MissingPackageError("needs x"), 2, "rl4bio: error[config]: needs x"),
    (DataError("f:3: bad"), 3, "rl4bio: error[data]: f:3: bad"),
    (ModelError("gated"), 4, "rl4bio: error[model]: gated"),
    (NonFiniteError("nan"), 5, "rl4bio: error[numbers]: nan"),
    (RewardError("raised"), 6, "rl4bio: error[reward]: raised"),
    (StorageError("full"), 7, "rl4bio: error[storage]: full"),
    (OSError(errno.ENOSPC, "No space left"), 7, "rl4bio: error[storage]: OSError: "),
    (OSError(errno.ENAMETOOLONG, "x", "a" * 300), 2, f"rl4bio: error[config]: {'a' * 120}...: the"),
    (DistBackendError("reset"), 8, "rl4bio: error[rank]: DistBackendError: reset; another process"),
    (RuntimeError("[/x/gloo/transport/tcp/pair.cc:537] Read error"), 8, "rl4bio: error[rank]: Run"),
    (MemoryError(), 9, "rl4bio: error[memory]: MemoryError; lower grpo.tokens_per_micro_batch"),
    (OutOfMemoryError("CUDA"), 9, "rl4bio: error[memory]: OutOfMemoryError: CUDA; lower"),
    (noted(MemoryError(), "in the update; do"), 9, "rl4bio: error[memory]: MemoryError; in the up"),
    (RuntimeError("[x] can't allocate memory: y"), 9, "rl4bio: error[memory]: RuntimeError"),
    (KeyboardInterrupt(), 130, "rl4bio: stopped by Ctrl-C (SIGINT)"),
    (signals.Terminated(), 143, "rl4bio: stopped by SIGTERM"),
    (SIGTERMException(), 143, "rl4bio: stopped by SIGTERM"),
    (SystemExit(0), 0, ""),
    (SystemExit(4), 4, ""),
    (ValueError("odd"), 1, "rl4bio: error[internal]: ValueError: odd; traceback in "),
]


@pytest.mark.parametrize(
    ("error", "code", "line"), ENDINGS, ids=[f"{type(e).__name__}-{c}" for e, c, _ in ENDINGS]
)
def test_exit_code_and_last_line(
    error: BaseException | int | None, code: int, line: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(error) == code
    printed = capsys.readouterr().err
    assert printed.startswith(line)
    assert printed.count("\n") == (1 if line else 0)
    assert "Traceback" not in printed


def test_exit_that_lightning_makes_of_ctrl_c() -> None:
    # Trainer.fit catches KeyboardInterrupt and calls sys.exit(1) while it is handled.
    def main(_: argparse.Namespace) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    assert cli.run_command(main, parser(), ["--config", "x"]) == 130


def test_traceback_goes_to_the_run_folder_or_the_screen(tmp_path: Path, capsys) -> None:
    set_run_folder(tmp_path)
    assert run(DataError("f:3: bad")) == 3
    assert "Traceback" not in capsys.readouterr().err
    assert "DataError: f:3: bad" in (tmp_path / "log.txt").read_text()
    assert run(ValueError("odd")) == 1
    assert capsys.readouterr().err.endswith(f"traceback in {tmp_path / 'log.txt'}\n")
    assert (tmp_path / "log.txt").read_text().count("Traceback") == 2
    assert run(ValueError("odd"), "--debug") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "rl4bio: error[internal]: ValueError: odd"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --config; see rl4bio try --help"),
        (["--config"], "argument --config: expected one argument"),
        (["--config", "a", "--resum"], "unrecognized arguments: --resum; did you mean '--resume'?"),
        (
            ["--config", "a", "--conf=b"],
            "unrecognized arguments: --conf=b; did you mean '--config'?",
        ),
    ],
)
def test_usage_errors(arguments: list[str], message: str, capsys) -> None:
    assert cli.run_command(lambda _: 0, parser(), arguments) == 2
    assert capsys.readouterr().err.startswith(f"rl4bio: error[config]: {message}")


def test_overrides_stand_anywhere_in_order_with_or_without_dashes() -> None:
    given = ["a.b=1", "--config", "f", "--optim.lr=2", "--resume", "seed=-1", "--seed=3", "--debug"]
    arguments = cli.parse(parser(), given)
    assert arguments.overrides == ["a.b=1", "optim.lr=2", "seed=-1", "seed=3"]
    assert (arguments.config, arguments.resume, arguments.debug) == ("f", True, True)


@pytest.mark.parametrize(
    "given",
    [
        ["f.yaml", "seed=3"],
        ["seed=3", "f.yaml"],
        ["--config", "f.yaml", "seed=3"],
        ["seed=3", "--config=f.yaml"],
        ["--resume", "f.yaml", "--seed=3", "--debug"],
    ],
)
def test_the_configuration_with_and_without_its_option(given: list[str]) -> None:
    arguments = cli.parse(parser(), given)
    assert (arguments.config, arguments.overrides) == ("f.yaml", ["seed=3"])


@pytest.mark.parametrize(
    "name", ["a.yml", "runs/lr=1e-5/config.yaml", "/x/y", "molgpt_qed", "a.json"]
)
def test_what_is_taken_for_a_configuration(name: str) -> None:
    arguments = cli.parse(parser(), ["grpo.loss=dapo", name])
    assert (arguments.config, arguments.overrides) == (name, ["grpo.loss=dapo"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a.yaml", "b.yaml"], "b.yaml: a second configuration beside a.yaml"),
        (["--config", "a.yaml", "b.yaml"], "b.yaml: a second configuration beside a.yaml"),
        (["seed=3"], "the following arguments are required: --config; see"),
        (["a.yaml", "--optim.lr", "1e-5"], "keys of the configuration are written optim.lr=1e-5"),
        (["a.yaml", "--seed", "3"], "keys of the configuration are written seed=3"),
        (["a.yaml", "--rewards", "[{name: a}]"], "are written 'rewards=[{name: a}]'"),
        (["a.yaml", "--beta", "0.04"], "rl4bio calls it grpo.kl_coef (TRL's beta)"),
        (["a.yaml", "--beta=0.04"], "rl4bio calls it grpo.kl_coef (TRL's beta)"),
        (["a.yaml", "--num-generations=8"], "rl4bio calls it grpo.group_size"),
        (["a.yaml", "--bf16"], "rl4bio calls it trainer.precision=bf16-mixed"),
        (["a.yaml", "--top-p", ".9"], "rollout.temperature and rollout.top_k shape it"),
        (["a.yaml", "--zzzz"], "unrecognized arguments: --zzzz; see rl4bio try --help"),
    ],
)
def test_keys_written_like_options(given: list[str], message: str, capsys) -> None:
    assert cli.run_command(lambda _: 0, parser(), given) == 2
    line = capsys.readouterr().err
    assert line.startswith("rl4bio: error[config]: ")
    assert message in line


def test_a_run_folder_goes_behind_its_option(tmp_path: Path, capsys) -> None:
    made = parser()
    made.add_argument("--run")
    assert cli.run_command(lambda _: 0, made, [str(tmp_path)]) == 2
    assert "is a folder; a finished run goes behind --run" in capsys.readouterr().err


def test_messages_are_one_bounded_line_without_secrets(capsys, monkeypatch) -> None:
    monkeypatch.setenv("PLANTED_API_KEY", "k3y-value")
    monkeypatch.setenv("MY_SECRET_THING", "s3cret-value")
    monkeypatch.setenv("DB_PASSWORD", "passw0rd")
    monkeypatch.setenv("HF_TOKEN", "t0ken-value")
    hub_token = "hf_" + "a1B2" * 6
    planted = f"k3y-value s3cret-value passw0rd t0ken-value {hub_token} http://me:pw12@host/x"
    assert (
        run(DataError(f"{planted}\x1b[2J\nrl4bio: forged line " + "y" * 100_000 + " the end")) == 3
    )
    printed = capsys.readouterr().err
    for secret in ("k3y", "s3cret", "passw0rd", "t0ken", hub_token, "pw12"):
        assert secret not in printed
    assert printed.count("***") == 6
    assert "\\x1b[2J\\nrl4bio: forged line" in printed
    assert printed.endswith(" the end\n")
    assert len(printed) <= MAX_SHOWN_CHARACTERS + len("rl4bio: error[data]: \n")


def test_short_values_are_no_secrets() -> None:
    assert mask_secrets("1 none", {"A_KEY": "1", "B_TOKEN": "none", "C_KEY": ""}) == "1 none"
    assert mask_secrets("abcdef1 abcdef", {"A_KEY": "abcdef", "B_KEY": "abcdef1"}) == "*** ***"


def test_one_line_escapes_what_a_terminal_would_act_on() -> None:
    assert one_line("a\tb\r\u202ec\ud800é") == "a\\tb\\r\\u202ec\\ud800é"
    assert one_line("x" * 2000) == "x" * 2000
    assert len(one_line("x" * 2001)) == 2000


def test_sigterm_ends_a_run_with_143(tmp_path: Path) -> None:
    program = (
        "import argparse, sys, time\n"
        "from rl4bio.cli import run_command\n"
        "def main(_):\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        time.sleep(0.3); print('saved', flush=True)\n"
        "sys.exit(run_command(main, argparse.ArgumentParser(), []))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)  # ignored: the run is saving
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (143, "saved\n", "rl4bio: stopped by SIGTERM\n")


def test_runs_in_a_thread() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run(DataError("x"))))
    thread.start()
    thread.join()
    assert codes == [3]


def test_letters_that_an_encoding_lacks_are_escaped() -> None:
    program = (
        "import argparse, sys\n"
        "from rl4bio.cli import run_command\n"
        "def main(_): print('a \\u2013 \\u00fc')\n"
        "sys.exit(run_command(main, argparse.ArgumentParser(), []))\n"
    )
    said = {
        name: subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": name},
        ).stdout
        for name in ("ascii", "latin-1", "utf-8")
    }
    assert said == {
        "ascii": b"a \\u2013 \\xfc\n",
        "latin-1": b"a \\u2013 \xfc\n",
        "utf-8": "a \u2013 \u00fc\n".encode(),
    }


def test_reader_that_leaves_early() -> None:
    program = (
        "import argparse, sys\n"
        "from rl4bio.cli import run_command\n"
        "def main(_):\n"
        "    for n in range(100_000): print(n)\n"
        "sys.exit(run_command(main, argparse.ArgumentParser(), []))\n"
    )
    result = subprocess.run(
        f"{sys.executable} -c '{program}' | head -n 1", shell=True, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("0\n", "")


def test_table_of_commands(capsys) -> None:
    assert rl4bio(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in COMMANDS)
    assert rl4bio(["--version"]) == 0
    assert capsys.readouterr().out == f"rl4bio {__version__}\n"
    assert rl4bio([]) == 2
    capsys.readouterr()
    assert rl4bio(["fti\x1b"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(
        "rl4bio: error[config]: unknown command 'fti\\x1b'; did you mean 'fit'?"
    )


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("train", "rl4bio calls it fit; known"),
        ("chat", "rl4bio calls it generate --chat; known"),
        ("configs/a.yaml", "did you mean `rl4bio fit configs/a.yaml`?; known"),
        ("evalute", "did you mean 'evaluate'?; known"),
        ("zzz", "unknown command 'zzz'; known"),
    ],
)
def test_other_words_for_commands(word: str, hint: str, capsys) -> None:
    assert rl4bio([word]) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module(name: str) -> None:
    """As docs/commands.md says: `python -m rl4bio.<command>` is `rl4bio <command>`."""
    page = (Path(__file__).resolve().parents[1] / "docs" / "commands.md").read_text()
    assert f"| `rl4bio {name} " in page or f"| `rl4bio {name}`" in page
    shown = [
        subprocess.run([sys.executable, "-m", *words, "--help"], capture_output=True, text=True)
        for words in ([f"rl4bio.{name}"], ["rl4bio", name])
    ]
    assert [done.returncode for done in shown] == [0, 0]
    assert shown[0].stdout == shown[1].stdout
    assert shown[0].stdout.startswith(f"usage: rl4bio {name} ")
    assert max(map(len, shown[0].stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_instant_help(name: str) -> None:
    assert_light(["rl4bio", name, "--help"], code=0)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["rl4bio", "--help"], 0),
        (["rl4bio", "fit", "--config", "missing.yaml"], 2),
        (["rl4bio", "fit", "--config", "{}", "grpo.loss=dap"], 2),
        (["rl4bio", "fit", "{}", "beta=1"], 2),
        (["rl4bio", "fit", "{}", "rewards.0.name=docking"], 2),
        (["rl4bio", "list"], 0),
        (["rl4bio", "describe", "reward", "qed"], 0),
        (["rl4bio", "describe", "callback", "kl_monitor"], 0),
        (["rl4bio", "evaluate", "--config", "{}", "data.options.sorce=x"], 2),
    ],
)
def test_configuration_errors_are_instant(arguments: list[str], code: int) -> None:
    config = str(Path(__file__).resolve().parents[1] / "configs" / "pubmedqa_nano.yaml")
    assert_light([argument.format(config) for argument in arguments], code)


def assert_light(arguments: list[str], code: int) -> None:
    """The command ends with a code, and has imported none of the heavy packages."""
    program = (
        "import sys\n"
        f"sys.argv = {arguments!r}\n"
        "from rl4bio.__main__ import main\n"
        "try:\n    code = main()\n"
        "except SystemExit as stop:\n    code = stop.code or 0\n"
        "heavy = {'torch', 'lightning', 'transformers', 'wandb', 'rdkit'} & set(sys.modules)\n"
        "print('heavy', sorted(heavy), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert lines[-1] == "heavy []"
    assert code == 0 or lines[-2].startswith("rl4bio: error[config]: ")
    assert "Traceback" not in result.stderr
