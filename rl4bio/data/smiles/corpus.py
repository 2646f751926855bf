"""Molecules as SMILES: a user's table, or nothing but the place where strings start."""

from __future__ import annotations

import dataclasses
import logging
import math
import random
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from rl4bio.answers.design import Begun
from rl4bio.chem.identity import canonical_scaffold
from rl4bio.chem.randomize import randomized_smiles
from rl4bio.chem.splits import Leaks
from rl4bio.chem.tables import read_table
from rl4bio.chem.tokens import split_smiles, vocabulary_of
from rl4bio.data.base import Corpus, Split, check_limits, check_shares
from rl4bio.data.smiles.context import (
    START,
    check_context,
    check_literal,
    in_proportion,
    is_token,
    literal_of,
    prefix_of,
)
from rl4bio.data.smiles.fit import (
    UnknownTokens,
    divide_rows,
    fit_vocabulary,
    short_rows,
    short_scaffolds,
)
from rl4bio.data.smiles.looks import BadRows, check_split, look_at, spell_scaffolds
from rl4bio.data.smiles.rows import (
    WITHOUT_VALUE,
    SmilesRow,
    check_ranges,
    pick_rows,
    saved_table,
    split_labels,
    tokenize_rows,
)
from rl4bio.errors import DataError
from rl4bio.types import Sample

log = logging.getLogger("rl4bio")

ROW = "row"
ATTEMPTS = 4
"""Random strings tried for a molecule before its own string is taken."""


@dataclass(kw_only=True)
class SmilesCorpus(Corpus):
    """Molecules to imitate, or prompts for molecules to write.

    The columns of MolGPT's files (Bagal et al., 2022) are found by their names in any case:
    smiles, split or source, scaffold_smiles, qed, sas, logp, tpsa. Rows without a value in a column
    that is used are left out and counted. Without a source there is one prompt and nothing to
    imitate.
    """

    task: ClassVar[Literal["questions", "molecules"]] = "molecules"
    source: str | None = None
    """A .csv, .tsv or .smi file, also with .gz; None for prompts without data."""
    smiles_column: str | None = None
    """None: smiles, or else the only column with smiles in its name."""
    split_column: str | None = None
    """Column of train, val (valid) and test; None looks for split, then source; '' draws splits.
    Rows of MOSES' test_scaffolds come into no split."""
    val_fraction: float | None = None
    test_fraction: float | None = None
    """Share of the molecules, drawn by the seed; None: 0.1 where the file marks no splits, else 0.
    A file's own marks stay; where it has no val (test) rows, a number takes them from train."""
    where: dict[str, list[float | None]] = field(default_factory=dict)
    """column -> [lowest, highest] of the rows to take, null for no limit: {pic50: [7, null]}."""
    max_rows: int | None = None
    """A seeded draw of so many rows; None = all."""
    max_tokens: int | None = None
    """Longest SMILES in tokens, as the file has it; longer ones are left out and counted."""
    unknown_tokens: UnknownTokens = "fail"
    """Molecules with tokens that a SMILES model does not know: stop and say which, drop them, or
    take away their stereochemistry and drop what still does not fit. Nothing is changed unasked."""
    bad_rows: BadRows = "warn"
    """Rows that are no molecules: warn, or refuse where most are; drop them; or keep them."""
    leaks: Leaks = "fail"
    """A molecule in two splits of the file: fail, drop it from training, or keep it."""
    context: str = START
    """Where a string starts: start (the model's start token), first_token (of the row), or literal
    tokens such as C; rows that do not begin with those are left out and counted."""
    first_tokens: dict[str, float] | None = None
    """token -> share, for context first_token without a source."""
    properties: list[str] = field(default_factory=list)
    """Columns that condition the model, in its order."""
    targets: dict[str, float] = field(default_factory=dict)
    """property -> the value that every prompt asks for, in the model's order."""
    scaffold: str | None = None
    """Conditions the model: row (column scaffold_smiles), or the SMILES of a scaffold, which may be
    empty; None for a model that takes none."""
    randomize: bool = False
    """Supervised fine-tuning on another random SMILES of the molecule at every draw."""
    seed: int = 0
    """Of the splits, the draw of rows and the random SMILES."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits(max_rows=self.max_rows, max_tokens=self.max_tokens)
        check_shares(self.val_fraction or 0.0, self.test_fraction or 0.0)
        check_ranges(self.where)
        check_context(self.context, self.first_tokens, data=self.source is not None)
        check_literal("scaffold", self._fixed_scaffold)
        if self.properties and self.targets:
            raise ValueError("targets: properties come from the rows already; keep one of the two")
        for name, target in self.targets.items():
            if not math.isfinite(target):
                raise ValueError(f"targets.{name}: got {target}, needs a finite number")
        if self.source is None and (self.properties or self.scaffold == ROW):
            option = "properties" if self.properties else "scaffold"
            raise ValueError(f"{option}: needs a source to take them from; or give fixed ones")
        self._rows: list[SmilesRow] | None = None
        self._splits: dict[Split, list[Sample]] = {}
        self._known: frozenset[str] | None = None
        self._limit: float = self.max_tokens or math.inf

    @property
    def _fixed_scaffold(self) -> str:
        return "" if self.scaffold in (None, ROW) else canonical_scaffold(str(self.scaffold))

    @property
    def conditions(self) -> list[str]:
        """Lower-cased names of the properties that samples carry, in their order."""
        return [name.lower() for name in (*self.properties, *self.targets)]

    def samples(self, split: Split) -> Sequence[Sample]:
        """The molecules of a split in the order of the file; without a source, the prompts."""
        if split not in self._splits:
            rows = None if self.source is None else self._of(split)
            self._splits[split] = self._prompts() if rows is None else self._samples(rows)
        return self._splits[split]

    def bind(self, vocabulary: Mapping[str, int], *, max_tokens: int | None = None) -> None:
        """Leave out what a SMILES model cannot read; other tokenizers read any text.

        Raises:
            DataError: unknown tokens under `unknown_tokens: fail`, or nothing is left to train on.
        """
        if not all(map(is_token, vocabulary)):
            return
        self._known = frozenset(vocabulary)
        self._limit = min(self._limit, max_tokens or math.inf)
        self._check_prompts(self._known)
        if self.source is None:
            return
        kept = short_scaffolds(self._all(), self.scaffold_limit, source=self.source)
        self._rows = fit_vocabulary(
            kept, self._known, limit=self._limit, policy=self.unknown_tokens, source=self.source
        )
        self._splits.clear()
        if not self._of("train"):
            raise DataError(
                f"{self.source}: no training molecule fits the model's {len(self._known)} tokens "
                f"and {self._limit:g} positions; use another model, or other data"
            )

    def vocabulary(self) -> dict[str, int]:
        """token -> index over the training split and its scaffolds, for a new model.

        Raises:
            DataError: there is no source.
        """
        self._require_source()
        own = [row.tokens for row in self._of("train")]
        return vocabulary_of([*own, split_smiles(self._fixed_scaffold)])

    def _require_source(self) -> None:
        if self.source is None:
            raise DataError(
                "data.options.source: a new model takes its tokens from the training molecules; "
                "give a file, or name a stoi.json in policy.molgpt.vocabulary"
            )

    def vary(self, sample: Sample, number: int) -> Sample:
        """With `randomize`, the sample with a random SMILES, fixed by seed and draw."""
        if not self.randomize or not sample.reference:
            return sample
        for attempt in range(ATTEMPTS):
            seed = zlib.crc32(f"{self.seed}/{number}/{attempt}".encode()) >> 1
            text = randomized_smiles(sample.reference, seed=seed)
            tokens = split_smiles(text)
            fits = len(tokens) <= self._limit and (self._known is None or self._known >= {*tokens})
            prefix = prefix_of(self.context, text, tokens[0])
            if fits and prefix is not None:
                own = sample.with_extra(prefix=prefix)
                rest = text[len(prefix) :]
                return dataclasses.replace(own, prompt=prefix, demonstration=rest)
        return sample

    def _all(self) -> list[SmilesRow]:
        if self._rows is None:
            self._rows = self._read(Path(str(self.source)).expanduser())
        return self._rows

    def _of(self, split: Split) -> list[SmilesRow]:
        return [row for row in self._all() if row.split == split]

    def _read(self, path: Path) -> list[SmilesRow]:
        """The rows that the options pick, tokenized and split; what is left out is logged."""
        option = "data.options.source"
        table = saved_table(path) if path.is_dir() else read_table(path, option=option)
        labels = split_labels(table, self.split_column)
        left_out: Counter[str] = Counter()
        rows = pick_rows(
            table,
            smiles=table.smiles_index(self.smiles_column, option="data.options.smiles_column"),
            labels=labels,
            scaffolds=self.scaffold == ROW,
            properties=self.properties,
            where=self.where,
            left_out=left_out,
        )
        if self.max_rows is not None and len(rows) > self.max_rows:
            left_out["over max_rows"] += len(rows) - self.max_rows
            chosen = random.Random(f"{self.seed}/rows").sample(range(len(rows)), self.max_rows)
            rows = [rows[n] for n in sorted(chosen)]
        level = logging.WARNING if WITHOUT_VALUE in left_out else logging.INFO
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none"
        log.log(level, "%s: %d of %d rows; left out: %s", path, len(rows), len(table.rows), why)
        if not rows:
            raise DataError(f"{path}: none of {len(table.rows)} rows is left ({why})")
        spell_scaffolds(rows, source=str(path))
        tokenize_rows(table, rows)
        rows = short_rows(rows, self.max_tokens or math.inf, source=str(path))
        rows = look_at(rows, source=str(path), bad_rows=self.bad_rows)
        default = 0.1 if labels is None else 0.0
        wanted: dict[Split, float | None] = {"val": self.val_fraction, "test": self.test_fraction}
        shares = {k: default if share is None else share for k, share in wanted.items()}
        divide_rows(rows, shares, seed=self.seed)
        return check_split(rows, source=str(path), marked=labels is not None, leaks=self.leaks)

    def _samples(self, rows: Sequence[SmilesRow]) -> list[Sample]:
        found: list[Sample] = []
        for row in rows:
            prefix = prefix_of(self.context, row.text, row.first)
            if prefix is None:
                continue
            found.append(
                Sample(
                    uid=str(row.line),
                    prompt=prefix,
                    reference=row.text,
                    demonstration=row.text[len(prefix) :],
                    extra=self._begun(prefix, row.properties, row.scaffold),
                )
            )
        if len(found) < len(rows):
            log.warning(
                "%d of %d molecules do not begin with %r and go on, and are left out "
                "(data.options.context)",
                len(rows) - len(found),
                len(rows),
                self.context,
            )
        return found

    def _begun(self, prefix: str, properties: list[float], scaffold: str) -> Begun:
        own = scaffold if self.scaffold == ROW else self._fixed_scaffold
        has_properties = self.properties or self.targets
        return Begun(
            prefix=prefix,
            properties=list(properties or self.targets.values()) if has_properties else None,
            scaffold=None if self.scaffold is None else own,
        )

    def _prompts(self) -> list[Sample]:
        """One prompt, or many with the recorded shares of first tokens; the same in all splits."""
        shares = self.first_tokens
        prefixes = [literal_of(self.context)] if shares is None else in_proportion(shares)
        return [
            Sample(uid=str(number), prompt=prefix, extra=self._begun(prefix, [], ""))
            for number, prefix in enumerate(prefixes)
        ]

    def _check_prompts(self, known: frozenset[str]) -> None:
        for option, tokens in (
            ("context", split_smiles(literal_of(self.context))),
            ("first_tokens", list(self.first_tokens or {})),
            ("scaffold", split_smiles(self._fixed_scaffold)),
        ):
            unknown = [token for token in tokens if token not in known]
            if unknown:
                raise DataError(
                    f"data.options.{option}: the model does not know {', '.join(unknown)}; its "
                    f"tokens: {' '.join(sorted(known))}"
                )
