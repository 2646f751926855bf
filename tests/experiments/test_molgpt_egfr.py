"""configs/molgpt_egfr.yaml: what its reward pays for, a short run with its report; the study."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from experiments.molgpt_egfr import few_calls
from experiments.molgpt_egfr.study import CONFIG, VARIANTS, gain, inside_values, known_share
from rl4bio.config.load import load_config
from rl4bio.fit import main
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.statistics.goals import resolve_goal
from rl4bio.types import Sample, ScoreTable

pytestmark = pytest.mark.usefixtures("no_traces")

ANALOGUE = "CCOc1cc2ncnc(Nc3cccc(Cl)c3)c2cc1OC"
"""An anilinoquinazoline, as gefitinib and erlotinib are."""
ERLOTINIB = "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC"
IBUPROFEN = "CC(C)Cc1ccc(cc1)C(C)C(=O)O"
AMIDE = "CC1CCN(C(=O)C2CCCC2)CC1"
"""Nothing like it was measured."""
TEXTS = [ANALOGUE, IBUPROFEN, AMIDE, ERLOTINIB, "C1CC"]


def score(variant: str = "whole") -> ScoreTable:
    config = load_config(CONFIG, VARIANTS[variant])
    sample = Sample(uid="a", prompt="", target=None)
    return WeightedRewards.from_config(config.rewards)(TEXTS, [sample] * len(TEXTS))


def test_the_reward_pays_for_new_binders_inside_the_domain() -> None:
    table = score()
    analogue, ibuprofen, amide, drug, broken = table.total
    assert analogue > 0.6
    assert analogue > 2 * ibuprofen
    assert (drug, broken) == (0.0, 0.0)
    # The domain's factor is 0, what is left is 1e-8 ^ (2 / 11).
    assert table.raw["combined.affinity_domain"][2] == 0.0
    assert amide < 1e-8 ** (2 / 11) * 1.001
    assert table.raw["combined.affinity"][0] > 7.5


def test_the_variant_without_domain_trusts_every_prediction() -> None:
    domains = score("no_domain").raw["combined.affinity_domain"]
    assert domains[:3] == [1.0] * 3


@pytest.mark.parametrize("variant", ["whole", "no_domain"])
def test_a_measured_molecule_earns_nothing(variant: str) -> None:
    raw = score(variant).raw
    assert raw["combined.affinity_similarity"][3] == 1.0  # erlotinib
    assert raw["combined.affinity_score"][3] == 0.0


def test_every_goal_has_a_number() -> None:
    known = list(score().raw)
    goals = load_config(CONFIG, []).evaluation.goals
    assert [resolve_goal(name, known) for name in goals] == ["combined.affinity", "combined.sa"]


def test_two_rollouts_and_their_report(tmp_path: Path) -> None:
    overrides = [
        "trainer.max_steps=2",
        "trainer.accelerator=cpu",
        "trainer.num_threads=1",
        "grpo.group_size=10",
        "callbacks=[]",
        f"output_dir={tmp_path}",
    ]
    assert main(["--config", str(CONFIG), *overrides]) == 0
    folder = tmp_path / "molgpt_egfr"
    with (folder / "molecules.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 20
    valid = [row for row in rows if row["canonical"]]
    assert all(3 < float(row["raw_combined.affinity"]) < 11 for row in valid)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "against SA" in page
    assert "affinity similarity" in page


def test_numbers_of_the_study_by_hand(tmp_path: Path) -> None:
    """Inside: base 5 and 6, tuned 7 and 8. One of the tuned ones has a training fingerprint."""
    columns = "model,state,raw_combined.affinity,raw_combined.affinity_similarity"
    lines = [
        f"{columns},raw_combined.affinity_domain",
        "base,valid,5,0.4,0.5",
        "base,valid,6,0.4,0.5",
        "base,valid,9,0.1,0",
        "tuned,valid,7,0.6,1",
        "tuned,duplicate,7,0.6,1",
        "tuned,invalid,,,",
        "tuned,valid,8,1,1",
        "base,valid,,,",  # refused by the rules: valid, without values
    ]
    (tmp_path / "molecules.csv").write_text("\n".join(lines) + "\n")
    assert inside_values(tmp_path, "base").tolist() == [5, 6]
    assert gain(tmp_path) == "2.00 [1.00, 3.00]"
    assert known_share(tmp_path) == 0.5


def test_hits_of_the_calls_by_hand(tmp_path: Path) -> None:
    """Of four calls two are hits, of one scaffold; a refused one has empty cells."""
    names = ("affinity", "affinity_domain", "sa")
    rows = ["smiles," + ",".join(f"raw_combined.{name}" for name in names)]
    rows += ["Cc1ccccc1,7.0,0.1,4.0", "CCc1ccccc1,8,1,2", "c1ccncc1,9,0,2", "CCO,,,"]
    (tmp_path / "calls.csv").write_text("\n".join(rows) + "\n")
    found = few_calls.measures(tmp_path)
    assert found["hits per 1,000 calls"] == 500
    assert found["scaffolds of hits per 1,000 calls"] == 250
    assert found["scaffolds per hit"] == 0.5
    assert 0 < found["IntDiv of the first 1000 hits"] < 0.5
    assert few_calls.table({"a": [found], "b": [found]}).count("500 (500 to 500)") == 2


@pytest.mark.parametrize("arm", few_calls.ARMS)
def test_every_arm_is_a_configuration(arm: str) -> None:
    path, changes = few_calls.ARMS[arm]
    config = load_config(str(path), [*changes, "molecules.max_calls=10"])
    assert (config.grpo.replay is None) == (arm == "policy")
