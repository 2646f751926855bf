"""Whole GRPO steps of rl4bio against TRL's GRPOTrainer on a CPU.

    python -m benchmarks.grpo_step --settings A,C --precision fp32,bf16 --rounds 2

A step is rollout, reward on the decoded text, reference, forward, backward, clipping and AdamW;
KL coefficient 0.04, one update a rollout, LoRA of rank 16 on all linear layers of a random Gemma 3
(see lab.py). Settings are prompt tokens / completions of the prompt / tokens of each:
A 384/8/64, B 384/16/128, C 64/8/128.

Each variant is a process of one thread; they take steps in turn, so that a busy machine shifts all
of them alike: read the ratios, which compare steps of the same round. Times are CPU seconds, user
and system, and user alone, since TRL's steps spend much in page faults. Variants: trl-best,
trl-default (trl_step.py), engine and generate (our two rollout backends; rl4bio_step.py).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.floor import PACKED_BYTES, measure_rates, step_floor
from benchmarks.lab import LAB, TINY, ModelShape, write_checkpoint
from benchmarks.step_result import Result, check_tokens, record, show, take_turns
from benchmarks.step_spec import DTYPES, Precision, StepSpec, Variant

SETTINGS = {"A": (384, 8, 64), "B": (384, 16, 128), "C": (64, 8, 128), "tiny": (24, 4, 8)}
"""Name -> prompt tokens, group size, completion tokens; tiny only shows that everything runs."""


def measure(
    name: str,
    shape: ModelShape,
    precision: Precision,
    variants: Sequence[Variant],
    *,
    rounds: int,
    ragged: bool,
    workspace: Path,
) -> Result:
    """One setting in one precision.

    Raises:
        RuntimeError: a variant failed, or made other completion lengths than the others.
    """
    prompt, group, completion = SETTINGS[name]
    checkpoint = write_checkpoint(
        workspace / "checkpoint",
        shape,
        prompt_tokens=prompt,
        mean_tokens=completion / 2 if ragged else None,
    )
    specs = [
        StepSpec(
            variant=variant,
            checkpoint=str(checkpoint),
            workspace=str(workspace / variant),
            num_prompts=1,
            group_size=group,
            prompt_tokens=prompt,
            completion_tokens=completion,
            precision=precision,
        )
        for variant in variants
    ]
    before = measure_rates(DTYPES[precision])
    steps = take_turns(specs, rounds)
    rates = before.best(measure_rates(DTYPES[precision]))
    if not ragged:
        check_tokens(steps, group * completion)
    floor, packed_floor = (
        step_floor(
            shape,
            one,
            num_prompts=1,
            group_size=group,
            prompt_tokens=prompt,
            completion_tokens=completion,
            weight_bytes=DTYPES[precision].itemsize,
        )
        for one in (rates, replace(rates, bytes=PACKED_BYTES))
    )
    return Result(
        title=f"{name} {prompt}/{group}/{completion}, {precision}",
        steps=steps,
        floor=None if ragged else floor,
        packed_floor=None if ragged else packed_floor,
        rates=rates,
    )


def chosen(option: str, text: str, known: Sequence[str]) -> list[Any]:
    """The names in a comma-separated option; an unknown one ends the program."""
    names = text.split(",")
    wrong = [name for name in names if name not in known]
    if wrong:
        raise SystemExit(f"{option}: unknown {', '.join(wrong)}; known: {', '.join(known)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", default="A,B,C")
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument("--variants", default="trl-best,trl-default,engine,generate")
    parser.add_argument("--rounds", type=int, default=2, help="measured steps, after one warm-up")
    parser.add_argument(
        "--ragged", action="store_true", help="completions end by themselves, half-way on average"
    )
    parser.add_argument("--json", type=Path, help="write every measured step to this file")
    args = parser.parse_args()
    settings = chosen("--settings", args.settings, list(SETTINGS))
    precisions = chosen("--precision", args.precision, list(DTYPES))
    variants = chosen("--variants", args.variants, get_args(Variant))
    torch.set_num_threads(1)
    results = []
    for name in settings:
        for precision in precisions:
            with tempfile.TemporaryDirectory() as folder:
                result = measure(
                    name,
                    TINY if name == "tiny" else LAB,
                    precision,
                    variants,
                    rounds=args.rounds,
                    ragged=args.ragged,
                    workspace=Path(folder),
                )
            show(result)
            results.append(result)
            if args.json is not None:  # after each, so that a run that is cut short leaves some
                args.json.write_text(json.dumps(record(results, vars(args)), indent=1))


if __name__ == "__main__":
    main()
