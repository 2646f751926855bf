"""What docs/therapeutics.md names is there: keys, configurations, links, tasks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rl4bio.data import CORPORA
from rl4bio.data.therapeutics.prompts import own_templates, parse_template
from rl4bio.data.therapeutics.tasks import TherapeuticsTask
from rl4bio.registry import build_dataclass

pytestmark = pytest.mark.usefixtures("no_traces")

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "therapeutics.md"
TEXT = PAGE.read_text("utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


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
