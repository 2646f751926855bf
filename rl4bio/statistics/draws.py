"""Several completions an item: pass@k and the majority vote."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pass_at_k(num_draws: int, num_right: int, k: int) -> float:
    """The unbiased estimate 1 - C(n - c, k) / C(n, k) that one of k draws is right.

    Chen et al., 2021 (arXiv:2107.03374), eq. 1; in integers up to the division. Where answers are
    labels it counts lucky guesses: a uniform guess among K labels reaches 1 - (1 - 1/K)^k.

    Args:
        num_draws: n.
        num_right: c of them are right.
        k: at most n.

    Raises:
        ValueError: not 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= num_right <= num_draws and 1 <= k <= num_draws):
        raise ValueError(f"pass_at_k: got n={num_draws}, c={num_right}, k={k}")
    return 1 - math.comb(num_draws - num_right, k) / math.comb(num_draws, k)


def pass_counts(num_draws: int) -> list[int]:
    """The k that are reported of n draws: the powers of two below n, and n."""
    powers = [2**power for power in range(num_draws.bit_length()) if 2**power < num_draws]
    return [*powers, num_draws] if num_draws else []


def majority_vote(verdicts: Sequence[str | None]) -> str | None:
    """The most common verdict, the earliest drawn one on a tie; None does not vote.

    Wang et al., 2023 (arXiv:2203.11171), unweighted.

    Returns:
        None where nobody votes.
    """
    votes = [verdict for verdict in verdicts if verdict is not None]
    return max(dict.fromkeys(votes), key=votes.count, default=None)
