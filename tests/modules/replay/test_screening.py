"""Which bred molecules are scored: by likeness to what scored well, less what a filter takes."""

from __future__ import annotations

from dataclasses import dataclass

from rl4bio.chem.reading import Molecule
from rl4bio.modules.replay.screening import Screen
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.molecules.base import MoleculeReward
from rl4bio.rewards.repeats import RepeatGuard
from rl4bio.sections import DiversityConfig, MoleculesConfig, SurrogateConfig
from rl4bio.types import RememberingScorer, Sample, Scorer

CHILDREN = ["CCCCCO", "FC1CCC1", "FC1CCCC1"]


@dataclass(kw_only=True)
class Rings(MoleculeReward):
    """One for each ring; nothing for any where `worthless`."""

    worthless: bool = False

    def raw(self, molecule: Molecule) -> float:
        return 0.0 if self.worthless else float(molecule.mol.GetRingInfo().NumRings())


def guard(section: MoleculesConfig, *, worthless: bool = False) -> RepeatGuard:
    reward = Rings(worthless=worthless)
    scorer = RepeatGuard(WeightedRewards(rewards={"r": reward}, weights={"r": 1.0}), section)
    known = ["CCCCO", "CCCO", "C1CCC1", "C1CCCC1"]
    scorer(known, [Sample(uid="1", prompt="")] * len(known))
    return scorer


def test_rings_are_chosen_where_rings_were_paid() -> None:
    screen = Screen(SurrogateConfig(exploration=0))
    scorer = guard(MoleculesConfig(max_calls=10))
    assert scorer.scored()[2] == ("C1CCC1", 1.0)
    assert set(screen(scorer, CHILDREN, 2)) == {"FC1CCC1", "FC1CCCC1"}
    assert screen(scorer, CHILDREN[:2], 2) == CHILDREN[:2]  # no choice: in their order


def test_the_first_are_taken_while_all_scores_are_equal() -> None:
    screen = Screen(SurrogateConfig(exploration=5))
    assert screen(guard(MoleculesConfig(max_calls=10), worthless=True), CHILDREN, 1) == ["CCCCCO"]
    assert screen(guard(MoleculesConfig()), CHILDREN, 1) == ["CCCCCO"]  # no account
    nothing: Scorer = guard(MoleculesConfig()).scorer
    assert screen(RememberingScorer(nothing), CHILDREN, 1) == ["CCCCCO"]


def test_a_full_bucket_promises_nothing() -> None:
    """Murcko: the scaffold of FC1CCC1 has been found once, of which one is paid."""
    full = DiversityConfig(bucket_size=1, min_score=0.5)
    scorer = guard(MoleculesConfig(max_calls=10, diversity=full))
    assert scorer.kept("FC1CCC1") == 0
    assert scorer.kept("FC1CCCCC1") == 1
    children = ["FC1CCC1", "CCCCCO", "FC1CCCCC1"]
    assert Screen(SurrogateConfig(exploration=0))(scorer, children, 1) == ["FC1CCCCC1"]
