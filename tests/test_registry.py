"""Parts by name: lookup, options, and what plugins may register."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass, field
from typing import Literal

import pytest

from rl4bio.callbacks import CALLBACKS
from rl4bio.data import CORPORA
from rl4bio.errors import ConfigError
from rl4bio.registry import Registry, build_dataclass, did_you_mean
from rl4bio.rewards import REWARDS


@dataclass(kw_only=True)
class Part:
    """Has one option of each kind."""

    size: int
    share: float = 0.5
    kind: Literal["long", "short"] = "long"
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: got {self.size}, needs at least 1")


@pytest.fixture
def parts() -> Registry[object]:
    made: Registry[object] = Registry("part", {"builtin": "rl4bio.sections.training:OptimConfig"})
    made.register("mine")(Part)
    return made


def test_builds_with_converted_options(parts: Registry[object]) -> None:
    built = parts.build("mine", {"size": "3", "share": 1, "words": ["a"]}, where="parts[0]")
    assert built == Part(size=3, share=1.0, words=["a"])
    assert isinstance(built.share, float)  # type: ignore[attr-defined]


REFUSED = [
    ("mien", {}, "parts[0].name: unknown part 'mien'; did you mean 'mine'?; known: builtin, mine"),
    (
        "mine",
        {"sise": 1},
        "parts[0].options.sise: unknown option; did you mean 'size'?; known: kind",
    ),
    ("mine", {}, "parts[0].options.size: this option is required"),
    (
        "mine",
        {"size": "x"},
        "parts[0].options.size: got 'x', needs a whole number",
    ),
    ("mine", {"size": 1.5}, "parts[0].options.size: got 1.5, needs a whole number"),
    (
        "mine",
        {"size": 1, "kind": "wide"},
        "parts[0].options.kind: Invalid value 'wide', expected one",
    ),
    ("mine", {"size": 1, "words": "a"}, "parts[0].options.words: got 'a', needs a list"),
    ("mine", {"size": 0}, "parts[0].options.size: got 0, needs at least 1"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_refusals_name_the_place(
    name: str, options: dict[str, object], message: str, parts: Registry[object]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parts.build(name, options, where="parts[0]")
    assert str(caught.value).startswith(message)


def test_names_are_taken_once(parts: Registry[object]) -> None:
    parts.register("mine")(Part)  # importing a plugin twice is harmless

    @dataclass
    class Other:
        """Another class."""

    for name in ("mine", "builtin"):
        with pytest.raises(ConfigError, match=f"part '{name}' is registered already"):
            parts.register(name)(Other)
    with pytest.raises(ConfigError, match="int must be a dataclass"):
        parts.register("number")(int)


def test_option_names_of_registered_and_of_unimported_parts(parts: Registry[object]) -> None:
    assert parts.option_names("mine") == {"size", "share", "kind", "words"}
    assert {"lr", "betas", "warmup_steps"} <= parts.option_names("builtin")


@pytest.mark.parametrize("registry", [REWARDS, CORPORA, CALLBACKS], ids=lambda r: r.kind)
def test_every_built_in_part_exists_and_documents_its_options(registry: Registry[object]) -> None:
    for name, target in registry._builtin.items():
        module, _, attribute = target.partition(":")
        cls = getattr(importlib.import_module(module), attribute)
        assert dataclasses.is_dataclass(cls), name
        assert cls.__doc__, name
        declared = {f.name for f in dataclasses.fields(cls) if f.name in cls.__annotations__}
        assert registry.option_names(name) == declared  # what is read from the source is true
        assert registry.get(name) is cls


def test_callbacks_inherit_no_options() -> None:
    # Their options are read from their own source alone, so a base class must not add any.
    for name in CALLBACKS.names():
        fields = {f.name for f in dataclasses.fields(CALLBACKS.get(name))}
        assert fields == CALLBACKS.option_names(name)


def test_own_post_init_error_is_placed() -> None:
    with pytest.raises(ConfigError, match=r"^here.size: got 0"):
        build_dataclass(Part, {"size": 0}, where="here")


def test_did_you_mean() -> None:
    assert did_you_mean("grounding", ["ground", "length"]) == "; did you mean 'ground'?"
    assert did_you_mean("zzz", ["ground"]) == ""
