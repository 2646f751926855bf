"""Weights that are shared out; what two processes do with them is in tests/test_fsdp.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rl4bio.engine.sharding import as_one_call, as_shared, gathered, shard, shards_of
from rl4bio.errors import ConfigError


def test_a_model_that_does_not_name_its_layers_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model.base_model = model[0]  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="Sequential does not say what its layers are; use ddp"):
        shard(model, None)  # type: ignore[arg-type]
    assert shards_of(model) is None


def test_a_whole_model_is_left_as_it_is() -> None:
    weight = torch.ones(3)
    tree = {"a": [weight, 7]}
    assert gathered(tree)["a"][0] is weight
    assert gathered(tree, keep=False)["a"][0] is weight
    assert as_shared(weight.double(), weight).dtype == torch.float32
    model = nn.Linear(3, 1)
    assert as_one_call(lambda model, value: (model, value))(model, 5) == (model, 5)
