"""What a reader must know to repeat or to judge the numbers of an evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio import __version__
from rl4bio.evaluation.labels import accuracy
from rl4bio.evaluation_items import Items
from rl4bio.sections import RunConfig

if TYPE_CHECKING:
    from rl4bio.replies import Questions

DIRECT_TOKENS = 32
"""Limit of an answer without reasoning."""

_READERS = {
    "verdict": "strict: exactly <thought>...</thought><answer>...</answer> with one label; "
    "direct: the reply opens with one label; lenient: as a benevolent reader finds it",
    "choice": "strict: exactly <reasoning>...</reasoning><answer>...</answer> (or the form of the "
    "prompt) whose answer chooses one option; lenient: as a benevolent reader finds it",
    "bin": "strict: the answer is three digits, or 1000; lenient: the first such number in the "
    "answer, without an answer block the last of the text; an answer that the strict reader does "
    "not read counts as the median of the training labels",
    "open": "none; parsed: the completion keeps the form of the prompt",
}
_CHOICES = {
    "verdict": "sum over the tokens of ' yes', ' no', ' maybe' after the direct prompt; also "
    "divided by their number, and by the characters of the label",
    "choice": "sum over the tokens of each letter, or of each option's text, after the direct "
    "prompt; for the text also divided by its characters",
}
_LETTERS = (
    "sum over the tokens of '(A)' and '(B)': behind the direct or predict prompt; and, of a prompt "
    "that asks for reasoning, inside the answer block behind an empty reasoning and behind the "
    "greedy completion's own. P(B) = p(B) / (p(A) + p(B))"
)


def describe(
    config: RunConfig, stages: Mapping[str, Path], items: Items, questions: Questions
) -> dict[str, str]:
    """Name -> value, in the order of the report."""
    limits, asked = config.rollout, config.evaluation
    facts = {
        "run": config.name,
        **describe_models(config, stages),
        "data": f"{config.data.name} {config.data.options}, test split",
        "items": f"{_count(items, questions)}; none is in the training or validation split",
    }
    if items.task:
        facts["task"] = items.task
    if items.labels:
        facts["constant answers"] = _constants(items, questions)
    if items.kind == "bin":
        facts |= _scale(questions)
    facts |= {
        "decoding": "greedy, one completion an item",
        "prompt limit": f"{limits.max_prompt_tokens} tokens (longer: {limits.overlong_prompts})",
        "completion limit": f"{limits.max_completion_tokens} tokens; "
        f"{min(DIRECT_TOKENS, limits.max_completion_tokens)} for the direct prompt",
        "verdict": _READERS[items.kind],
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
    if "logprob" in asked.modes and items.kind in _CHOICES:
        own = questions.samples[0].extra.get("kind") == "option"
        facts["log-probability"] = _LETTERS if own else _CHOICES[items.kind]
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
    start = {"start model": str(stages["start"])} if "start" in stages else {}
    return {
        "base model": section.checkpoint + revision + bits,
        **start,
        "tuned model": str(stages.get("tuned", "none")),
    }


def _count(items: Items, questions: Questions) -> str:
    size = len(questions.samples)
    if items.kind == "bin":
        return f"{size} numbers"
    if not items.labels:
        return f"{size} open questions"
    counts = Counter(str(sample.target) for sample in questions.samples)
    return f"{size} ({', '.join(f'{counts[label]} {label}' for label in items.labels)})"


def _scale(questions: Questions) -> dict[str, str]:
    """What bins mean in the unit of the label, and what a label loses in its bin."""
    scale = questions.samples[0].extra["scale"]
    low, high = scale["low"], scale["high"]
    labels = [sample.extra["label"] for sample in questions.samples]
    outside = sum(not low <= label <= high for label in labels)
    return {
        "scale": f"bin 000 is {low:.4g} and 1000 is {high:.4g}, the least and the largest training "
        f"label, so a bin is {(high - low) / 1000:.3g} wide; {outside} of {len(labels)} labels lie "
        "outside",
    }


def _constants(items: Items, questions: Questions) -> str:
    """Accuracy of always giving one label, and of guessing."""
    gold = [str(sample.target) for sample in questions.samples]
    shares = [f"{label} {100 * accuracy(gold, [label] * len(gold)):.1f}" for label in items.labels]
    choices = [len(s.extra.get("options") or items.labels) for s in questions.samples]
    guessing = sum(1 / count for count in choices) / len(choices)
    return f"accuracy % of always {', '.join(shares)}; of a uniform guess {100 * guessing:.1f}"
