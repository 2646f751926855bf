"""Items as the models are asked them: in which prompts, and what they reply in every mode."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio.answers.asked import Asked
from rl4bio.data import CORPORA, Corpus
from rl4bio.errors import ConfigError, ModelError
from rl4bio.evaluation.facts import DIRECT_TOKENS
from rl4bio.evaluation.items import Items
from rl4bio.evaluation.outputs import ModelReplies
from rl4bio.sections import RunConfig
from rl4bio.sections.run import EvaluationMode
from rl4bio.types import Scorer

if TYPE_CHECKING:
    from rl4bio.evaluation.replies import Questions
    from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")


@dataclass(slots=True, kw_only=True)
class Exam:
    """The items of one kind and task, as the models are asked them."""

    items: Items
    questions: Questions
    """With the run's own prompt."""
    direct: Questions | None
    """With the direct prompt; None where the corpus has none, and for open questions."""


def make_exams(
    policy: Policy, corpus: Corpus, items: Sequence[Items], config: RunConfig
) -> list[Exam]:
    """The prompts of all items, in the tokens of the base model.

    Raises:
        ConfigError: no mode is left, since all need a prompt that the corpus does not have.
        DataError: a prompt is too long.
    """
    from rl4bio.evaluation.asking import fit_questions
    from rl4bio.runs.begun_answers import begun_answer

    if begun := begun_answer(corpus, policy):
        log.info("%s", begun)
    modes = set(config.evaluation.modes)
    asked = direct_corpus(config, corpus) if {"direct", "logprob"} & modes else None
    if asked is None and not {"greedy", "sampled", "no_reasoning"} & modes:
        raise ConfigError(
            f"evaluation.modes: got {list(config.evaluation.modes)}, but data.name: "
            f"{config.data.name} has no direct prompt (no option form); add greedy or sampled"
        )
    exams = []
    for own in items:
        kind = own.kind
        questions = fit_questions(policy, corpus, own.samples, config.rollout, kind)
        if questions.form != "tags" and modes == {"no_reasoning"}:
            raise ConfigError(
                "evaluation.modes: got ['no_reasoning'], but the prompts of data.name: "
                f"{config.data.name} ask for no <reasoning> block; add greedy"
            )
        direct = questions if asked is corpus and not kind.needs_rewards else None
        if asked is not None and asked is not corpus and not kind.needs_rewards:
            same = {sample.uid for sample in questions.samples}
            rows = [sample for sample in asked.samples("test") if sample.uid in same]
            direct = fit_questions(policy, asked, rows, config.rollout, kind)
        kept = dataclasses.replace(own, samples=questions.samples)
        exams.append(Exam(items=kept, questions=questions, direct=direct))
    return exams


def direct_corpus(config: RunConfig, corpus: Corpus) -> Corpus | None:
    """The same data with the direct prompt; None for a corpus without the option `form`.

    A corpus whose own prompt asks for the answer alone is that itself.
    """
    form = corpus.prompt_form
    if form is None:
        log.warning("data.name: %s has no direct prompt, so no direct rows", config.data.name)
        return None
    if form in ("direct", "predict"):
        return corpus
    options = {**config.data.options, "form": "direct"}
    return CORPORA.build(config.data.name, options, where="data")


def ask(
    policy: Policy, exam: Exam, config: RunConfig, model: str, scorer: Scorer | None
) -> list[ModelReplies]:
    """A model's replies to the items of an exam, in every configured mode that they have."""
    results: list[ModelReplies] = []
    modes: list[EvaluationMode] = config.evaluation.modes
    is_direct = exam.questions.form == "direct"  # greedy is then the same as direct
    for mode in modes:
        if mode in ("greedy", "sampled"):
            results.append(written(policy, exam.questions, config, model, scorer, mode=mode))
        elif mode == "no_reasoning" and exam.questions.form == "tags":
            results += bare(policy, exam, config, model, scorer)
        elif exam.direct is None:
            continue
        elif mode == "direct" and not (is_direct and "greedy" in modes):
            results.append(written(policy, exam.direct, config, model, None, mode=mode))
        elif mode == "logprob" and exam.direct.kind.ways:
            results += chosen(policy, exam.direct, config, model, exam.direct.name)
    if "logprob" in modes:
        results += chosen_in_answer(policy, exam, config, model, results)
    return results


def written(
    policy: Policy,
    questions: Questions,
    config: RunConfig,
    model: str,
    scorer: Scorer | None,
    *,
    mode: EvaluationMode,
) -> ModelReplies:
    """A model's generated replies under its name and mode."""
    from rl4bio.evaluation.asking import generate_replies
    from rl4bio.modules.completing import EVALUATION, Sampling

    section, limits = config.evaluation, config.rollout
    how, limit = generated_name(questions), limits.max_completion_tokens
    short = mode == "direct" or (mode == "no_reasoning" and not questions.kind.needs_rewards)
    sampling = Sampling(max_new_tokens=min(DIRECT_TOKENS, limit) if short else limit)
    if mode == "sampled":
        sampling = Sampling.at(
            limits,
            temperature=section.temperature or limits.temperature,
            group_size=section.num_samples,
            seed=config.seed,
            round_number=EVALUATION,
        )
        how = f"{questions.name}, {questions.kind.vote} of {section.num_samples}"
    size = section.batch_size
    replies = generate_replies(
        policy, questions, sampling, batch_size=size, scorer=scorer, name=f"{model}, {how}"
    )
    return ModelReplies(model=model, mode=how, samples=questions.samples, replies=replies)


def generated_name(questions: Questions) -> str:
    """The mode of greedy completions."""
    return f"{questions.name}, {'no reasoning, ' if questions.opened else ''}generated"


def bare(
    policy: Policy, exam: Exam, config: RunConfig, model: str, scorer: Scorer | None
) -> list[ModelReplies]:
    """A model's greedy answers behind an empty reasoning block.

    Open ones need rewards, which only those of therapeutic tasks give to an answer alone.
    """
    from rl4bio.evaluation.replies import without_reasoning

    questions = exam.questions
    is_open = questions.kind.needs_rewards
    if is_open and Asked.of(questions.samples[0]).answer_form is None:
        return []
    asked = without_reasoning(questions)
    judges = scorer if is_open else None
    found = written(policy, asked, config, model, judges, mode="no_reasoning")
    found.without = generated_name(questions)
    return [found]


def chosen(
    policy: Policy, questions: Questions, config: RunConfig, model: str, prompt: str
) -> list[ModelReplies]:
    """A model's most likely choices, by each way of scoring."""
    from rl4bio.evaluation.choosing import choose_replies

    size = config.evaluation.batch_size
    found = choose_replies(policy, questions, batch_size=size, name=f"{model}, {prompt}")
    return [
        ModelReplies(
            model=model, mode=f"{prompt}, {way}", samples=questions.samples, replies=replies
        )
        for way, replies in found.items()
    ]


def chosen_in_answer(
    policy: Policy, exam: Exam, config: RunConfig, model: str, done: Sequence[ModelReplies]
) -> list[ModelReplies]:
    """The letters of therapeutic tasks by log-probability inside the answer block.

    Behind an empty reasoning, and behind the greedy completion's own where there is one.
    """
    from rl4bio.evaluation.choosing import behind_reasoning
    from rl4bio.evaluation.replies import without_reasoning

    questions = exam.questions
    if questions.form != "tags" or not questions.kind.lead(questions.samples[0]):
        return []
    prompt = questions.name
    names = (f"{prompt}, no reasoning", f"{prompt}, own reasoning")
    found = chosen(policy, without_reasoning(questions), config, model, names[0])
    greedy = [r for r in done if r.mode == generated_name(questions)]
    if greedy:
        asked = behind_reasoning(questions, greedy[0].replies)
        own = chosen(policy, asked, config, model, names[1])
        found[0].without = own[0].mode
        found += own
    return found


def check_prompts(policy: Policy, questions: Questions, folder: Path, config: RunConfig) -> None:
    """Base and tuned must see the same tokens.

    Raises:
        ModelError: the tuned model's tokenizer or template turns the same prompts into others.
    """
    if policy.inputs(questions.samples)["prompts"] != questions.prompts:
        raise ModelError(
            f"{folder}: its tokenizer or chat template encodes the prompts differently from "
            f"{config.policy.checkpoint}, so the two would not see the same prompt; "
            "set policy.checkpoint to the model that it was tuned from"
        )
