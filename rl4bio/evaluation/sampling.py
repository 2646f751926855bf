"""Molecules that each model writes for the same prompts, with the same noise."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio.answers.design import written_smiles
from rl4bio.data import Corpus
from rl4bio.data.base import Split
from rl4bio.errors import ConfigError, DataError, ModelError
from rl4bio.sections import NEW, RunConfig
from rl4bio.types import Completions, Sample

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy


@dataclass(slots=True, kw_only=True)
class WrittenMolecules:
    """What one model wrote."""

    smiles: list[str]
    """n, valid or not; see `written_smiles`."""
    completions: list[str]
    batches: list[Completions]
    """The same in tokens."""
    truncated: int


def sample_models(
    config: RunConfig, corpus: Corpus, stages: Mapping[str, Path]
) -> tuple[list[Sample], dict[str, WrittenMolecules], dict[str, dict[str, list[float]]]]:
    """Every model's molecules, and their log-probabilities under every model.

    Returns:
        The n samples that were prompted with; model -> what it wrote; author -> model -> n
        log-probabilities.
    """
    from rl4bio.runs.binding import bind_corpus
    from rl4bio.runs.policies import opened_policy

    if config.policy.checkpoint == NEW and not stages:
        raise ConfigError(
            "policy.checkpoint: a new model has random weights; name its run with --run, or "
            "trained ones with --tuned"
        )
    with contextlib.ExitStack() as stack:
        policies: dict[str, Policy] = {}
        if config.policy.checkpoint != NEW:
            policies["base"] = stack.enter_context(opened_policy(config))
        for name, folder in stages.items():
            policies[name] = stack.enter_context(opened_policy(config, folder))
        bind_corpus(corpus, next(iter(policies.values())))
        samples = choose_prompts(corpus, config.evaluation.num_molecules, seed=config.seed)
        check_encodings(policies, samples, base=config.policy.checkpoint)
        written = {
            name: draw_molecules(policy, samples, config, name=name)
            for name, policy in policies.items()
        }
        logprobs = {
            author: {
                name: sum_logprobs(policy, own.batches, config) for name, policy in policies.items()
            }
            for author, own in written.items()
        }
    return samples, written, logprobs


def choose_prompts(corpus: Corpus, count: int, *, seed: int) -> list[Sample]:
    """As many samples as molecules are wanted, of the first split of test, val, train with any.

    Every sample comes equally often, up to one; which come once more is drawn with the seed.

    Raises:
        DataError: no split has a sample.
    """
    splits: tuple[Split, ...] = ("test", "val", "train")
    found = next((list(corpus.samples(split)) for split in splits if corpus.samples(split)), [])
    if not found:
        raise DataError("data: there is no prompt to write a molecule from; check data.options")
    rounds, rest = divmod(count, len(found))
    drawn = sorted(random.Random(f"prompts/{seed}").sample(range(len(found)), rest))
    return found * rounds + [found[k] for k in drawn]


def check_encodings(policies: dict[str, Policy], samples: Sequence[Sample], *, base: str) -> None:
    """Raise a ModelError unless all models encode the prompts alike."""
    distinct = {str(sample.prompt): sample.prompt for sample in samples}.values()
    encoded = [[p.encode_prompt(prompt) for prompt in distinct] for p in policies.values()]
    vocabularies = [policy.tokenizer.get_vocab() for policy in policies.values()]
    if any(one != encoded[0] for one in encoded) or any(v != vocabularies[0] for v in vocabularies):
        raise ModelError(
            f"the tuned model has another vocabulary or other prompt tokens than {base}; set "
            "policy.checkpoint to the model that it was tuned from"
        )


def draw_molecules(
    policy: Policy, samples: Sequence[Sample], config: RunConfig, *, name: str
) -> WrittenMolecules:
    """One sampled completion of each sample, with noise that depends on seed and place alone."""
    from rl4bio.modules.completing import EVALUATION, Progress, Sampling, complete_all, in_turn

    written = WrittenMolecules(smiles=[], completions=[], batches=[], truncated=0)
    sampling = Sampling.at(config.rollout, seed=config.seed, round_number=EVALUATION)
    for rows, out in complete_all(
        policy,
        samples,
        sampling,
        batches=in_turn(len(samples), config.evaluation.batch_size),
        numbers=range(len(samples)),
        progress=Progress(len(samples), "molecules written", name=name, ends=True),
    ):
        written.batches.append(out)
        written.completions += out.completions
        pairs = zip(out.completions, rows, strict=True)
        written.smiles += [written_smiles(text, samples[row]) for text, row in pairs]
        written.truncated += int(out.truncated.sum())
    return written


def sum_logprobs(policy: Policy, batches: Sequence[Completions], config: RunConfig) -> list[float]:
    """Log-probability of each completion under a model, in nats, as it would be sampled."""
    import torch

    from rl4bio.modules.batching import Rows
    from rl4bio.modules.logprobs import row_logprobs
    from rl4bio.modules.policy import evaluating

    sums: list[float] = []
    with evaluating(policy.model):
        for batch in batches:
            rows = Rows(
                prompt_ids=batch.prompt_ids,
                prompt_mask=batch.prompt_mask,
                prompt_index=torch.arange(len(batch.completions), device=policy.device),
                completion_ids=batch.completion_ids,
                completion_mask=batch.completion_mask,
                conditions=batch.conditions,
            )
            logprobs, _ = row_logprobs(
                policy,
                rows,
                temperature=config.rollout.temperature,
                top_k=config.rollout.top_k,
            )
            sums += logprobs.sum(-1).tolist()
    return sums
