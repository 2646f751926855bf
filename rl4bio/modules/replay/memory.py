"""The best completions that a run has seen, as tokens."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from rl4bio.sections import ReplayConfig


@dataclass(slots=True, kw_only=True)
class Entry:
    """A completion; plain values, so that it travels between processes and into checkpoints."""

    key: str
    """What it is: a molecule's parent, or prompt and text."""
    alike: str
    """What it counts for under `max_alike`: its scaffold, or its prompt."""
    text: str
    score: float
    """Its total reward."""
    advantage: float
    """When it was sampled; 0 where it was not."""
    prompt: list[int]
    completion: list[int]
    """With its end token; [] for what the model cannot write, which is never replayed."""
    logprobs: list[float] = field(default_factory=list)
    """Of the policy that sampled it, one a token; [] where none did."""
    conditions: dict[str, Any] = field(default_factory=dict)
    """What the model is given beside the prompt, as nested lists."""
    born: int = 0
    """Its number among all that were offered."""


class ReplayMemory:
    """The best completions by their score, each key once.

    The same completions offered in the same order give the same memory, so ranks that are offered
    those of all ranks keep the same one.

    Args:
        section: its limits.
    """

    def __init__(self, section: ReplayConfig) -> None:
        self.section = section
        self.entries: list[Entry] = []
        """Best first; of equal scores the newest."""
        self.offered = 0
        """Completions above `min_score` that were offered."""

    def add(self, candidates: Iterable[Entry]) -> None:
        """Keep what is among the best.

        A key that is there already keeps its better entry, the newer of equal ones. Of completions
        that are alike the best `max_alike` stay.
        """
        found = {entry.key: entry for entry in self.entries}
        for candidate in candidates:
            if not candidate.score > self.section.min_score:
                continue
            self.offered += 1
            there = found.get(candidate.key)
            if there is None or candidate.score >= there.score:
                found[candidate.key] = dataclasses.replace(candidate, born=self.offered)
        ranked = sorted(found.values(), key=lambda entry: (-entry.score, -entry.born))
        limit, counts = self.section.max_alike, Counter[str]()
        self.entries = []
        for entry in ranked:
            if len(self.entries) == self.section.size:
                break
            if limit is None or counts[entry.alike] < limit:
                counts[entry.alike] += 1
                self.entries.append(entry)

    def draw(self, seed: int) -> list[Entry]:
        """At most `rows` different entries that the model can write, in a random order."""
        usable = [entry for entry in self.entries if entry.completion]
        count = min(self.section.rows, len(usable))
        if not count:
            return []
        weights = torch.ones(len(usable), dtype=torch.float64)
        if self.section.draw == "score":
            weights = torch.tensor([entry.score for entry in usable], dtype=torch.float64)
        generator = torch.Generator().manual_seed(seed)
        numbers = torch.multinomial(weights, count, replacement=False, generator=generator)
        return [usable[n] for n in numbers.tolist()]

    def numbers(self) -> dict[str, float]:
        """Metrics: how many there are, and how good."""
        scores = [entry.score for entry in self.entries]
        if not scores:
            return {"replay/size": 0.0}
        mean = sum(scores) / len(scores)
        return {
            "replay/size": float(len(scores)),
            "replay/score_mean": mean,
            "replay/score_max": scores[0],
        }

    def state_dict(self) -> dict[str, Any]:
        """The memory, for checkpoints."""
        entries: Sequence[Any] = [dataclasses.asdict(entry) for entry in self.entries]
        return {"offered": self.offered, "entries": entries}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the memory by a checkpoint's."""
        self.offered = state["offered"]
        self.entries = [Entry(**entry) for entry in state["entries"]]
