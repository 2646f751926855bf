"""Which of the bred molecules are scored (`molecules.offspring.surrogate`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rl4bio.sections import SurrogateConfig
from rl4bio.types import RememberingScorer

if TYPE_CHECKING:
    from rl4bio.chem.genetics.surrogate import Surrogate


class Screen:
    """Chooses by a surrogate, which it fits anew on all calls each time.

    Args:
        section: how many are bred for each that is scored, and the surrogate.
    """

    def __init__(self, section: SurrogateConfig) -> None:
        self.section = section
        self._surrogate: Surrogate | None = None

    def __call__(self, scorer: RememberingScorer, children: list[str], count: int) -> list[str]:
        """The `count` most promising children, best first.

        The first ones instead while all calls have the same score: nothing is known then of what is
        good, and the least known molecules are odd ones.
        """
        from rl4bio.chem.genetics.surrogate import Surrogate  # RDKit, for molecules alone

        scored = scorer.scored()
        if len(children) <= count or len({score for _, score in scored}) < 2:
            return children[:count]
        if self._surrogate is None:
            self._surrogate = Surrogate(self.section.size, self.section.noise)
        self._surrogate.fit(*zip(*scored, strict=True))
        kept = [scorer.kept(text) for text in children]
        return self._surrogate.promising(children, count, self.section.exploration, kept)
