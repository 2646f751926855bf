"""Signs of emerging reasoning over a run: its length, self-corrections, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import torch

from rl4bio.answers.asked import Asked
from rl4bio.answers.forms import TAGS, answer_behind, opening, plain_samples
from rl4bio.answers.kinds import answer_lead
from rl4bio.answers.reasoning import corrects_itself, count_words, reasoning_of
from rl4bio.callbacks.outputs import over_ranks
from rl4bio.callbacks.step import Step, StepCallback
from rl4bio.sections.checks import at_least
from rl4bio.types import PromptBatch, Sample


@dataclass(eq=False)
class ReasoningSigns(StepCallback):
    """Logs how much completions reason at every step, and what that adds at every validation.

    `rollout/reasoning_words_mean` and `rollout/self_correction_fraction` are of the sampled
    completions. At validation, prompts that ask for `<reasoning>` are also answered greedily behind
    an empty reasoning block, which gives `val/<reward>_no_reasoning_mean` beside
    `val/<reward>_mean`: an answer that is as good without its reasoning does not come from it.
    """

    rewards: list[str] = field(default_factory=lambda: ["option", "bin", "reactants"])
    """Whose validation means are taken without reasoning, as far as the run has them; rewards of
    form make no sense there. [] = none, which saves the second answers."""
    max_answer_tokens: int = 32
    """Limit of an answer without reasoning."""

    def __post_init__(self) -> None:
        at_least(1, max_answer_tokens=self.max_answer_tokens)
        self._found: dict[str, list[float]] = {}

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """Log the signs in the step's completions, of all ranks together."""
        said = [reasoning_of(text) for text in step.rollout.completions]
        signs = {
            "rollout/reasoning_words_mean": [float(count_words(text)) for text in said],
            "rollout/self_correction_fraction": [float(corrects_itself(text)) for text in said],
        }
        for key, values in signs.items():
            mean = float(over_ranks(module, torch.tensor(values)).mean())
            module.log(key, mean, rank_zero_only=True)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the validation before."""
        self._found = {}

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: PromptBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Answer the batch's prompts that ask for reasoning without any, and score the answers."""
        module: Any = pl_module
        samples = [s for s in batch.samples if Asked.of(s).answer_form == "tags"]
        if not samples or not self._names(module):
            return
        answers = self._answers(module, samples)
        parts = module.unguarded(answers, plain_samples(samples)).parts
        for name in self._names(module):
            self._found.setdefault(name, []).extend(parts[name])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the means of all ranks, also from a rank that had no sample."""
        module: Any = pl_module
        sums = {}
        for name in self._names(module):
            known = [value for value in self._found.get(name, []) if value == value]
            sums[f"val/{name}_no_reasoning_mean"] = (sum(known), float(len(known)))
        if sums:
            module.log_means(sums)

    def _names(self, module: Any) -> list[str]:
        """The rewards that are taken; none of a module that has no rewards."""
        if not self.rewards or module.scorer is None:
            return []
        known = module.unguarded([], []).parts
        return [name for name in self.rewards if name in known]

    def _answers(self, module: Any, samples: list[Sample]) -> list[str]:
        """The greedy answers; "" for one that does not end its block."""
        policy = module.policy
        found = module.sampler(
            [
                policy.encode_prompt(sample.prompt, opening(TAGS, answer_lead(sample)))
                for sample in samples
            ],
            group_size=1,
            max_new_tokens=self.max_answer_tokens,
            temperature=1.0,
            seeds=None,
            conditions=policy.conditions(samples),
        )
        return [
            answer_behind(answer_lead(sample) + text, TAGS) or ""
            for sample, text in zip(samples, found.completions, strict=True)
        ]
