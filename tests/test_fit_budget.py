"""Runs with a budget of scored molecules: where they end, what they leave, and taken up again."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from rl4bio import fit
from rl4bio.errors import ConfigError
from rl4bio.statistics.calls import top_auc
from tests.test_faults import forks
from tests.tiny_molgpt import tiny_molgpt

pytestmark = pytest.mark.usefixtures("no_traces")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    tiny_molgpt(tmp_path / "base", vocabulary=("(", "<", "C", "N", "O", ")"), num_layers=1)
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: tiny
output_dir: {tmp_path}
policy: {{checkpoint: {tmp_path / "base"}}}
rollout: {{max_prompt_tokens: 4, max_completion_tokens: 9}}
data: {{name: smiles, options: {{batch_size: 1}}}}
rewards: [{{name: qed}}]
grpo: {{group_size: 16}}
optim: {{lr: 1.0e-2}}
molecules: {{max_calls: 25}}
trainer: {{accelerator: cpu, precision: 32-true, max_steps: 50, save_every_steps: 1}}
"""
    )
    return path


REPLAY = (
    "grpo.replay={size: 10, rows: 4, max_alike: 3, randomize: true}",
    "molecules.offspring={children: 3, brood: 2, parents: 6, surrogate: {candidates: 3, size: 8}}",
    "molecules.max_calls=40",
)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def without_times(path: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if "time/" not in k} for row in table(path)]


def run(config: Path, *more: str) -> int:
    return fit.main(["--config", str(config), *more])


def test_a_run_ends_with_its_budget_and_says_what_it_bought(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config) == 0
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("step ")]
    assert " · call 25/25 · " in lines[-1]
    assert "0:00:00 left" in lines[-1]  # though 50 steps were planned
    calls = table(tmp_path / "tiny" / "calls.csv")
    assert [row["call"] for row in calls] == [str(n) for n in range(1, 26)]
    assert len({row["smiles"] for row in calls}) == 25
    assert all(row["reward_qed"] == row["raw_qed"] == row["total"] for row in calls)
    last = table(tmp_path / "tiny" / "metrics.csv")[-1]
    assert last["step"] == calls[-1]["step"]
    assert int(last["step"]) < 50
    totals = [float(row["total"]) for row in calls]
    assert float(last["molecules/calls"]) == 25
    for n in (1, 10, 100):
        assert float(last[f"molecules/auc_top{n}"]) == pytest.approx(
            top_auc(totals, n, 25), rel=1e-5
        )
        top = sorted(totals)[-n:]
        assert float(last[f"molecules/top{n}"]) == pytest.approx(
            math.fsum(top) / len(top), rel=1e-5
        )
    report = (tmp_path / "tiny" / "report.html").read_text()
    assert "Best scores by calls" in report
    assert "scored molecules</text>" in report


def test_a_resumed_run_is_the_same_run(config: Path, tmp_path: Path) -> None:
    """Stopped after a step and taken up again: account, memory, metrics, weights as in one go."""
    assert run(config, *REPLAY) == 0
    rows = table(tmp_path / "tiny" / "metrics.csv")
    assert len(rows) > 2
    assert float(rows[-1]["replay/size"]) > 1
    assert any(float(row["offspring/scored"]) for row in rows)
    assert run(config, *REPLAY, "name=parts", "trainer.max_steps=1") == 0
    assert run(config, *REPLAY, "name=parts", "--resume") == 0
    whole, parts = tmp_path / "tiny", tmp_path / "parts"
    assert (whole / "calls.csv").read_bytes() == (parts / "calls.csv").read_bytes()
    assert without_times(whole / "metrics.csv") == without_times(parts / "metrics.csv")
    weights = Path("model") / "model.safetensors"
    assert (whole / weights).read_bytes() == (parts / weights).read_bytes()


def test_nothing_is_bred_of_too_few(config: Path, tmp_path: Path) -> None:
    founders = "molecules.offspring.founders"
    assert run(config, *REPLAY, f"{founders}=1", "trainer.max_steps=2") == 0
    assert run(config, *REPLAY, f"{founders}=100", "trainer.max_steps=2", "name=more") == 0
    few, many = (table(tmp_path / name / "metrics.csv")[-1] for name in ("tiny", "more"))
    assert float(few["offspring/scored"]) > 0
    assert float(many["offspring/scored"]) == 0
    assert float(many["molecules/calls"]) > 0


def test_two_ranks_go_on_with_the_same_memory(config: Path, tmp_path: Path) -> None:
    """Of a run on two ranks, too: memory, account and weights, byte by byte."""
    forks.load_libraries()

    def both(*more: str) -> None:
        runs = forks.start_pair(["--config", str(config), *REPLAY, *more], tmp_path / "logs")
        ends = forks.wait_pair(runs)
        assert [end.code for end in ends] == [0, 0], ends[0].err[-2000:]

    both()
    both("name=parts", "trainer.max_steps=1")
    both("name=parts", "--resume")
    whole, parts = tmp_path / "tiny", tmp_path / "parts"
    assert forks.differences(forks.truth(whole), forks.truth(parts)) == []
    assert (whole / "calls.csv").read_bytes() == (parts / "calls.csv").read_bytes()
    kept = []
    for folder in (whole, parts):
        newest = max((folder / "checkpoints").glob("step-*"))
        kept.append(json.loads((newest / "state.json").read_text())["memories"]["replay"])
    assert kept[0] == kept[1]
    assert len(kept[0]["entries"]) == 3  # acyclic molecules are all alike, of which three stay


def test_seeds_are_scored_first_and_remembered(config: Path, tmp_path: Path) -> None:
    """CCCN, which is given twice, and a molecule that the model cannot write."""
    (tmp_path / "seeds.smi").write_text("CCCN\nNCCC\nc1ccccc1S\n")
    seeds = f"molecules.inception={tmp_path / 'seeds.smi'}"
    assert run(config, seeds, "grpo.replay={size: 50, rows: 4}", "trainer.max_steps=1") == 0
    state = json.loads((tmp_path / "tiny" / "checkpoints/step-00000001/state.json").read_text())
    entries = {entry["key"]: entry for entry in state["memories"]["replay"]["entries"]}
    assert entries["CCCN"]["completion"] == [2, 2, 2, 3, 1]  # ( < C N O ) by their ids
    assert entries["Sc1ccccc1"]["completion"] == []
    smiles = [row["smiles"] for row in table(tmp_path / "tiny" / "calls.csv")]
    assert {"CCCN", "Sc1ccccc1"} <= set(smiles)
    (tmp_path / "seeds.smi").write_text("CCCN\nC(\n")
    assert run(config, seeds, "grpo.replay={}", "name=other") == 3


def test_a_surrogate_needs_an_account(config: Path) -> None:
    from rl4bio.config.load import load_config

    given = ["grpo.replay={}", "molecules={max_calls: null, offspring: {surrogate: {}}}"]
    with pytest.raises(ConfigError, match=r"offspring\.surrogate: .* add molecules\.max_calls"):
        load_config(str(config), given)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("molecules.max_calls=0", "number above 0"),
        ("grpo.refill_rounds=1", "refill_rounds"),
        ("rewards=[{name: structure}]", "no reward reads any"),
        ("molecules.offspring={}", "add grpo.replay"),
        ("molecules.inception=seeds.smi", "add grpo.replay"),
        ("molecules={max_calls: null, offspring: {surrogate: {}}}", "add grpo.replay"),
    ],
)
def test_what_cannot_be_counted_is_refused(config: Path, override: str, message: str) -> None:
    from rl4bio.config.load import load_config

    with pytest.raises(ConfigError, match=message):
        load_config(str(config), [override])
