"""Scaffolds to decorate and parts to link, as prompts; the pieces that do it, as completions."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from rl4bio.answers.design import Begun
from rl4bio.chem.attachments import SEPARATOR, cut, read_points
from rl4bio.chem.tokens import split_smiles, vocabulary_of
from rl4bio.data.smiles.context import START
from rl4bio.data.smiles.corpus import SmilesCorpus
from rl4bio.data.smiles.rows import SmilesRow
from rl4bio.errors import DataError
from rl4bio.types import Sample

log = logging.getLogger("rl4bio")

NEEDED = (SEPARATOR, "[*:1]")
"""Tokens without which nothing can be decorated."""


@dataclass(kw_only=True)
class DecorationCorpus(SmilesCorpus):
    """Molecules cut into scaffold and pieces, or scaffolds that are given.

    A prompt is a scaffold with attachment points and `>`, a completion the pieces, whose points
    have the same numbers: `[*:1]c1ccccc1>` and `[*:1]C(=O)NC`. Parts with a point each, such as
    `[*:1]c1ccccc1.[*:2]C1CC1>`, are linked by one piece with both, `[*:1]CC[*:2]`. Rewards and
    reports read the joined molecule (`rl4bio.chem.attachments`).
    """

    decorates: ClassVar[bool] = True
    scaffolds: list[str] = field(default_factory=list)
    """SMILES with attachment points, [*:1] to [*:4], that are prompts without a source."""
    randomize: bool = False
    """Supervised fine-tuning on another cut of the molecule at every draw."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, usual in (("context", START), ("first_tokens", None), ("scaffold", None)):
            if getattr(self, name) != usual:
                raise ValueError(f"{name}: is the scaffold with its points here; leave it out")
        if bool(self.scaffolds) == (self.source is not None):
            raise ValueError(
                "scaffolds: give SMILES with attachment points, such as c1ccc([*:1])cc1, or a "
                "source of molecules to cut instead"
            )
        self._made: dict[int, Sample | None] = {}
        self._given: list[str] = []
        for number, text in enumerate(self.scaffolds):
            try:
                self._given.append(read_points(text))
            except ValueError as error:
                raise ValueError(f"scaffolds[{number}]: {error}") from None

    def bind(self, vocabulary: Mapping[str, int], *, max_tokens: int | None = None) -> None:
        """Leave out molecules whose scaffold or pieces a SMILES model cannot read.

        Raises:
            DataError: it does not know attachment points, or nothing is left to train on.
        """
        super().bind(vocabulary, max_tokens=max_tokens)
        self._splits.clear()
        if self.source is not None and not self.samples("train"):
            raise DataError(
                f"{self.source}: no training molecule could be cut into a scaffold with a ring "
                "and pieces that the model can read; use another model, or other data"
            )

    def vocabulary(self) -> dict[str, int]:
        """token -> index over the scaffolds and pieces of the training split, for a new model."""
        self._require_source()
        texts = [f"{sample.prompt}{sample.demonstration}" for sample in self.samples("train")]
        return vocabulary_of([*map(split_smiles, texts), NEEDED])

    def vary(self, sample: Sample, number: int) -> Sample:
        """With `randomize`, the sample with another cut, fixed by seed and draw."""
        if not self.randomize or not sample.demonstration:
            return sample
        other = self._cut(sample.reference, sample.uid, f"{self.seed}/{number}", sample)
        return other if other is not None and self._fits(other) else sample

    def _samples(self, rows: Sequence[SmilesRow]) -> list[Sample]:
        new = [row for row in rows if row.line not in self._made]
        if len(new) > 10_000:
            log.info("cutting %d molecules (about a minute for 30,000)", len(new))
        for row in new:
            place = str(row.line)
            self._made[row.line] = self._cut(row.text, place, f"{self.seed}/{place}", row)
        found = [self._made[row.line] for row in rows]
        kept = [sample for sample in found if sample is not None and self._fits(sample)]
        if len(kept) < len(rows):
            log.warning(
                "%d of %d molecules could not be cut into a scaffold with a ring and pieces that "
                "the model can read, and are left out",
                len(rows) - len(kept),
                len(rows),
            )
        return kept

    def _cut(self, text: str, uid: str, seed: str, like: SmilesRow | Sample) -> Sample | None:
        parts = cut(text, random.Random(f"cut/{seed}"))
        if parts is None:
            return None
        values = Begun.of(like).properties if isinstance(like, Sample) else like.properties
        return Sample(
            uid=uid,
            prompt=f"{parts[0]}{SEPARATOR}",
            reference=text,
            demonstration=parts[1],
            extra=self._asked(parts[0], list(values or [])),
        )

    def _fits(self, sample: Sample) -> bool:
        tokens = split_smiles(f"{sample.prompt}{sample.demonstration}")
        known = self._known is None or self._known >= {*tokens}
        return known and len(tokens) <= self._limit

    def _asked(self, scaffold: str, properties: list[float]) -> Begun:
        return replace(self._begun("", properties, ""), decorate=scaffold)

    def _prompts(self) -> list[Sample]:
        return [
            Sample(uid=str(n), prompt=f"{text}{SEPARATOR}", extra=self._asked(text, []))
            for n, text in enumerate(self._given)
        ]

    def _check_prompts(self, known: frozenset[str]) -> None:
        missing = [token for token in NEEDED if token not in known]
        if missing:
            raise DataError(
                f"data: the model does not know {' '.join(missing)}, which decorating needs; use "
                "rl4bio:molgpt-decorate, or train from rl4bio:molgpt-zinc"
            )
        for number, text in enumerate(self._given):
            tokens = split_smiles(text)
            place = f"data.options.scaffolds[{number}]"
            unknown = sorted({*tokens} - known)
            if unknown:
                raise DataError(f"{place}: the model does not know {', '.join(unknown)}")
            if len(tokens) + 2 > self._limit:
                raise DataError(
                    f"{place}: has {len(tokens)} tokens, and the model has room for "
                    f"{self._limit:g} with what is attached; shorten it"
                )
