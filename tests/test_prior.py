"""The shipped MolGPT prior: what its card says, and that GRPO moves it."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import pytest

import rl4bio
from rl4bio import fit
from rl4bio.chem.reading import read_smiles
from rl4bio.modules.loading import load_policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.sections import PolicyConfig

ASSETS = Path(rl4bio.__file__).parent / "assets"
FOLDER = ASSETS / "molgpt-moses"
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture(scope="module")
def molecules() -> list[str]:
    policy = load_policy(PolicyConfig(checkpoint="rl4bio:molgpt-moses"))
    found = sample_completions(
        policy, [[policy.end_id]], group_size=300, max_new_tokens=53, temperature=1.0, seeds=[7]
    )
    return found.completions


def test_it_is_small_and_has_moses_vocabulary() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 12 * 2**20
    vocabulary = json.loads((FOLDER / "vocab.json").read_text())
    assert (len(vocabulary), vocabulary["<"], vocabulary["C"]) == (26, 10, 13)


def test_it_writes_valid_and_different_molecules(molecules: list[str]) -> None:
    """The card says .95 or more; 300 draws of such a coin fall below .90 once in ten thousand."""
    read = [read_smiles(text) for text in molecules]
    valid = [molecule.canonical for molecule in read if molecule.valid]
    assert len(valid) / len(read) >= 0.90
    assert len(set(valid)) / len(valid) >= 0.99


def test_the_larger_vocabulary_is_used_and_reads_what_reinforcement_may_bring() -> None:
    """Its card says .895; 200 draws of such a coin fall below .80 once in a hundred thousand."""
    policy = load_policy(PolicyConfig(checkpoint="rl4bio:molgpt-zinc"))
    found = sample_completions(
        policy, [[policy.end_id]], group_size=200, max_new_tokens=99, temperature=1.0, seeds=[7]
    )
    valid = [m.canonical for text in found.completions if (m := read_smiles(text)).valid]
    assert len(valid) >= 160
    assert len(set(valid)) >= len(valid) - 1
    assert sum("@" in text for text in valid) > len(valid) / 3
    assert sum("+" in text for text in valid) > len(valid) / 6
    for text in ("CB(O)O", "C[Si](C)(C)C", "[*:1]c1ccccc1.[*:2]C>", "OP(O)(=O)C[Se]I", "C%10CC%10"):
        assert policy.decode(policy.encode_completion(text)) == text
    assert sum(file.stat().st_size for file in (ASSETS / "molgpt-zinc").iterdir()) <= 8 * 2**20


@pytest.mark.parametrize("task", ["albuterol"])
def test_the_shipped_configuration_learns(task: str, tmp_path: Path) -> None:
    overrides = ["name=short", f"output_dir={tmp_path}", "trainer.max_steps=12", "optim.lr=3e-4"]
    config = str(CONFIGS / f"molgpt_{task}.yaml")
    assert fit.main(["--config", config, *overrides, "grpo.group_size=64"]) == 0
    with (tmp_path / "short" / "molecules.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    steps = sorted({int(row["step"]) for row in rows})
    assert len(steps) == 12

    def mean(chosen: list[int]) -> float:
        return statistics.fmean(float(r["total"]) for r in rows if int(r["step"]) in chosen)

    # The standard error of three rollouts of 64 is about .008.
    assert mean(steps[-3:]) > mean(steps[:3]) + 0.04
