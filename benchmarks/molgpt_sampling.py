"""Sampling molecules from a MolGPT: our cached rollout against the published way and transformers.

    python -m benchmarks.molgpt_sampling [--molecules 64] [--rounds 3] [--layers 8] [--bf16]

One random network of the published size (8 layers, 8 heads, width 256, block 54); its end token is
made unlikely, so that all three write `block` tokens. The published sampler runs the whole prefix
again for every token. They take turns in one process; CPU time is user + system.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from rl4bio.chem.tokens import END
from rl4bio.modules.molgpt.model import MolGPTConfig, MolGPTForCausalLM
from rl4bio.modules.molgpt.tokenizer import SmilesTokenizer
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions

TOKENS = sorted([*"#()-123456<=BCFINOPScnos", "Br", "Cl", "[H]", "[nH]"])
OURS, SLOW = "rl4bio", "published way"


def make_policy(layers: int, block: int) -> Policy:
    """A random MolGPT that practically never ends a string, in eval mode."""
    vocabulary = {token: index for index, token in enumerate(TOKENS)}
    end = vocabulary[END]
    torch.manual_seed(0)
    model = MolGPTForCausalLM._from_config(
        MolGPTConfig(
            vocab_size=len(TOKENS),
            block_size=block,
            num_layers=layers,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
        ),
        attn_implementation="eager",
    )
    with torch.no_grad():
        model.ln_f.bias.fill_(1.0)
        model.head.weight[end] -= 0.1
    tokenizer = SmilesTokenizer(vocabulary=vocabulary, bos_token=END)
    return Policy(model=model.eval(), tokenizer=tokenizer, checkpoint="random")


@torch.no_grad()
def sample_published(policy: Policy, count: int, block: int) -> Tensor:
    """As MolGPT's own script: no cache, `block` steps, the context cropped to the block."""
    ids = torch.full((count, 1), policy.pad_id)
    for _ in range(block):
        logits = policy.model(input_ids=ids[:, -block:], use_cache=False).logits[:, -1]
        token = torch.multinomial(torch.softmax(logits.float(), -1), 1)
        ids = torch.cat([ids, token], dim=1)
    return ids


@torch.no_grad()
def sample_transformers(policy: Policy, count: int, block: int) -> Tensor:
    """transformers' generate() with its own cache, sampling from the whole vocabulary."""
    ids = torch.full((count, 1), policy.pad_id)
    model: Any = policy.model
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": block}
    return model.generate(ids, attention_mask=torch.ones_like(ids), **options)


def sample_ours(policy: Policy, count: int, block: int) -> Tensor:
    """The rollout of a training step: log-probabilities and texts are made too."""
    prompt = policy.encode_prompt("")
    found = sample_completions(
        policy, [prompt], group_size=count, max_new_tokens=block, temperature=1.0, seeds=[1]
    )
    return torch.cat([found.prompt_ids, found.completion_ids], dim=1)


@contextlib.contextmanager
def clock(times: list[tuple[float, float]]) -> Iterator[None]:
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    times.append((time.process_time() - cpu, time.perf_counter() - wall))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--block", type=int, default=54)
    parser.add_argument("--bf16", action="store_true", help="under bfloat16 autocast")
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy = make_policy(args.layers, args.block)
    samplers: dict[str, Callable[[Policy, int, int], Tensor]] = {
        OURS: sample_ours,
        SLOW: sample_published,
        "generate()": sample_transformers,
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in samplers}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
        for name, sampler in samplers.items():  # warm-up; the caches' first memory pages cost most
            sampler(policy, 2 if name == SLOW else args.molecules, args.block)
        for _ in range(args.rounds):
            for name, sampler in samplers.items():
                with clock(times[name]):
                    ids = sampler(policy, args.molecules, args.block)
                assert ids.shape == (args.molecules, args.block + 1), (name, ids.shape)
    dtype = "bfloat16" if args.bf16 else "float32"
    print(f"{args.molecules} molecules of {args.block} tokens, {args.layers} layers, {dtype}")
    for name, pairs in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name:<16}{cpu:8.2f} s CPU{wall:8.2f} s wall")
    for name, pairs in times.items():
        if name == OURS:
            continue
        for kind, label in enumerate(("CPU", "wall")):
            ratios = [b[kind] / a[kind] for a, b in zip(times[OURS], pairs, strict=True)]
            spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"{name} / {OURS}, {label}: {statistics.median(ratios):.2f} {spread}")


if __name__ == "__main__":
    main()
