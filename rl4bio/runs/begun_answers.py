"""Answers that the data of a run begins: in its configuration, in prompts that a user gives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rl4bio.data import CORPORA, Corpus
from rl4bio.sections import RunConfig
from rl4bio.types import Sample

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")


def write_out(config: RunConfig) -> None:
    """Put how prompts end into the configuration, which is stored: a default may change."""
    corpus = CORPORA.build(config.data.name, config.data.options, where="data")
    if "open_block" in CORPORA.option_names(config.data.name):
        config.data.options.setdefault("open_block", corpus.opens_block)


def opening_of(config: RunConfig) -> str:
    """What the prompts of a configuration begin every answer with; "" for most."""
    return CORPORA.build(config.data.name, config.data.options, where="data").opening


def begin_answers(config: RunConfig, samples: Sequence[Sample]) -> list[Sample]:
    """Prompts that a user gives to the model of a run; chat turns are answered as in training."""
    if all(isinstance(sample.prompt, str) for sample in samples):
        return list(samples)
    opening = opening_of(config)
    if opening:
        log.info("answers to chat turns begin with %s, as the data of the run says", opening)
    return [
        sample if isinstance(sample.prompt, str) else replace(sample, opening=opening)
        for sample in samples
    ]


def begun_answer(corpus: Corpus, policy: Policy) -> str:
    """How answers are begun by the corpus or the chat template, in one line; "" for neither.

    Raises:
        ConfigError: template and corpus contradict each other.
    """
    from rl4bio.modules.opening import check_opening

    return check_opening(
        policy.template_opening,
        corpus.begins,
        opened=bool(corpus.opening),
        checkpoint=policy.checkpoint,
    )
