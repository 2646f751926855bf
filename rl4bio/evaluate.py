"""`rl4bio evaluate`: a model on the test split, beside the base model it was tuned from.

Base and tuned answer the same items, greedily, from the same prompt tokens under the same limits.
The base is also asked for one word directly, and read by the log-probabilities of the labels.
Models that write molecules are sampled instead: `rl4bio.evaluate_molecules`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio import __version__
from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config import load_config
from rl4bio.data import CORPORA, Corpus
from rl4bio.data.base import stratified_subset
from rl4bio.errors import ConfigError, DataError, ModelError
from rl4bio.evaluation.answers import LABELS
from rl4bio.evaluation.outputs import ModelReplies, make_cases, summarize, write_outputs
from rl4bio.evaluation.overlap import find_overlaps
from rl4bio.evaluation.table import plain_table
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder
from rl4bio.types import Sample, Scorer

if TYPE_CHECKING:
    from rl4bio.answering import Questions
    from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")

DIRECT_TOKENS = 32
"""Limit of the base model's one-word answer."""
MODES = {"tags": "tagged prompt, generated", "direct": "direct prompt, generated"}
CHOICE_MODES = ("direct prompt, log-prob", "direct prompt, log-prob per token")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="rl4bio evaluate",
        description="Score a model on the test split of its data, against its base.",
    )
    add_config_arguments(parser, required=False)
    tuned = parser.add_mutually_exclusive_group()
    tuned.add_argument("--run", metavar="FOLDER", help="folder of a finished run")
    tuned.add_argument("--adapter", metavar="FOLDER", help="a LoRA adapter on the config's model")
    tuned.add_argument("--tuned", metavar="FOLDER", help="a whole tuned model")
    parser.add_argument("--output", metavar="FOLDER", help="where the report goes")
    return run_command(evaluate, parser, argv)


def evaluate(arguments: argparse.Namespace) -> None:
    """Evaluate the base and, where one is named, the tuned model; write and print the results."""
    config = load_config(config_file(arguments), arguments.overrides)
    show_progress()
    tuned = find_tuned(arguments)
    output = output_folder(arguments, config)
    corpus = CORPORA.build(config.data.name, config.data.options, where="data")
    if corpus.task == "molecules":
        from rl4bio.evaluate_molecules import evaluate_molecules

        evaluate_molecules(config, corpus, tuned, output)
        return
    scorer = WeightedRewards.from_config(config.rewards) if config.rewards else None
    samples = test_samples(corpus, config)
    results, questions = evaluate_base(config, corpus, samples, scorer)
    if tuned is not None:
        results.insert(1, evaluate_tuned(config, tuned, questions, scorer))
    summary = summarize(results, seed=config.seed, rounds=config.evaluation.bootstrap)
    size = config.evaluation.side_by_side
    chosen = stratified_subset(questions.samples, size, seed=config.seed)
    write_outputs(
        output,
        title=f"{config.name}: evaluation",
        facts=describe(config, tuned, questions),
        summary=summary,
        results=results,
        cases=make_cases(results, {sample.uid for sample in chosen}),
    )
    print(plain_table(summary.rows, summary.comparison))
    print(f"\nreport: {output / 'report.html'}")


def show_progress() -> None:
    """The package's log on stderr, so that an hour of evaluation is not silent."""
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("rl4bio: %(message)s"))
    log.handlers = [terminal]
    log.setLevel(logging.INFO)
    log.propagate = False


def config_file(arguments: argparse.Namespace) -> Path:
    """`--config`, or the configuration that the run was made with."""
    if arguments.config is not None:
        return Path(arguments.config)
    if arguments.run is None:
        raise ConfigError("--config: is required without --run; name the YAML file of a run")
    return Path(arguments.run) / "config.yaml"


def find_tuned(arguments: argparse.Namespace) -> Path | None:
    """The folder with the tuned weights, or None where only the base is asked for.

    Raises:
        ModelError: the run holds no finished model, or the folder is not there.
    """
    if arguments.run is None:
        named = arguments.adapter or arguments.tuned
        if named is None:
            return None
        if not Path(named).is_dir():
            raise ModelError(f"{named}: no such folder; name the adapter/ or model/ of a run")
        return Path(named)
    run = RunFolder(Path(arguments.run))
    for folder in (run.adapter, run.model):
        if folder.is_dir():
            return folder
    raise ModelError(
        f"{run.root}: has neither adapter/ nor model/; let `rl4bio fit` finish the run first"
    )


def output_folder(arguments: argparse.Namespace, config: RunConfig) -> Path:
    """`--output`; else evaluation/ in the run, or a folder of its own beside the runs."""
    if arguments.output is not None:
        return Path(arguments.output)
    if arguments.run is not None:
        return Path(arguments.run) / "evaluation"
    return Path(config.output_dir) / f"{config.name}-evaluation"


def test_samples(corpus: Corpus, config: RunConfig) -> list[Sample]:
    """The test split, or its configured subset, checked.

    Raises:
        DataError: it is empty, has another label than yes, no or maybe, or shares an item with the
            training or validation split.
    """
    test = list(corpus.samples("test"))
    if not test:
        raise DataError("the test split is empty; check data.options")
    for sample in test:
        if sample.target not in LABELS:
            raise DataError(
                f"test item {sample.uid} has the label {sample.target!r}; "
                f"`rl4bio evaluate` scores {', '.join(LABELS)}"
            )
    seen = [(s.uid, s.question) for split in ("train", "val") for s in corpus.samples(split)]
    overlaps = find_overlaps(seen, [(s.uid, s.question) for s in test])
    if overlaps:
        first = overlaps[0]
        raise DataError(
            f"{len(overlaps)} of {len(test)} test items are also in the training or validation "
            f"split, first {first.test_uid} (same {first.by} as {first.train_uid}); a score on "
            "them would measure memory: remove them from the training data"
        )
    return stratified_subset(test, config.evaluation.max_items, seed=config.seed)


def evaluate_base(
    config: RunConfig, corpus: Corpus, samples: Sequence[Sample], scorer: Scorer | None
) -> tuple[list[ModelReplies], Questions]:
    """The base in every mode, the run's own first, and the questions of that one."""
    from rl4bio.answering import choose_replies, fit_questions
    from rl4bio.inference import opened_policy

    limit = config.rollout.max_completion_tokens
    with opened_policy(config) as policy:
        questions = fit_questions(policy, corpus, samples, config.rollout)
        results = [generated(policy, questions, config, "base", limit, scorer)]
        direct = direct_corpus(config, corpus)
        if direct is None:
            log.warning("data.name: %s has no direct prompt, so no direct rows", config.data.name)
            return results, questions
        same = {sample.uid for sample in questions.samples}
        rows = [sample for sample in direct.samples("test") if sample.uid in same]
        asked = fit_questions(policy, direct, rows, config.rollout)
        if questions.form != "direct":
            results.append(
                generated(policy, asked, config, "base", min(DIRECT_TOKENS, limit), None)
            )
        chosen = choose_replies(policy, asked, batch_size=config.evaluation.batch_size, name="base")
        for mode, replies in zip(CHOICE_MODES, chosen, strict=True):
            results.append(
                ModelReplies(model="base", mode=mode, samples=asked.samples, replies=replies)
            )
    return results, questions


def evaluate_tuned(
    config: RunConfig, folder: Path, questions: Questions, scorer: Scorer | None
) -> ModelReplies:
    """The tuned model on the base's questions.

    Raises:
        ModelError: its tokenizer or template turns the same prompts into other tokens.
    """
    from rl4bio.inference import opened_policy

    with opened_policy(config, folder) as policy:
        if [policy.encode_prompt(s.prompt) for s in questions.samples] != questions.prompts:
            raise ModelError(
                f"{folder}: its tokenizer or chat template encodes the prompts differently from "
                f"{config.policy.checkpoint}, so the two would not see the same prompt; "
                "set policy.checkpoint to the model that it was tuned from"
            )
        limit = config.rollout.max_completion_tokens
        return generated(policy, questions, config, "tuned", limit, scorer)


def generated(
    policy: Policy,
    questions: Questions,
    config: RunConfig,
    model: str,
    limit: int,
    scorer: Scorer | None,
) -> ModelReplies:
    """A model's generated replies under its name and mode."""
    from rl4bio.answering import generate_replies

    replies = generate_replies(
        policy,
        questions,
        max_new_tokens=limit,
        batch_size=config.evaluation.batch_size,
        scorer=scorer,
        name=model,
    )
    mode = MODES[questions.form]
    return ModelReplies(model=model, mode=mode, samples=questions.samples, replies=replies)


def direct_corpus(config: RunConfig, corpus: Corpus) -> Corpus | None:
    """The same data with the one-word prompt; None for a corpus without the option `form`."""
    if not hasattr(corpus, "form"):
        return None
    options = {**config.data.options, "form": "direct"}
    return CORPORA.build(config.data.name, options, where="data")


def describe(config: RunConfig, tuned: Path | None, questions: Questions) -> dict[str, str]:
    """What a reader must know to repeat or to judge the numbers."""
    labels = [str(sample.target) for sample in questions.samples]
    mix = ", ".join(f"{labels.count(label)} {label}" for label in LABELS)
    limits, revision = config.rollout, config.policy.revision
    return {
        "run": config.name,
        "base model": config.policy.checkpoint + (f" at {revision}" if revision else ""),
        "tuned model": "none" if tuned is None else str(tuned),
        "data": f"{config.data.name} {config.data.options}, test split",
        "items": f"{len(labels)} ({mix}); none is in the training or validation split",
        "decoding": "greedy, one completion an item",
        "prompt limit": f"{limits.max_prompt_tokens} tokens (longer: {limits.overlong_prompts})",
        "completion limit": f"{limits.max_completion_tokens} tokens; "
        f"{min(DIRECT_TOKENS, limits.max_completion_tokens)} for the direct prompt",
        "verdict": "strict: exactly <thought>...</thought><answer>...</answer> with one label; "
        "direct: the reply opens with one label; lenient: as a benevolent reader finds it",
        "log-probability": "sum over the tokens of ' yes', ' no', ' maybe' after the direct "
        "prompt; also divided by their number",
        "intervals": f"95% percentile bootstrap over items, {config.evaluation.bootstrap} rounds, "
        f"seed {config.seed}",
        "rl4bio": __version__,
    }


if __name__ == "__main__":
    sys.exit(main())
