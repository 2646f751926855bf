"""What molecules will score, by their likeness to those that were scored.

A Gaussian process (Rasmussen and Williams, 2006, algorithm 2.1) whose kernel is the Tanimoto
similarity of counted fingerprints (Ralaivola et al., 2005, doi:10.1016/j.neunet.2005.07.009), the
mean over KINDS. Scores are standardised first, so the process has a mean of 0 and a variance of 1.

The similarity of counts, sum_f min(a_f, b_f) / sum_f max(a_f, b_f), is that of bits once a fragment
that occurs n times sets n of them; so a matrix product gives all of them. Counts end at MAX_COUNT,
and bits are folded to BITS, which lets a few fragments collide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl4bio.chem.fingerprints import fingerprint
from rl4bio.chem.reading import Molecule, read_smiles, remembered

KINDS = ("ECFP4", "FCFP4")
BITS = 4096
MAX_COUNT = 6


class Surrogate:
    """A process that is fitted anew as scores come in.

    Args:
        size: molecules that it is fitted on at most; the time grows with the cube. Of more it takes
            the best half of them, and of the others the latest.
        noise: variance of the scores that likeness does not explain, as a share of their variance.
    """

    def __init__(self, size: int, noise: float) -> None:
        self.size = size
        self.noise = noise
        self._places: dict[str, int] = {}
        """Of the molecules that it is fitted on: their rows in the two below."""
        self._bits = torch.zeros(0, len(KINDS) * BITS)
        self._likeness = torch.zeros(0, 0, dtype=torch.float64)
        self._order = torch.zeros(0, dtype=torch.long)
        """Those rows in the order of the scoring, so that sums do not depend on where they are."""
        self._factor = torch.zeros(0, 0)
        self._weights = torch.zeros(0, 1)
        self._mean, self._scale = 0.0, 1.0

    def fit(self, smiles: Sequence[str], scores: Sequence[float]) -> None:
        """Take in everything that was scored, in the order of the scoring.

        Args:
            smiles: N of molecules, each once.
            scores: N, finite.

        Raises:
            ValueError: there are none.
        """
        if not smiles:
            raise ValueError("a surrogate needs scored molecules")
        values = np.asarray(scores, dtype=np.float64)
        chosen = informative(values, self.size)
        self._take([smiles[n] for n in chosen])
        targets = values[chosen]
        self._mean, self._scale = float(targets.mean()), float(targets.std()) or 1.0
        kernel = self._likeness[self._order[:, None], self._order]
        kernel.diagonal().add_(self.noise)
        self._factor = torch.linalg.cholesky(kernel)
        standard = torch.from_numpy((targets - self._mean) / self._scale)
        self._weights = torch.cholesky_solve(standard[:, None], self._factor)

    def predict(
        self, molecules: Sequence[Molecule]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the scores of N valid molecules, without the noise; [N]
        each, in the unit of the scores."""
        likeness = similarities(bits(molecules), self._bits)[:, self._order]
        mean = (likeness @ self._weights)[:, 0] * self._scale + self._mean
        explained = torch.linalg.solve_triangular(self._factor, likeness.T, upper=False)
        variance = (1 - explained.square().sum(0)).clamp(min=0)
        return mean.numpy(), (variance.sqrt() * self._scale).numpy()

    def promising(
        self, smiles: Sequence[str], count: int, exploration: float, kept: Sequence[float]
    ) -> list[str]:
        """The most promising `count` of N molecules, best first.

        Their rank is that of the upper confidence bound of their score (Srinivas et al., 2010,
        arXiv:0912.3995), mean + `exploration` standard deviations.

        Args:
            smiles: N.
            count: how many.
            exploration: standard deviations.
            kept: N, shares of a score above 0 that a molecule would be paid.
        """
        mean, deviation = self.predict([read_smiles(text) for text in smiles])
        bound = mean + exploration * deviation
        bound *= np.where(bound > 0, np.asarray(kept), 1.0)
        return [smiles[n] for n in np.argsort(-bound, kind="stable")[:count]]

    def _take(self, smiles: Sequence[str]) -> None:
        """Have the likeness of these molecules; what it was for those of the last time stays."""
        wanted = dict.fromkeys(smiles)
        self._places = {text: row for text, row in self._places.items() if text in wanted}
        fresh = [text for text in wanted if text not in self._places]
        self._make_room(len(wanted))
        free = sorted(set(range(len(self._bits))) - set(self._places.values()))
        self._places.update(zip(fresh, free, strict=False))
        rows = torch.tensor([self._places[text] for text in fresh], dtype=torch.long)
        self._bits[rows] = bits([read_smiles(text) for text in fresh])
        across = similarities(self._bits[rows], self._bits)
        self._likeness[rows] = across
        self._likeness[:, rows] = across.T
        self._order = torch.tensor([self._places[text] for text in smiles], dtype=torch.long)

    def _make_room(self, count: int) -> None:
        """Have rows for so many molecules; twice as many as needed, so that it happens rarely."""
        if len(self._bits) < count:
            more = min(self.size, 2 * count) - len(self._bits)
            self._bits = torch.nn.functional.pad(self._bits, (0, 0, 0, more))
            self._likeness = torch.nn.functional.pad(self._likeness, (0, more, 0, more))


def informative(scores: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Numbers of at most `size` scores, ascending: the best half of them, then the latest."""
    every = np.arange(len(scores))
    if len(scores) <= size:
        return every
    best = np.argsort(-scores, kind="stable")[: size // 2]
    latest = np.setdiff1d(every, best)[len(best) - size :]
    return np.sort(np.concatenate([best, latest]))


def bits(molecules: Sequence[Molecule]) -> Tensor:
    """Rows of 0 and 1, [N, kinds * BITS] float32."""
    rows = torch.zeros(len(molecules), len(KINDS) * BITS)
    for row, molecule in zip(rows, molecules, strict=True):
        row[torch.from_numpy(_columns(molecule))] = 1
    return rows


def similarities(first: Tensor, second: Tensor) -> Tensor:
    """Means over KINDS of the Tanimoto similarities of rows [N, F] and [M, F]; [N, M] float64."""
    total = torch.zeros(len(first), len(second), dtype=torch.float64)
    for n in range(len(KINDS)):
        part = slice(n * BITS, (n + 1) * BITS)
        one, other = first[:, part], second[:, part]
        both = (one @ other.T).double()  # whole numbers: exact in any order of the sums
        either = one.sum(1)[:, None] + other.sum(1)[None] - both
        total += both / either.clamp(min=1)
    return total / len(KINDS)


@remembered
def _columns(molecule: Molecule) -> NDArray[np.int64]:
    """The columns of a molecule's bits."""
    found = []
    for n, kind in enumerate(KINDS):
        counts = fingerprint(molecule, kind).GetNonzeroElements()
        for fragment, count in counts.items():
            for copy in range(min(count, MAX_COUNT)):
                mixed = (fragment * 0x9E3779B1 + copy * 0x85EBCA6B) % 2**32
                found.append(n * BITS + mixed * BITS // 2**32)
    return np.array(sorted(set(found)), dtype=np.int64)
