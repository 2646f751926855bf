"""Lines of the pages that are not run, read as far as that goes."""

from __future__ import annotations

import argparse
import configparser
import re
import runpy
import shlex
import subprocess
import sys

import pytest

from rl4bio.callbacks import CALLBACKS
from rl4bio.cli import parse
from rl4bio.completion import options
from rl4bio.config.load import load_config
from rl4bio.config.schema import all_keys
from rl4bio.data import CORPORA
from rl4bio.fit import command_parser as fit_parser
from rl4bio.rewards import REWARDS
from tests.docs.blocks import ROOT


class _Read(Exception):
    """The arguments of a program were read."""


def look_at(line: str, patch: pytest.MonkeyPatch) -> None:
    """Check the options, files and names of a command."""
    words = shlex.split(line)
    if words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], check=True, stdout=subprocess.DEVNULL)
    elif words[:2] == ["python", "-m"]:
        _program(words[2], words[3:], patch)
    elif words[0] == "pip":
        _extras(line)
    elif words[0] == "rl4bio":
        given = {word.partition("=")[0] for word in words[2:] if word.startswith("--")}
        assert given <= {*options(words[1]), *(f"--{key}" for key in all_keys())}
        if words[1] == "fit":
            _configuration(words[2:])


def _configuration(words: list[str]) -> None:
    """It is right, and its parts can be built; no data or model is read."""
    arguments = parse(fit_parser(), words)
    config = load_config(arguments.config, arguments.overrides)
    CORPORA.build(config.data.name, config.data.options, where="data")
    for registry, parts in ((REWARDS, config.rewards), (CALLBACKS, config.callbacks)):
        for part in parts:
            registry.build(part.name, part.options, where=part.name)


def _program(module: str, words: list[str], patch: pytest.MonkeyPatch) -> None:
    """Start it, and stop it once it has read its arguments."""
    read = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *given: object) -> None:
        read(parser, words)
        raise _Read

    with patch.context() as inside:
        inside.setattr("argparse.ArgumentParser.parse_args", stop)
        inside.delitem(sys.modules, module, raising=False)
        with pytest.raises(_Read):
            runpy.run_module(module, run_name="__main__")


def _extras(line: str) -> None:
    known = configparser.ConfigParser()
    known.read(ROOT / "setup.cfg")
    for extras in re.findall(r"(?:rl4bio|\.)\[([\w,]+)\]", line):
        assert set(extras.split(",")) <= set(known["options.extras_require"]), line
    for file in re.findall(r"-c (\S+)", line):
        assert (ROOT / file).is_file(), line
