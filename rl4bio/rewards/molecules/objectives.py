"""The benchmark objectives of `rl4bio.chem.objectives` as rewards, each under its own name."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

from rl4bio.chem.objectives import OBJECTIVES
from rl4bio.chem.reading import Molecule
from rl4bio.rewards.molecules.base import TransformedReward


@dataclass(kw_only=True)
class ObjectiveReward(TransformedReward):
    """An objective of GuacaMol (Brown et al., 2019) and PMO (Gao et al., 2022), in [0, 1]."""

    objective: ClassVar[str]

    def raw(self, molecule: Molecule) -> float:
        key = f"objective {self.objective}"
        if key not in molecule.memo:
            molecule.memo[key] = float(OBJECTIVES[self.objective](molecule))
        return float(molecule.memo[key])


@functools.cache
def objective_reward(name: str) -> type[ObjectiveReward]:
    """The reward of one objective, a class of its own."""
    made: type[Any] = type(name, (ObjectiveReward,), {"objective": name, "__module__": __name__})
    return dataclass(kw_only=True)(made)


def __getattr__(name: str) -> Any:
    """The objectives as attributes of the module, as the registry looks them up."""
    if name in OBJECTIVES:
        return objective_reward(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
