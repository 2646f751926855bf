"""A policy's answers to yes/no/maybe questions: generated and read, or chosen by log-probability.

Greedy throughout, so that a model and a set of questions give the same answers every time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rl4bio.data import Corpus
from rl4bio.data.module import fit_prompts
from rl4bio.evaluation.answers import LABELS, Answer
from rl4bio.evaluation.cases import Reply
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.modules.logprobs import choice_logprobs
from rl4bio.sections import RolloutConfig
from rl4bio.tags import lenient_verdict, strict_verdict, verdict_of
from rl4bio.types import Sample, Scorer

log = logging.getLogger("rl4bio")

Form = Literal["tags", "direct"]
ReadVerdict = Callable[[str], str | None]

READERS: dict[Form, tuple[ReadVerdict, ReadVerdict]] = {
    "tags": (strict_verdict, lenient_verdict),
    "direct": (verdict_of, lenient_verdict),
}
"""Strict and lenient reader of a completion; a direct answer opens with its label, without tags."""

CHOICES = tuple(f" {label}" for label in LABELS)
"""What log-probabilities are taken of: each label after a blank, as lm-eval writes choices."""


@dataclass(slots=True, kw_only=True)
class Questions:
    """Samples with gold labels, and their prompts in tokens."""

    samples: list[Sample]
    prompts: list[list[int]]
    form: Form
    """What the prompts ask for; it decides how completions are read."""


def fit_questions(
    policy: Policy, corpus: Corpus, samples: Sequence[Sample], limits: RolloutConfig
) -> Questions:
    """The samples within the prompt limit, treated like training prompts, and encoded.

    Args:
        policy: gives the tokens.
        corpus: of the samples; knows how to shorten them.
        samples: with gold labels.
        limits: max_prompt_tokens, and what happens to longer prompts.

    Raises:
        DataError: a prompt is too long and may be neither shortened nor dropped.
    """
    kept = fit_prompts(
        corpus,
        samples,
        limit=limits.max_prompt_tokens,
        policy=limits.overlong_prompts,
        count_tokens=policy.count_tokens,
    )
    return Questions(
        samples=kept,
        prompts=[policy.encode_prompt(sample.prompt) for sample in kept],
        form=getattr(corpus, "form", "tags"),
    )


def generate_replies(
    policy: Policy,
    questions: Questions,
    *,
    max_new_tokens: int,
    batch_size: int,
    scorer: Scorer | None = None,
    name: str = "policy",
) -> list[Reply]:
    """Greedy completions of the prompts, read by both parsers and scored.

    Args:
        policy: as it stands; put into eval mode inside.
        questions: of `fit_questions`.
        max_new_tokens: limit of a completion, its end token included.
        batch_size: prompts decoded together. Prompts of like length share a batch.
        scorer: the configured rewards, or None.
        name: of the model, for the log.

    Returns:
        One reply a sample, in the samples' order.
    """
    count = len(questions.samples)
    texts, lengths, truncated = [""] * count, [math.nan] * count, [False] * count
    done = 0
    for rows in _by_length(questions.prompts, batch_size):
        out = sample_completions(
            policy,
            [questions.prompts[row] for row in rows],
            group_size=1,
            max_new_tokens=max_new_tokens,
            temperature=1.0,
            seeds=None,
        )
        columns = (rows, out.texts, out.lengths.tolist(), out.truncated.tolist())
        for row, text, length, cut in zip(*columns, strict=True):
            texts[row], lengths[row], truncated[row] = text, float(length), bool(cut)
        done += len(rows)
        log.info("%s, %s prompt: %d of %d answered", name, questions.form, done, count)
    rewards = _reward_rows(scorer, texts, questions.samples)
    strict, lenient = READERS[questions.form]
    return [
        Reply(
            completion=texts[n],
            answer=Answer(
                gold=str(sample.target),
                strict=strict(texts[n]),
                lenient=lenient(texts[n]),
                tokens=lengths[n],
                truncated=truncated[n],
                rewards=rewards[n],
            ),
        )
        for n, sample in enumerate(questions.samples)
    ]


def choose_replies(
    policy: Policy, questions: Questions, *, batch_size: int, name: str = "policy"
) -> tuple[list[Reply], list[Reply]]:
    """The most likely of " yes", " no" and " maybe" as the continuation of each prompt.

    Args:
        policy: as it stands; put into eval mode inside.
        questions: with direct prompts.
        batch_size: prompts scored together.
        name: of the model, for the log.

    Returns:
        Replies by the sum of the choice's token log-probabilities, and by their mean over its
        tokens; the same where every choice is one token.
    """
    choices = [
        list(policy.tokenizer(choice, add_special_tokens=False)["input_ids"]) for choice in CHOICES
    ]
    sums: list[list[float]] = [[] for _ in questions.samples]
    for rows in _by_length(questions.prompts, batch_size):
        table = choice_logprobs(policy, [questions.prompts[row] for row in rows], choices)
        for row, values in zip(rows, table.tolist(), strict=True):
            sums[row] = values
    log.info("%s, log-probabilities: %d answered", name, len(sums))
    means = [[v / len(c) for v, c in zip(values, choices, strict=True)] for values in sums]
    return _choice_replies(questions.samples, sums), _choice_replies(questions.samples, means)


def _choice_replies(samples: Sequence[Sample], scores: Sequence[Sequence[float]]) -> list[Reply]:
    replies = []
    for sample, values in zip(samples, scores, strict=True):
        choices = dict(zip(LABELS, values, strict=True))
        best = max(LABELS, key=choices.__getitem__)
        answer = Answer(gold=str(sample.target), strict=best, lenient=best)
        replies.append(Reply(answer=answer, choices=choices))
    return replies


def _reward_rows(
    scorer: Scorer | None, texts: Sequence[str], samples: Sequence[Sample]
) -> list[dict[str, float]]:
    """Each completion's reward parts and their `total`; empty without a scorer."""
    if scorer is None:
        return [{} for _ in texts]
    table = scorer(texts, samples)
    columns = {**table.parts, "total": table.total}
    return [{name: column[n] for name, column in columns.items()} for n in range(len(texts))]


def _by_length(prompts: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
    """Row numbers in batches, longest prompts first: little padding, and memory runs out early."""
    order = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
