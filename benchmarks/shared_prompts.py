"""One GRPO update's forward and backward: the engine, prompts run once, prompts repeated.

    python -m benchmarks.shared_prompts [--checkpoint rl4bio:gemma3-nano] [--repeats 5]

All compute the same log-probabilities and gradients; they take turns in one process, and CPU time
is counted (user + system), so a busy machine shifts both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from rl4bio.data.synthetic.trials import TrialsCorpus
from rl4bio.engine.layout import pack
from rl4bio.engine.packed_logprobs import packed_logprobs
from rl4bio.modules.loading import load_policy
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.rollout import sample_completions
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
    once = (found.prompt_ids[::group], found.prompt_mask[::group])
    repeated = (found.prompt_ids, found.prompt_mask)
    tail = (found.completion_ids, found.completion_mask)

    def in_the_engine() -> Tensor:
        return packed_logprobs(policy.model, pack(*once, index, *tail), temperature=1.0)[0]

    def from_a_cache() -> Tensor:
        rows = completion_logprobs(policy.model, *once, *tail, temperature=1.0, prompt_index=index)
        return rows[0][found.completion_mask]

    def side_by_side() -> Tensor:
        return completion_logprobs(policy.model, *repeated, *tail, temperature=1.0)[0][
            found.completion_mask
        ]

    ways: dict[str, Callable[[], Tensor]] = {
        "engine": in_the_engine,
        "prompts once, cache": from_a_cache,
        "prompts repeated": side_by_side,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats + 1):
        for name, compute in ways.items():
            policy.model.zero_grad()
            start = time.process_time()
            compute().mean().backward()
            times[name].append(time.process_time() - start)
    prompt, completion = found.prompt_ids.shape[1], found.completion_ids.shape[1]
    print(f"prompt {prompt}, completion {completion}, 8 x {group} rows")
    for name, seconds in times.items():
        print(f"{name:<20}{statistics.median(seconds[1:]):8.3f} s CPU")
    for name in list(ways)[1:]:
        pairs = zip(times["engine"][1:], times[name][1:], strict=True)
        ratios = [slow / fast for fast, slow in pairs]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name} / engine: {statistics.median(ratios):.2f} {spread}")


if __name__ == "__main__":
    main()
