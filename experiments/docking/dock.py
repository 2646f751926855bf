"""An engine for the reward `external`: AutoDock Vina's energy of the best pose, in kcal/mol.

    pip install vina meeko
    echo '{"id": "0", "smiles": "NC12CC3CC(CC(C3)C1)C2"}' | python dock.py --receptor receptor.pdbqt

Lines of molecules on stdin, lines of scores on stdout; docs/external_scorers.md has the protocol.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def ligand(smiles: str, seed: int) -> str:
    """A conformer of the molecule as PDBQT.

    Raises:
        ValueError: none is found, or Meeko does not know an atom.
    """
    from meeko import MoleculePreparation, PDBQTWriterLegacy
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if AllChem.EmbedMolecule(mol, randomSeed=seed) < 0:
        raise ValueError("no conformer")
    AllChem.MMFFOptimizeMolecule(mol)
    prepared, *_ = MoleculePreparation()(mol)
    text, fine, why = PDBQTWriterLegacy.write_string(prepared)
    if not fine:
        raise ValueError(why)
    return str(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--receptor", type=Path, required=True, help="PDBQT of a rigid receptor")
    parser.add_argument("--center", type=float, nargs=3, default=[0.0, 0.0, 0.0], help="angstrom")
    parser.add_argument("--size", type=float, nargs=3, default=[16.0, 16.0, 16.0], help="angstrom")
    parser.add_argument("--exhaustiveness", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="the same molecule, the same energy")
    args = parser.parse_args()
    try:
        import meeko  # noqa: F401
        from vina import Vina
    except ModuleNotFoundError as error:
        print(f"needs {error.name}: pip install vina meeko", file=sys.stderr)
        return 1
    vina: Any = Vina(cpu=1, seed=args.seed, verbosity=0)
    vina.set_receptor(str(args.receptor))
    vina.compute_vina_maps(center=args.center, box_size=args.size)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            vina.set_ligand_from_string(ligand(request["smiles"], args.seed))
            vina.dock(exhaustiveness=args.exhaustiveness, n_poses=1)
            answer: dict[str, object] = {"score": float(vina.energies(n_poses=1)[0][0])}
        except (ValueError, RuntimeError, TypeError) as error:
            answer = {"error": str(error).splitlines()[0][:200]}
        print(json.dumps({"id": request["id"], **answer}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
