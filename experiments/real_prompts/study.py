"""Which prompt gives an untrained model something to learn from? See README.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rl4bio.answers.tags import strict_parse
from rl4bio.data import CORPORA
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import PolicyConfig, RewardConfig
from rl4bio.types import Message, Sample

REWARDS = {"pubmedqa": "verdict", "medical_reasoning": "choice", "therapeutics": "option"}
CLEARER = """Reply in two parts and nothing else. First write {thought} between <{a}> and </{a}>. \
Then write {answer} between <answer> and </answer>."""
SHOWN = "Reply in this form:\n<{a}>{thought}</{a}><answer>{answer}</answer>"
WORDS = {
    "pubmedqa": ("the evidence, quoted from the abstract", "yes, no or maybe"),
    "medical_reasoning": ("the reasoning, step by step", "the letter of the option"),
    "therapeutics": ("the reasoning, step by step", "the letter of the option, in brackets"),
}


def ask(sample: Sample, task: str, variant: str, tag: str) -> Sample:
    """The sample with its instruction reworded, or with the form shown behind it."""
    thought, answer = ("...", "...") if variant == "dotted" else WORDS[task]
    turns = [Message(**turn) for turn in sample.prompt if isinstance(turn, dict)]
    text = {"brief": "", "clearer": CLEARER}.get(variant, SHOWN)
    text = text.format(a=tag, thought=thought, answer=answer)
    if variant == "clearer":  # takes the place of all from "First" on
        turns[0]["content"] = turns[0]["content"].rpartition("First ")[0] + text
    elif text:
        turns[-1]["content"] += f"\n{text}"
    return dataclasses.replace(sample, prompt=turns)


def measure(
    policy: Policy, samples: Sequence[Sample], task: str, tags: list[str], **how: Any
) -> dict[str, float]:
    """Counts over all completions and groups."""
    found = sample_completions(
        policy,
        **policy.inputs(samples),
        group_size=how["draws"],
        max_new_tokens=how["tokens"],
        temperature=1.0,
        seeds=[1000 * how["seed"] + n for n in range(len(samples))],
    )
    form = RewardConfig(name="structure", weight=0.2, options={"tags": tags, "graded": True})
    scorer = WeightedRewards.from_config([RewardConfig(name=REWARDS[task]), form])
    table = scorer(found.completions, [s for s in samples for _ in range(how["draws"])])
    totals = torch.tensor(table.total).view(len(samples), -1)
    return {
        "completions": len(found.completions),
        "copied": sum(f">{WORDS[task][1]}<" in text for text in found.completions),
        "strict": sum(strict_parse(text, tags) is not None for text in found.completions),
        "right": sum(value > 0 for value in table.parts[REWARDS[task]]),
        "cut": int(found.truncated.sum()),
        "tokens": round(found.lengths.float().mean().item(), 1),
        "groups": len(samples),
        "nonzero": int((totals > 0).any(-1).sum()),
        "spread": int((totals.max(-1).values > totals.min(-1).values).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="name and options of a corpus, as JSON")
    parser.add_argument("--variants", nargs="+", default=["brief", "clearer", "shown", "dotted"])
    parser.add_argument("--opened", nargs="+", choices=["no", "yes"], default=["no", "yes"])
    for name, value in {"records": 5, "draws": 6, "tokens": 140, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("models", nargs="+", type=Path)
    args = vars(parser.parse_args())
    data = json.loads(args["data"])
    for folder in args["models"]:
        policy = load_policy(PolicyConfig(checkpoint=str(folder)))
        for variant in args["variants"]:
            for opened in args["opened"]:
                options = {**data["options"], "open_block": opened == "yes"}
                corpus = CORPORA.build(data["name"], options, where="data")
                tags, rows = [corpus.begins.strip("<>"), "answer"], corpus.samples("train")
                samples = [ask(r, data["name"], variant, tags[0]) for r in rows[: args["records"]]]
                found = measure(policy, samples, data["name"], tags, **args)
                cell = {"data": data["name"], "model": folder.name, "prompt": variant}
                print(json.dumps({**cell, "opened": opened, **found}), flush=True)


if __name__ == "__main__":
    main()
