"""Pages: links lead somewhere, what they name and count is there, the site builds."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rl4bio.config.load import load_config
from rl4bio.config.reference import reference_page
from rl4bio.config.schema import all_keys
from rl4bio.errors import ConfigError
from tests.docs.blocks import FENCE, PAGES, ROOT, blocks_of

LINK = re.compile(r"\]\(([^)\s]+)\)")
SOURCE = re.compile(r"`([\w.]+(?:/[\w.]+)+\.(?:py|yaml|md))`")


def anchors(text: str) -> set[str]:
    """Headings as addresses, the way GitHub and the site write them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = FENCE.sub("", path.read_text("utf-8"))
    for target in LINK.findall(re.sub(r"`[^`]*`", "", text)):
        address, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            assert target.startswith(("https://", "mailto:")), target
            continue
        goal = path if not address else (path.parent / address).resolve()
        if goal == ROOT / "docs" / "reference.md":  # made for the site
            assert not anchor or anchor in anchors(reference_page())
            continue
        assert goal.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(goal.read_text("utf-8")), (
            f"{target}: no such heading"
        )


@pytest.mark.parametrize(
    "path",
    [page for page in PAGES if page.name != "CHANGELOG.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_sources_that_are_named_are_there(path: Path) -> None:
    folders = ROOT, ROOT / "rl4bio", ROOT / "docs", path.parent
    named = SOURCE.findall(FENCE.sub("", path.read_text("utf-8")))
    gone = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert not [name for name in gone if not name.startswith("runs/")]


def test_messages_of_the_troubleshooting_page_are_the_packages_own() -> None:
    """What it quotes stands in a text of the package, adjacent literals joined."""
    said = []
    for path in (ROOT / "rl4bio").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = (p.value for p in parts if isinstance(p, ast.Constant))
            said.append("\0".join(text for text in texts if isinstance(text, str)))
    everything = "\n".join(said)
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    quoted = re.findall(r"^\| (?:\d \| )?`([^`]+)` \|", page, re.MULTILINE)
    assert len(quoted) > 35
    assert [words for words in quoted if words not in everything] == []


def test_answers_to_names_of_other_programs_are_those_of_the_page(tmp_path: Path) -> None:
    """The two lines of configuration.md, each for a file that has its key on its line."""
    [shown] = [
        b.text for b in blocks_of(ROOT / "docs" / "configuration.md") if b.language == "text"
    ]
    for line in shown.splitlines():
        number, key = re.findall(r"^run\.yaml:(\d+): ([\w.]+):", line)[0]
        section, _, last = key.rpartition(".")
        written = f"{section}: {{{last}: 0.1}}" if section else f"{last}: 0.1"
        file = tmp_path / "run.yaml"
        file.write_text("name: x\n" + "# nothing\n" * (int(number) - 2) + written + "\n")
        with pytest.raises(ConfigError) as raised:
            load_config(file)
        assert str(raised.value).removeprefix(f"{tmp_path}/") == line


def test_conveniences_are_counted_rightly() -> None:
    text = (ROOT / "docs" / "conveniences.md").read_text("utf-8")
    marks = re.findall(r"^\| ([YPN]) \|", text, re.MULTILINE)
    said = f"Of {len(marks)} they are " + "{} Y, {} P and {} N.".format(*map(marks.count, "YPN"))
    assert said in text


def test_the_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("material")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    # Not --quiet: warnings that are not shown are not counted by --strict.
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "reference.html").read_text("utf-8")
    missing = [
        key for key in all_keys() if "[]" not in key and f"<code>{key}</code>" not in reference
    ]
    sections = {key.rpartition(".")[0] for key in all_keys()} | {"rewards", "callbacks", "data"}
    assert [key for key in missing if key not in sections and "options" not in key] == []
