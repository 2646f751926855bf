"""`rl4bio evaluate` where molecules are written: base and tuned, sampled with the same noise."""

from __future__ import annotations

import logging
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path

from rl4bio import __version__
from rl4bio.data import Corpus
from rl4bio.evaluation.facts import describe_models
from rl4bio.evaluation.molecule_outputs import write_molecule_outputs
from rl4bio.evaluation.sampling import WrittenMolecules, sample_models
from rl4bio.reports.molecules.records import MoleculeRecord, make_records
from rl4bio.reports.molecules.table import plain_molecule_table
from rl4bio.reports.molecules.verdict import molecule_verdict
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RunConfig
from rl4bio.statistics.goals import Goals, goals_text, resolve_goal
from rl4bio.statistics.molecules import (
    MoleculeSummary,
    ReferenceMolecules,
    read_reference,
    summarize_molecules,
)
from rl4bio.types import ScoreTable

log = logging.getLogger("rl4bio")


def evaluate_molecules(
    config: RunConfig,
    corpus: Corpus,
    stages: Mapping[str, Path],
    output: Path,
    *,
    full: bool = False,
) -> None:
    """Sample the base and the models tuned from it; write and print the results.

    Args:
        config: of the run.
        corpus: of the prompts.
        stages: start and tuned, as far as there are any: name -> folder.
        output: folder of the results.
        full: print every row of the table, not a screen of them.

    Raises:
        ConfigError: there is neither a base nor a tuned model.
        DataError: the corpus has no prompt.
        ModelError: base and tuned do not encode the prompts alike.
    """
    scorer = WeightedRewards.from_config(config.rewards) if config.rewards else None
    goals = config.evaluation.goals
    check_goals(goals, scorer)
    warn_of_max_items(config)
    samples, written, logprobs = sample_models(config, corpus, stages)
    before = next((name for name in reversed([*stages]) if name != "tuned"), "base")
    known = [sample.reference for sample in corpus.samples("train") if sample.reference]
    if known:
        log.info("reading %d reference molecules", len(known))
    reference = read_reference(known) if known else None
    rounds, seed = config.evaluation.bootstrap, config.seed
    summaries: dict[str, MoleculeSummary] = {}
    records: dict[str, list[MoleculeRecord]] = {}
    unknown = [math.nan] * len(samples)
    for name, own in written.items():
        scores: ScoreTable | None = scorer(own.completions, samples) if scorer else None
        summaries[name] = summarize_molecules(
            own.smiles, reference=reference, rounds=rounds, seed=seed, scores=scores, goals=goals
        )
        policy, prior = (logprobs[name].get(author, unknown) for author in ("tuned", before))
        records[name] = make_records(
            name, own.smiles, scores=scores, logprob_policy=policy, logprob_prior=prior
        )
    if reference is not None:
        texts = [molecule.canonical for molecule in reference.subset]
        summaries["corpus"] = summarize_molecules(texts, rounds=rounds, seed=seed)
    verdict = molecule_verdict(summaries, records, before=before, seed=seed, rounds=rounds)
    write_molecule_outputs(
        output,
        title=f"{config.name}: evaluation",
        verdict=verdict,
        facts=molecule_facts(config, stages, written, reference),
        summaries=summaries,
        records=records,
        corpus=[] if reference is None else reference.subset,
        seed=seed,
    )
    print("\n".join(textwrap.wrap(verdict, 100)) + "\n")
    print(plain_molecule_table(summaries, full=full))
    print(f"\nreport: {output / 'report.html'}")


def warn_of_max_items(config: RunConfig) -> None:
    """Say so where the number of questions is limited, of which there are none here."""
    if config.evaluation.max_items is not None:
        log.warning(
            "evaluation.max_items counts questions; how many molecules are written is "
            "evaluation.num_molecules=%d",
            config.evaluation.num_molecules,
        )


def check_goals(goals: Goals, scorer: WeightedRewards | None) -> None:
    """Stop before the first molecule where a goal's name is unknown.

    Raises:
        ConfigError: neither a raw value of the rewards nor a property has the name.
    """
    if goals:
        known = [] if scorer is None else list(scorer([], []).raw)
        for name in goals:
            resolve_goal(name, known)


def molecule_facts(
    config: RunConfig,
    stages: Mapping[str, Path],
    written: dict[str, WrittenMolecules],
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
        else f"training split, {len(reference.parents)} distinct molecules; SNN and the corpus "
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
