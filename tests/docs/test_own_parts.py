"""What docs/how_to.md tells to write of one's own, in runs and in what they leave."""

from __future__ import annotations

import importlib
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks_of

BLOCKS = blocks_of(ROOT / "docs" / "how_to.md")
FILES = {block.file: block.text for block in BLOCKS if block.file}


@pytest.mark.usefixtures("no_traces")
def test_who_reads_own_reward_alone_sees_it_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two blocks of how_to.md as they stand: the file saved, the command given, two steps."""
    from rl4bio.fit import main

    source, command = (block.text for block in BLOCKS[:2])
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
    for name in ("my_data.py", "my_callback.py", "my_model.py"):
        Path(name).write_text(FILES[name])
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
    (tmp_path / "my_score.py").write_text(FILES["my_score.py"])
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
