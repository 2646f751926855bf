"""`rl4bio evaluate` where molecules are written: base and tuned, sampled with the same noise."""

from __future__ import annotations

import contextlib
import logging
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio import __version__
from rl4bio.answer_block import written_smiles
from rl4bio.data import Corpus
from rl4bio.data.base import Split
from rl4bio.errors import ConfigError, DataError, ModelError
from rl4bio.evaluation.goals import Goals, goals_text, resolve_goal
from rl4bio.evaluation.molecule_outputs import write_molecule_outputs
from rl4bio.evaluation.molecule_records import MoleculeRecord, make_records
from rl4bio.evaluation.molecule_table import plain_molecule_table
from rl4bio.evaluation.molecules import (
    MoleculeSummary,
    ReferenceMolecules,
    read_reference,
    summarize_molecules,
)
from rl4bio.evaluation_facts import describe_models
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import NEW, RunConfig
from rl4bio.types import Sample, ScoreTable

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy
    from rl4bio.modules.rollout import Completions

log = logging.getLogger("rl4bio")

NOISE = -1
"""Round number of evaluation's sampling noise, which no training step draws."""


@dataclass(slots=True, kw_only=True)
class Written:
    """What one model wrote."""

    smiles: list[str]
    """n, valid or not; see `written_smiles`."""
    completions: list[str]
    batches: list[Completions]
    """The same in tokens."""
    truncated: int


def evaluate_molecules(
    config: RunConfig, corpus: Corpus, stages: Mapping[str, Path], output: Path
) -> None:
    """Sample the base and the models tuned from it; write and print the results.

    Args:
        config: of the run.
        corpus: of the prompts.
        stages: start and tuned, as far as there are any: name -> folder.
        output: folder of the results.

    Raises:
        ConfigError: there is neither a base nor a tuned model.
        DataError: the corpus has no prompt.
        ModelError: base and tuned do not encode the prompts alike.
    """
    scorer = WeightedRewards.from_config(config.rewards) if config.rewards else None
    goals = config.evaluation.goals
    check_goals(goals, scorer)
    samples, written, logprobs = sample_models(config, corpus, stages)
    before = "start" if "start" in stages else "base"
    known = [sample.reference for sample in corpus.samples("train") if sample.reference]
    log.info("reading %d reference molecules", len(known))
    reference = read_reference(known) if known else None
    rounds, seed = config.evaluation.bootstrap, config.seed
    summaries: dict[str, MoleculeSummary] = {}
    records: dict[str, list[MoleculeRecord]] = {}
    for name, own in written.items():
        scores: ScoreTable | None = scorer(own.completions, samples) if scorer else None
        summaries[name] = summarize_molecules(
            own.smiles,
            reference=reference,
            rounds=rounds,
            seed=seed,
            scores=scores,
            goals=goals,
        )
        unknown = [math.nan] * len(samples)
        records[name] = make_records(
            name,
            own.smiles,
            scores=scores,
            logprob_policy=logprobs[name].get("tuned", unknown),
            logprob_prior=logprobs[name].get(before, unknown),
        )
    if reference is not None:
        texts = [molecule.canonical for molecule in reference.subset]
        summaries["corpus"] = summarize_molecules(texts, rounds=rounds, seed=seed)
    write_molecule_outputs(
        output,
        title=f"{config.name}: evaluation",
        facts=describe(config, stages, written, reference),
        summaries=summaries,
        records=records,
        corpus=[] if reference is None else reference.subset,
        seed=seed,
    )
    print(plain_molecule_table(summaries))
    print(f"\nreport: {output / 'report.html'}")


def check_goals(goals: Goals, scorer: WeightedRewards | None) -> None:
    """Stop before the first molecule where a goal's name is unknown.

    Raises:
        ConfigError: neither a raw value of the rewards nor a property has the name.
    """
    if goals:
        known = [] if scorer is None else list(scorer([], []).raw)
        for name in goals:
            resolve_goal(name, known)


def sample_models(
    config: RunConfig, corpus: Corpus, stages: Mapping[str, Path]
) -> tuple[list[Sample], dict[str, Written], dict[str, dict[str, list[float]]]]:
    """Every model's molecules, and their log-probabilities under every model.

    Returns:
        The n samples that were prompted with; model -> what it wrote; author -> model -> n
        log-probabilities.
    """
    from rl4bio.inference import opened_policy
    from rl4bio.parts import bind_corpus

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
        check_prompts(policies, samples, base=config.policy.checkpoint)
        written = {
            name: write_molecules(policy, samples, config, name=name)
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


def check_prompts(policies: dict[str, Policy], samples: Sequence[Sample], *, base: str) -> None:
    """Raise a ModelError unless all models encode the prompts alike."""
    distinct = {str(sample.prompt): sample.prompt for sample in samples}.values()
    encoded = [[p.encode_prompt(prompt) for prompt in distinct] for p in policies.values()]
    vocabularies = [policy.tokenizer.get_vocab() for policy in policies.values()]
    if any(one != encoded[0] for one in encoded) or any(v != vocabularies[0] for v in vocabularies):
        raise ModelError(
            f"the tuned model has another vocabulary or other prompt tokens than {base}; set "
            "policy.checkpoint to the model that it was tuned from"
        )


def write_molecules(
    policy: Policy, samples: Sequence[Sample], config: RunConfig, *, name: str
) -> Written:
    """One sampled completion of each sample, with noise that depends on seed and place alone."""
    from rl4bio.modules.rollout import sample_completions, sampling_seed

    limits, size = config.rollout, config.evaluation.batch_size
    written = Written(smiles=[], completions=[], batches=[], truncated=0)
    for start in range(0, len(samples), size):
        rows = samples[start : start + size]
        given = policy.inputs(rows)
        longest = max(map(len, given["prompts"]))
        limit, room = limits.max_completion_tokens, policy.completion_room(longest)
        out = sample_completions(
            policy,
            **given,
            group_size=1,
            max_new_tokens=limit if room is None else min(limit, room),
            temperature=limits.temperature,
            seeds=[sampling_seed(config.seed, start + k, NOISE) for k in range(len(rows))],
            top_k=limits.top_k,
        )
        written.batches.append(out)
        written.completions += out.texts
        pairs = zip(out.texts, rows, strict=True)
        written.smiles += [written_smiles(text, sample) for text, sample in pairs]
        written.truncated += int(out.truncated.sum())
        log.info("%s: %d of %d molecules written", name, len(written.smiles), len(samples))
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
                prompt_index=torch.arange(len(batch.ids), device=batch.ids.device),
                completion_ids=batch.ids,
                completion_mask=batch.mask,
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


def describe(
    config: RunConfig,
    stages: Mapping[str, Path],
    written: dict[str, Written],
    reference: ReferenceMolecules | None,
) -> dict[str, str]:
    """What a reader must know to repeat or to judge the numbers."""
    limits = config.rollout
    cut = ", ".join(f"{name} {own.truncated}" for name, own in written.items())
    return {
        "run": config.name,
        **describe_models(config, stages),
        "data": f"{config.data.name} {config.data.options}",
        "reference": "none: the data hold no molecules"
        if reference is None
        else f"training split, {len(reference.canonical)} distinct molecules; SNN and the corpus "
        f"column: a fixed subset of {len(reference.subset)}",
        "sampling": f"temperature {limits.temperature:g}"
        + (f", top {limits.top_k} tokens" if limits.top_k else "")
        + f", the same noise for every model, seed {config.seed}",
        "completion limit": f"{limits.max_completion_tokens} tokens; cut off: {cut}",
        "rewards": ", ".join(f"{r.name} × {r.weight:g}" for r in config.rewards) or "none",
        **(
            {"goals of a hit": goals_text(config.evaluation.goals)}
            if config.evaluation.goals
            else {}
        ),
        "log-probability": "sum over the completion's tokens, of the sampling distribution",
        "intervals": f"95% percentile bootstrap over molecules, {config.evaluation.bootstrap} "
        f"rounds, seed {config.seed}",
        "rl4bio": __version__,
    }
