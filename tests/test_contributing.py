"""The examples of CONTRIBUTING.md run as they stand."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from rl4bio.registry import build_dataclass
from rl4bio.types import Sample

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
EXAMPLES = {Path(name).stem: source for name, source in BLOCKS}


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request) -> ModuleType:
    name = f"example_{request.param}"
    path = tmp_path / f"{name}.py"
    path.write_text(EXAMPLES[request.param])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("example", ["citation"], indirect=True)
def test_reward(example: ModuleType) -> None:
    reward = build_dataclass(example.CitationReward, {"wanted": 4}, where="rewards[0].options")
    sample = Sample(uid="1", prompt="")
    # Two different references of four wanted; a repeated one counts once.
    assert reward(["[1] and [2], again [1]", "none"], [sample, sample]) == [0.5, 0.0]


@pytest.mark.parametrize("example", ["medqa"], indirect=True)
def test_corpus(example: ModuleType, tmp_path: Path) -> None:
    row = '{"question": "Which?", "options": {"A": "this", "B": "that"}, "answer_idx": "B"}\n'
    (tmp_path / "train.jsonl").write_text(row * 2)
    corpus = build_dataclass(example.MedQACorpus, {"folder": str(tmp_path)}, where="data.options")
    samples = corpus.samples("train")
    assert [s.uid for s in samples] == ["0", "1"]
    assert samples[0].target == "B"
    assert samples[0].prompt[-1] == {"role": "user", "content": "Which?\nA. this\nB. that"}


@pytest.mark.parametrize("example", ["truncation"], indirect=True)
def test_callback(example: ModuleType) -> None:
    logged = {}
    module = SimpleNamespace(
        iteration=1, log=lambda name, value, **_: logged.update({name: float(value)})
    )
    truncated = torch.tensor([True, False, False, False])
    outputs = {"rollout": SimpleNamespace(truncated=truncated), "scores": None}
    example.TruncationMonitor().on_train_batch_end(None, module, outputs, None, 0)
    assert logged == {"rollout/truncated_fraction": 0.25}


def test_examples_are_short() -> None:
    for name, source in EXAMPLES.items():
        code = [line for line in source.splitlines() if line and "import" not in line]
        assert len(code) <= 20, name


NAMED = re.findall(r"`((?:rl4bio|tests)/[\w/]+(?:\.py|/))`", TEXT)


@pytest.mark.parametrize("path", sorted(set(NAMED)))
def test_named_files_exist(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", TEXT))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)|`make (\w+)`", TEXT, re.MULTILINE)) <= {
        pair for t in targets for pair in ((t, ""), ("", t))
    }
