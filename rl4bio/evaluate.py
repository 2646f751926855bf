"""`rl4bio evaluate`: a model on the test split, beside the base model it was tuned from.

Base and tuned answer the same items from the same prompt tokens under the same limits, in every
configured mode; they are compared within a mode only. Items of different kinds (labels, options,
open questions) have a report each. Models that write molecules are sampled instead:
`rl4bio.evaluate_molecules`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config import load_config
from rl4bio.data import CORPORA, Corpus
from rl4bio.errors import ConfigError, ModelError
from rl4bio.evaluation.outputs import ModelReplies, make_cases, summarize, write_outputs
from rl4bio.evaluation.table import plain_table
from rl4bio.evaluation_facts import DIRECT_TOKENS, describe
from rl4bio.evaluation_items import Items, choose_items, find_items
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RunConfig
from rl4bio.sections.run import EvaluationMode
from rl4bio.storage import RunFolder
from rl4bio.types import Scorer

if TYPE_CHECKING:
    from rl4bio.answering import Questions
    from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")


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
    items = find_items(corpus, config)
    from rl4bio.inference import opened_policy

    with opened_policy(config) as policy:
        exams = make_exams(policy, corpus, items, config)
        results = [ask(policy, exam, config, "base", scorer) for exam in exams]
    if tuned is not None:
        with opened_policy(config, tuned) as policy:
            for exam, own in zip(exams, results, strict=True):
                check_prompts(policy, exam.questions, tuned, config)
                own += ask(policy, exam, config, "tuned", scorer)
    for exam, own in zip(exams, results, strict=True):
        order = [result.mode for result in own]
        own.sort(key=lambda result: order.index(result.mode))  # base, then tuned, mode by mode
        folder = output if len(exams) == 1 else output / exam.items.kind
        report(config, exam, own, tuned, folder)


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


@dataclass(slots=True, kw_only=True)
class Exam:
    """The items of one kind, as the models are asked them."""

    items: Items
    questions: Questions
    """With the run's own prompt."""
    direct: Questions | None
    """With the direct prompt; None where the corpus has none, and for open questions."""


def make_exams(
    policy: Policy, corpus: Corpus, items: Sequence[Items], config: RunConfig
) -> list[Exam]:
    """The prompts of all items, in the tokens of the base model.

    Raises:
        ConfigError: all modes need the direct prompt, and the corpus has none.
        DataError: a prompt is too long.
    """
    from rl4bio.answering import fit_questions

    modes = set(config.evaluation.modes)
    asked = direct_corpus(config, corpus) if {"direct", "logprob"} & modes else None
    if asked is None and not {"greedy", "sampled"} & modes:
        raise ConfigError(
            f"evaluation.modes: got {list(config.evaluation.modes)}, but data.name: "
            f"{config.data.name} has no direct prompt (no option form); add greedy or sampled"
        )
    exams = []
    for own in items:
        kind = own.kind
        questions = fit_questions(policy, corpus, own.samples, config.rollout, kind)
        direct = None
        if asked is not None and kind != "open":
            same = {sample.uid for sample in questions.samples}
            rows = [sample for sample in asked.samples("test") if sample.uid in same]
            direct = fit_questions(policy, asked, rows, config.rollout, kind)
        kept = Items(kind=kind, samples=questions.samples)
        exams.append(Exam(items=kept, questions=questions, direct=direct))
    return exams


def ask(
    policy: Policy, exam: Exam, config: RunConfig, model: str, scorer: Scorer | None
) -> list[ModelReplies]:
    """A model's replies to one kind of items, in every configured mode that it has."""
    from rl4bio.choosing import choose_replies

    results = []
    modes: list[EvaluationMode] = config.evaluation.modes
    is_direct = exam.questions.form == "direct"  # greedy is then the same as direct
    for mode in modes:
        if mode in ("greedy", "sampled"):
            results.append(written(policy, exam.questions, config, model, scorer, mode=mode))
        elif exam.direct is None:
            continue
        elif mode == "direct" and not (is_direct and "greedy" in modes):
            results.append(written(policy, exam.direct, config, model, None, mode=mode))
        elif mode == "logprob":
            size = config.evaluation.batch_size
            chosen = choose_replies(policy, exam.direct, batch_size=size, name=model)
            results += [
                ModelReplies(
                    model=model,
                    mode=f"{exam.direct.name}, {way}",
                    samples=exam.direct.samples,
                    replies=replies,
                )
                for way, replies in chosen.items()
            ]
    return results


def written(
    policy: Policy,
    questions: Questions,
    config: RunConfig,
    model: str,
    scorer: Scorer | None,
    *,
    mode: EvaluationMode,
) -> ModelReplies:
    """A model's generated replies under its name and mode."""
    from rl4bio.answering import Sampling, generate_replies

    section, limits = config.evaluation, config.rollout
    sampling = None
    how = "generated"
    if mode == "sampled":
        sampling = Sampling(
            num_samples=section.num_samples,
            temperature=section.temperature or limits.temperature,
            top_k=limits.top_k,
            seed=config.seed,
        )
        how = f"{'mean' if questions.kind == 'open' else 'majority'} of {section.num_samples}"
    limit = limits.max_completion_tokens
    replies = generate_replies(
        policy,
        questions,
        max_new_tokens=min(DIRECT_TOKENS, limit) if mode == "direct" else limit,
        batch_size=section.batch_size,
        scorer=scorer,
        sampling=sampling,
        name=model,
    )
    name = f"{questions.name}, {how}"
    return ModelReplies(model=model, mode=name, samples=questions.samples, replies=replies)


def check_prompts(policy: Policy, questions: Questions, folder: Path, config: RunConfig) -> None:
    """Base and tuned must see the same tokens.

    Raises:
        ModelError: the tuned model's tokenizer or template turns the same prompts into others.
    """
    if [policy.encode_prompt(s.prompt) for s in questions.samples] != questions.prompts:
        raise ModelError(
            f"{folder}: its tokenizer or chat template encodes the prompts differently from "
            f"{config.policy.checkpoint}, so the two would not see the same prompt; "
            "set policy.checkpoint to the model that it was tuned from"
        )


def report(
    config: RunConfig,
    exam: Exam,
    results: Sequence[ModelReplies],
    tuned: Path | None,
    output: Path,
) -> None:
    """Write the files of one kind of items, and print its table."""
    items, section = exam.items, config.evaluation
    summary = summarize(results, labels=items.labels, seed=config.seed, rounds=section.bootstrap)
    kinds = {sample.uid: items.kind for sample in items.samples}
    chosen = choose_items(items.samples, kinds, section.side_by_side, seed=config.seed)
    write_outputs(
        output,
        title=f"{config.name}: evaluation",
        facts=describe(config, tuned, items, exam.questions),
        summary=summary,
        results=results,
        cases=make_cases(results, {sample.uid for sample in chosen}),
        completions=config.logging.completions,
    )
    print(plain_table(summary.rows, summary.comparisons))
    print(f"\nreport: {output / 'report.html'}")


def direct_corpus(config: RunConfig, corpus: Corpus) -> Corpus | None:
    """The same data with the direct prompt; None for a corpus without the option `form`."""
    if not hasattr(corpus, "form"):
        log.warning("data.name: %s has no direct prompt, so no direct rows", config.data.name)
        return None
    options = {**config.data.options, "form": "direct"}
    return CORPORA.build(config.data.name, options, where="data")


if __name__ == "__main__":
    sys.exit(main())
