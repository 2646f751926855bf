"""What it costs that a reward scores in processes of its own.

    python -m benchmarks.guests [--rows 128] [--repeats 20]

One line a reward and a number of workers: milliseconds a completion more than in the run's own
process, and the speed of the whole batch against it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

MOLECULES = ["CC(=O)Nc1ccc(O)cc1", "CN1CCC[C@H]1c1cccnc1", "CC(C)Cc1ccc(C(C)C(=O)O)cc1", "OCC(O)CO"]


def batch_s(scorer: WeightedRewards, texts: Sequence[str], repeats: int) -> float:
    """Median seconds of a call, after one that does not count."""
    samples = [Sample(uid=str(n), prompt="C", context="x" * 500) for n, _ in enumerate(texts)]
    scorer(texts, samples)
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        scorer(texts, samples)
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    texts = [f"{'C' * (n % 17)}{MOLECULES[n % 4]}" for n in range(arguments.rows)]
    print("reward     workers  ms a row here  ms a row there  more  speed")
    for name in ("length", "qed", "sa"):
        here = WeightedRewards.from_config([RewardConfig(name=name)])
        base = batch_s(here, texts, arguments.repeats)
        for workers in (1, 2):
            config = RewardConfig(name=name, isolation="process", workers=workers)
            there = WeightedRewards.from_config([config])
            taken = batch_s(there, texts, arguments.repeats)
            one, other = (1000 * s / len(texts) for s in (base, taken))
            print(
                f"{name:<10} {workers:>7} {one:>14.3f} {other:>15.3f} {other - one:>5.3f} "
                f"{base / taken:>6.2f}"
            )
            there.guests[name].close()


if __name__ == "__main__":
    main()
