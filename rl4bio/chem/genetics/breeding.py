"""A brood of children from the best molecules so far."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from rl4bio.chem.genetics.crossover import crossover
from rl4bio.chem.genetics.mutation import mutate
from rl4bio.chem.reading import Molecule, read_smiles

TRIES = 10
"""Tries for each child that is asked for."""


def breed(
    parents: Sequence[str],
    count: int,
    noise: random.Random,
    *,
    rank_offset: float,
    crossover_share: float,
    mutation_share: float,
    max_atoms: int,
    is_new: Callable[[str], bool],
) -> list[str]:
    """Canonical SMILES of at most `count` different new children.

    A parent is drawn with the weight 1 / (rank_offset + rank), rank from 0. A child is made from
    two parents by crossover, or is a copy of one; it is then mutated with its chance, a copy
    always.

    Args:
        parents: SMILES, best first.
        count: children; fewer come where tries fail.
        noise: what is drawn from.
        rank_offset: above 0; small draws the best far more often than the others.
        crossover_share: of the children that have two parents.
        mutation_share: of those, that are mutated as well.
        max_atoms: heavy atoms of a child.
        is_new: whether a child is worth having.
    """
    pool = [molecule for text in parents if (molecule := read_smiles(text)).valid]
    weights = [1 / (rank_offset + rank) for rank in range(len(pool))]
    found: dict[str, None] = {}
    for _ in range(TRIES * count if pool else 0):
        if len(found) == count:
            break
        first, second = noise.choices(pool, weights=weights, k=2)
        child, mutated = first.canonical, True
        if len(pool) > 1 and noise.random() < crossover_share:
            child = crossover(first.mol, second.mol, noise, max_atoms=max_atoms)
            mutated = noise.random() < mutation_share
        if child and mutated:
            child = _mutated(read_smiles(child), noise, max_atoms)
        if child and child not in found and is_new(child):
            found[child] = None
    return list(found)


def _mutated(molecule: Molecule, noise: random.Random, max_atoms: int) -> str:
    return mutate(molecule.mol, noise, max_atoms=max_atoms) if molecule.valid else ""
