"""Does the molecule bind? A stored predictor's opinion, as far as it is known to be worth much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.chem.reading import Molecule
from rl4bio.errors import ConfigError, ModelError
from rl4bio.files.assets import is_asset
from rl4bio.predictors.predictor import Prediction, Predicts
from rl4bio.predictors.storage import find_predictor, load_predictor
from rl4bio.registry import did_you_mean
from rl4bio.rewards.molecules.base import TransformedReward
from rl4bio.rewards.molecules.transforms import Sigmoid, Transform
from rl4bio.types import Sample


@dataclass(kw_only=True)
class AffinityReward(TransformedReward):
    """Predicted affinity, transformed, times how near the molecule is to what the predictor knows.

    A policy finds where a predictor is wrong. So the factor of the applicability domain is 1 where
    the nearest training molecule has a Tanimoto similarity of `domain_high` or more, 0 at
    `domain_low` or less, linear between; 0 also where the ensemble disagrees by more than
    `max_spread`, and above `max_similarity`, where the molecule is nearly a measured one.

    Raw values: the predicted affinity (-log10 mol/l), `_similarity` to the nearest training
    molecule, `_spread` of the ensemble, `_domain` the factor.
    """

    predictor: str
    """A folder that `rl4bio affinity` or `save_own_model` wrote, or rl4bio:affinity-egfr."""
    target: str | None = None
    """Which of the predictor's targets; needed where it has several."""
    domain_low: float = 0.3
    """Similarity up to which a molecule is outside the domain."""
    domain_high: float = 0.5
    """Similarity from which it is inside. 0 for both switches the factor off. The defaults are from
    held-out scaffolds of EGFR: below 0.4 no measured value backs a high prediction."""
    max_spread: float | None = None
    """Standard deviation of the ensemble, in units of the affinity, above which the value is 0."""
    max_similarity: float | None = None
    """Similarity above which the value is 0, at least domain_high: 0.99 refuses the training
    molecules, which a policy may find again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.domain_low <= self.domain_high <= 1:
            raise ConfigError(
                f"domain_low: got {self.domain_low} with domain_high {self.domain_high}; needs "
                "0 <= domain_low <= domain_high <= 1"
            )
        if self.max_spread is not None and not self.max_spread > 0:
            raise ConfigError(f"max_spread: got {self.max_spread}, needs a number above 0")
        if self.max_similarity is not None and not self.domain_high <= self.max_similarity <= 1:
            raise ConfigError(
                f"max_similarity: got {self.max_similarity}, needs a number from domain_high "
                f"({self.domain_high}) to 1"
            )
        if is_asset(self.predictor):  # a folder is looked for in `prepare`, as files are
            try:
                find_predictor(self.predictor)
            except ModelError as error:
                raise ConfigError(f"predictor: {error}") from None

    def usual_transform(self) -> Transform:
        return Sigmoid(low=5.0, high=8.0)

    def prepare(self) -> None:
        try:
            self._find_target()
        except ModelError as error:
            raise ModelError(f"predictor: {error}") from None

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        self.predictions(self.molecules(completions, samples))
        return super().__call__(completions, samples)

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        found = self.predictions(self.molecules(completions, samples))
        return {
            "": [math.nan if one is None else one.affinity for one in found],
            "_similarity": [math.nan if one is None else one.similarity for one in found],
            "_spread": [math.nan if one is None else one.spread for one in found],
            "_domain": [math.nan if one is None else self.factor(one) for one in found],
        }

    def raw(self, molecule: Molecule) -> float:
        (found,) = self.predictions([molecule])
        return math.nan if found is None else found.affinity

    def factor(self, prediction: Prediction) -> float:
        """The applicability domain's factor in [0, 1]."""
        if self.max_spread is not None and prediction.spread > self.max_spread:
            return 0.0
        if self.max_similarity is not None and prediction.similarity > self.max_similarity:
            return 0.0
        if prediction.similarity >= self.domain_high:
            return 1.0
        if prediction.similarity <= self.domain_low:
            return 0.0
        width = self.domain_high - self.domain_low
        return (prediction.similarity - self.domain_low) / width

    def predictions(self, molecules: Sequence[Molecule]) -> list[Prediction | None]:
        """Of each molecule, None where it is invalid; molecules are predicted together, once."""
        key, target = self._find_target()
        new = {m.canonical: m for m in molecules if m.valid and key not in m.memo}
        for molecule, found in zip(new.values(), target.predict(list(new.values())), strict=True):
            molecule.memo[key] = found
        # Two readings of one molecule may have separate memos where the cache has let one go.
        made = {text: molecule.memo[key] for text, molecule in new.items()}
        return [(m.memo.get(key) or made.get(m.canonical)) if m.valid else None for m in molecules]

    def reward_of(self, molecule: Molecule, sample: Sample, raw: float) -> float:
        value = super().reward_of(molecule, sample, raw)
        (found,) = self.predictions([molecule])
        return value if found is None else value * self.factor(found)

    def _find_target(self) -> tuple[str, Predicts]:
        """The memo key of the target's predictions, and the target."""
        predictor = load_predictor(self.predictor)
        known = predictor.targets
        name = self.target if self.target is not None or len(known) > 1 else next(iter(known))
        if name is None:
            raise ConfigError(
                f"target: {self.predictor} predicts {', '.join(known)}; name one of them"
            )
        if name not in known:
            raise ConfigError(
                f"target: {self.predictor} does not predict {name!r}{did_you_mean(name, known)}; "
                f"known: {', '.join(known)}"
            )
        return f"affinity {predictor.digest} {name}", known[name]
