"""Synthetic accessibility (Ertl and Schuffenhauer, 2009), with the fragment table of RDKit's wheel.

As RDKit's script SA_Score/sascorer.py, but above 8. There the script bends the scale by
8 + ln(raw - 8), which starts at minus infinity and is cut to 1 (rdkit issue 9524): picrotoxin, of a
raw score of 8.002, gets 1.7, as if it were aspirin. Here it is 8 + ln(raw - 7), which goes on from
8 without a step.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path
from typing import Any

from rdkit import Chem, RDConfig
from rdkit.Chem import rdMolDescriptors as descriptors

from rl4bio.errors import MissingPackageError

BEND = 8.0
"""Raw score from which the scale is bent."""
_RAREST = -4.0
"""Contribution of a fragment that is not in the table; also the least of the raw scale."""
_HIGHEST = 2.5
_LARGE_RING = 8


def accessibility(mol: Any) -> float:
    """The score of a sanitised molecule, from 1 (easy) to 10 (hard).

    Raises:
        MissingPackageError: RDKit was installed without its Contrib folder.
    """
    raw = raw_accessibility(mol)
    bent = raw if raw <= BEND else BEND + math.log1p(raw - BEND)
    return min(max(bent, 1.0), 10.0)


def raw_accessibility(mol: Any) -> float:
    """The score before its ends are bent and cut."""
    script = _script(Path(RDConfig.RDContribDir) / "SA_Score")
    counts = script.mfpgen.GetSparseCountFingerprint(mol).GetNonzeroElements()
    table, atoms = script._fscores, mol.GetNumAtoms()
    fragments = sum(table.get(key, _RAREST) * n for key, n in counts.items()) / sum(counts.values())
    centres = len(Chem.FindMolChiralCenters(mol, includeUnassigned=True))
    large = any(len(ring) > _LARGE_RING for ring in mol.GetRingInfo().AtomRings())
    penalty = (
        atoms**1.005
        - atoms
        + math.log10(centres + 1)
        + math.log10(descriptors.CalcNumSpiroAtoms(mol) + 1)
        + math.log10(descriptors.CalcNumBridgeheadAtoms(mol) + 1)
        + (math.log10(2) if large else 0.0)
    )
    symmetry = math.log(atoms / len(counts)) * 0.5 if atoms > len(counts) else 0.0
    score = fragments - penalty + symmetry
    return float(11.0 - (score - _RAREST + 1) / (_HIGHEST - _RAREST) * 9.0)


@functools.cache
def _script(folder: Path) -> Any:
    """RDKit's script with its table read; it is no package, so it is loaded by its path."""
    path = folder / "sascorer.py"
    if not path.is_file() or not (folder / "fpscores.pkl.gz").is_file():
        raise MissingPackageError(
            f"sa: RDKit's synthetic accessibility score is missing; looked in {folder}; "
            "install RDKit from its wheel (pip install --force-reinstall rdkit) "
            "or point RDBASE at a full installation"
        )
    spec = importlib.util.spec_from_file_location("rdkit_sa_score", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.readFragmentScores()
    return module
