"""`rl4bio evaluate`: a model on the test split, beside the base model it was tuned from.

A run that went on from an adapter has a row of that in between, and what training changed is what
tuned has over it. All answer the same items from the same prompt tokens under the same limits, in
every configured mode; they are compared within a mode only. Items of different kinds (labels,
options, numbers, open questions) and of different tasks have a report each. Models that write
molecules are sampled instead: `rl4bio.evaluation.sampled_molecules`.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config.load import load_config
from rl4bio.data import CORPORA
from rl4bio.errors import ModelError
from rl4bio.evaluation.exams import Exam, ask, check_prompts, make_exams
from rl4bio.evaluation.facts import report_facts
from rl4bio.evaluation.items import choose_items, constant_answers, find_items
from rl4bio.evaluation.outputs import (
    ModelReplies,
    Summary,
    make_cases,
    summarize,
    write_outputs,
)
from rl4bio.evaluation.task_outputs import write_tasks
from rl4bio.files.assets import is_asset
from rl4bio.reports.answers.table import plain_table, short_table
from rl4bio.reports.answers.verdict import verdict
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.runs.chain import stages_of
from rl4bio.runs.claim import check_writable
from rl4bio.runs.launchers import alone
from rl4bio.runs.log import show_progress
from rl4bio.runs.tuned import config_file, find_tuned, run_config
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(alone(evaluate, "evaluate"), command_parser(), argv)


def command_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="rl4bio evaluate",
        description="Score a model on the test split of its data, against its base.",
    )
    add_config_arguments(parser, required=False)
    tuned = parser.add_mutually_exclusive_group()
    tuned.add_argument("--run", metavar="FOLDER", help="folder of a finished run")
    tuned.add_argument("--adapter", metavar="FOLDER", help="a LoRA adapter on the config's model")
    tuned.add_argument("--tuned", metavar="FOLDER", help="a whole tuned model")
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="where the report goes; default evaluation/ in the run, NAME-evaluation without one",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="print every mode and all differences, not the main one",
    )
    return parser


def evaluate(arguments: argparse.Namespace) -> None:
    """Evaluate the base and, where one is named, the tuned model; write and print the results."""
    chain = load_config(config_file(arguments), arguments.overrides)
    show_progress()
    tuned = find_tuned(arguments)
    stages = find_stages(chain, tuned)
    config = run_config(chain)
    output = output_folder(arguments, config)
    check_writable(output, "--output")
    corpus = CORPORA.build(config.data.name, config.data.options, where="data")
    if corpus.task == "molecules":
        from rl4bio.evaluation.sampled_molecules import evaluate_molecules

        evaluate_molecules(config, corpus, stages, output, full=arguments.full)
        _link(arguments, [output])
        return
    scorer = WeightedRewards.from_config(config.rewards) if config.rewards else None
    items = find_items(corpus, config)
    from rl4bio.runs.policies import opened_policy

    with opened_policy(config) as policy:
        exams = make_exams(policy, corpus, items, config)
        results = [ask(policy, exam, config, "base", scorer) for exam in exams]
    for name, folder in stages.items():
        with opened_policy(config, folder) as policy:
            for exam, own in zip(exams, results, strict=True):
                check_prompts(policy, exam.questions, folder, config)
                own += ask(policy, exam, config, name, scorer)
    several = len(exams) > 1
    folders = [output / exam.items.name if several else output for exam in exams]
    summaries: dict[str, Summary] = {}
    for exam, own, folder in zip(exams, results, folders, strict=True):
        order = [result.mode for result in own]
        own.sort(key=lambda result: order.index(result.mode))  # base to tuned, mode by mode
        if several and exam.items.task:
            print(f"\n{exam.items.task}\n")
        summary = report(config, exam, own, stages, folder, full=arguments.full)
        if several and exam.items.task:
            summaries[exam.items.task] = summary
    if summaries:
        write_tasks(output / "tasks.csv", summaries)
    _link(arguments, folders)


def _link(arguments: argparse.Namespace, folders: Sequence[Path]) -> None:
    """Let the page of the run lead to those of the evaluation."""
    run = own_run(arguments)
    if run is not None:
        from rl4bio.runs.pages import link_evaluation

        link_evaluation(run, [folder / "report.html" for folder in folders])


def find_stages(config: RunConfig, tuned: Path | None) -> dict[str, Path]:
    """The models beside the base: what training went on from, and the tuned one.

    That is each stage of a chain but the last, where they lie beside it; or an adapter.

    Raises:
        ModelError: the adapter to start from is not there.
    """
    if tuned is None:
        return {}
    earlier: dict[str, Path] = {}
    for stage in stages_of(config)[:-1]:
        own = RunFolder(RunFolder(tuned.parent).stages / stage.config.name).tuned
        if own is not None:
            earlier[stage.name] = own
    adapter = config.policy.adapter
    if adapter is None or adapter.path is None:
        return {**earlier, "tuned": tuned}
    start = Path(adapter.path).expanduser()
    if not (start / "adapter_config.json").is_file():
        raise ModelError(
            f"policy.adapter.path: {start}: the adapter that the run went on from is not there; "
            "say where it is with policy.adapter.path=, or leave its row out with "
            "policy.adapter.path=null"
        )
    return {"start": start, **earlier, "tuned": tuned}


def own_run(arguments: argparse.Namespace) -> Path | None:
    """The folder of `--run`, which is the user's to write into; None where the run ships."""
    named = arguments.run
    return None if named is None or is_asset(named) else Path(named)


def output_folder(arguments: argparse.Namespace, config: RunConfig) -> Path:
    """`--output`; else evaluation/ in the run, or a folder of its own beside the runs."""
    if arguments.output is not None:
        return Path(arguments.output)
    run = own_run(arguments)
    if run is not None:
        return run / "evaluation"
    return Path(config.output_dir) / f"{config.name}-evaluation"


def report(
    config: RunConfig,
    exam: Exam,
    results: Sequence[ModelReplies],
    stages: Mapping[str, Path],
    output: Path,
    *,
    full: bool = False,
) -> Summary:
    """Write the files of one kind and task of items, and print its verdict and its table."""
    items, section = exam.items, config.evaluation
    summary = summarize(
        results,
        labels=items.labels,
        seed=config.seed,
        rounds=section.bootstrap,
        constants=constant_answers(items),
    )
    kinds = {sample.uid: items.kind for sample in items.samples}
    chosen = choose_items(items.samples, kinds, section.side_by_side, seed=config.seed)
    write_outputs(
        output,
        title=f"{config.name}: evaluation",
        facts=report_facts(config, stages, items, exam.questions),
        summary=summary,
        results=results,
        cases=make_cases(results, {sample.uid for sample in chosen}),
        completions=config.logging.completions,
    )
    print("\n".join(textwrap.wrap(verdict(summary.rows, summary.comparisons, summary.before), 100)))
    print()
    print(table_of(summary) if full else short_table(summary.rows))
    if not full:
        print("The other modes and all differences: --full, or the page.")
    print(f"\nreport: {output / 'report.html'}")
    return summary


def table_of(summary: Summary) -> str:
    """Every mode, and every comparison."""
    return plain_table(
        summary.rows,
        summary.comparisons,
        summary.reasoning,
        before=summary.before,
        from_base=summary.from_base,
    )


if __name__ == "__main__":
    sys.exit(main())
