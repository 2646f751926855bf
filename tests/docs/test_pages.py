"""Every block of every page is done as its reader would do it, or has a reason not to be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, blocks_of, commands
from tests.docs.exceptions import BLOCKS, LINES, excepted, excepted_line
from tests.docs.given import write_files
from tests.docs.reader import Kept, Reader

DONE = ("bash", "python", "yaml")
ALL = [block for page in PAGES for block in blocks_of(page)]
WITH_BLOCKS = sorted({block.page for block in ALL if block.language in DONE})
pytestmark = pytest.mark.usefixtures("no_traces")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Runs that were made, for the pages behind."""
    return Kept(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's own files."""
    folder = tmp_path_factory.mktemp("files")
    write_files(folder)
    return folder


@pytest.fixture
def reader(files: Path, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    return Reader(tmp_path, kept, monkeypatch)


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_page(page: str, reader: Reader) -> None:
    for block in blocks_of(ROOT / page):
        try:
            reader.follow(block)
        except BaseException as error:
            error.add_note(f"{block.where}\n{block.text}")
            raise


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.where)
def test_a_block_says_what_it_is(block: Block) -> None:
    """What is not done is output, or a picture of letters."""
    assert block.language in (*DONE, "text")
    assert block.language != "text" or not block.text.startswith(("rl4bio ", "pip ", "python "))


def test_every_exception_is_one() -> None:
    lines = [line for block in ALL if block.language == "bash" for line in commands(block.text)]
    assert [start for start in LINES if not any(line.startswith(start) for line in lines)] == []
    places = [(block.page, block.text) for block in ALL]
    unused = [
        (page, start)
        for page, start in BLOCKS
        if not any(where.startswith(page) and text.startswith(start) for where, text in places)
    ]
    assert unused == []


def test_most_blocks_of_the_docs_are_done() -> None:
    """The exceptions do not become the rule."""
    told = [b for b in ALL if b.language in DONE and not b.page.startswith("experiments/")]
    left = [b for b in told if excepted(b)]
    lines = [line for b in told if b.language == "bash" for line in commands(b.text)]
    assert len(left) < len(told) / 8
    assert sum(map(excepted_line, lines)) < len(lines) / 3


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("bash", "rl4bio fit rl4bio:pubmedqa_nano grpo.group_sise=3\n"),
        ("bash", "rl4bio lits\n"),
        ("bash", "pip install 'rl4bio[wings]'\n"),
        ("bash", "make demos\n"),
        ("bash", "cat nothing.txt\n"),
        ("python", "from rl4bio.rewards import NoSuchReward\n"),
        ("yaml", "rewards: [{name: verdict, options: {lenience: 1}}]\n"),
    ],
)
def test_a_wrong_block_is_found(language: str, text: str, reader: Reader) -> None:
    block = Block(page="docs/runs.md", line=1, language=language, text=text)
    with pytest.raises(BaseException):  # noqa: B017, PT011
        reader.follow(block)
