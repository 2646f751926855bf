"""The rewards of README.md and of docs/rewards.md score as they stand."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from rl4bio.rewards import REWARDS
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

ROOT = Path(__file__).resolve().parents[1]
TEXT = "".join((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/rewards.md"))
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
REWARD_BLOCKS = [block for block in BLOCKS if "@REWARDS.register" in block]


@pytest.mark.parametrize(
    ("name", "completions", "scores"),
    [
        ("mentions_p", ["p = 0.02", "it helps"], [1.0, 0.0]),
        # 1 / (1 + 0), 1 / (1 + 2), and no molecule.
        ("few_halogens", ["CCO", "ClCCF", "C("], [1.0, 1 / 3, 0.0]),
    ],
)
def test_a_reward_of_ones_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    completions: list[str],
    scores: list[float],
) -> None:
    monkeypatch.setattr(REWARDS, "_registered", REWARDS.registered())
    (source,) = [block for block in REWARD_BLOCKS if f'"{name}"' in block]
    path = tmp_path / f"readme_{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    rewards = WeightedRewards.from_config([RewardConfig(name=name)])
    samples = [Sample(uid=str(n), prompt="p") for n in range(len(completions))]
    assert rewards(completions, samples).parts[name] == pytest.approx(scores)
