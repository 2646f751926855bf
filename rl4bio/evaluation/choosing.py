"""Answers by log-probability: the most likely of the choices as the continuation of each prompt.

The definition is that of lm-evaluation-harness 0.4 (`output_type: multiple_choice`): acc takes the
largest summed log-probability, acc_norm the largest after division by the characters of the choice.
As there, white space at the end of the prompt counts as part of every choice; that adds one number
to all sums, which acc does not feel and acc_norm does.

Letters of therapeutic tasks are asked for as their prompts write them, "(A)" and "(B)", and also
inside the answer block, behind an empty reasoning or behind the model's own.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rl4bio.answers.answer import Answer
from rl4bio.evaluation.replies import Questions
from rl4bio.modules.completing import by_length
from rl4bio.modules.logprobs import continuation_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.reports.answers.cases import Reply
from rl4bio.types import Sample

log = logging.getLogger("rl4bio")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredChoice:
    """One choice behind its prompt."""

    logprob: float
    """Of its tokens, added up; nats."""
    lead: float
    """Of the white space that ends the prompt, which all choices of an item share."""
    tokens: int
    characters: int


NORMS: dict[str, Callable[[MeasuredChoice], float]] = {
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
        name: of the model and the prompt, for the log.

    Returns:
        Way of scoring -> one reply a sample; letters have one character and so need no norm.
    """
    samples, kind = questions.samples, questions.kind
    found = {}
    for what, norms in kind.ways.items():
        choices = [kind.written(s, what, begun=bool(questions.opened)) for s in samples]
        table = measure_choices(policy, questions, choices, batch_size=batch_size)
        log.info("%s, %s: %d answered", name, what, len(table))
        for norm in norms:
            found[what + norm] = [
                _reply(questions, sample, {c: NORMS[norm](m) for c, m in own.items()})
                for sample, own in zip(samples, table, strict=True)
            ]
    return found


def measure_choices(
    policy: Policy,
    questions: Questions,
    choices: Sequence[Mapping[str, str]],
    *,
    batch_size: int,
) -> list[dict[str, MeasuredChoice]]:
    """The log-probability of every choice of every item.

    Args:
        policy: as it stands; put into eval mode inside.
        questions: whose prompts are continued. Where completions have been begun, all tokens that
            the choices of an item share behind that are part of its prompt.
        choices: of each item, label -> text; behind a begun completion without what it ends in.
        batch_size: prompts scored together.

    Returns:
        Of each item, label -> what was measured.
    """
    blank = [_blank(policy, questions, row) for row in range(len(questions.samples))]
    lead = [0 if questions.opened else _trailing_space(policy, p) for p in questions.prompts]
    table: list[dict[str, MeasuredChoice]] = [{} for _ in choices]
    for rows in by_length(questions.prompts, batch_size):
        prompts, tails, encoded = [], [], []
        for row in rows:
            texts = list(choices[row].values())
            if questions.opened:
                prompt, own = _begun(policy, questions, row, texts)
            else:
                prompt = questions.prompts[row]
                own = [policy.encode_continuation(blank[row] + text) for text in texts]
            start = len(prompt) - lead[row]
            prompts.append(prompt[:start])
            tails.append(prompt[start:])
            encoded.append([[*prompt[start:], *tokens] for tokens in own])
        found = continuation_logprobs(policy, prompts, encoded)
        for row, tail, values in zip(rows, tails, found, strict=True):
            for (label, text), steps in zip(choices[row].items(), values, strict=True):
                table[row][label] = MeasuredChoice(
                    logprob=math.fsum(steps[len(tail) :]),
                    lead=math.fsum(steps[: len(tail)]),
                    tokens=len(steps) - len(tail),
                    characters=len(text),
                )
    return table


def _begun(
    policy: Policy, questions: Questions, row: int, texts: Sequence[str]
) -> tuple[list[int], list[list[int]]]:
    """The prompt with what its choices share of a begun completion, and their own tokens.

    Encoded together, since a tokenizer may merge the end of one with the start of the other.
    Where that is longer than the model, the completion loses its start.
    """
    prompt, start = policy.split_start(questions.samples[row].prompt, questions.opened[row])
    own = [policy.encode_continuation(start + text) for text in texts]
    shared = next(
        (n for n, tokens in enumerate(zip(*own, strict=False)) if len(set(tokens)) > 1),
        min(map(len, own)) - 1,  # every choice keeps a token
    )
    room = policy.completion_room(len(prompt))
    excess = 0 if room is None else max(0, max(map(len, own)) - room)
    return [*prompt, *own[0][excess:shared]], [tokens[shared:] for tokens in own]


def _blank(policy: Policy, questions: Questions, row: int) -> str:
    """What stands between a prompt and its choices."""
    is_chat = not isinstance(questions.samples[row].prompt, str)
    templated = is_chat and policy.tokenizer.chat_template is not None
    return "" if templated and not questions.kind.apart else " "


def _trailing_space(policy: Policy, prompt: Sequence[int]) -> int:
    """How many tokens of white space end a prompt; the first token always stays."""
    count = 0
    while count < len(prompt) - 1:
        text = policy.tokenizer.decode([prompt[-1 - count]], skip_special_tokens=False)
        if not text or not text.isspace():
            break
        count += 1
    return count


def behind_reasoning(questions: Questions, replies: Sequence[Reply]) -> Questions:
    """The questions with the reasoning that a model wrote, and the answer block begun behind it.

    A reasoning that was cut off, or never led to an answer block, is ended where it ends.
    """
    tags = questions.kind.tags
    opened = []
    for sample, reply in zip(questions.samples, replies, strict=True):
        said, found, _ = reply.completion.partition(f"<{tags[1]}>")
        if not found:
            closed = said.rstrip().endswith(f"</{tags[0]}>")
            said = said.rstrip() + ("" if closed else f"</{tags[0]}>")
        opened.append(f"{said}<{tags[1]}>{questions.kind.lead(sample)}")
    return dataclasses.replace(questions, opened=opened)


def _reply(questions: Questions, sample: Sample, choices: dict[str, float]) -> Reply:
    best = max(choices, key=choices.__getitem__)
    positive = questions.kind.positive(sample)
    odds = math.nan
    if positive is not None:
        others = [value for label, value in choices.items() if label != positive]
        odds = choices[positive] - max(others)  # of two options the log of P / (1 - P)
    answer = Answer(
        gold=questions.kind.gold(sample),
        strict=best,
        lenient=best,
        positive=positive,
        log_odds=odds,
    )
    return Reply(answer=answer, choices=choices)
