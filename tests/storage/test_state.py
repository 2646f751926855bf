"""Optimiser and generator states survive without pickle, bit by bit."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rl4bio.errors import StorageError
from rl4bio.storage import (
    flatten_state,
    load_checkpoint_folder,
    save_checkpoint_folder,
    unflatten_state,
)


def through_disk(state: Any, folder: Path) -> Any:
    tensors, plain = flatten_state(state)
    path = save_checkpoint_folder(folder, 1, tensors={"run": tensors}, state={"run": plain})
    loaded, stored = load_checkpoint_folder(path)
    return unflatten_state(loaded["run"], stored["run"])


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 3)).pow(2).sum().backward()
        optimizer.step()


def test_adamw_continues_as_if_never_stopped(tmp_path: Path) -> None:
    def fresh() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        groups = [{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 1e-3}]
        return model, torch.optim.AdamW(groups, betas=(0.8, 0.99), amsgrad=True)

    model, optimizer = fresh()
    train(model, optimizer, 5)
    state = {
        "optimizer": optimizer.state_dict(),
        "model": model.state_dict(),
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "generator": np.random.default_rng(3).bit_generator.state,
    }
    back = through_disk(state, tmp_path)
    expected_draws = (random.random(), np.random.rand())
    train(model, optimizer, 5)

    twin, twin_optimizer = fresh()
    twin.load_state_dict(back["model"])
    twin_optimizer.load_state_dict(back["optimizer"])
    torch.set_rng_state(back["torch"])
    random.setstate(back["python"])
    np.random.set_state(back["numpy"])
    assert (random.random(), np.random.rand()) == expected_draws
    train(twin, twin_optimizer, 5)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert back["generator"] == state["generator"]


def test_types_and_values(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "nested": {0: (1, [2, None, True]), "x": {"y": "text ä"}},
        "floats": [0.1, 1e-320, math.inf, -0.0],
        "markers": {"__tensor__": "no tensor", "__tuple__": [1]},
        "scalar": np.float32(0.1),
        "double": np.float64(0.1),
        "array": np.arange(6, dtype=">u4").reshape(2, 3)[:, ::2],
        "bfloat": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 4),
        "view": shared[::2],
        "same": shared,
        "none": {},
    }
    back = through_disk(state, tmp_path)
    assert back["nested"] == state["nested"]
    assert type(back["nested"][0]) is tuple
    assert back["floats"] == state["floats"]
    assert math.copysign(1, back["floats"][3]) == -1
    assert back["markers"] == state["markers"]
    assert back["scalar"] == float(np.float32(0.1))
    assert (back["double"], type(back["double"])) == (0.1, float)
    assert back["array"].tolist() == [[0, 2], [3, 5]]
    assert back["array"].dtype == np.dtype(">u4")
    for name in ("bfloat", "count", "empty", "view", "same"):
        assert back[name].dtype == state[name].dtype  # type: ignore[attr-defined]
        assert torch.equal(back[name], state[name])  # type: ignore[arg-type]
    assert back["none"] == {}


def test_nan_stays_nan(tmp_path: Path) -> None:
    assert math.isnan(through_disk([math.nan], tmp_path)[0])


@pytest.mark.parametrize("bad", [object(), {1, 2}, {1.5: 1}, {(1, 2): 3}, lambda: 0])
def test_objects_are_refused_with_their_place(bad: Any) -> None:
    with pytest.raises(StorageError, match=r"state\.callbacks\[1\]: a \w+ cannot be stored"):
        flatten_state({"callbacks": [0, bad]})


def test_plain_part_is_json() -> None:
    _, plain = flatten_state(torch.optim.AdamW([torch.zeros(2, requires_grad=True)]).state_dict())
    assert json.loads(json.dumps(plain)) == plain
