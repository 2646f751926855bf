"""Completions of a language model, as JSON lines."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rl4bio.errors import ConfigError
from rl4bio.generation.options import sampling_of
from rl4bio.generation.prompts import PromptRow, encode_prompts
from rl4bio.generation.streams import opened_output
from rl4bio.sections import RunConfig
from rl4bio.types import Sample

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")


def write_completions(
    policy: Policy, samples: Sequence[Sample], arguments: argparse.Namespace, config: RunConfig
) -> None:
    """One JSON line a completion, flushed batch by batch, in the prompts' order.

    Raises:
        ConfigError: there is no prompt, or the completion limit is beyond the model's positions.
    """
    from rl4bio.modules.completing import Progress, complete_all, in_turn
    from rl4bio.modules.rollout import check_positions

    if not samples:
        raise ConfigError("--prompts: this model completes prompts; give --prompts or --prompt")
    prompts = encode_prompts(policy, samples)
    check_positions(policy, samples, config.rollout)
    num, size = arguments.num or 1, arguments.batch_size or 8
    sampling = sampling_of(
        arguments, max_new_tokens=config.rollout.max_completion_tokens, group_size=num
    )
    progress, truncated = Progress(len(samples), "completions", each=num), 0
    with opened_output(arguments.output) as stream:
        for rows, found in complete_all(
            policy,
            samples,
            sampling,
            batches=in_turn(len(samples), size),
            numbers=range(len(samples)),
            prompts=prompts,
            progress=progress,
        ):
            cut = found.truncated.tolist()
            asked = [samples[row] for row in rows for _ in range(num)]
            lines = [
                {
                    "id": sample.uid if (uid := PromptRow.of(sample).id) is None else uid,
                    "prompt": sample.prompt,
                    "completion": text,
                    "truncated": is_cut,
                }
                for sample, text, is_cut in zip(asked, found.completions, cut, strict=True)
            ]
            stream.write("".join(json.dumps(line) + "\n" for line in lines))
            stream.flush()
            truncated += sum(cut)
    log.info("%d completions, %d cut off, %.0f s", progress.done, truncated, progress.seconds)
