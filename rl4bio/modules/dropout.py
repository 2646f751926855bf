"""Everything in a model that makes two forward passes of the same rows differ while it trains."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn

from rl4bio.engine.known_tokens import inner_model

log = logging.getLogger("rl4bio")

NAMES = ("drop", "jitter")
"""Parts of the names of rates: dropout, attn_pdrop, layerdrop, router_jitter_noise."""
OTHER_HEADS = ("summary_", "classifier_")
"""Beginnings of rates of heads that a language model has not."""


class Rate(NamedTuple):
    """A rate above 0: `p` of a dropout layer, a number of another module or of its config."""

    module: nn.Module
    owner: Any
    name: str


def switch_off_dropout(model: nn.Module) -> None:
    """Set every dropout probability to 0, since a policy that samples and learns must be one.

    The model's own config stays as it is, as it will be saved; modules that read their rates from
    it get a copy.
    """
    found = list(dropout_rates(model))
    configs: dict[int, tuple[Any, Any]] = {}
    for module, owner, name in found:
        if owner is module:
            setattr(module, name, 0.0)
            continue
        _, quiet = configs.setdefault(id(owner), (owner, copy.copy(owner)))
        setattr(quiet, name, 0.0)
        module.config = quiet
    if found:
        log.warning("dropout is switched off: with it, sampling and update would be two policies")


def dropout_is_active(model: nn.Module) -> bool:
    """Whether a forward in the model's present mode drops anything."""
    return any(rate.module.training for rate in dropout_rates(model))


def dropout_rates(model: nn.Module) -> Iterator[Rate]:
    """All rates above 0. Some models have a layer and others a number under the same name."""
    whole = {id(model), id(inner_model(model))}
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            if module.p > 0:
                yield Rate(module, module, "p")
            continue
        config = vars(module).get("config")
        own = [module, *([] if config is None or id(module) in whole else [config])]
        for owner in own:
            for name, value in list(vars(owner).items()):
                if _is_rate(name) and isinstance(value, float) and value > 0:
                    yield Rate(module, owner, name)


def _is_rate(name: str) -> bool:
    return any(part in name for part in NAMES) and not name.startswith(OTHER_HEADS)
