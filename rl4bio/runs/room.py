"""Whether the disk has room for what a run will write, before its weights are read and after."""

from __future__ import annotations

import math
import re
from pathlib import Path

from rl4bio.files.assets import is_asset
from rl4bio.files.model_folder import read_model_json, tensor_shapes
from rl4bio.modules.base_files import find_base
from rl4bio.modules.locate import locate
from rl4bio.runs.claim import nearest
from rl4bio.sections import NEW, AdapterConfig, RunConfig
from rl4bio.storage import require_free_space

TEXTS = 2**22
"""Bytes of the log, the metrics, the report and the tokenizer of the smallest run."""
_IN_LAYERS = re.compile(r"\.\d+\.(?!.*experts).*\.weight$")
"""Matrices that an adapter on all linear layers is for; experts are often stored as one."""


def check_room(config: RunConfig, trained: int) -> None:
    """Refuse a run whose checkpoints and model will not fit on the disk.

    A checkpoint has the trained weights and two moments of each in float32; one more than are kept
    is on the disk while it is written.

    Args:
        config: of the run.
        trained: how many weights it trains.

    Raises:
        StorageError: says how much is free and how much is needed.
    """
    checkpoints = (config.trainer.keep_checkpoints + 1) * 3
    needed = 4 * trained * (checkpoints + 1) + TEXTS
    require_free_space(nearest(Path(config.output_dir)), needed)


def trained_at_least(config: RunConfig) -> int:
    """How many weights a run trains at least, from the headers of its checkpoint's files.

    0 where the files are not here yet, or the model has parts that are not trained.

    Raises:
        ModelError: its folder, or the adapter's, would be refused.
    """
    policy, key = config.policy, "policy.checkpoint"
    if policy.checkpoint == NEW:
        return 0
    place = policy.checkpoint
    if is_asset(place) or Path(place).expanduser().is_dir():
        place = locate(place)
    folder = find_base(place, policy.revision)
    if folder is None or "text_config" in read_model_json(folder / "config.json", key):
        return 0
    if policy.adapter is not None and policy.adapter.path is not None:
        shapes = tensor_shapes(Path(policy.adapter.path).expanduser(), "policy.adapter.path")
        return sum(map(math.prod, shapes.values()))
    shapes = tensor_shapes(folder, key)
    if policy.adapter is None:
        shapes.pop("lm_head.weight", None)  # which is often the embeddings once more
        return sum(map(math.prod, shapes.values()))
    return sum(
        policy.adapter.rank * sum(shape)
        for name, shape in shapes.items()
        if len(shape) == 2 and _has_adapter(name, policy.adapter)
    )


def _has_adapter(name: str, adapter: AdapterConfig) -> bool:
    if _IN_LAYERS.search(name) is None:
        return False
    module = name.removesuffix(".weight")
    return adapter.targets == ["all-linear"] or any(
        module == one or module.endswith(f".{one}") for one in adapter.targets
    )
