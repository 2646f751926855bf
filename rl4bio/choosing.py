"""Answers by log-probability: the most likely of the choices as the continuation of each prompt.

The definition is that of lm-evaluation-harness 0.4 (`output_type: multiple_choice`): acc takes the
largest summed log-probability, acc_norm the largest after division by the characters of the choice.
As there, white space at the end of the prompt counts as part of every choice; that adds one number
to all sums, which acc does not feel and acc_norm does.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rl4bio.answering import Questions, by_length
from rl4bio.evaluation.answers import Answer
from rl4bio.evaluation.cases import Reply
from rl4bio.evaluation.labels import LABELS
from rl4bio.modules.logprobs import continuation_logprobs
from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One choice behind its prompt."""

    logprob: float
    """Of its tokens, added up; nats."""
    lead: float
    """Of the white space that ends the prompt, which all choices of an item share."""
    tokens: int
    characters: int


NORMS: dict[str, Callable[[Measured], float]] = {
    "": lambda choice: choice.logprob,
    " per token": lambda choice: choice.logprob / choice.tokens,
    " per character": lambda choice: (choice.lead + choice.logprob) / choice.characters,
}
"""What the largest is taken of. The last is lm-eval's acc_norm."""


def choose_replies(
    policy: Policy, questions: Questions, *, batch_size: int, name: str = "policy"
) -> dict[str, list[Reply]]:
    """The most likely choice of every item, by each way of scoring.

    Yes, no and maybe stand behind a blank. Letters and texts of options do so behind a raw prompt
    and not behind a chat template, which is lm-eval's rule.

    Args:
        policy: as it stands; put into eval mode inside.
        questions: with direct prompts; not open ones.
        batch_size: prompts scored together.
        name: of the model, for the log.

    Returns:
        Way of scoring -> one reply a sample; letters have one character and so need no norm.
    """
    samples = questions.samples
    if questions.kind == "verdict":
        wanted = {"log-prob": ([{label: label for label in LABELS}] * len(samples), list(NORMS))}
    else:
        options: list[dict[str, str]] = [sample.extra["options"] for sample in samples]
        letters = [{letter: letter for letter in own} for own in options]
        wanted = {
            "log-prob of the letter": (letters, [""]),
            "log-prob of the option": (options, ["", " per character"]),
        }
    found = {}
    for what, (choices, norms) in wanted.items():
        table = measure_choices(policy, questions, choices, batch_size=batch_size)
        log.info("%s, %s, %s: %d answered", name, questions.name, what, len(table))
        for norm in norms:
            found[what + norm] = [
                _reply(questions.gold(sample), {c: NORMS[norm](m) for c, m in own.items()})
                for sample, own in zip(samples, table, strict=True)
            ]
    return found


def measure_choices(
    policy: Policy,
    questions: Questions,
    choices: Sequence[Mapping[str, str]],
    *,
    batch_size: int,
) -> list[dict[str, Measured]]:
    """The log-probability of every choice of every item.

    Args:
        policy: as it stands; put into eval mode inside.
        questions: whose prompts are continued.
        choices: of each item, label -> text.
        batch_size: prompts scored together.

    Returns:
        Of each item, label -> what was measured.
    """
    blank = [_blank(policy, questions, row) for row in range(len(questions.samples))]
    lead = [_trailing_space(policy, prompt) for prompt in questions.prompts]
    table: list[dict[str, Measured]] = [{} for _ in choices]
    for rows in by_length(questions.prompts, batch_size):
        prompts, tails, encoded = [], [], []
        for row in rows:
            prompt = questions.prompts[row]
            start = len(prompt) - lead[row]
            own = [policy.encode_continuation(blank[row] + text) for text in choices[row].values()]
            prompts.append(prompt[:start])
            tails.append(prompt[start:])
            encoded.append([[*prompt[start:], *tokens] for tokens in own])
        found = continuation_logprobs(policy, prompts, encoded)
        for row, tail, values in zip(rows, tails, found, strict=True):
            for (label, text), steps in zip(choices[row].items(), values, strict=True):
                table[row][label] = Measured(
                    logprob=math.fsum(steps[len(tail) :]),
                    lead=math.fsum(steps[: len(tail)]),
                    tokens=len(steps) - len(tail),
                    characters=len(text),
                )
    return table


def _blank(policy: Policy, questions: Questions, row: int) -> str:
    """What stands between a prompt and its choices."""
    is_chat = not isinstance(questions.samples[row].prompt, str)
    templated = is_chat and policy.tokenizer.chat_template is not None
    return "" if templated and questions.kind == "choice" else " "


def _trailing_space(policy: Policy, prompt: Sequence[int]) -> int:
    """How many tokens of white space end a prompt; the first token always stays."""
    count = 0
    while count < len(prompt) - 1:
        text = policy.tokenizer.decode([prompt[-1 - count]], skip_special_tokens=False)
        if not text or not text.isspace():
            break
        count += 1
    return count


def _reply(gold: str | None, choices: dict[str, float]) -> Reply:
    best = max(choices, key=choices.__getitem__)
    return Reply(answer=Answer(gold=gold, strict=best, lenient=best), choices=choices)
