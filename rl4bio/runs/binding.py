"""What corpus and policy are told of each other: tokens, lengths, conditions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from rl4bio.answers.design import Begun
from rl4bio.data.base import Corpus
from rl4bio.errors import ConfigError, DataError
from rl4bio.runs.begun_answers import begun_answer

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")


def bind_corpus(corpus: Corpus, policy: Policy, *, learns: bool | None = None) -> None:
    """Tell a corpus what the policy can read: its tokens, its positions, its conditions.

    Args:
        corpus: of the run, or of an evaluation.
        policy: that reads it.
        learns: whether it learns to follow the corpus' conditions, which are kept with it then;
            None where nothing is trained.

    Raises:
        DataError: they do not fit each other.
        ConfigError: a scaffold is to be decorated, and the model has not learned to.
    """
    from rl4bio.modules.conditions import Conditioning

    if begun := begun_answer(corpus, policy):
        log.info("%s", begun)
    start, positions = policy.tokenizer.bos_token_id is not None, policy.max_positions
    asked = Conditioning.of(policy.model.config)
    if asked.scaffold_length:
        corpus.scaffold_limit = asked.scaffold_length
    longest = None if positions is None else positions - start
    corpus.bind(policy.tokenizer.get_vocab(), max_tokens=longest)
    wanted, given = asked.property_names, corpus.conditions
    if wanted and given is not None and [name.lower() for name in wanted] != given:
        raise DataError(
            f"data.options.properties: the model is conditioned on {', '.join(wanted)}, in this "
            f"order, the data on {', '.join(given) or 'nothing'}; name the model's in properties "
            "or targets"
        )
    if wanted and given:
        settle_properties(corpus, policy, learns=bool(learns))
    if corpus.decorates and learns is not None:
        settle_decoration(policy, learns=learns)


def settle_properties(corpus: Corpus, policy: Policy, *, learns: bool) -> None:
    """Keep the ranges of the properties that a model learns; warn of what is asked for outside."""
    from rl4bio.modules.conditions import learn_ranges, outside_ranges

    asked = [Begun.of(sample).properties or [] for sample in corpus.samples("train")]
    if learns:
        learn_ranges(policy.model.config, asked)
    for line in outside_ranges(policy.model.config, asked):
        log.warning("data.options: %s", line)


def settle_decoration(policy: Policy, *, learns: bool) -> None:
    """Mark a model that learns to complete scaffolds with attachment points.

    Raises:
        ConfigError: it is no MolGPT, or should have learned it before.
    """
    config: Any = policy.model.config
    if policy.family != "molgpt":
        raise ConfigError(f"data: decoration needs a MolGPT, and {policy.checkpoint} is none")
    if learns:
        config.decorates = True
    elif not config.decorates:
        raise ConfigError(
            f"policy.checkpoint: {policy.checkpoint} was not trained to complete scaffolds; use "
            "rl4bio:molgpt-decorate, or tune it first with task sft, data decoration and a source"
        )
