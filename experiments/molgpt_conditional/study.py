"""Do a MolGPT's conditions work? Scaffolds that training has not seen, and several logP targets.

    python -m experiments.molgpt_conditional.study --data moses2_sample.csv.gz
        [--model rl4bio:molgpt-moses-conditional] [--scaffolds 10] [--num 200]

Samples `num` molecules for each scaffold and target. Scaffolds are drawn from the rows of MOSES'
`test_scaffolds` split, which share none with training.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import statistics
from collections.abc import Sequence
from pathlib import Path

from rl4bio.chem.patterns import has_substructure
from rl4bio.chem.properties import logp, scaffold
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.data.smiles.corpus import SmilesCorpus
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions, sampling_seed
from rl4bio.sections import PolicyConfig

TARGETS = (1.0, 2.0, 3.0)
Row = dict[str, float]


def unseen_scaffolds(path: Path, count: int, seed: int) -> list[str]:
    """A seeded draw of distinct scaffolds of the split `test_scaffolds`."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    seen = {row["scaffold_smiles"] for row in rows if row["split"] == "train"}
    fresh = {row["scaffold_smiles"] for row in rows if row["split"] == "test_scaffolds"} - seen
    return random.Random(seed).sample(sorted(fresh), count)


def sample(policy: Policy, core: str, target: float, num: int, seed: int) -> list[Molecule]:
    """Molecules that were asked to have a scaffold and a logP."""
    corpus = SmilesCorpus(targets={"logp": target}, scaffold=core)
    prompt = list(corpus.samples("train"))[:1]
    found = sample_completions(
        policy,
        [policy.encode_prompt(prompt[0].prompt)],
        group_size=num,
        max_new_tokens=53,
        temperature=1.0,
        seeds=[sampling_seed(seed, 0, 0)],
        conditions=policy.conditions(prompt),
    )
    return [read_smiles(text) for text in found.completions]


def measure(molecules: Sequence[Molecule], core: str, target: float) -> Row:
    """Shares and means over one scaffold and one target."""
    valid = [molecule for molecule in molecules if molecule.valid]
    part = read_smiles(core)
    values = [logp(molecule) for molecule in valid]
    return {
        "valid": len(valid) / len(molecules),
        "unique": len({molecule.canonical for molecule in valid}) / len(valid),
        "contains the scaffold": statistics.fmean(has_substructure(m, part) for m in valid),
        "has exactly this scaffold": statistics.fmean(scaffold(m) == part.canonical for m in valid),
        "mean logP": statistics.fmean(values),
        "mean |logP - target|": statistics.fmean(abs(value - target) for value in values),
    }


def mean_row(rows: Sequence[Row]) -> Row:
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="moses2_sample.csv.gz")
    parser.add_argument("--model", default="rl4bio:molgpt-moses-conditional")
    parser.add_argument("--scaffolds", type=int, default=10)
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    policy = load_policy(PolicyConfig(checkpoint=args.model))
    cores = ["c1ccccc1", *unseen_scaffolds(args.data, args.scaffolds, args.seed)]
    found = {
        (core, target): measure(sample(policy, core, target, args.num, args.seed), core, target)
        for core in cores
        for target in TARGETS
    }
    names = list(found[cores[0], TARGETS[0]])
    print("| scaffold | target logP | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 2))
    for core in cores:
        for target in TARGETS:
            row = found[core, target]
            print(f"| `{core}` | {target:g} | " + " | ".join(f"{row[n]:.3f}" for n in names) + " |")
    for target in TARGETS:
        row = mean_row([found[core, target] for core in cores[1:]])
        shown = " | ".join(f"{row[n]:.3f}" for n in names)
        print(f"| **{args.scaffolds} unseen, mean** | {target:g} | {shown} |")


if __name__ == "__main__":
    main()
