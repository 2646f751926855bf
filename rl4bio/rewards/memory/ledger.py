"""Every molecule that was scored, with its rewards: none is paid for twice, and none past a budget.

A call is a molecule, by its canonical SMILES, that no rank has scored before. Texts that are no
molecule and molecules of the memory are free. Salts and isotopes of a molecule are calls of their
own, unlike in `rl4bio.chem.identity`, since a scoring function may tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rl4bio.answers.asked import Asked
from rl4bio.chem.states import molecule_key
from rl4bio.rewards.combine import WeightedRewards, weighted_total
from rl4bio.statistics.calls import TOPS, top_auc
from rl4bio.types import Sample, ScoreTable

if TYPE_CHECKING:
    from rl4bio.chem.reading import Molecule


@dataclass(slots=True, kw_only=True)
class Call:
    """A molecule that was scored."""

    canonical: str
    total: float
    """As it was scored first; NaN where no reward could."""
    parts: dict[str, float]
    """Of the rewards that read molecules."""
    raw: dict[str, float]


class Ledger:
    """The calls of all ranks in one order, the same on each.

    Args:
        max_calls: the budget.
    """

    def __init__(self, max_calls: int) -> None:
        self.max_calls = max_calls
        self.calls: dict[int, Call] = {}
        """By the key of molecule and question, in the order of the calls."""
        self.rank = 0
        self.gather: Callable[[list[Any]], list[Any]] = list

    def join(self, gather: Callable[[list[Any]], list[Any]], rank: int) -> None:
        """Keep one account with other processes.

        Args:
            gather: puts the values of all processes together, in rank order; each must call.
            rank: of this process.
        """
        self.gather, self.rank = gather, rank

    @property
    def left(self) -> int:
        """Calls that may still be made."""
        return self.max_calls - len(self.calls)

    def score(
        self,
        scorer: WeightedRewards,
        completions: Sequence[str],
        samples: Sequence[Sample],
        molecules: Sequence[Molecule],
    ) -> ScoreTable:
        """The rewards of N completions; NaN for new molecules that the budget does not reach.

        New molecules are taken in the order of ranks and rows, each by the first rank that has it.
        Every rank must call. What depends on the other molecules of a batch, such as `diversity`,
        sees those that are scored together, and is remembered as it was then.

        Raises:
            RewardError: a reward failed; nothing is remembered then.
        """
        keys = [row_key(m, s) for m, s in zip(molecules, samples, strict=True)]
        fresh = dict.fromkeys(key for key in keys if key is not None and key not in self.calls)
        owners: dict[int, int] = {}
        for key, rank in self.gather([(key, self.rank) for key in fresh]):
            owners.setdefault(key, rank)
        granted = list(owners)[: max(0, self.left)]
        own = {key for key in granted if owners[key] == self.rank}
        first = {key: row for row, key in reversed(list(enumerate(keys))) if key in own}
        scored = sorted([*first.values(), *(r for r, key in enumerate(keys) if key is None)])
        table = scorer([completions[r] for r in scored], [samples[r] for r in scored])
        readers = [name for name, r in scorer.rewards.items() if r.reads_molecules]
        place = {row: n for n, row in enumerate(scored)}
        new = {
            key: Call(
                canonical=molecules[row].canonical,
                total=table.total[place[row]],
                parts={name: table.parts[name][place[row]] for name in readers},
                raw={name: values[place[row]] for name, values in table.raw.items()},
            )
            for key, row in first.items()
        }
        gathered = dict(self.gather(list(new.items())))
        self.calls |= {key: gathered[key] for key in granted}
        rest = [row for row in range(len(keys)) if row not in place]
        texts = _without(scorer, readers)
        other = texts([completions[r] for r in rest], [samples[r] for r in rest])
        return self._whole(keys, table, place, other, {row: n for n, row in enumerate(rest)})

    def _whole(
        self,
        keys: Sequence[int | None],
        table: ScoreTable,
        scored: dict[int, int],
        other: ScoreTable,
        rest: dict[int, int],
    ) -> ScoreTable:
        """One table of all rows: those that were scored, and those from memory.

        Args:
            keys: N.
            table: of the rows that were scored.
            scored: their number in the batch -> in the table.
            other: the rewards of the text alone, of the other rows.
            rest: their number in the batch -> in that table.
        """
        rows = range(len(keys))
        known = [self.calls.get(key) if key is not None else None for key in keys]

        def column(kind: str, name: str, row: int) -> float:
            if row in scored:
                return float(getattr(table, kind)[name][scored[row]])
            if name in getattr(other, kind):
                return float(getattr(other, kind)[name][rest[row]])
            call = known[row]
            return math.nan if call is None else float(getattr(call, kind).get(name, math.nan))

        parts = {name: [column("parts", name, row) for row in rows] for name in table.parts}
        names = dict.fromkeys([*table.raw, *(n for call in known if call for n in call.raw)])
        totals = []
        for row in rows:
            if row in scored:
                totals.append(table.total[scored[row]])
            elif known[row] is None:
                totals.append(math.nan)
            else:
                values = {name: column[row] for name, column in parts.items()}
                totals.append(weighted_total(values, table.weights))
        return ScoreTable(
            total=totals,
            parts=parts,
            weights=table.weights,
            raw={name: [column("raw", name, row) for row in rows] for name in names},
            failures={n: table.failures[n] + other.failures.get(n, 0) for n in table.failures},
        )

    def numbers(self) -> dict[str, float]:
        """Calls, the means of the best so far, and their areas as if the run ended here."""
        totals = [call.total for call in self.calls.values()]
        best = sorted((0.0 if math.isnan(t) else t for t in totals), reverse=True)
        found = {"calls": float(len(totals))}
        for n in TOPS:
            top = best[:n]
            found[f"top{n}"] = math.fsum(top) / len(top) if top else math.nan
            found[f"auc_top{n}"] = top_auc(totals, n, self.max_calls)
        return found

    def state_dict(self) -> dict[str, Any]:
        """The account, for checkpoints."""
        return {
            "keys": [str(key) for key in self.calls],
            "calls": [[c.canonical, c.total, c.parts, c.raw] for c in self.calls.values()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the account by a checkpoint's."""
        fields = ("canonical", "total", "parts", "raw")
        made = [Call(**dict(zip(fields, row, strict=True))) for row in state["calls"]]
        self.calls = dict(zip(map(int, state["keys"]), made, strict=True))


def row_key(molecule: Molecule, sample: Sample) -> int | None:
    """What a call is known by: the molecule, and the input molecule of its prompt where it has one;
    None for what is no molecule."""
    if not molecule.valid:
        return None
    return molecule_key(f"{molecule.canonical}\n{Asked.of(sample).input or ''}")


def _without(scorer: WeightedRewards, readers: Sequence[str]) -> WeightedRewards:
    """The rewards of the text alone."""
    names = [name for name in scorer.rewards if name not in readers]
    return WeightedRewards(
        rewards={name: scorer.rewards[name] for name in names},
        weights={name: scorer.weights[name] for name in names},
        guests={name: guest for name, guest in scorer.guests.items() if name in names},
    )
