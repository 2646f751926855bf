"""Molecules that are bred or given, in place of sampled: scored, and offered to the memory."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rl4bio.answers.design import Begun
from rl4bio.errors import DataError
from rl4bio.modules.policy import Policy
from rl4bio.modules.replay.memory import Entry
from rl4bio.modules.replay.mixing import ReplayUpdate, draw_seed
from rl4bio.modules.replay.respelling import check_prompts
from rl4bio.modules.replay.screening import Screen
from rl4bio.sections import OffspringConfig
from rl4bio.types import PromptBatch, Sample


class Breeder:
    """Adds molecules to a module's memory that its policy has not written.

    Rank 0 breeds; every rank scores its share of the children, and learns of the others' scores.

    Args:
        section: of the children; None = none.
        inception: SMILES that are offered in the first step.
    """

    def __init__(self, section: OffspringConfig | None, inception: Sequence[str] = ()) -> None:
        self.section = section
        self.inception = list(inception)
        surrogate = None if section is None else section.surrogate
        self._screen = None if surrogate is None else Screen(surrogate)

    def step(self, module: ReplayUpdate, batch: PromptBatch) -> dict[str, float]:
        """Breed and score; gives the step's metrics, the same on every rank."""
        if module.memory is None:
            return {}
        check_prompts(batch.samples, "molecules.offspring, molecules.inception")
        if module.iteration == 0 and self.inception:
            self._offer(module, batch, self.inception)
        if self.section is None:
            return {}
        if module.memory.offered < self.section.founders:
            return {"offspring/scored": 0.0}
        scored: list[float] = []
        left = self.section.children
        for brood in range(-(-left // self.section.brood)):
            size = min(self.section.brood, left)
            left -= size
            children = self._brood(module, brood, size)
            scored += self._offer(module, batch, children)
        found = {"offspring/scored": float(len(scored))}
        if scored:
            found["offspring/score_mean"] = sum(scored) / len(scored)
            found["offspring/score_max"] = max(scored)
        return found

    def _brood(self, module: ReplayUpdate, brood: int, size: int) -> list[str]:
        """The next children to score, the same on every rank."""
        section, memory = self.section, module.memory
        if section is None or memory is None:
            return []
        if module.trainer.global_rank:
            return module.gather_values([])
        from rl4bio.chem.genetics.breeding import breed

        children = breed(
            [entry.key for entry in memory.entries[: section.parents]],
            size if self._screen is None else size * self._screen.section.candidates,
            random.Random(draw_seed(f"brood {brood}", module.seed, module.iteration)),
            rank_offset=section.rank_offset,
            crossover_share=section.crossover,
            mutation_share=section.mutation,
            max_atoms=section.max_atoms,
            is_new=module.remembering.is_new,
        )
        if self._screen is not None:
            children = self._screen(module.remembering, children, size)
        return module.gather_values(children)

    def _offer(
        self, module: ReplayUpdate, batch: PromptBatch, molecules: Sequence[str]
    ) -> list[float]:
        """Score molecules and offer them to the memory; the scores of those that were new."""
        scorer = module.remembering
        assert scorer.places is not None
        assert module.memory is not None
        rank, ranks = module.trainer.global_rank, module.world_size
        sample = batch.samples[0]
        own = list(molecules)[rank::ranks]
        bare = _bare(sample)
        table = scorer(own, [bare] * len(own))
        scorer.share(module.gather_values)
        places = scorer.places(own, [bare] * len(own))
        rows = zip(own, places, table.total, table.states or [], strict=True)
        entries = [
            _entry(module.policy, sample, text, place, total, module.rollout.max_completion_tokens)
            for text, place, total, state in rows
            if place is not None and state == "valid" and total == total
        ]
        gathered = module.gather_values(entries)
        module.memory.add(gathered)
        return [entry.score for entry in gathered]


def _bare(sample: Sample) -> Sample:
    """The sample without the start of a SMILES that its prompt holds: a child is whole."""
    return sample.with_extra(prefix="") if Begun.of(sample).prefix else sample


def _entry(
    policy: Policy, sample: Sample, smiles: str, place: tuple[str, str], score: float, limit: int
) -> Entry:
    """An entry of the memory; without tokens where the policy cannot write the molecule.

    Args:
        policy: to be taught.
        sample: whose prompt it answers.
        smiles: the whole molecule.
        place: its parent and scaffold.
        score: its total reward.
        limit: tokens of a completion.
    """
    prompt = policy.encode_prompt(sample.prompt, sample.opening)
    prefix = Begun.of(sample).prefix
    completion: list[int] = []
    if smiles.startswith(prefix):
        try:
            completion = policy.encode_completion(smiles.removeprefix(prefix))
        except (DataError, ValueError):  # a token that the policy does not have
            completion = []
    conditions = {name: value[0].tolist() for name, value in policy.conditions([sample]).items()}
    return Entry(
        key=place[0],
        alike=place[1],
        text=smiles.removeprefix(prefix),
        score=score,
        advantage=0.0,
        prompt=prompt,
        completion=completion if len(completion) <= limit else [],
        conditions=conditions,
    )
