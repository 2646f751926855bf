"""Another model's opinion of the designs: a random forest on half of the measured molecules.

python -m experiments.molgpt_egfr.control --data egfr_pic50.csv FOLDER [FOLDER ...]

FOLDER is the evaluation/ of a run of study.py. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import rdFingerprintGenerator

from rl4bio.chem.reading import read_smiles
from rl4bio.chem.tables import read_table

TREES = 60
BITS = 2048


def fingerprints(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Morgan bits of radius 2, [n, BITS]."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)
    return np.stack([generator.GetFingerprintAsNumPy(read_smiles(text).mol) for text in texts])


def mean_predictions(folder: Path, forest: Any) -> dict[str, float]:
    """base and tuned -> mean prediction over the valid distinct molecules inside the domain."""
    with (folder / "molecules.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["state"] == "valid"]
    inside = [row for row in rows if float(row["raw_combined.affinity_domain"] or 0) > 0]
    found = {}
    for model in ("base", "tuned"):
        texts = [row["smiles"] for row in inside if row["model"] == model]
        found[model] = float(forest.predict(fingerprints(texts)).mean())
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="columns smiles and pic50")
    parser.add_argument("folders", nargs="+", type=Path, help="evaluation/ of runs")
    args = parser.parse_args(argv)
    from sklearn.ensemble import RandomForestRegressor

    table = read_table(args.data, option="--data")
    smiles, label = table.names.index("smiles"), table.names.index("pic50")
    half = np.random.default_rng(0).permutation(len(table.rows))[: len(table.rows) // 2]
    known = fingerprints([table.rows[row][smiles] for row in half])
    values = [float(table.rows[row][label]) for row in half]
    forest = RandomForestRegressor(TREES, random_state=1).fit(known, values)
    for folder in args.folders:
        found = mean_predictions(folder, forest)
        gain = found["tuned"] - found["base"]
        print(f"{folder}: {found['base']:.2f} -> {found['tuned']:.2f}, gain {gain:+.2f}")


if __name__ == "__main__":
    main()
