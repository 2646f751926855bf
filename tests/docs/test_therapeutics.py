"""What docs/therapeutics.md names is there: commands, keys, configurations, links, tasks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from rl4bio.__main__ import main
from rl4bio.config.load import load_config
from rl4bio.data import CORPORA
from rl4bio.data.therapeutics.corpus import TherapeuticsCorpus
from rl4bio.data.therapeutics.prompts import own_templates, parse_template
from rl4bio.data.therapeutics.tasks import TherapeuticsTask
from rl4bio.registry import build_dataclass

pytestmark = pytest.mark.usefixtures("no_traces")

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "therapeutics.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [
    shlex.split(line, comments=True)
    for kind, block in BLOCKS
    if not kind
    for line in block.splitlines()
    if line.strip()
]


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command and its flags exist, its configuration loads with the overrides."""
    monkeypatch.chdir(ROOT)
    assert words[0] == "rl4bio"
    assert main([words[1], "--help"]) == 0
    usage = capsys.readouterr().out
    for flag in words[2:]:
        assert not flag.startswith("--") or flag in usage, flag
    if "--config" in words:
        config = load_config(
            Path(words[words.index("--config") + 1]), [word for word in words if "=" in word]
        )
        CORPORA.build(config.data.name, config.data.options, where="data")
    else:
        name = Path(words[words.index("--run") + 1]).name
        assert (ROOT / "configs" / f"{name}.yaml").is_file()


def test_the_yaml_block_builds_a_corpus() -> None:
    [block] = [yaml.safe_load(text) for kind, text in BLOCKS if kind == "yaml"]
    corpus = CORPORA.build(block["data"]["name"], block["data"]["options"], where="data")
    assert isinstance(corpus, TherapeuticsCorpus)


def test_keys_of_a_table_are_its_options() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section("Tables"), re.MULTILINE)
    keys = {key for row in rows for key in re.findall(r"\w+", row)}
    known = set(TherapeuticsTask.__dataclass_fields__)
    assert keys <= known
    assert known - keys == {"kind"}  # which the template says
    with pytest.raises(Exception, match="task"):
        build_dataclass(TherapeuticsTask, {}, where="tasks[0]")


@pytest.mark.parametrize("option", ["form", "split"])
def test_choices_are_those_of_the_corpus(option: str) -> None:
    title = {"form": "Prompts", "split": "Splits"}[option]
    table = section(title).split(f"| `{option}` |")[1].split("\n\n")[0]
    for value in re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE):
        options = {"tasks": [{"task": "BBB_Martins", "source": "x.csv"}], option: value}
        assert getattr(CORPORA.build("therapeutics", options, where="data"), option) == value


def test_the_number_of_own_templates() -> None:
    count = re.search(r"for (\d+) tasks of the same names", TEXT)
    assert count is not None
    assert int(count[1]) == len(own_templates())
    assert parse_template("Design_EGFR_de_novo", own_templates()["Design_EGFR_de_novo"]).kind == (
        "design"
    )


def test_configurations_and_links_exist() -> None:
    for name in re.findall(r"^\| `(\w+)` \| google/", TEXT, re.MULTILINE):
        assert (ROOT / "configs" / f"{name}.yaml").is_file(), name
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PAGE.parent / target).is_file(), target


def test_estimates_are_those_of_the_configurations() -> None:
    """The table repeats what the heads of the files say."""
    for name, cells in re.findall(r"^\| `(\w+)` \| google/[^|]+\| ([^|]+) \|", TEXT, re.MULTILINE):
        head = (ROOT / "configs" / f"{name}.yaml").read_text().split("\nname:")[0]
        words = " ".join(head.replace("#", " ").split())
        for size in re.findall(r"(\d+) GiB", cells):
            assert f"{size} GiB" in words, (name, size)
