"""Pages: links lead somewhere, code blocks are what the package takes, the site builds."""

from __future__ import annotations

import ast
import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl4bio.config.load import load_config
from rl4bio.config.reference import reference_page
from rl4bio.config.schema import all_keys, check_tree
from rl4bio.config.yaml_reader import parse_yaml
from rl4bio.errors import Rl4bioError
from rl4bio.sections import RunConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "experiments").glob("*/README.md")),
    ROOT / "benchmarks" / "RESULTS.md",
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SOURCE = re.compile(r"`([\w.]+(?:/[\w.]+)+\.(?:py|yaml|md))`")


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    for path in PAGES:
        for found, text in FENCE.findall(path.read_text("utf-8")):
            if found == language:
                yield path, text


def named(cases: Iterator[tuple[Path, str]]) -> list[object]:
    return [
        pytest.param(text, id=f"{path.relative_to(ROOT)}-{n}")
        for n, (path, text) in enumerate(cases)
    ]


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


@pytest.mark.parametrize("text", named(blocks("python")))
def test_python_blocks(text: str) -> None:
    """They are Python, and what they import from the package is there."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rl4bio"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


@pytest.mark.parametrize("text", named(blocks("yaml")))
def test_yaml_blocks(text: str) -> None:
    """They read, and a part of a run has the keys of one."""
    value = parse_yaml(text.replace("...", "x"), "block").value
    if isinstance(value, dict) and set(value) <= set(RunConfig.__dataclass_fields__):
        check_tree(value)


def commands() -> Iterator[tuple[Path, str]]:
    for path, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = line.partition(" #")[0].strip()
            if words.startswith("rl4bio "):
                yield path, words


@pytest.mark.parametrize("line", named(commands()))
def test_commands(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their options exist; a configuration that ships takes the changes that are made to it."""
    from rl4bio.__main__ import COMMANDS
    from rl4bio.completion import options

    _, name, *words = shlex.split(re.sub(r"[<>]", "", line))
    assert name in COMMANDS
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    known = {*options(name), *(f"--{key}" for key in all_keys())}
    assert [option for option in given if option not in known] == []
    if name not in ("fit", "evaluate", "score"):
        return
    files = [w for w in words if w.startswith("rl4bio:") or (ROOT / w).is_file()]
    words = [w for before, w in zip(["", *words], words, strict=False) if before != "--sweep"]
    changes = [w for w in words if re.match(r"[\w.\[\]]+\+?=", w)]
    if not files or any("$" in word for word in words):
        return
    monkeypatch.chdir(ROOT)
    for file in re.findall(r"\w+\.py", " ".join(w for w in changes if w.startswith("plugins="))):
        own = [text for page, text in blocks("python") if text.startswith(f"# {file}\n")]
        (tmp_path / file).write_text(own[-1])  # the page's own, behind the README's
        changes = [word.replace(file, str(tmp_path / file)) for word in changes]
    load_config(files[0], changes)


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


def test_conveniences_are_counted_rightly() -> None:
    text = (ROOT / "docs" / "conveniences.md").read_text("utf-8")
    marks = re.findall(r"^\| ([YPN]) \|", text, re.MULTILINE)
    said = f"Of {len(marks)} they are " + "{} Y, {} P and {} N.".format(*map(marks.count, "YPN"))
    assert said in text


def test_a_wrong_command_would_be_found() -> None:
    with pytest.raises(Rl4bioError):
        load_config("rl4bio:pubmedqa_nano", ["grpo.group_sise=3"])


@pytest.mark.slow
@pytest.mark.usefixtures("no_traces")
def test_who_reads_own_reward_alone_sees_it_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two blocks of how_to.md as they stand: the file saved, the command given, two steps."""
    from rl4bio.fit import main

    text = (ROOT / "docs" / "how_to.md").read_text("utf-8").partition("## A reward of")[2]
    (_, source), (_, command) = FENCE.findall(text)[:2]
    assert len([line for line in source.splitlines() if line.strip()]) <= 12
    monkeypatch.chdir(tmp_path)
    Path("my_rewards.py").write_text(source)
    _, _, *words = shlex.split(command)
    assert main(words) == 0  # the dry run
    small = ["trainer.max_steps=2", "trainer.num_threads=1", "data.options.batch_size=2"]
    assert main([*(word for word in words if word != "--dry-run"), *small]) == 0
    page = (tmp_path / "runs" / "pubmedqa_nano" / "report.html").read_text("utf-8")
    assert "Reward: short_thought" in page


@pytest.mark.usefixtures("no_traces")
def test_data_callback_and_model_of_ones_own_make_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of how_to.md as they stand, in one run of two steps and its page."""
    from rl4bio.fit import main
    from tests.conftest import build_tokenizer

    monkeypatch.chdir(tmp_path)
    for page, text in blocks("python"):
        name = re.match(r"# (my_(?:data|callback|model)\.py)\n", text)
        if page.name == "how_to.md" and name:
            Path(name[1]).write_text(text)
    Path("own").mkdir()
    for split in ("train", "val", "test"):
        rows = [f"{split}{n},Does {split} number {n} help?,yes" for n in range(4)]
        Path(f"own/{split}.csv").write_text("\n".join(["id,question,answer", *rows]))
    tokenizer = build_tokenizer()
    own = runpy.run_path("my_model.py")
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 2, "vocab_size": len(tokenizer)}
    own["MyModel"](own["MyConfig"](**shape)).save_pretrained("checkpoint")
    tokenizer.save_pretrained("checkpoint")
    given = [
        "plugins=[my_data.py, my_callback.py, my_model.py]",
        "data={name: my_questions, options: {folder: own, batch_size: 2}}",
        "rewards=[{name: structure}]",
        "callbacks+={name: answer_words}",
        "policy.checkpoint=checkpoint",
        *("trainer={max_steps: 2, accelerator: cpu, num_threads: 1}", "name=own"),
        "rollout.max_completion_tokens=8",
    ]
    assert main(["rl4bio:pubmedqa_nano", *given]) == 0
    run = Path("runs/own")
    assert "rollout/words_mean" in (run / "metrics.csv").read_text().splitlines()[0]
    assert "words" in (run / "report.html").read_text("utf-8")
    assert '"model_type": "my_model"' in (run / "model" / "config.json").read_text()


def test_a_score_of_molecules_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`my_score.py` of how_to.md."""
    from rl4bio.rewards import REWARDS
    from rl4bio.rewards.combine import WeightedRewards
    from rl4bio.sections import RewardConfig
    from rl4bio.types import Sample

    monkeypatch.setattr(REWARDS, "_registered", REWARDS.registered())
    (source,) = [text for _, text in blocks("python") if text.startswith("# my_score.py\n")]
    (tmp_path / "my_score.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_score", raising=False)
    importlib.import_module("my_score")
    monkeypatch.delitem(sys.modules, "my_score")
    rewards = WeightedRewards.from_config(
        [RewardConfig(name="few_bonds_turn", options={"limit": 4})]
    )
    texts = ["c1ccccc1", "CCCC", "C("]
    scores = rewards(texts, [Sample(uid=text, prompt="") for text in texts])
    # One bond of butane turns, the middle one: 1 - 1 / 4.
    assert scores.parts["few_bonds_turn"] == [1.0, 0.75, 0.0]
    assert scores.raw["few_bonds_turn"][:2] == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("text", named((p, t) for p, t in blocks("python") if p in
                                       (ROOT / "README.md", ROOT / "docs" / "how_to.md")
                                       and "rl4bio:" in t))  # fmt: skip
def test_python_that_runs_something(text: str, tmp_path: Path) -> None:
    """With a tenth of the steps and the items."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    text = re.sub(r'("max_\w+": \d)0', r"\1", text)
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


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
