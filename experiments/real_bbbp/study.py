"""The table with notes that real_bbbp is trained on, and the line that its models have to beat.

    python -m experiments.real_bbbp.study notes bbbp.csv --output bbbp_notes.csv
    python -m experiments.real_bbbp.study line bbbp_notes.csv

`notes` adds a column `reasoning`: what RDKit computes of a molecule, as one sentence. `line` fits
gradient-boosted trees (LightGBM, 100 of its defaults) to Morgan fingerprints (radius 2, 2,048 bits)
of the training molecules of the same scaffold split; it needs the extra `affinity`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, RDLogger
from rdkit.Chem import Descriptors, Lipinski, rdFingerprintGenerator
from rdkit.Chem.MolSurf import TPSA

from rl4bio.answers.asked import Asked
from rl4bio.config.load import load_config
from rl4bio.data.therapeutics.corpus import TherapeuticsCorpus
from rl4bio.statistics.bootstrap import estimate, mean_statistic
from rl4bio.statistics.ranking import auroc_statistic, balanced_accuracy_statistic
from rl4bio.types import Sample

CONFIG = Path(__file__).with_name("letters.yaml")


def note(mol: Chem.Mol) -> str:
    """What is computed of a molecule, as the sentence of a demonstration."""
    return (
        f"Weight {Descriptors.MolWt(mol):.0f}, logP {Descriptors.MolLogP(mol):.1f}, polar surface "
        f"{TPSA(mol):.0f}, donors {Lipinski.NumHDonors(mol)}, acceptors "
        f"{Lipinski.NumHAcceptors(mol)}, rings {Lipinski.RingCount(mol)}."
    )


def write_notes(table: Path, output: Path) -> None:
    """The rows of a table with columns smiles and y that RDKit reads, each with its note."""
    with table.open(encoding="utf-8", newline="") as stream:
        rows = [(row["smiles"], row["y"]) for row in csv.DictReader(stream)]
    read = ((smiles, y, Chem.MolFromSmiles(smiles)) for smiles, y in rows)
    with output.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("smiles", "y", "reasoning"))
        writer.writerows((smiles, y, note(mol)) for smiles, y, mol in read if mol)


def line(table: Path) -> None:
    """Prints AUROC and accuracies of boosted trees on the test molecules, and of always (B)."""
    import lightgbm

    RDLogger.DisableLog("rdApp.*")
    options = load_config(CONFIG).data.options
    task = {"task": "BBB_Martins", "source": str(table)}
    corpus = TherapeuticsCorpus(**{**options, "tasks": [task], "balance": False})
    settings = {"objective": "binary", "seed": 1, "num_threads": 1, "verbose": -1}
    data = lightgbm.Dataset(*_features(corpus.samples("train")))
    model = lightgbm.train(settings, data, num_boost_round=100)
    inputs, passes = _features(corpus.samples("test"))
    chances = np.asarray(model.predict(inputs))
    gold, told = (["AB"[int(answer)] for answer in which] for which in (passes, chances > 0.5))
    found = {
        "AUROC": auroc_statistic(list(chances), list(passes)),
        "accuracy": mean_statistic([float(a == b) for a, b in zip(told, gold, strict=True)]),
        "balanced accuracy": balanced_accuracy_statistic(gold, told, ("A", "B")),
        "(B) throughout": mean_statistic([float(label) for label in passes]),
    }
    for name, statistic in found.items():
        print(name, estimate(statistic, size=len(passes), seed=1, rounds=2000))


def _features(samples: Sequence[Sample]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Fingerprints of the molecules, and which of them are answered by (B)."""
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    mols = [Chem.MolFromSmiles(str(Asked.of(sample).input)) for sample in samples]
    labels = np.array([sample.target == "B" for sample in samples])
    return np.stack([morgan.GetFingerprintAsNumPy(mol) for mol in mols]).astype(float), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("notes", "line"))
    parser.add_argument("table", type=Path)
    parser.add_argument("--output", type=Path, help="of notes: the table to write")
    args = parser.parse_args()
    if args.what == "line":
        line(args.table)
    elif args.output is None:
        parser.error("notes needs --output")
    else:
        write_notes(args.table, args.output)


if __name__ == "__main__":
    main()
