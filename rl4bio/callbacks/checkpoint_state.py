"""What a checkpoint of a run holds, and putting it back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from rl4bio.engine.sharding import as_shared, gathered
from rl4bio.errors import ModelError
from rl4bio.storage import flatten_state, unflatten_state
from rl4bio.types import RememberingScorer

Tensors = dict[str, dict[str, torch.Tensor]]

COUNTERS = ("iteration", "draws", "optimizer_steps")
FILES = {"weights", "optimizer", "generators"}


def what_is_missing(state: Any, files: Sequence[str], run: str) -> str:
    """Why a verified checkpoint cannot be this run's; "" where it can.

    Args:
        state: its JSON value.
        files: names of its tensor files, without suffix.
        run: identity of the run folder; "" asks for none.
    """
    if not isinstance(state, dict) or not {"optimizer", "generators", *COUNTERS} <= state.keys():
        return "its state is not one that a run of rl4bio has written"
    if any(type(state[name]) is not int or state[name] < 0 for name in COUNTERS):
        return "its counters are no numbers of steps"
    if absent := sorted(FILES - set(files)):
        return f"it has no {absent[0]}.safetensors"
    if run and state.get("run", run) != run:
        return "it belongs to another run"
    return ""


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Turn what a state of another shape makes happen into a ModelError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"{folder}: its state does not fit this run ({type(error).__name__}: {error}); was it "
            "written by another version, optimizer or program?"
        ) from error


def collect(trainer: pl.Trainer, module: Any, **more: Any) -> tuple[Tensors, dict[str, Any]] | None:
    """The tensor files and the state of a run between two steps; None on ranks that write nothing.

    Every rank must call.

    Args:
        trainer: of the run.
        module: that is trained.
        more: JSON values that the state holds too.
    """
    memories = scorer_memories(module)
    generators, plain_generators = flatten_state(from_all_ranks(random_states()))
    kept: dict[str, Any] = {name: part.state_dict() for name, part in module.memories.items()}
    weights, own_optimizer, kept = gathered(
        (module.trainable_state(), trainer.optimizers[0].state_dict(), kept),
        keep=trainer.is_global_zero,
    )
    if not trainer.is_global_zero:
        return None
    optimizer, plain_optimizer = flatten_state(own_optimizer)
    states: dict[str, Any] = {}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if found := callback.state_dict():
            states[callback.state_key] = found
    callbacks, plain_callbacks = flatten_state(states)
    stored, plain_memories = flatten_state(kept)
    tensors = {
        "weights": weights,
        "optimizer": optimizer,
        "generators": generators,
        "callbacks": callbacks,
        "scorer": memories or {},
        "memories": stored,
    }
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    state = {
        "iteration": module.iteration,
        "draws": module.draws,
        "optimizer_steps": trainer.global_step,
        "warnings": module.warnings,
        "optimizer": plain_optimizer,
        "generators": plain_generators,
        "callbacks": plain_callbacks,
        "scaler": None if scaler is None else scaler.state_dict(),
        **({"memories": plain_memories} if kept else {}),
        **more,
    }
    return {name: found for name, found in tensors.items() if found or name in FILES}, state


def restore(
    trainer: pl.Trainer, module: Any, tensors: Tensors, state: dict[str, Any], folder: Path
) -> None:
    """Put everything but the generators back, when the optimiser exists.

    Raises:
        ModelError: the checkpoint is of another model, or of another run.
    """
    load_trainable(module, tensors["weights"], folder)
    if "scorer" in tensors:
        restore_memory(module, tensors["scorer"], trainer.global_rank)
    with readable(folder):
        own = unflatten_state(tensors["optimizer"], state["optimizer"])
        load_optimizer(trainer.optimizers[0], own)
        states = unflatten_state(tensors.get("callbacks", {}), state.get("callbacks", {}))
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if callback.state_key in states:
                callback.load_state_dict(states[callback.state_key])
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None and state.get("scaler"):
            scaler.load_state_dict(state["scaler"])
        kept = unflatten_state(tensors.get("memories", {}), state.get("memories", {}))
        for name, part in module.memories.items():
            if name in kept:
                part.load_state_dict(kept[name])
        module.iteration, module.draws = state["iteration"], state["draws"]
        module.warnings = state.get("warnings", [])
    loop = trainer.fit_loop.epoch_loop
    progress = loop.manual_optimization.optim_step_progress
    progress.total.ready = progress.total.completed = state["optimizer_steps"]
    # Validation is due by the number of the step, too.
    loop.batch_progress.total.ready = loop.batch_progress.total.completed = module.iteration


def from_all_ranks(own: Any) -> list[Any]:
    """One value of each rank, in their order. Every rank must call."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    found: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own)
    return found


def scorer_memories(module: Any) -> dict[str, torch.Tensor] | None:
    """What each rank's scorer remembers, int64 [n] by rank; None where it has no memory.

    Every rank must call.
    """
    own = None if module.scorer is None else RememberingScorer.of(module.scorer).state_dict()
    if own is None:
        return None
    memories = from_all_ranks(own)
    return {f"rank{n}": torch.tensor(m, dtype=torch.int64) for n, m in enumerate(memories)}


def restore_memory(module: Any, memories: Mapping[str, torch.Tensor], rank: int) -> None:
    """Give the scorer its rank's memory back; that of all ranks where their number has changed."""
    if module.scorer is None:
        return
    own = memories.get(f"rank{rank}")
    if own is None or len(memories) != module.trainer.world_size:
        own = torch.cat(list(memories.values())).unique()
    RememberingScorer.of(module.scorer).load_state_dict(own.tolist())


def load_trainable(module: Any, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Copy a checkpoint's weights into the module's trainable parameters.

    Raises:
        ModelError: names or shapes differ, as with another base model or LoRA rank.
    """
    own = module.trainable_state()
    stored = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items()}
    if stored != wanted:
        names = sorted(n for n in {*stored, *wanted} if stored.get(n) != wanted.get(n))
        first = names[0]
        raise ModelError(
            f"{folder}: {len(names)} weights do not fit the policy, first {first}: "
            f"{stored.get(first, 'absent')} in the checkpoint, {wanted.get(first, 'absent')} here; "
            "resume with the run's own config.yaml"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(as_shared(weights[name], parameter))


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimiser its whole state, of which sharded weights take their shares."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, own in state.get("state", {}).items():
        like = weights[number]
        for name, value in own.items():
            if isinstance(value, torch.Tensor) and value.ndim and value.shape == like.shape:
                own[name] = as_shared(value, like.detach())
    optimizer.load_state_dict(state)


def random_states() -> dict[str, Any]:
    """The states of the random generators that training may use."""
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Put the random generators back; CUDA's only where there are as many devices."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])


def rank_generators(stored: Any, rank: int) -> dict[str, Any] | None:
    """The generators of a rank; None where the run had fewer ranks."""
    ranks = [stored] if isinstance(stored, dict) else stored  # one for all, once
    return ranks[rank] if rank < len(ranks) else None
