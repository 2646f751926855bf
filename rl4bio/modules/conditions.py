"""What a conditioned model is given beside its prompt: property values and a scaffold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rl4bio.answers.design import Begun
from rl4bio.engine.sending import send
from rl4bio.errors import DataError
from rl4bio.types import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """What a model is conditioned on; nothing for most."""

    num_properties: int = 0
    property_names: Sequence[str] | None = None
    property_ranges: Sequence[Sequence[float]] | None = None
    """[least, greatest] value of each in training, where it is known."""
    scaffold_length: int = 0
    """Tokens of a scaffold."""

    @classmethod
    def of(cls, config: Any) -> Conditioning:
        """Of a model's configuration, of whatever library."""
        return cls(
            num_properties=getattr(config, "num_properties", 0),
            property_names=getattr(config, "property_names", None),
            property_ranges=getattr(config, "property_ranges", None),
            scaffold_length=getattr(config, "scaffold_length", 0),
        )


def condition_tensors(config: Any, tokenizer: Any, samples: Sequence[Sample]) -> dict[str, Tensor]:
    """The keyword arguments of a conditioned model's prefill; {} where it takes none.

    Args:
        config: of the model; see `Conditioning`.
        tokenizer: of the scaffolds.
        samples: B of them; see `Begun`.

    Returns:
        properties float [B, k] and scaffold_ids int [B, S], those that the model takes.

    Raises:
        DataError: a sample lacks a condition, or gives one that the model cannot take.
    """
    found: dict[str, Tensor] = {}
    asked = Conditioning.of(config)
    if size := asked.num_properties:
        names = asked.property_names or [f"property {n + 1}" for n in range(size)]
        values = [_properties(sample, size, names) for sample in samples]
        found["properties"] = torch.tensor(values, dtype=torch.float32).view(-1, size)
    if length := asked.scaffold_length:
        rows = [_scaffold(sample, tokenizer, length) for sample in samples]
        found["scaffold_ids"] = torch.tensor(rows, dtype=torch.long).view(-1, length)
    return found


def learn_ranges(config: Any, rows: Sequence[Sequence[float]]) -> None:
    """Keep with a model what values its properties have in training, beside earlier ones.

    Args:
        config: of the model, which is written with it.
        rows: of N samples, a value for each property.
    """
    asked = Conditioning.of(config)
    known = asked.property_ranges or [[]] * asked.num_properties
    columns = [[*ends, *(row[k] for row in rows)] for k, ends in enumerate(known)]
    config.property_ranges = [[min(column), max(column)] for column in columns]


def outside_ranges(config: Any, rows: Sequence[Sequence[float]]) -> list[str]:
    """Of each property that is asked for outside the range of training, what a user should know.

    Args:
        config: of the model.
        rows: of N prompts, a value for each property.
    """
    asked = Conditioning.of(config)
    lines = []
    for k, (low, high) in enumerate(asked.property_ranges or []):
        name = asked.property_names[k] if asked.property_names else f"property {k + 1}"
        column = [row[k] for row in rows]
        odd = [value for value in column if not low <= value <= high]
        if odd:
            values = f"{min(odd):g}" + (f" to {max(odd):g}" if len(set(odd)) > 1 else "")
            count = f" ({len(odd)} of {len(column)} prompts)" if len(column) > 1 else ""
            lines.append(
                f"{name} {values}{count} is outside {low:g} to {high:g}, which the model was "
                "trained on; do not expect it of what it writes"
            )
    return lines


def encode_scaffold(tokenizer: Any, text: str, length: int) -> list[int]:
    """The tokens of a scaffold, padded with the end token to `length`; "" is padding alone.

    Raises:
        ValueError: it has a token that the vocabulary lacks, or more tokens than `length`.
    """
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
    if len(ids) > length:
        raise ValueError(f"has {len(ids)} tokens, the model takes {length}")
    return [*ids, *[tokenizer.eos_token_id] * (length - len(ids))]


def repeat_conditions(conditions: Mapping[str, Tensor], times: int) -> dict[str, Tensor]:
    """Conditions [B, ...] of prompts as those of their groups, [B * times, ...]."""
    return {name: value.repeat_interleave(times, 0) for name, value in conditions.items()}


def pick_conditions(conditions: Mapping[str, Tensor], rows: Tensor | slice) -> dict[str, Tensor]:
    """The conditions of some rows, in the given order."""
    return {
        name: value[rows if isinstance(rows, slice) else send(rows, value.device)]
        for name, value in conditions.items()
    }


def _properties(sample: Sample, size: int, names: Sequence[str]) -> list[float]:
    values = Begun.of(sample).properties
    wanted = f"the model is conditioned on {', '.join(names)}"
    if values is None:
        raise DataError(
            f"sample {sample.uid}: {wanted}, and the sample has no properties; name them in "
            "data.options, or use an unconditional model"
        )
    if len(values) != size:
        raise DataError(f"sample {sample.uid}: {wanted}, and the sample has {len(values)} values")
    for name, value in zip(names, values, strict=True):
        if not math.isfinite(value):
            raise DataError(f"sample {sample.uid}: {name} is {value}, needs a finite number")
    return [float(value) for value in values]


def _scaffold(sample: Sample, tokenizer: Any, length: int) -> list[int]:
    text = Begun.of(sample).scaffold
    if text is None:
        raise DataError(
            f"sample {sample.uid}: the model is conditioned on a scaffold, and the sample has "
            "none; name its column in data.options, or use an unconditional model"
        )
    try:
        return encode_scaffold(tokenizer, text, length)
    except ValueError as error:
        raise DataError(f"sample {sample.uid}: scaffold {text[:80]!r}: {error}") from None
