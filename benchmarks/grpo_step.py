"""Whole GRPO steps of rl4bio against TRL's GRPOTrainer on a CPU.

    python -m benchmarks.grpo_step --settings A,C --precision fp32,bf16 --rounds 2

A step is rollout, reward on the decoded text, reference, forward, backward, clipping and AdamW;
KL coefficient 0.04, one update a rollout, LoRA of rank 16 on all linear layers of a random Gemma 3
(see lab.py). Settings are prompt tokens / completions of the prompt / tokens of each:
A 384/8/64, B 384/16/128, C 64/8/128; E 448/8/160, four prompts, is for a real checkpoint:

    python -m benchmarks.grpo_step --settings E --precision fp32 --rounds 1 \\
        --variants trl-best,engine --checkpoint /models/gemma-3-270m --texts ori_pqal.json --rows 4

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
from benchmarks.lab import LAB, TINY, ModelShape, borrow_checkpoint, write_checkpoint
from benchmarks.step_result import Result, check_tokens, record, show, take_turns
from benchmarks.step_spec import DTYPES, Precision, StepSpec, Variant

SETTINGS = {
    "A": (384, 8, 64),
    "B": (384, 16, 128),
    "C": (64, 8, 128),
    "E": (448, 8, 160),
    "tiny": (24, 4, 8),
}
"""Name -> prompt tokens, group size, completion tokens; tiny only shows that everything runs."""
NUM_PROMPTS = {"E": 4}
"""Of a step; 1 elsewhere."""


def measure(
    name: str,
    shape: ModelShape,
    precision: Precision,
    variants: Sequence[Variant],
    *,
    rounds: int,
    ragged: bool,
    workspace: Path,
    real: tuple[Path, Path] | None = None,
    rows: int | None = None,
) -> Result:
    """One setting in one precision.

    Args:
        real: a checkpoint in place of the random one, and the file with its prompts' texts.
        rows: of one forward of TRL; None = all.

    Raises:
        RuntimeError: a variant failed, or made other completion lengths than the others.
    """
    prompt, group, completion = SETTINGS[name]
    if real is None:
        checkpoint = write_checkpoint(
            workspace / "checkpoint",
            shape,
            prompt_tokens=prompt,
            mean_tokens=completion / 2 if ragged else None,
        )
    else:
        checkpoint = borrow_checkpoint(workspace / "checkpoint", *real, prompt_tokens=prompt)
    specs = [
        StepSpec(
            variant=variant,
            checkpoint=str(checkpoint),
            workspace=str(workspace / variant),
            num_prompts=NUM_PROMPTS.get(name, 1),
            rows_per_micro_batch=rows,
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
    if not ragged and real is None:
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
        floor=None if ragged or real else floor,
        packed_floor=None if ragged or real else packed_floor,
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
    parser.add_argument("--checkpoint", type=Path, help="a real one in place of the random model")
    parser.add_argument("--texts", type=Path, help="PubMedQA's records, for its prompts")
    parser.add_argument("--rows", type=int, help="of one forward of TRL; all by default")
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
                    real=(args.checkpoint, args.texts) if args.checkpoint else None,
                    rows=args.rows,
                )
            show(result)
            results.append(result)
            if args.json is not None:  # after each, so that a run that is cut short leaves some
                args.json.write_text(json.dumps(record(results, vars(args)), indent=1))


if __name__ == "__main__":
    main()
