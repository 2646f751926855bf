"""`rl4bio generate`: molecules of a SMILES model, completions of prompts, or a conversation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rl4bio.cli import add_config_arguments, run_command
from rl4bio.errors import ConfigError
from rl4bio.generation.completions import write_completions
from rl4bio.generation.options import positive, seed
from rl4bio.generation.prompts import read_prompts
from rl4bio.generation.source import find_model
from rl4bio.generation.streams import check_output
from rl4bio.runs.launchers import alone
from rl4bio.runs.log import show_progress

if TYPE_CHECKING:
    pass


def command_parser() -> argparse.ArgumentParser:
    """The options of `rl4bio generate`."""
    parser = argparse.ArgumentParser(
        prog="rl4bio generate",
        description="Write molecules with a SMILES model, or the completions of prompts.",
        epilog="Molecules go to CSV (smiles, canonical, state, logprob: of what follows the "
        "context, in nats) or to .smi, completions to JSON lines (id, prompt, completion, "
        "truncated; at most rollout.max_completion_tokens tokens). The seed decides them, not the "
        "batch size. --temperature 0 decodes greedily: one completion a prompt, the same replies "
        "in every --chat, and for a SMILES model the one molecule of the likeliest tokens, with "
        "its log-probability at temperature 1.",
    )
    add_config_arguments(parser, required=False)
    add = parser.add_argument
    add("--run", metavar="FOLDER", help="a finished run: its tuned model")
    add("--model", metavar="NAME", help="a model folder, a hub id, or rl4bio:molgpt-moses")
    add(
        "--num",
        type=positive(int),
        metavar="N",
        help="molecules (1000), or completions a prompt (1)",
    )
    add("--seed", type=seed, default=1, help="of the sampling noise (1)")
    add(
        "--temperature",
        type=positive(float, zero=True),
        metavar="T",
        help="divides the logits (as in the run, else 1.0); 0: the likeliest token each time",
    )
    add("--top-k", type=positive(int), metavar="K", help="sample among the K likeliest (as above)")
    add("--batch-size", type=positive(int), metavar="N", help="sampled together (256; prompts 8)")
    add("--output", default="-", metavar="FILE", help="- is stdout, the default")
    molecules = parser.add_argument_group("molecules")
    add = molecules.add_argument
    add("--context", default="", metavar="TOKENS", help="where each string starts, such as C")
    add(
        "--property",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a property to ask for, such as logp=3; once for each",
    )
    add("--scaffold", metavar="SMILES", help="to ask for or, with attachment points, to complete")
    add("--valid-only", action="store_true", help="leave out what is no molecule")
    add("--unique", action="store_true", help="leave out molecules that came before")
    language = parser.add_argument_group("other language models")
    texts = language.add_mutually_exclusive_group()
    texts.add_argument("--prompt", metavar="TEXT", help="one prompt")
    texts.add_argument("--prompts", metavar="FILE.jsonl", help="prompt or messages, and id, a line")
    texts.add_argument("--chat", action="store_true", help="talk to it; with --run beside its base")
    language.add_argument(
        "--system", metavar="TEXT", help="system turn of --chat, or before --prompt as a user turn"
    )
    parser.set_defaults(adapter=None, tuned=None)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(alone(generate, "generate"), command_parser(), argv)


def generate(arguments: argparse.Namespace) -> None:
    """Load the model and write what it generates."""
    config, tuned = find_model(arguments)
    if arguments.temperature is None:
        arguments.temperature = config.rollout.temperature
    if arguments.temperature == 0 and (arguments.num or 1) > 1:
        raise ConfigError(
            f"--num: got {arguments.num}, but --temperature 0 writes the same text every time; "
            "leave --num out, or sample with a temperature above 0"
        )
    arguments.top_k = arguments.top_k or config.rollout.top_k
    if arguments.chat:
        from rl4bio.generation.chat import chat

        show_progress()
        chat(config, tuned, arguments)
        return
    asked = read_prompts(arguments)
    check_output(arguments.output, (".jsonl",) if asked else (".csv", ".smi"))
    show_progress()
    from rl4bio.runs.begun_answers import begin_answers
    from rl4bio.runs.policies import opened_policy

    asked = begin_answers(config, asked)
    with opened_policy(config, tuned) as policy:
        if policy.family != "molgpt":
            write_completions(policy, asked, arguments, config)
            return
        from rl4bio.generation.molecules import write_molecules

        if asked:
            raise ConfigError("--prompt: this model writes molecules; start them with --context")
        write_molecules(policy, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
