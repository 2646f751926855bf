"""What a reader must know to repeat or to judge the numbers of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio import __version__
from rl4bio.evaluation.items import Items
from rl4bio.sections import RunConfig
from rl4bio.statistics.labels import accuracy

if TYPE_CHECKING:
    from rl4bio.evaluation.replies import Questions

DIRECT_TOKENS = 32
"""Limit of an answer without reasoning."""


def report_facts(
    config: RunConfig, stages: Mapping[str, Path], items: Items, questions: Questions
) -> dict[str, str]:
    """Name -> value, in the order of the report."""
    limits, asked = config.rollout, config.evaluation
    facts = {
        "run": config.name,
        **describe_models(config, stages),
        "data": f"{config.data.name} {config.data.options}, test split",
        "items": f"{items.kind.count(questions.samples)}; none is in the training or validation "
        "split",
    }
    if items.task:
        facts["task"] = items.task
    if items.labels:
        facts["constant answers"] = _constants(items, questions)
    facts |= items.kind.facts(questions.samples)
    facts |= {
        "decoding": "greedy, one completion an item",
        "prompt limit": f"{limits.max_prompt_tokens} tokens (longer: {limits.overlong_prompts})",
        "completion limit": f"{limits.max_completion_tokens} tokens; "
        f"{min(DIRECT_TOKENS, limits.max_completion_tokens)} for the direct prompt",
        "verdict": items.kind.reads,
    }
    if start := questions.samples[0].opening:
        facts["answers"] = f"begun with {start} in the prompt; counted as written, not in tokens"
    if "no_reasoning" in asked.modes and questions.form == "tags":
        facts["no reasoning"] = (
            "the run's own prompt, the reasoning block begun and ended empty, the answer block "
            "begun; greedy. With minus without is what reasoning adds"
        )
    if "sampled" in asked.modes:
        facts["sampling"] = (
            f"{asked.num_samples} completions an item at temperature "
            f"{asked.temperature or limits.temperature}, top_k {limits.top_k}; base and tuned with "
            "the same noise; majority: of the parsed ones, the first drawn on a tie; pass@k: "
            "unbiased estimate that one of k is right, lucky guesses included"
        )
    if "logprob" in asked.modes and items.kind.compares:
        facts["log-probability"] = items.kind.compares
    if not config.logging.completions:
        facts["completions"] = "not written (logging.completions is off)"
    return facts | {
        "intervals": f"95% percentile bootstrap over items, {asked.bootstrap} rounds, "
        f"seed {config.seed}",
        "rl4bio": __version__,
    }


def describe_models(config: RunConfig, stages: Mapping[str, Path]) -> dict[str, str]:
    """The base, what training went on from where it was not the base, and the tuned model."""
    section = config.policy
    bits = f", held in {section.quantization}" if section.quantization != "none" else ""
    revision = f" at {section.revision}" if section.revision else ""
    earlier = {f"{name} model": str(at) for name, at in stages.items() if name != "tuned"}
    return {
        "base model": section.checkpoint + revision + bits,
        **earlier,
        "tuned model": str(stages.get("tuned", "none")),
    }


def _constants(items: Items, questions: Questions) -> str:
    """Accuracy of always giving one label, and of guessing where there are choices."""
    gold = [str(sample.target) for sample in questions.samples]
    shares = [f"{label} {100 * accuracy(gold, [label] * len(gold)):.1f}" for label in items.labels]
    choices = [len(items.kind.choices(sample)) for sample in questions.samples]
    always = f"accuracy % of always {', '.join(shares)}"
    if not all(choices):
        return always
    guessing = sum(1 / count for count in choices) / len(choices)
    return f"{always}; of a uniform guess {100 * guessing:.1f}"
