"""Molecules that were written before earn nothing again, so that a policy keeps moving."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from rl4bio.answers.kinds import asks_for_molecule
from rl4bio.chem.states import batch_states, same_key
from rl4bio.rewards.combine import WeightedRewards, weighted_total
from rl4bio.rewards.memory.ledger import Ledger
from rl4bio.sections import DiversityConfig, MoleculesConfig, RunConfig
from rl4bio.types import MoleculeState, RememberingScorer, Sample, Scorer, ScoreTable

if TYPE_CHECKING:
    from rl4bio.chem.reading import Molecule
    from rl4bio.rewards.memory.diversity_filter import DiversityFilter


def reads_molecules(scorer: WeightedRewards) -> bool:
    """Whether some reward reads the completions as molecules."""
    return any(reward.reads_molecules for reward in scorer.rewards.values())


def read_molecules(
    scorer: WeightedRewards, completions: Sequence[str], samples: Sequence[Sample]
) -> list[Molecule] | None:
    """The molecules of N completions; None where no reward reads any.

    Where rewards differ in what they allow, such as the number of fragments, a completion is a
    molecule if it is one for some reward: it may pay, so it must be remembered.
    """
    readers: list[Any] = [r for r in scorer.rewards.values() if r.reads_molecules]
    if not readers:
        return None
    readings = zip(*(reader.molecules(completions, samples) for reader in readers), strict=True)
    return [next((m for m in row if m.valid), row[0]) for row in readings]


def row_states(
    molecules: Sequence[Molecule], samples: Sequence[Sample], seen: Collection[int] = frozenset()
) -> list[MoleculeState]:
    """The state of each row's molecule; `other` where its sample asks for none.

    Args:
        molecules: N readings, as `read_molecules` gives them.
        samples: the N samples that they answer.
        seen: keys of the molecules of earlier batches.
    """
    states = batch_states(molecules, seen)
    pairs = zip(states, samples, strict=True)
    return [state if asks_for_molecule(sample) else "other" for state, sample in pairs]


class RepeatGuard(RememberingScorer):
    """A `Scorer` around another: a repeated molecule gets a total of 0, or less if it was less.

    Where rewards of the text stand beside those of molecules, such as `structure`, it keeps what
    they give. Otherwise a text in good form that is no molecule would be worth more, and the policy
    would learn to write such texts. Molecules are the same where their parents are
    (`rl4bio.chem.identity`). The rewards' own values stay as they are. The memory is this process's
    until `share` is called.

    Args:
        scorer: rewards of which at least one reads molecules; without memory, so for validation.
        section: what repeats are worth, and how many molecules may be scored.
    """

    scorer: WeightedRewards

    def __init__(self, scorer: WeightedRewards, section: MoleculesConfig) -> None:
        super().__init__(scorer)
        self.section = section
        self.seen: set[int] = set()
        """Keys of the valid molecules of earlier calls."""
        self._latest: set[int] = set()
        """Of the calls since they were shared."""
        self.ledger = None if section.max_calls is None else Ledger(section.max_calls)
        self.communicates = self.ledger is not None
        wanted = section.diversity
        self.diversity = None if wanted is None else _diversity_filter(wanted)

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        """Score N completions and remember their molecules.

        Raises:
            RewardError: a reward failed; nothing is remembered then.
        """
        molecules = read_molecules(self.scorer, completions, samples) or []
        if self.ledger is None:
            table = self.scorer(completions, samples)
        else:
            table = self.ledger.score(self.scorer, completions, samples, molecules)
        table.states = row_states(molecules, samples, self.seen)
        keys = [same_key(m) if m.valid else None for m in molecules]
        for row, (state, key) in enumerate(zip(table.states, keys, strict=True)):
            repeated = state == "duplicate" and self.section.batch_repeats == "zero"
            known = key in self.seen and self.section.seen_before == "zero"
            if repeated or known:  # NaN stays NaN
                table.total[row] = min(table.total[row], max(0.0, self._others(table, row)))
        if self.diversity is not None:
            table.total = self.diversity.apply(molecules, table.states, table.total)
        written = {key for key in keys if key is not None}
        self.seen |= written
        self._latest |= written
        return table

    def join(self, gather: Callable[[list[Any]], list[Any]], rank: int) -> None:
        """Have one budget with other processes; see `Ledger.join`."""
        if self.ledger is not None:
            self.ledger.join(gather, rank)

    @property
    def memories(self) -> dict[str, Any]:
        """What is the same in all processes and goes into checkpoints, by name."""
        parts = {"ledger": self.ledger, "diversity": self.diversity}
        return {name: part for name, part in parts.items() if part is not None}

    def places(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> list[tuple[str, str] | None]:
        """Name and scaffold of each completion's molecule; None for what is none."""
        from rl4bio.chem.identity import parent_scaffold, same_name  # RDKit, for molecules alone

        molecules = read_molecules(self.scorer, completions, samples) or []
        return [(same_name(m), parent_scaffold(m)) if m.valid else None for m in molecules]

    def is_new(self, smiles: str) -> bool:
        """Whether a text is a molecule that no step has scored, here or before it was shared."""
        from rl4bio.chem.reading import read_smiles

        molecule = read_smiles(smiles)
        return molecule.valid and same_key(molecule) not in self.seen

    def kept(self, smiles: str) -> float:
        """The share that the diversity filter leaves a molecule."""
        from rl4bio.chem.reading import read_smiles

        return 1.0 if self.diversity is None else self.diversity.kept(read_smiles(smiles))

    def scored(self) -> list[tuple[str, float]]:
        """Canonical SMILES and total reward of every call, in their order."""
        calls = () if self.ledger is None else self.ledger.calls.values()
        return [(call.canonical, call.total) for call in calls if not math.isnan(call.total)]

    def numbers(self) -> dict[str, float]:
        """Metrics of a step, the same in all processes once they have shared."""
        found = {k: v for part in self.memories.values() for k, v in part.numbers().items()}
        return {f"molecules/{k}": v for k, v in found.items() if not math.isnan(v)}

    def share(self, gather: Callable[[list[int]], list[int]]) -> None:
        """Remember what other processes have scored since the last time.

        Args:
            gather: puts the keys of all processes together; each must call.
        """
        latest, self._latest = sorted(self._latest), set()
        self.seen.update(gather(latest))
        if self.diversity is not None:
            self.diversity.share(gather)

    def _others(self, table: ScoreTable, row: int) -> float:
        """The weighted sum of the rewards that do not read molecules."""
        rewards = self.scorer.rewards
        kept = {n: v[row] for n, v in table.parts.items() if not rewards[n].reads_molecules}
        found = weighted_total(kept, table.weights)
        return 0.0 if math.isnan(found) else found

    def state_dict(self) -> list[int]:
        """The memory, sorted, for checkpoints."""
        return sorted(self.seen)

    def load_state_dict(self, state: Sequence[int]) -> None:
        """Replace the memory by a checkpoint's."""
        self.seen = set(state)


def build_scorer(config: RunConfig) -> Scorer:
    """The configured rewards; for molecules behind a guard against repeats, with its memory.

    Evaluation, validation and `rl4bio score` use the rewards without it.

    Raises:
        ConfigError: a reward is refused.
        DataError: a file that a reward needs cannot be used.
    """
    rewards = WeightedRewards.from_config(config.rewards)
    if not reads_molecules(rewards):
        return rewards
    return RepeatGuard(rewards, config.molecules)


def _diversity_filter(section: DiversityConfig) -> DiversityFilter:
    from rl4bio.rewards.memory.diversity_filter import DiversityFilter  # RDKit comes with it

    return DiversityFilter(section)
