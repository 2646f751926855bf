"""Made-up series of drug-like molecules with computed labels: data for checks without a file.

Every molecule is a core with two side groups. The labels are RDKit's, so a model that learns them
has learned to read SMILES and nothing about drugs.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

from rl4bio.chem.properties import logp, molecular_weight, rings, tpsa
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.errors import DataError
from rl4bio.registry import did_you_mean

SOURCE = "rl4bio:analogues"
"""The name under which a task asks for these rows in place of a file."""
NUM_MOLECULES = 4000
MAX_POLAR_SURFACE = 35.0
"""In square angstrom; below it a molecule counts as one that crosses the barrier; 40 % do."""

CORES = (
    "c1cc({a})cc({b})c1",
    "c1nc({a})cc({b})c1",
    "c1nc({a})nc({b})c1",
    "c1nnc({a})cc1{b}",
    "c1cc({a})sc1{b}",
    "c1cc({a})oc1{b}",
    "c1cc({a})n(C)c1{b}",
    "c1nc({a})sc1{b}",
    "c1nc({a})oc1{b}",
    "Cn1nc({a})cc1{b}",
    "c1cc({a})c2ccccc2c1{b}",
    "c1nc2ccccc2c({a})c1{b}",
    "c1nc({a})c2ccccc2n1",
    "c1cc2[nH]cc({a})c2cc1{b}",
    "c1cc2nc({a})sc2cc1{b}",
    "c1cc2oc({a})cc2cc1{b}",
    "c1cc2c({a})n[nH]c2cc1{b}",
    "Cn1c(=O)c({a})nc2cc({b})ccc21",
    "C1CC({a})CCC1{b}",
    "C1CN({a})CCN1{b}",
    "C1CC({a})CN1{b}",
    "C1COC({a})CC1{b}",
    "C1CC({a})C(=O)N1{b}",
    "c1cc2c(cc1{a})OCC({b})O2",
    "c1cc(-c2ccc({a})cc2)cc({b})c1",
    "c1cc(Oc2ccc({a})cc2)cc({b})c1",
    "c1cc(NC(=O)c2ccc({a})cc2)cc({b})c1",
    "c1cc(S(=O)(=O)Nc2ccc({a})cc2)cc({b})c1",
)
"""SMILES with the places of two side groups; every core gives a scaffold of its own."""
SIDES = (
    "C",
    "CC",
    "C(C)C",
    "C(C)(C)C",
    "CCC",
    "CCCC",
    "C(F)(F)F",
    "CO",
    "CCO",
    "COC",
    "CCOC",
    "CN",
    "CN(C)C",
    "CCN(C)C",
    "CC#N",
    "CC(=O)O",
    "CC(=O)N",
    "CC(=O)NC",
    "CCC(=O)OC",
    "CC(=O)N(C)C",
    "CCS(=O)(=O)C",
    "CN9CCOCC9",
    "CN9CCCC9",
    "CCN9CCCCC9",
    "Cc9ccccc9",
    "Cc9ccncc9",
    "CC9CC9",
    "C9CCC9",
    "C(C)O",
    "C(=O)NC",
    "C(=O)N(C)C",
    "C(=O)OCC",
)
"""SMILES of side groups, each bound by its first atom; a 9 closes a ring of their own."""


def analogue_rows(task: str, *, seed: int = 0, size: int = NUM_MOLECULES) -> list[dict[str, Any]]:
    """The rows of a made-up task.

    Args:
        task: one of TASKS.
        seed: of the draw of molecules.
        size: how many there are, all different.

    Returns:
        One mapping a molecule: `smiles` (canonical), `y` (0 or 1, or a number; no `y` for design)
        and `reasoning`, what a careful reader would note before the answer.

    Raises:
        DataError: there is no such task.
    """
    if task not in TASKS:
        raise DataError(
            f"{SOURCE}: has no task {task!r}{did_you_mean(task, TASKS)}; known: {', '.join(TASKS)}"
        )
    return [TASKS[task](molecule) for molecule in _drawn(seed, size)]


@functools.lru_cache(maxsize=4)  # an evaluation builds its corpus twice
def _drawn(seed: int, size: int) -> tuple[Molecule, ...]:
    return tuple(draw_analogues(random.Random(seed), size))


def draw_analogues(rng: random.Random, size: int) -> list[Molecule]:
    """So many different molecules of the series, in the order drawn."""
    found: dict[str, Molecule] = {}
    while len(found) < size:
        molecule = analogue(rng.choice(CORES), rng.choice(SIDES), rng.choice(SIDES))
        found.setdefault(molecule.canonical, molecule)
    return list(found.values())


def analogue(core: str, first: str, second: str) -> Molecule:
    """A core with its two side groups; the ring of the second one gets a number of its own."""
    filled = core.replace("{a}", first).replace("{b}", second.replace("9", "8"))
    return read_smiles(read_smiles(filled).canonical)


def molecule_features(molecule: Molecule) -> str:
    """What can be read from the molecule: hetero atoms, rings, polar surface to the next ten."""
    symbols = [atom.GetSymbol() for atom in molecule.mol.GetAtoms()]
    counts = [
        f"{name} {symbols.count(symbol)}"
        for symbol, name in (("N", "nitrogen"), ("O", "oxygen"), ("S", "sulfur"), ("F", "fluorine"))
        if symbol in symbols
    ]
    return (
        f"{', '.join([*counts, f'rings {rings(molecule)}'])}; "
        f"polar surface about {10 * round(tpsa(molecule) / 10)}"
    )


def _barrier(molecule: Molecule) -> dict[str, Any]:
    return {
        "smiles": molecule.canonical,
        "y": int(tpsa(molecule) < MAX_POLAR_SURFACE),
        "reasoning": molecule_features(molecule),
    }


def _lipophilicity(molecule: Molecule) -> dict[str, Any]:
    noted = (
        f"{molecule_features(molecule)}, weight about {50 * round(molecular_weight(molecule) / 50)}"
    )
    return {"smiles": molecule.canonical, "y": logp(molecule), "reasoning": noted}


def _design(molecule: Molecule) -> dict[str, Any]:
    return {"smiles": molecule.canonical, "reasoning": molecule_features(molecule)}


TASKS: dict[str, Callable[[Molecule], dict[str, Any]]] = {
    "Analogue_Barrier": _barrier,
    "Analogue_Lipophilicity": _lipophilicity,
    "Analogue_Design": _design,
}
"""Two options by polar surface, Crippen's logP in bins, and molecules to vary."""
