"""The frame of every command: shared arguments, and an end in one line (`process.endings`).

Imports neither torch nor lightning, so that `--help` and configuration errors are instant.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rl4bio.errors import ConfigError
from rl4bio.process.endings import closing_line
from rl4bio.process.memory import settle_memory
from rl4bio.process.signals import LISTENER

Main = Callable[[argparse.Namespace], int | None]


def add_config_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the configuration, `FILE` or `--config FILE`, `key=value` overrides and `--debug`.

    Args:
        parser: of a command; abbreviated options are switched off on it, `--conf` is an error.
        required: whether a run without a configuration is refused.
    """
    parser.allow_abbrev = False
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file of a complete run, or rl4bio:NAME of one that ships (`rl4bio list "
        "configs`); the same as FILE alone",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="FILE key=value",
        help="the file, and changes to it: grpo.kl_coef=0.02 rewards.0.weight=2 "
        "'rewards+={name: length}' 'data={name: trials}'; `rl4bio describe` shows the keys",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(config_required=required)


def run_command(
    main: Main,
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
    *,
    signals: Sequence[int] = (signal.SIGTERM,),
) -> int:
    """Parse the arguments, run a command and turn every way it can end into an exit code.

    An error ends in one line, the last one on stderr; its traceback goes to log.txt of the run
    folder, or to a temporary file, or with `--debug` to the screen.

    Args:
        main: the command; returns its exit code, None for 0.
        parser: of the command, usually after `add_config_arguments`.
        argv: arguments without the program name; None takes those of the process.
        signals: what ends it in good order, besides Ctrl-C.
    """
    debug = False
    settle_memory()
    have_streams()
    try:
        with LISTENER.listening(signals):
            arguments = parse(parser, sys.argv[1:] if argv is None else argv)
            debug = bool(getattr(arguments, "debug", False))
            return main(arguments) or 0
    except BaseException as error:
        if debug:
            traceback.print_exception(error)
        code, line = closing_line(error, debug)
        sys.stdout.flush()
        if line:
            print(line, file=sys.stderr, flush=True)
        return code


def have_streams() -> None:
    """Where a process was started without stdout or stderr, what it says goes nowhere; letters that
    an encoding such as Latin-1 lacks are written as escapes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="backslashreplace")


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; overrides may carry leading dashes and stand between options.

    Raises:
        ConfigError: what argparse refuses, and keys that are written like options.
    """
    options = set(parser._option_string_actions)
    takes_overrides = any(action.dest == "overrides" for action in parser._actions)

    def refuse(message: str) -> NoReturn:
        from rl4bio.registry import did_you_mean

        hint = ""
        if message.startswith("unrecognized arguments: "):
            unknown = next((a for a in argv if a.startswith("-") and _name(a) not in options), "")
            near = did_you_mean(_name(unknown), options) if unknown else ""
            hint = _key_of(unknown, argv) if takes_overrides and not near else near
        raise ConfigError(f"{message}{hint}; see {parser.prog} --help")

    parser.error = refuse  # type: ignore[method-assign]
    if not takes_overrides:
        return parser.parse_args(argv)
    given = [_without_dashes(argument, options) for argument in argv]
    arguments = parser.parse_intermixed_args(given)
    if not hasattr(arguments, "config"):
        return arguments
    _take_config(arguments)
    if arguments.config_required and arguments.config is None:
        refuse("the following arguments are required: --config")
    return arguments


def _name(argument: str) -> str:
    return argument.partition("=")[0]


def _take_config(arguments: argparse.Namespace) -> None:
    """The configuration among the overrides, named without `--config`, in its place."""
    files = [text for text in arguments.overrides if _is_file(text)]
    sources = [getattr(arguments, name, None) for name in ("config", "run", "model")]
    if not files and not any(sources):  # a word alone is a file with a slip in its name
        files = [text for text in arguments.overrides if "=" not in text][:1]
    if not files:
        return
    if hasattr(arguments, "run") and Path(files[0]).is_dir():
        raise ConfigError(f"{files[0]}: is a folder; a finished run goes behind --run")
    if arguments.config is not None or len(files) > 1:
        first = arguments.config if arguments.config is not None else files[0]
        raise ConfigError(
            f"{files[-1]}: a second configuration beside {first}; name one file, and changes to it "
            "as key=value; a file goes behind --config"
        )
    arguments.overrides.remove(files[0])
    arguments.config = files[0]


def _is_file(text: str) -> bool:
    """Whether an argument is a path and no override: `a.yaml`, `runs/lr=1/config.yaml`, `runs`."""
    name, equals, _ = text.partition("=")
    if equals and not ("/" in name or (text.endswith((".yaml", ".yml")) and Path(text).is_file())):
        return False
    looks = text.endswith((".yaml", ".yml", ".json", ".toml")) or "/" in name
    looks |= text.startswith("rl4bio:")  # of a configuration that ships
    return looks or Path(text).exists()


def _without_dashes(argument: str, options: set[str]) -> str:
    name, equals, _ = argument.partition("=")
    if not (equals and name.startswith("--")) or name in options:
        return argument
    return argument.lstrip("-") if _is_key(name) else argument


def _is_key(name: str) -> bool:
    """Whether a name with dashes in front is one of the configuration's: `--seed`, `--optim.lr`."""
    from rl4bio.sections import RunConfig

    first = name.strip("-+").split(".")[0].split("[")[0]
    return first in RunConfig.__dataclass_fields__ or "." in name


def _key_of(unknown: str, argv: Sequence[str]) -> str:
    """How a key is written that was given like an option: `--optim.lr 1e-5`, `--beta 0.04`."""
    from rl4bio.synonyms.hints import key_hint

    name, equals, value = unknown.partition("=")
    behind = argv[argv.index(unknown) + 1 :] if unknown in argv else []
    value = value if equals else behind[0] if behind and not behind[0].startswith("-") else "..."
    if _is_key(name):
        return f"; keys of the configuration are written {shlex.quote(f'{name[2:]}={value}')}"
    return key_hint(name, value)
