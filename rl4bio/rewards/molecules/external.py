"""A score that a program or service outside the package computes, such as a docking score."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rl4bio.chem.reading import Molecule
from rl4bio.errors import ConfigError, RewardError
from rl4bio.rewards.external.cache import ScoreCache, engine_key
from rl4bio.rewards.external.endpoint import Endpoint, check_url, read_token
from rl4bio.rewards.external.engines import CommandEngine, EndpointEngine, Engine
from rl4bio.rewards.external.failures import Failure, Tally
from rl4bio.rewards.external.scorer import BatchScorer
from rl4bio.rewards.molecules.base import BatchMoleculeReward, TransformedReward
from rl4bio.sections.checks import at_least
from rl4bio.types import Sample

IN_DOUBT = 8
"""So many molecules without a score, and none with one, put an engine in doubt that has worked in
an earlier run, or that answers but refuses. One that has never answered is in doubt at once."""


@dataclass(kw_only=True)
class ExternalReward(BatchMoleculeReward, TransformedReward):
    """What an external engine says of the molecule, transformed to [0, 1]; invalid is 0.

    The engine gets canonical SMILES as JSON lines, each molecule once a run, never an invalid one.
    The raw value is the engine's score in its own unit. docs/external_scorers.md has the protocol.
    """

    command: list[str] | None = None
    """Program and arguments of an engine that reads stdin and writes stdout; no shell."""
    url: str | None = None
    """Address of an engine that takes a POST; instead of command."""
    field: str = "score"
    """Name of the score in an answer."""
    batch_size: int = 32
    """Molecules of a batch, at most."""
    timeout_s: float = 300.0
    """Of a batch, with the start of a command; then it is killed with all that it started."""
    retries: int = 1
    """How often molecules without an answer are asked again, in batches of half the size."""
    max_workers: int = 1
    """Batches at once, at most; each is a process of a command, or a request."""
    persistent: bool = False
    """Keep the command's process for the next batch: it then answers each line that it reads, and
    flushes. Else a batch has a process of its own, which reads to the end of stdin."""
    on_failure: Literal["nan", "zero", "fail"] = "nan"
    """What a molecule without a score is worth: NaN, 0, or the run (RewardError). Where the first
    batches bring no score at all it is the run in any case."""
    cache: str | None = None
    """File that keeps scores over runs; several runs and ranks may share it. None = memory alone.
    Its entries hold for one command or url, field and version."""
    version: str = ""
    """Of the engine: another one makes entries of the cache stale."""
    token_variable: str | None = None
    """Environment variable that holds the token of a url (Authorization: Bearer)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check()
        self._cache = ScoreCache(
            self.cache, engine_key(self.command or self.url, self.field, self.version)
        )
        self._scorer: BatchScorer | None = None
        self._tally = Tally("external")
        self._refused: dict[str, Failure] = {}
        self._last: tuple[tuple[str, ...], list[float]] = ((), [])
        self._answers = False
        """Whether the engine has scored any molecule in this process."""
        self._fruitless = 0
        """Failures before that."""

    def _check(self) -> None:
        if (self.command is None) == (self.url is None):
            raise ConfigError("command, url: give exactly one of them")
        if self.command is not None and not (self.command and self.command[0]):
            raise ConfigError("command: is empty; write it as a list, such as [python, dock.py]")
        if self.url is not None:
            check_url(self.url)
            if self.persistent:
                raise ConfigError("persistent: goes with command; remove it")
        elif self.token_variable is not None:
            raise ConfigError(
                "token_variable: goes with url; a command finds the variable in its environment"
            )
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise ConfigError(f"timeout_s: got {self.timeout_s}, needs a finite number above 0")
        at_least(1, batch_size=self.batch_size, max_workers=self.max_workers)
        at_least(0, retries=self.retries)
        if not self.field or self.field in ("id", "error"):
            raise ConfigError(f"field: got {self.field!r}, needs the name of the score")

    def prepare(self) -> None:
        """Check what can be checked without calling the engine, and read the cache."""
        if self.command is not None and shutil.which(self.command[0]) is None:
            raise ConfigError(
                f"command: no program {self.command[0]!r} on the PATH; paths start at the working "
                "directory"
            )
        for argument in (self.command or [])[1:2]:
            if argument.endswith((".py", ".sh")) and not os.path.exists(argument):
                raise ConfigError(
                    f"command: no file {argument!r}; paths start at the working directory"
                )
        if self.token_variable is not None:
            read_token(self.token_variable)
        self._cache.check()
        self._cache.refresh()

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        rewards = super().__call__(completions, samples)
        if self.on_failure != "zero":
            return rewards
        rows = zip(rewards, self.molecules(completions, samples), strict=True)
        return [0.0 if math.isnan(one) and molecule.valid else one for one, molecule in rows]

    def value(self, raw: float) -> float:
        if math.isnan(raw):
            return math.nan
        if self.transform is None and not 0 <= raw <= 1:
            raise RewardError(
                f"{self.field} {raw:g} is outside [0, 1]; give a transform, such as {{kind: "
                "reverse_sigmoid, low: -12, high: -6} for a docking score in kcal/mol"
            )
        return super().value(raw)

    def raw(self, molecule: Molecule) -> float:
        return self.raws([molecule], [])[0]

    def raws(self, molecules: Sequence[Molecule], samples: Sequence[Sample]) -> list[float]:
        names = tuple(molecule.canonical for molecule in molecules)
        # Rewards and raw values of a batch are asked for one after the other: what failed in the
        # first must not be tried again in the second.
        if names != self._last[0]:
            self._ask([name for name in dict.fromkeys(names) if name])
            scores = self._cache.scores
            self._last = (names, [scores.get(name, math.nan) for name in names])
        return list(self._last[1])

    def _ask(self, smiles: Sequence[str]) -> None:
        """Have the scores of these molecules in the cache, as far as they can be had."""
        known = {one: self._refused[one] for one in smiles if one in self._refused}
        missing = [one for one in smiles if one not in self._cache.scores and one not in known]
        if missing:
            self._cache.refresh()  # another rank may have asked
            missing = [one for one in missing if one not in self._cache.scores]
        found = self._build_scorer().score(missing) if missing else {}
        scores = {one: v for one, v in found.items() if not isinstance(v, Failure)}
        failures = {one: v for one, v in found.items() if isinstance(v, Failure)}
        self._cache.add(scores)
        self._refused |= {one: failure for one, failure in failures.items() if failure.final}
        self._answers = self._answers or bool(scores)
        self._judge(failures, {**known, **failures})

    def _judge(self, failures: dict[str, Failure], all_failures: dict[str, Failure]) -> None:
        """Log the failures of a call; raise a RewardError where they end the run."""
        if self._in_doubt(failures):
            raise RewardError(
                f"the engine scored none of its first {self._fruitless} molecules, "
                f"{self._example(failures)}; correct the engine or the options"
            )
        if all_failures and self.on_failure == "fail":
            raise RewardError(
                f"the engine left {len(all_failures)} molecules without a score, "
                f"{self._example(all_failures)}; correct it, or choose another on_failure"
            )
        for kind in {failure.kind for failure in failures.values()}:
            those = {one: failure for one, failure in failures.items() if failure.kind == kind}
            self._tally.add(f"molecules without a score, {kind}", len(those), self._example(those))

    def _in_doubt(self, failures: dict[str, Failure]) -> bool:
        """Whether these failures of a call may mean that the engine does not work at all."""
        if self._answers or not failures:
            return False
        self._fruitless += len(failures)
        many = self._fruitless >= IN_DOUBT
        if all(failure.kind == "refused" for failure in failures.values()):
            # With a cache, what is asked may be what was refused in an earlier run.
            return many and not self._cache.scores
        return many or not self._cache.scores

    def _example(self, failures: dict[str, Failure]) -> str:
        smiles, failure = next(iter(failures.items()))
        engine = self.url if self.command is None else self.command[0]
        return f"such as {smiles[:80]}: {failure} ({engine})"

    def _build_scorer(self) -> BatchScorer:
        if self._scorer is None:
            engine: Engine
            if self.command is not None:
                engine = CommandEngine(
                    self.command,
                    persistent=self.persistent,
                    score_field=self.field,
                    timeout_s=self.timeout_s,
                )
            else:
                endpoint = Endpoint(str(self.url), token_variable=self.token_variable)
                engine = EndpointEngine(endpoint, score_field=self.field, timeout_s=self.timeout_s)
            self._scorer = BatchScorer(
                engine=engine,
                batch_size=self.batch_size,
                max_workers=self.max_workers,
                retries=self.retries,
                tally=self._tally,
            )
        return self._scorer
