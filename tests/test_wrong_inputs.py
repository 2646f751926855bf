"""What a user gets wrong on the command line: one clear line, and its exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.__main__ import main

CONFIG = """
name: wrong
output_dir: {runs}
policy: {{checkpoint: {runs}/nothing}}
data: {{name: trials}}
rewards: [{{name: structure}}]
"""


@pytest.fixture
def said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Runs a command in a folder with odd things in it; gives the exit code and the last line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(CONFIG.format(runs=tmp_path / "runs"))
    (tmp_path / "compose.yaml").write_text("version: 3\nservices: {web: {image: x}}\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "runs" / "half" / "adapter").mkdir(parents=True)
    (tmp_path / "runs" / "half" / "config.yaml").write_text("name: half\n")

    def run(*arguments: str) -> tuple[int, str]:
        code = main([*arguments])
        out = capsys.readouterr()
        assert "Traceback" not in out.err + out.out
        return code, out.err.strip().splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ("evaluate --run nothing", 2, "--run: nothing: no such folder; name the folder of a run"),
        ("evaluate --run good.yaml", 2, "--run: good.yaml: is a file; name the folder of a run"),
        ("evaluate --run folder", 2, "--run: folder: no run's folder (no config.yaml); name one"),
        ("generate --run nothing", 2, "--run: nothing: no such folder"),
        ("generate --run folder", 2, "--run: folder: no run's folder"),
        ("generate --run runs/half/adapter", 2, "is a part of a run; name runs/half"),
        ("export --run nothing --output o", 2, "--run: nothing: no such folder"),
        ("export --run runs/half/adapter --output o", 2, "is a part of a run; name runs/half"),
        ("export --run runs/half --output o.gguf", 2, "a folder is written; leave .gguf out"),
        ("fit compose.yaml", 2, "version: unknown key, as are all others here; is this another"),
        ("fit good.yaml plugins=[folder]", 2, "plugins[0]: folder is a folder without code; name"),
        ("fit good.yaml seed=two", 2, "override 'seed=two': seed: got 'two', needs a whole number"),
        ("fit good.yaml optim.lr=[1]", 2, "optim.lr"),
        ("fit good.yaml policy.checkpoint=", 4, "policy.checkpoint: is empty; give an existing"),
        ("fit good.yaml policy.checkpoint=good.yaml", 4, "good.yaml is a file; give an existing"),
        ("evaluate good.yaml --output good.yaml", 7, "good.yaml: is a file; choose another --out"),
        ("score good.yaml --completions folder --output o", 3, "folder: is a folder; give --comp"),
        ("fit good.yaml output_dir=good.yaml", 7, "good.yaml: is a file; choose another output"),
    ],
)
def test_one_line_and_its_exit_code(
    said: Callable[..., tuple[int, str]], arguments: str, code: int, line: str
) -> None:
    found, text = said(*arguments.split())
    assert (found, line in text) == (code, True), text
    assert text.startswith("rl4bio: error[")


def test_what_a_reward_refuses_is_named_by_its_place(said: Callable[..., tuple[int, str]]) -> None:
    engine = "rewards=[{name: external, isolation: none, options: {command: [nothing-of-this]}}]"
    code, text = said("score", "good.yaml", engine, "--completions", "x", "--output", "o")
    assert code == 2
    assert "rewards[0].options.command: no program 'nothing-of-this' on the PATH" in text


@pytest.mark.parametrize(
    ("place", "what_to_do"),
    [
        ("nothing/o.jsonl", "make its folder first"),
        ("good.yaml/o.jsonl", "a part of its path is a file"),
        ("folder", "a folder has this name"),
    ],
)
def test_what_to_do_about_a_place_that_cannot_be_written(
    said: Callable[..., tuple[int, str]], place: str, what_to_do: str
) -> None:
    from rl4bio.errors import StorageError
    from rl4bio.storage.files import write_atomic

    with pytest.raises(StorageError, match=f"cannot be written .*; {what_to_do}.*--output"):
        write_atomic(Path(place), "text")
