"""Durable output: whole files or none, checkpoints that verify, one folder per run.

Importing this package loads neither torch nor safetensors.
"""

from rl4bio.storage.checkpoints import (
    latest_checkpoint,
    load_checkpoint_folder,
    save_checkpoint_folder,
    usable_checkpoint,
    verify_checkpoint,
)
from rl4bio.storage.files import read_json, require_free_space, write_atomic, write_json
from rl4bio.storage.run_folder import RunFolder
from rl4bio.storage.state import flatten_state, unflatten_state

__all__ = [
    "RunFolder",
    "flatten_state",
    "latest_checkpoint",
    "load_checkpoint_folder",
    "read_json",
    "require_free_space",
    "save_checkpoint_folder",
    "unflatten_state",
    "usable_checkpoint",
    "verify_checkpoint",
    "write_atomic",
    "write_json",
]
