"""What `rl4bio list` and `rl4bio describe` know: sections, parts, losses, models and files by name.

Everything is read from tables and sources; torch, RDKit and the parts themselves stay unloaded.
"""

from __future__ import annotations

import functools
import itertools
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl4bio.callbacks import CALLBACKS
from rl4bio.config.plugins import import_plugins
from rl4bio.config.schema import section_of
from rl4bio.config.shipped import PREFIX, config_path, names
from rl4bio.config.yaml_reader import read_yaml
from rl4bio.data import CORPORA
from rl4bio.files.assets import FOLDER
from rl4bio.registry import Registry
from rl4bio.rewards import REWARDS
from rl4bio.sections import RunConfig
from rl4bio.text.source_docs import ClassDoc, class_doc, sentence

REGISTRIES: dict[str, Registry[Any]] = {
    "rewards": REWARDS,
    "data": CORPORA,
    "callbacks": CALLBACKS,
}
LOSSES: dict[str, str] = {
    "grpo": "mean over each completion's tokens, then over completions (arXiv:2402.03300)",
    "bnpo": "mean over the tokens of a step, as dapo",
    "dr_grpo": "sum over tokens divided by a constant length (arXiv:2503.20783)",
    "dapo": "mean over the tokens of a step (arXiv:2503.14476)",
    "cispo": "token mean, ratio capped at clip_high and held fixed (arXiv:2506.13585)",
    "sapo": "row mean of token means, with a soft gate in place of the clip",
    "luspo": "mean over completions of their sums over tokens (arXiv:2602.05261)",
    "vespo": "token mean, weighing whole completions by a power of their ratio",
}
POLICIES: dict[str, str] = {
    "a hub id": "owner/name of a causal language model, such as google/gemma-3-1b-it",
    "a folder": "of such a model, of `rl4bio export`, or of `rl4bio convert` (MolGPT)",
    "rl4bio:<name>": "a model that ships with the package: see `rl4bio list assets`",
    "new": "a MolGPT with random weights, whose shape policy.molgpt gives",
}


def load_plugins(config: str | None, plugins: typing.Sequence[str]) -> None:
    """Import the plugins of a configuration and those named beside it, so that their parts show.

    Raises:
        ConfigError: the file or a plugin cannot be read.
    """
    if config is not None:
        path = config_path(config)
        tree = read_yaml(path).value
        named = tree.get("plugins") if isinstance(tree, dict) else None
        import_plugins([str(name) for name in named or []], path.parent)
    import_plugins(plugins)


def part_doc(topic: str, name: str) -> ClassDoc:
    """What a registered part says of itself and its options."""
    return class_doc(*REGISTRIES[topic].place(name))


def parts(topic: str) -> dict[str, str]:
    """Name -> first sentence of each part."""
    return {name: sentence(part_doc(topic, name).doc) for name in REGISTRIES[topic].names()}


def assets() -> dict[str, str]:
    """Shipped models and predictors, by the name that a configuration takes."""
    return {
        f"rl4bio:{card.parent.name}": _first_paragraph(card)
        for card in sorted(FOLDER.glob("*/README.md"))
    }


def _first_paragraph(card: Path) -> str:
    body = card.read_text("utf-8").partition("\n# ")[2] or card.read_text("utf-8")
    text = [part for part in body.split("\n\n")[1:] if part.strip()]
    return sentence(text[0]) if text else ""


def configs() -> dict[str, str]:
    """Complete runs that ship, each with the first sentence of its comment."""
    return {f"{PREFIX}{name}": _comment(config_path(f"{PREFIX}{name}")) for name in names()}


def _comment(path: Path) -> str:
    """The first sentence of the comment that a file begins with."""
    lines = path.read_text("utf-8").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return sentence("\n".join(line.lstrip("# ") for line in comment))


TOPICS: dict[str, tuple[str, Callable[[], dict[str, str]]]] = {
    "rewards": ("rewards: [{name: ..., weight: ...}]", lambda: parts("rewards")),
    "data": ("data: {name: ..., options: {...}}", lambda: parts("data")),
    "callbacks": ("callbacks: [{name: ..., options: {...}}]", lambda: parts("callbacks")),
    "policies": ("policy: {checkpoint: ...}", lambda: POLICIES),
    "losses": ("grpo: {loss: ...}", lambda: LOSSES),
    "configs": ("rl4bio fit NAME", configs),
    "assets": ("policy.checkpoint, --run, or the predictor of reward affinity", assets),
}
"""Topic -> (where its names go, name -> one line)."""


@functools.cache
def sections() -> dict[str, tuple[type, str]]:
    """Full key of every section -> (its dataclass, its first sentence), parts included."""
    found: dict[str, tuple[type, str]] = {"": (RunConfig, "a whole run")}
    pending: list[tuple[str, type]] = [("", RunConfig)]
    while pending:
        parent, section = pending.pop(0)
        for name, hint in typing.get_type_hints(section).items():
            inner = section_of(hint) or next(map(section_of, typing.get_args(hint)), None)
            if inner is None:
                continue
            is_list = typing.get_origin(hint) is list
            key = f"{parent}.{name}".lstrip(".") + ("[]" if is_list else "")
            found[key] = (inner, sentence(class_doc(inner.__module__, inner.__name__).doc))
            pending.append((key, inner))
    return found
