"""How long a sequence may be for a model to be one and the same along it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def usable_positions(config: Any) -> int | None:
    """Longest sequence in tokens; None where positions set no limit.

    LongRoPE (Phi-3.5, Phi-4-mini) has two sets of frequencies, and changes to the second at
    `original_max_position_embeddings`: for all positions at once, and for all rows of a batch. What
    was cached before, and the log-probabilities of shorter rows beside a long one, are then those
    of another model. Dynamic NTK scaling does the same at `max_position_embeddings`.

    Args:
        config: of the text model.
    """
    limits = [getattr(config, "max_position_embeddings", None), *_switches(config)]
    known = [limit for limit in limits if isinstance(limit, int)]
    return min(known, default=None)


def changes_within(config: Any) -> str:
    """What to tell a user where `usable_positions` is not the model's own limit; else ""."""
    own, usable = getattr(config, "max_position_embeddings", None), usable_positions(config)
    if usable == own:
        return ""
    return f" (of {own}: beyond them its LongRoPE changes all positions, so it would be two models)"


def _switches(config: Any) -> Iterator[int | None]:
    """Lengths at which frequencies change; a model may have parameters for each kind of layer."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    for parameters in (found, *(value for value in found.values() if isinstance(value, dict))):
        if parameters.get("rope_type", parameters.get("type")) in ("longrope", "su"):
            yield parameters.get(
                "original_max_position_embeddings",
                getattr(config, "original_max_position_embeddings", None),
            )
