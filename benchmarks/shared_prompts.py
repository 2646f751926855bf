"""One GRPO update's forward and backward: prompts run once against prompts repeated.

    python -m benchmarks.shared_prompts [--checkpoint rl4bio:gemma3-nano] [--repeats 5]

Both compute the same log-probabilities and gradients; they take turns in one process, and CPU time
is counted (user + system), so a busy machine shifts both.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from rl4bio.data.trials import TrialsCorpus
from rl4bio.modules.loading import load_policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.modules.scoring import completion_logprobs
from rl4bio.sections import PolicyConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="rl4bio:gemma3-nano")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy = load_policy(PolicyConfig(checkpoint=args.checkpoint, attention="eager"))
    samples = TrialsCorpus().samples("train")[:8]
    group = 8
    found = sample_completions(
        policy,
        [policy.encode_prompt(sample.prompt) for sample in samples],
        group_size=group,
        max_new_tokens=72,
        temperature=1.0,
        seeds=list(range(8)),
    )
    index = torch.arange(8).repeat_interleave(group)
    once = (found.prompt_ids[::group], found.prompt_mask[::group], found.ids, found.mask)
    repeated = (found.prompt_ids, found.prompt_mask, found.ids, found.mask)
    times: dict[str, list[float]] = {"prompts once": [], "prompts repeated": []}
    for _ in range(args.repeats + 1):
        for name, rows, prompts in (
            ("prompts once", once, index),
            ("prompts repeated", repeated, None),
        ):
            policy.model.zero_grad()
            start = time.process_time()
            logprobs, _ = completion_logprobs(
                policy.model, *rows, temperature=1.0, prompt_index=prompts
            )
            logprobs.mean().backward()
            times[name].append(time.process_time() - start)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    print(f"prompt {found.prompt_ids.shape[1]}, completion {found.ids.shape[1]}, 8 x {group} rows")
    for name, seconds in medians.items():
        print(f"{name:<18}{seconds:8.3f} s CPU")
    ratios = [b / a for a, b in zip(*(v[1:] for v in times.values()), strict=True)]
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
