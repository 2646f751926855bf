"""Completions of a language model, as JSON lines."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rl4bio.errors import ConfigError
from rl4bio.generation.options import noise
from rl4bio.generation.prompts import encode_prompts
from rl4bio.generation.streams import Progress, opened_output
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
