"""Replayed molecules in other strings, and the prompts for which that makes sense."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

from rl4bio.answers.asked import Asked
from rl4bio.answers.design import Begun
from rl4bio.errors import ConfigError, DataError
from rl4bio.modules.policy import Policy
from rl4bio.modules.replay.memory import Entry
from rl4bio.types import Sample


def check_prompts(samples: Sequence[Sample], options: str) -> None:
    """Refuse prompts whose completions are more than a SMILES.

    Args:
        samples: of a step.
        options: that need it, for the message.

    Raises:
        ConfigError: the policy answers in another form.
    """
    if any(
        not isinstance(sample.prompt, str)
        or Asked.of(sample).answer_form is not None
        or Begun.of(sample).decorate
        for sample in samples
    ):
        raise ConfigError(
            f"{options}: need a policy whose completions are SMILES (data smiles), so that it can "
            "learn what others have found; leave them out here"
        )


def respelled(policy: Policy, entry: Entry, seed: int, *, limit: int) -> Entry:
    """An entry as a random SMILES of its molecule; itself where the policy cannot write that.

    Args:
        policy: whose tokens it gets.
        entry: of a memory of molecules.
        seed: of the step; each molecule has its own string.
        limit: most tokens of a completion.
    """
    from rl4bio.chem.randomize import randomized_smiles

    prefix = policy.decode(entry.prompt)
    own = zlib.crc32(f"{seed}/{entry.key}".encode()) >> 1
    text = randomized_smiles(prefix + entry.text, seed=own)
    if not text.startswith(prefix):
        return entry
    text = text.removeprefix(prefix)
    try:
        completion = policy.encode_completion(text)
    except (DataError, ValueError):  # a token that the policy does not have
        return entry
    if len(completion) > limit:
        return entry
    return dataclasses.replace(entry, text=text, completion=completion, logprobs=[])
