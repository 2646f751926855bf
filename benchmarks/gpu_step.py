"""Whole GRPO steps of rl4bio against TRL's GRPOTrainer on one CUDA card.

NOT YET RUN ON A GPU: only its logic has been, by `--device cpu --tiny`.

    python -m benchmarks.gpu_step [--prompts 8 --group-size 16 --json FILE --profile FOLDER]

A Gemma 3 of the 1B model's sizes (26 layers, width 1152, 4 heads of 256, 1 KV head, MLP 6912,
vocabulary 262,144, window 512) with random weights, LoRA of rank 16, bfloat16 base; everything else
as in grpo_step.py. Variants run one after another, each in a process that has the card for itself;
TRL generates all rows of a step at once and trains in micro-batches of `--trl-rows`, ours of
`--tokens-per-micro-batch`. The engine samples with compiled layers, which are compiled before the
measured steps; engine-eager does not. Times are wall seconds between synchronisations of the card;
memory is torch's largest allocation above model, data and trainer. Read the figures on a quiet
machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch

from benchmarks.floor import measure_rates, step_floor
from benchmarks.grpo_step import chosen
from benchmarks.lab import GEMMA3_1B, TINY, write_checkpoint
from benchmarks.step_result import (
    Result,
    check_tokens,
    cpu_seconds,
    record,
    show,
    take_turns,
    wall_seconds,
)
from benchmarks.step_spec import DTYPES, StepSpec, Variant


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; a combination that cannot run ends the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--prompt-tokens", type=int, default=400)
    parser.add_argument("--completion-tokens", type=int, default=256)
    parser.add_argument("--precision", choices=list(DTYPES), default="bf16")
    parser.add_argument("--variants", default=",".join(get_args(Variant)))
    parser.add_argument("--rounds", type=int, default=3, help="measured steps, after one warm-up")
    parser.add_argument("--trl-rows", type=int, default=16, help="rows of TRL's micro-batches")
    parser.add_argument("--tokens-per-micro-batch", type=int, default=8192, help="ours")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny model; shows that all runs")
    parser.add_argument("--json", type=Path, help="write every measured step to this file")
    parser.add_argument(
        "--profile", type=Path, help="write each variant's longest kernels to this folder"
    )
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device: no CUDA device is visible; `--device cpu --tiny` runs anywhere")
    if args.prompts * args.group_size % args.trl_rows:
        raise SystemExit("--trl-rows: must divide --prompts times --group-size")
    return args


def measure(args: argparse.Namespace, workspace: Path) -> Result:
    """All variants, one after another.

    Raises:
        RuntimeError: a variant failed, or made other completion lengths than the others.
    """
    shape = TINY if args.tiny else GEMMA3_1B
    sizes = {
        "num_prompts": args.prompts,
        "group_size": args.group_size,
        "prompt_tokens": args.prompt_tokens,
        "completion_tokens": args.completion_tokens,
    }
    dtype = DTYPES[args.precision]
    rates = measure_rates(dtype, device=args.device)
    checkpoint = write_checkpoint(
        workspace / "checkpoint",
        shape,
        prompt_tokens=args.prompt_tokens,
        dtype=dtype,
        device=args.device,
    )
    if args.device == "cuda":
        torch.cuda.empty_cache()
    if args.profile is not None:
        args.profile.mkdir(parents=True, exist_ok=True)
    steps = {}
    for variant in chosen("--variants", args.variants, get_args(Variant)):
        spec = StepSpec(
            variant=variant,
            checkpoint=str(checkpoint),
            workspace=str(workspace / variant),
            precision=args.precision,
            device=args.device,
            tokens_per_micro_batch=args.tokens_per_micro_batch,
            rows_per_micro_batch=args.trl_rows,
            **sizes,
        )
        steps.update(take_turns([spec], args.rounds, profile=args.profile))
    check_tokens(steps, args.prompts * args.group_size * args.completion_tokens)
    floor = step_floor(shape, rates, weight_bytes=dtype.itemsize, **sizes)
    device = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    title = f"{args.prompts} prompts, {args.prompt_tokens}/{args.group_size}/"
    title += f"{args.completion_tokens}, {args.precision}, {device}"
    return Result(title=title, steps=steps, floor=floor, rates=rates)


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, Path(folder))
    show(result, wall_seconds if args.device == "cuda" else cpu_seconds)
    if args.json is not None:
        args.json.write_text(json.dumps(record([result], vars(args)), indent=1))


if __name__ == "__main__":
    main()
