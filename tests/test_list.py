"""`rl4bio list` and `rl4bio describe`: complete, true to the classes, narrow, and without torch."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

from rl4bio import describe
from rl4bio import list as list_command
from rl4bio.config import catalogue
from rl4bio.config.schema import all_keys
from rl4bio.sections import LossKind, RunConfig
from rl4bio.text.source_docs import class_doc, sentence

PLUGIN = '''
from dataclasses import dataclass

from rl4bio.rewards import REWARDS, Reward


@REWARDS.register("mentions_p_of_lists")
@dataclass(kw_only=True)
class MentionsP(Reward):
    """1 where the completion cites a p value. More words."""

    below: float = 0.05
    """The largest p that counts."""
'''
SECTIONS = [key for key in catalogue.sections() if key]


def run(main: Any, *arguments: str, capsys: Any) -> str:
    assert main(list(arguments)) == 0
    out = str(capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    return out


@pytest.mark.parametrize("topic", catalogue.TOPICS)
def test_a_topic_says_something_of_each_name(topic: str, capsys: Any) -> None:
    out = run(list_command.main, topic, capsys=capsys)
    names = catalogue.TOPICS[topic][1]()
    assert names
    assert all(name in out for name in names)
    assert all(names.values()), [name for name, text in names.items() if not text]
    assert run(list_command.main, topic.rstrip("s").upper(), capsys=capsys) == out


def test_without_a_topic_every_name_is_there(capsys: Any) -> None:
    out = run(list_command.main, capsys=capsys).replace("\n", " ")
    for _, names in catalogue.TOPICS.values():
        assert all(name in out for name in names())
    assert set(catalogue.LOSSES) == set(typing.get_args(LossKind))


def test_every_key_has_a_sentence_a_type_and_its_default(capsys: Any) -> None:
    for key, (section, _) in catalogue.sections().items():
        documented = class_doc(section.__module__, section.__name__)
        fields = {field.name: field for field in dataclasses.fields(section)}
        assert [field.name for field in documented.fields] == list(fields)
        for field in documented.fields:
            assert field.doc, f"{key}.{field.name} has no line under it"
            default = fields[field.name].default
            if isinstance(default, bool) or default is None:
                assert field.default == {True: "true", False: "false", None: "null"}[default]
            elif isinstance(default, int | float):
                assert float(str(field.default)) == default
            elif default == "???":
                assert field.default is None
            elif isinstance(default, str):
                assert field.default == default


@pytest.mark.parametrize("key", SECTIONS)
def test_a_section_shows_its_keys(key: str, capsys: Any) -> None:
    out = run(describe.main, key, capsys=capsys)
    for field in dataclasses.fields(catalogue.sections()[key][0]):
        assert f"{key}.{field.name}: " in out
    assert run(describe.main, key.removesuffix("[]"), capsys=capsys) == out


def test_one_key_also_by_its_last_word_and_by_its_names_elsewhere(capsys: Any) -> None:
    out = run(describe.main, "grpo.kl_coef", capsys=capsys)
    assert out.startswith("grpo.kl_coef: float, default 0, at least 0\n    Weight of the KL term")
    assert "TRL: beta" in out
    assert run(describe.main, "kl_coef", capsys=capsys) == out
    assert run(describe.main, "beta", capsys=capsys).endswith(f"\n\n{out}")
    both = run(describe.main, "loss", capsys=capsys)
    assert "grpo.loss: grpo | bnpo" in both
    assert "sft.loss: nll | dft" in both
    assert "rollout.temperature shape it" in " ".join(
        run(describe.main, "top_p", capsys=capsys).replace("rollout.top_k", "").split()
    ).replace("and ", "")


@pytest.mark.parametrize("key", all_keys())
def test_every_key_is_described(key: str, capsys: Any) -> None:
    assert f"{key.partition('.')[0]}" in run(describe.main, key, capsys=capsys)


PARTS = [
    (topic, name) for topic in catalogue.REGISTRIES for name in catalogue.REGISTRIES[topic].names()
]


@pytest.mark.parametrize(("topic", "name"), PARTS)
def test_a_part_shows_all_its_options(topic: str, name: str, capsys: Any) -> None:
    """What is read from the source is what the class has, inherited options included."""
    kind = next(kind for kind, known in describe.KINDS.items() if known == topic)
    out = run(describe.main, kind, name, capsys=capsys)
    cls = catalogue.REGISTRIES[topic].get(name)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    assert {f.name for f in catalogue.part_doc(topic, name).fields} == {f.name for f in fields}
    for field in fields:
        required = field.default is field.default_factory is dataclasses.MISSING
        line = next(line for line in out.splitlines() if line.startswith(f"{field.name}: "))
        assert ("required" in line) == required or "default" not in line


def test_plugins_show_their_own_parts(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "run.yaml").write_text("plugins: [mine.py]\nunfinished: true\n")
    for given in (
        ["--config", str(tmp_path / "run.yaml")],
        ["--plugins", str(tmp_path / "mine.py")],
    ):
        out = run(list_command.main, "rewards", *given, capsys=capsys)
        assert "  mentions_p_of_lists  " in out
        assert "1 where the completion cites a p value" in " ".join(out.split())
        out = run(describe.main, "reward", "mentions_p_of_lists", *given, capsys=capsys)
        assert "below: float, default 0.05\n    The largest p that counts." in out


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (
            list_command.main,
            ["rewrads"],
            "unknown topic 'rewrads'; did you mean 'rewards'?; known:",
        ),
        (
            describe.main,
            ["grpo.kl_cof"],
            "unknown name 'grpo.kl_cof'; did you mean 'grpo.kl_coef'?",
        ),
        (describe.main, ["docking"], "rl4bio calls it external"),
        (describe.main, ["reward", "qde"], "unknown reward 'qde'; did you mean 'qed'?"),
        (describe.main, ["rewrad", "qed"], "unknown kind 'rewrad'; did you mean 'reward'?"),
        (describe.main, ["a", "b", "c"], "write one name, or KIND NAME"),
        (describe.main, ["data.options.source"], "`rl4bio describe data NAME` shows"),
        (list_command.main, ["--config", "no.yaml"], "no.yaml: No such file"),
        (list_command.main, ["--plugin", "x.py"], "did you mean '--plugins'?"),
    ],
)
def test_refusals(main: Any, arguments: list[str], message: str, capsys: Any) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def test_sentence() -> None:
    assert sentence("A thing (Shao et al., 2024), in one. More.\n\nAnd more.") == (
        "A thing (Shao et al., 2024), in one"
    )
    assert sentence("Of two\n    lines, e.g. these.") == "Of two lines, e.g. these"
    assert sentence("Version 0.5 of it") == "Version 0.5 of it"


def test_docs_come_from_sources_alone() -> None:
    program = (
        "import sys; from rl4bio.config import catalogue as c\n"
        "for t, (_, names) in c.TOPICS.items(): names()\n"
        "for t, r in c.REGISTRIES.items(): [c.part_doc(t, n) for n in r.names()]\n"
        "print({'torch', 'lightning', 'rdkit', 'numpy', 'omegaconf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_modules_and_commands_have_the_same_names() -> None:
    for name in ("list", "describe"):
        assert importlib.import_module(f"rl4bio.{name}").main
    assert RunConfig.__doc__ == "A whole run."
