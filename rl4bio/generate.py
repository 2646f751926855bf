"""`rl4bio generate`: molecules of a SMILES model, completions of prompts, or a conversation."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config import load_config
from rl4bio.errors import ConfigError
from rl4bio.evaluate import find_tuned, show_progress
from rl4bio.generate_options import noise, positive, seed
from rl4bio.generate_prompts import encode_prompts, read_prompts
from rl4bio.sections import NEW, RunConfig
from rl4bio.storage.files import storage_errors
from rl4bio.types import Sample

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")

PROGRESS_S = 5.0
"""Seconds between two lines that say how far it is."""


def build_parser() -> argparse.ArgumentParser:
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
        "--property", action="append", default=[], metavar="NAME=VALUE", help="asked for; repeat it"
    )
    add("--scaffold", metavar="SMILES", help="asked for, where the model is conditioned on one")
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
    return run_command(generate, build_parser(), argv)


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
        from rl4bio.chat import chat

        show_progress()
        chat(config, tuned, arguments)
        return
    asked = read_prompts(arguments)
    check_output(arguments.output, (".jsonl",) if asked else (".csv", ".smi"))
    show_progress()
    from rl4bio.begun_answers import begin_answers
    from rl4bio.inference import opened_policy

    asked = begin_answers(config, asked)
    with opened_policy(config, tuned) as policy:
        if policy.family != "molgpt":
            write_completions(policy, asked, arguments, config)
            return
        from rl4bio.generate_molecules import write_molecules

        if asked:
            raise ConfigError("--prompt: this model writes molecules; start them with --context")
        write_molecules(policy, arguments)


def find_model(arguments: argparse.Namespace) -> tuple[RunConfig, Path | None]:
    """The configuration of the one source that is named, and the tuned weights of a run.

    Raises:
        ConfigError: there is no source, or more than one; or its model has no weights yet.
    """
    named = [name for name in ("run", "model", "config") if getattr(arguments, name) is not None]
    if len(named) != 1:
        given = " and ".join(f"--{name}" for name in named) or "none"
        raise ConfigError(f"one of --run, --model and --config says what to sample; got {given}")
    if arguments.model is not None:
        plain = ["name=generate", "task=sft", "data.name=trials", "policy.checkpoint=given"]
        config = load_config(None, [*plain, *arguments.overrides])
        config.policy.checkpoint = arguments.model
        return config, None
    if arguments.run is not None:
        tuned = find_tuned(arguments)
        return load_config(Path(arguments.run) / "config.yaml", arguments.overrides), tuned
    config = load_config(arguments.config, arguments.overrides)
    if config.policy.checkpoint == NEW:
        raise ConfigError(
            "policy.checkpoint: a new model has random weights; train it with `rl4bio fit`, then "
            "name its run with --run"
        )
    return config, None


def check_output(output: str, suffixes: Sequence[str]) -> None:
    """Refuse a file name whose ending says another format."""
    if output != "-" and Path(output).suffix.lower() not in suffixes:
        raise ConfigError(f"--output: {output} ends in none of {', '.join(suffixes)}")


@contextlib.contextmanager
def opened_output(output: str) -> Iterator[TextIO]:
    """Standard output for -, else the file, made anew.

    Raises:
        StorageError: the file cannot be written.
    """
    if output == "-":
        yield sys.stdout
        return
    path = Path(output)
    with storage_errors(path), path.open("w", encoding="utf-8", newline="") as stream:
        yield stream


class Progress:
    """Lines on stderr that say how far it is, at most one in PROGRESS_S seconds."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what = total, what
        self.started = self.shown = time.monotonic()

    def at(self, done: int) -> None:
        now = time.monotonic()
        if now - self.shown >= PROGRESS_S and done < self.total:
            self.shown = now
            log.info("%d of %d %s", done, self.total, self.what)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def write_completions(
    policy: Policy, samples: Sequence[Sample], arguments: argparse.Namespace, config: RunConfig
) -> None:
    """One JSON line a completion, flushed batch by batch, in the prompts' order.

    Raises:
        ConfigError: there is no prompt, or the completion limit is beyond the model's positions.
    """
    from rl4bio.modules.rollout import check_positions, sample_completions

    if not samples:
        raise ConfigError("--prompts: this model completes prompts; give --prompts or --prompt")
    prompts = encode_prompts(policy, samples)
    check_positions(policy, samples, config.rollout)
    num, size = arguments.num or 1, arguments.batch_size or 8
    progress, truncated, done = Progress(len(samples) * num, "completions"), 0, 0
    with opened_output(arguments.output) as stream:
        for start in range(0, len(samples), size):
            rows = samples[start : start + size]
            found = sample_completions(
                policy,
                **policy.inputs(rows, prompts[start : start + size]),
                group_size=num,
                max_new_tokens=config.rollout.max_completion_tokens,
                top_k=arguments.top_k,
                **noise(arguments, range(start, start + len(rows))),
            )
            cut = found.truncated.tolist()
            lines = [
                {
                    "id": rows[n // num].extra.get("id", rows[n // num].uid),
                    "prompt": rows[n // num].prompt,
                    "completion": text,
                    "truncated": cut[n],
                }
                for n, text in enumerate(found.texts)
            ]
            stream.write("".join(json.dumps(line) + "\n" for line in lines))
            stream.flush()
            done, truncated = done + len(cut), truncated + sum(cut)
            progress.at(done)
    log.info("%d completions, %d cut off, %.0f s", done, truncated, progress.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
