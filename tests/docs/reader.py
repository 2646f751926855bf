"""A reader who follows a page from its first block to its last, at the root of a clone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl4bio.__main__ import COMMANDS, main
from rl4bio.callbacks import CALLBACKS
from rl4bio.cli import parse
from rl4bio.config.load import load_config, to_yaml
from rl4bio.evaluate import command_parser as evaluate_parser
from rl4bio.fit import command_parser as fit_parser
from rl4bio.library import _arguments as library_arguments
from tests.docs.blocks import ROOT, Block, commands
from tests.docs.exceptions import excepted, excepted_line
from tests.docs.looking import look_at
from tests.docs.small import MODELS, small_evaluation, small_run

CLONE = ("configs", "experiments", "docs", "setup.cfg", "pyproject.toml", "constraints.txt")
MOLECULES, QUESTIONS = "rl4bio:molgpt_qed", "rl4bio:pubmedqa_nano"
BASES = {
    **dict.fromkeys(("docs/affinity.md", "docs/external_scorers.md"), MOLECULES),
    **dict.fromkeys(("docs/few_calls.md", "docs/from_reinvent4.md", "docs/molgpt.md"), MOLECULES),
    "docs/medical.md": "rl4bio:medical_reasoning_nano",
    "docs/therapeutics.md": "rl4bio:therapeutics_nano",
    "docs/therapeutics_rewards.md": "rl4bio:therapeutics_nano",
}
"""Page -> the configuration that its YAML blocks are parts of, where the words above name none."""
LOOKED_AT = {"callbacks", "data", "evaluation", "policy", "rewards", "plugins", "trainer"}
"""Sections that a dry run shows; a block with another one is run."""


ONE_MODE = ("evaluation.modes=[greedy]",)


@dataclass
class Kept:
    """Finished runs that readers share, and what was asked of them."""

    folder: Path
    evaluated: set[str] = field(default_factory=set)


class Reader:
    """One page's reader."""

    def __init__(self, folder: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a folder that has the reader's own files."""
        self.kept, self.patch = kept, monkeypatch
        self.variables: dict[str, str] = {}
        for name in (*CLONE, "Makefile"):
            (folder / name).symlink_to(ROOT / name)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setattr("rl4bio.comparisons.starting.start", self._start)
        monkeypatch.setattr("rl4bio.library._arguments", self._library_arguments)

    def follow(self, block: Block) -> None:
        """Do what a block says; of one that is excepted, read what can be read."""
        self.patch.setattr("sys.stdin", io.StringIO("Does it help?\nquit\n"))
        run = not excepted(block)
        if block.language == "bash":
            self.shell(block, run=run)
        elif block.language == "python" and run:
            self.python(block)
        elif block.language == "yaml" and (run or "rewards:" in block.text):
            self.configure(block, run=run)

    def shell(self, block: Block, *, run: bool = True) -> None:
        """Each line of a shell block."""
        for line in commands(block.text):
            given = re.fullmatch(r"(?:export )?([A-Z]+)=(.*)", line)
            if given and len(shlex.split(given[2])) == 1:
                self.variables[given[1]] = shlex.split(given[2])[0]
                continue
            for name, value in self.variables.items():
                line = line.replace(f'"${name}"', shlex.quote(value)).replace(f"${name}", value)
            told = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line)
            trains = line.startswith("rl4bio affinity ") and find_spec("lightgbm") is None
            if not run or trains or excepted_line(line):
                look_at(told, self.patch)
            elif line.startswith("rl4bio "):
                self.command(shlex.split(line)[1:])
            else:
                subprocess.run(["bash", "-ec", line], check=True)

    def python(self, block: Block) -> None:
        """Save it under the name that its first line gives, and run it."""
        text = re.sub(r"(max_(?:steps|completion_tokens)=)\d+", r"\g<1>2", block.text)
        for model, shipped in MODELS.items():
            asset = ROOT / "rl4bio" / "assets" / shipped.removeprefix("rl4bio:")
            text = text.replace(f'"{model}"', repr(str(asset)))
        path = Path(block.file or "block.py")
        path.write_text(text)
        self._made(text)
        self.patch.setattr("sys.stdin", io.StringIO())
        runpy.run_path(str(path), run_name="__main__")

    def configure(self, block: Block, *, run: bool = True) -> None:
        """Run what it is a part of: the configuration that its page is about."""
        lines = (ROOT / block.page).read_text("utf-8").splitlines()[: block.line - 1]
        above = "\n".join(lines).rpartition("```")[2].rpartition("\n#")[2]
        named = re.findall(r"\bconfigs/\w+\.yaml", above)
        base = named[-1] if named else BASES.get(block.page, QUESTIONS)
        found = yaml.safe_load(block.text)
        words = [base, *(f"{key}={json.dumps(value)}" for key, value in found.items())]
        words.append(f"name=line{block.line}")
        config = load_config(base, words[1:])
        for part in config.callbacks:
            CALLBACKS.build(part.name, part.options, where=part.name)
        if run:
            self.fit([*words, *([] if set(found) - LOOKED_AT else ["--dry-run"])])

    def command(self, words: list[str]) -> None:
        """`rl4bio ...`."""
        name, *rest = words
        assert name in COMMANDS
        if name == "fit":
            self.fit(rest)
            return
        self._made(" ".join(rest))
        if name == "evaluate":
            self.evaluate(rest)
            return
        less = {"affinity": ["--members", "2", "--seeds", "1"]}
        if name == "generate" and "--num" in rest:
            less["generate"] = ["--num", "8"]
        self._succeed([name, *rest, *less.get(name, [])])

    def fit(self, words: list[str]) -> None:
        """`rl4bio fit ...`: as it stands its configuration is checked, a small one is run."""
        arguments = parse(fit_parser(), words)
        config = load_config(arguments.config, arguments.overrides)
        if config.stages and not any(word.startswith("stages=") for word in words):
            # Each stage is a process; a block that is about stages has them.
            words = [*words, "stages=[]"]
            arguments = parse(fit_parser(), words)
            config = load_config(arguments.config, arguments.overrides)
        words = [*words, *small_run(config)]
        if arguments.seeds or arguments.sweep or arguments.dry_run:
            self._succeed(["fit", *words, *(["--seeds=1"] if arguments.seeds else [])])
            return
        small = load_config(arguments.config, [*arguments.overrides, *small_run(config)])
        run = Path(small.output_dir) / small.name
        kept = self.kept.folder / hashlib.sha256(to_yaml(small).encode()).hexdigest()[:12]
        if kept.is_dir():
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(kept, run)
            return
        self._succeed(["fit", *words, *(["--restart"] if run.exists() else [])])
        shutil.copytree(run, kept)

    def evaluate(self, words: list[str]) -> None:
        """`rl4bio evaluate ...`, once of a run that readers share."""
        arguments = parse(evaluate_parser(), words)
        less = [] if any("evaluation.modes" in word for word in words) else list(ONE_MODE)
        less += small_evaluation()
        if arguments.config:
            less += small_run(load_config(arguments.config, arguments.overrides))
        config = Path(arguments.run) / "config.yaml" if arguments.run else Path(arguments.config)
        asked = f"{config.read_text()} {words}"
        if asked not in self.kept.evaluated:
            self._succeed(["evaluate", *words, *less])
            self.kept.evaluated.add(asked)

    def _made(self, text: str) -> None:
        """The runs that a text names, which an earlier page has told how to make."""
        for name in re.findall(r"\bruns/(\w+)", text):
            if not Path("runs", name).exists():
                self.fit([f"rl4bio:{name}", "stages=[]"])

    def _succeed(self, words: list[str]) -> None:
        code = main(words)
        assert code == 0, f"exit code {code}: rl4bio {shlex.join(words)}"

    def _library_arguments(self, parser: ArgumentParser, given: dict[str, Any], **own: Any) -> Any:
        """Of `rl4bio.run` and `Run.evaluate`, made small."""
        found = library_arguments(parser, given, **own)
        small = [*ONE_MODE, *small_evaluation()]
        if found.config:
            small = small_run(load_config(found.config, found.overrides))
        found.overrides += small
        return found

    def _start(self, command: list[str], group: str) -> int:
        """A run of `--seeds` or `--sweep`, in this process."""
        return main(["fit", *command[3:]])
