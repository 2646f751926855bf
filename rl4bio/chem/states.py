"""What the molecules of a batch are to each other, and to those of earlier batches."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from rl4bio.types import MoleculeState

if TYPE_CHECKING:
    from rl4bio.chem.reading import Molecule


def same_key(molecule: Molecule, *, stereo: bool = True) -> int:
    """The key of a valid molecule, equal for what `rl4bio.chem.identity` calls the same."""
    from rl4bio.chem.identity import same_name

    return molecule_key(same_name(molecule, stereo=stereo))


def molecule_key(canonical: str) -> int:
    """A signed 64-bit hash of a molecule's `same_name`, equal in every process.

    Any two of a million molecules share a key with a probability of 3 in 100 million.
    """
    digest = hashlib.blake2b(canonical.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def batch_states(
    molecules: Iterable[Molecule], seen: Collection[int] = frozenset()
) -> list[MoleculeState]:
    """The state of each molecule of a batch, given the keys of those that came before it.

    Copies have one name: salts, isotopes, tautomers and other spellings are copies. The second in a
    batch is a duplicate whether or not the molecule was seen.
    """
    here: set[str] = set()
    from rl4bio.chem.identity import same_name

    states: list[MoleculeState] = []
    for molecule in molecules:
        name = same_name(molecule)
        if not molecule.valid:
            states.append("invalid")
        elif name in here:
            states.append("duplicate")
        else:
            states.append("seen" if seen and molecule_key(name) in seen else "valid")
            here.add(name)
    return states
