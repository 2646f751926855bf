"""`rl4bio init`: a configuration and a reward of one's own to start from."""

from __future__ import annotations

import argparse
import importlib.util
import json
import keyword
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rl4bio.cli import run_command
from rl4bio.errors import ConfigError, StorageError
from rl4bio.runs.launchers import alone

TEXT_REWARD = '''"""Rewards of {name}; its configuration names this file under `plugins`."""

from dataclasses import dataclass

from rl4bio.rewards import REWARDS, Reward


@REWARDS.register("{reward}")
@dataclass(kw_only=True)
class MyReward(Reward):
    """1 where the completion cites a p value; change `score` to what you want to see more of."""

    credit: float = 1.0
    """Fields are options: `options: {{credit: 0.5}}`."""

    def score(self, completion, sample):
        """A number, usually in [0, 1], of the new text; sample.target is the gold answer."""
        return self.credit if "p <" in completion or "p =" in completion else 0.0
'''
MOLECULE_REWARD = '''"""Rewards of {name}; its configuration names this file under `plugins`."""

from dataclasses import dataclass

from rl4bio.chem.properties import PROPERTIES
from rl4bio.rewards import REWARDS
from rl4bio.rewards.molecules.base import MoleculeReward


@REWARDS.register("{reward}")
@dataclass(kw_only=True)
class MyReward(MoleculeReward):
    """1 at a polar surface of `wanted` square angstroms, less around it; change `value`."""

    wanted: float = 75.0
    """Fields are options: `options: {{wanted: 90}}`."""

    def raw(self, molecule):
        """A property of a valid molecule; molecule.mol is RDKit's."""
        return PROPERTIES["tpsa"](molecule)

    def value(self, raw):
        """The reward of it, in [0, 1]."""
        return max(0.0, 1.0 - abs(raw - self.wanted) / self.wanted)
'''
SCHEMA = "rl4bio.schema.json"
QUESTIONS, MOLECULES = "rl4bio:pubmedqa_nano", "rl4bio:molgpt_qed"
_REWARDS = re.compile(r"^rewards:.*?(?=^\S)", re.MULTILINE | re.DOTALL)
"""Its block in a configuration, to the next key."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="rl4bio init",
        description="Write NAME.yaml, a copy of a configuration that ships, and NAME.py, a reward "
        "of your own that it uses; with the schema by which editors complete the keys.",
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", help="of your run: letters, digits, underscores")
    parser.add_argument(
        "--like",
        metavar="CONFIG",
        help="what to start from: one of `rl4bio list configs`, or a file (rl4bio:pubmedqa_nano)",
    )
    parser.add_argument(
        "--reinvent",
        metavar="FILE.toml",
        help="take the scoring of a file of REINVENT 4: its components become the parts of one "
        "reward, on top of rl4bio:molgpt_qed",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return run_command(alone(init, "init"), parser, argv)


def init(arguments: argparse.Namespace) -> None:
    """Write the files into the working directory; none is replaced.

    Raises:
        ConfigError: the name is no name for a file here, or the configuration to start from is
            wrong.
        StorageError: a file is there already.
    """
    from rl4bio.config.json_schema import json_schema
    from rl4bio.config.load import load_config
    from rl4bio.config.shipped import config_path
    from rl4bio.rewards import REWARDS
    from rl4bio.storage import write_atomic

    name = arguments.name
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r}: no name for a Python file; use letters, digits and _")
    files = [Path(f"{name}.yaml"), Path(f"{name}.py")]
    like = arguments.like or (MOLECULES if arguments.reinvent else QUESTIONS)
    config = load_config(like)
    if config.plugins:
        raise ConfigError(f"{like}: has plugins of its own; copy it by hand")
    if arguments.reinvent:
        files.pop()
        _check_free(files)
        _from_reinvent(arguments.reinvent, like, name)
        return
    _check_free(files)
    spec = importlib.util.find_spec(name)
    if keyword.iskeyword(name) or (spec is not None and spec.origin):
        raise ConfigError(f"{name!r}: {name}.py would hide what Python calls so; take another name")
    reward = f"{name}_reward"
    text = config_path(like).read_text("utf-8")
    if config.task == "grpo":
        molecules = any(REWARDS.get(part.name).reads_molecules for part in config.rewards)
        template = MOLECULE_REWARD if molecules else TEXT_REWARD
        write_atomic(files[1], template.format(name=name, reward=reward))
        text = with_reward(text, f"{name}.py", reward)
    else:
        files.pop()
    write_atomic(files[0], f"# yaml-language-server: $schema={SCHEMA}\n{named(text, name)}")
    write_atomic(Path(SCHEMA), json.dumps(json_schema()) + "\n")
    found = load_config(files[0])
    if config.task == "grpo" and found.rewards[0].name != reward:
        print(f"rewards: add `- {{name: {reward}, weight: 0.2}}` yourself, they are on one line")
    written = " and ".join(map(str, [*files, SCHEMA]))
    print(f"written: {written}\nnext: rl4bio fit {files[0]} --dry-run\n      rl4bio fit {files[0]}")


def _check_free(files: Sequence[Path]) -> None:
    if there := [str(file) for file in files if file.exists()]:
        raise StorageError(f"{', '.join(there)}: is there already; choose another name")


def _from_reinvent(source: str, like: str, name: str) -> None:
    """Write NAME.yaml with the scoring of a file of REINVENT, and say what was lost."""
    import yaml

    from rl4bio.config.load import load_config
    from rl4bio.config.shipped import config_path
    from rl4bio.rewards.combine import WeightedRewards
    from rl4bio.storage import write_atomic
    from rl4bio.synonyms.reinvent import read_scoring

    found = read_scoring(Path(source))
    text = config_path(like).read_text("utf-8")
    block = yaml.safe_dump({"rewards": [found.reward]}, sort_keys=False, allow_unicode=True)
    notes = "".join(f"# not as in REINVENT: {note}\n" for note in found.notes)
    text, count = _REWARDS.subn(lambda _: notes + block, text, count=1)
    if not count:
        raise ConfigError(f"{like}: has no rewards to replace; start from another with --like")
    target = Path(f"{name}.yaml")
    write_atomic(target, named(text, name))
    WeightedRewards.from_config(load_config(target).rewards)
    print("\n".join(f"not as in REINVENT: {note}" for note in found.notes))
    print(f"written: {target}\nnext: rl4bio fit {target} --dry-run\n      rl4bio fit {target}")


def named(text: str, name: str) -> str:
    """A configuration under another name."""
    return re.sub(r"^name:.*$", f"name: {name}", text, count=1, flags=re.MULTILINE)


def with_reward(text: str, plugin: str, reward: str) -> str:
    """A configuration with a plugin, and a reward of it in front of the others."""
    text = re.sub(r"^(name:.*)$", rf"\1\nplugins: [{plugin}]", text, count=1, flags=re.MULTILINE)
    line = f"  - {{name: {reward}, weight: 0.2}}   # yours, in {plugin}"
    return re.sub(r"^(rewards:[ \t]*(#.*)?)$", rf"\1\n{line}", text, count=1, flags=re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main())
