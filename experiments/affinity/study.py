"""How good are predictors of affinity on new molecules and new scaffolds, and where do they fail?

    pip install scikit-learn          # the random forest of the comparison; nothing else needs it
    python -m experiments.affinity.study --data egfr=egfr_pic50.csv --data bace=bace_pic50.csv \
        --label pic50 --seeds 3 --strangers zinc.smi
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np

from rl4bio.affinity import name_targets
from rl4bio.chem.features import domain_bits, feature_rows
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.splits import split_groups
from rl4bio.chem.tables import read_smiles_column
from rl4bio.predictors import report
from rl4bio.predictors.records import Measured, read_measured
from rl4bio.predictors.storage import load_predictor
from rl4bio.predictors.training import FEATURES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--label", default="pic50")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strangers", type=Path, help="molecules that nobody made for the target")
    parser.add_argument("--predictor", default="rl4bio:affinity-egfr")
    arguments = parser.parse_args()
    for name, path in name_targets(arguments.data, None).items():
        measured = read_measured(path, arguments.label)
        print(f"## {name}: {len(measured.molecules):,} molecules, random forests\n")
        for kind, rows in random_forests(measured, arguments.seeds).items():
            print(f"{kind}\n{report.table(rows)}\n", flush=True)
    if arguments.strangers is not None:
        strangers(arguments.strangers, arguments.predictor)


def random_forests(measured: Measured, seeds: int) -> dict[str, list[report.SplitScores]]:
    """200 trees on the splits of the report: over plain Morgan bits, and over our features."""
    from sklearn.ensemble import RandomForestRegressor

    bits = np.unpackbits(domain_bits(measured.molecules), axis=1).astype(np.float32)
    inputs = {"Morgan bits": bits, FEATURES: feature_rows(measured.molecules, FEATURES)}
    found: dict[str, list[report.SplitScores]] = {name: [] for name in inputs}
    for kind in report.KINDS:
        for seed in range(seeds):
            test, train = split_groups(
                measured.molecules, [report.TEST_SHARE], kind=kind, seed=seed
            )
            truth, mean = measured.values[test], float(measured.values[train].mean())
            for name, rows in inputs.items():
                forest: Any = RandomForestRegressor(200, max_features=0.1, random_state=seed)
                forest.fit(rows[train], measured.values[train])
                guess = forest.predict(rows[test])
                found[name].append(report.score(kind, seed, truth, guess, mean))
    return found


def strangers(path: Path, predictor: str, *, size: int = 2000) -> None:
    """What a predictor says of molecules that were not made for its target, by similarity."""
    texts = [text for _, text in read_smiles_column(path, option="--strangers", column_option="")]
    molecules = [read_smiles(text) for text in random.Random(0).sample(texts, size)]
    for name, target in load_predictor(predictor).targets.items():
        found = target.predict([molecule for molecule in molecules if molecule.valid])
        value = np.array([one.affinity for one in found])
        near = np.array([one.similarity for one in found])
        spread = np.array([one.spread for one in found])
        print(f"## {len(found):,} strangers to {name}\n")
        print("| similarity | n | mean | above 6.5 | above 7 | spread |\n|---|---|---|---|---|---|")
        for low, high in zip(report.SIMILARITY_EDGES, report.SIMILARITY_EDGES[1:], strict=False):
            band = (near >= low) & (near < high)
            if band.any():
                cells = (band.sum(), value[band].mean(), (value[band] > 6.5).mean())
                more = ((value[band] > 7).mean(), spread[band].mean())
                print(
                    f"| {low} to {high} | {cells[0]} | "
                    + " | ".join(f"{cell:.3f}" for cell in (*cells[1:], *more))
                    + " |"
                )


if __name__ == "__main__":
    main()
