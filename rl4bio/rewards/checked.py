"""Running a reward, and what it returns as N checked floats."""

from __future__ import annotations

import copy
import math
import numbers
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rl4bio.errors import RewardError
from rl4bio.rewards.base import Reward
from rl4bio.types import Sample

MAX_FLOAT32 = 3.4028234663852886e38
SHOWN_CHARACTERS = 200


class ExplainedError(RewardError):
    """Names reward and completion already, as the error of a part of `combined` does."""


def run_reward(
    name: str, reward: Reward, completions: Sequence[str], samples: Sequence[Sample]
) -> list[float]:
    """The checked values of one reward, N floats.

    Raises:
        RewardError: it raised, or returned something else than N numbers.
    """
    return checked_scores(name, _run(name, reward, completions, samples), len(completions))


def run_raw(
    name: str, reward: Reward, completions: Sequence[str], samples: Sequence[Sample]
) -> dict[str, list[float]]:
    """The checked raw values of one reward, by its name and their suffix.

    Raises:
        RewardError: it raised, or returned something else than lists of N numbers.
    """
    if type(reward).raw_values is Reward.raw_values:
        return {}
    try:
        found = reward.raw_values(list(completions), copy.deepcopy(list(samples)))
    except (Exception, SystemExit) as error:
        where = f"its raw values of a batch that starts with {named(completions, samples, 0)}"
        raise failure(name, error, where) from error
    return {
        f"{name}{suffix}": checked_scores(f"{name}{suffix}", values, len(completions))
        for suffix, values in found.items()
    }


def _run(name: str, reward: Reward, completions: Sequence[str], samples: Sequence[Sample]) -> Any:
    """What a reward returns for its own copies of the batch."""
    texts, own = list(completions), copy.deepcopy(list(samples))
    if type(reward).__call__ is not Reward.__call__:
        try:
            return reward(texts, own)
        # SystemExit too: a reward must not end the run as if it were done.
        except (Exception, SystemExit) as error:
            where = f"a batch of {len(texts)} that starts with {named(completions, samples, 0)}"
            raise failure(name, error, where) from error
    values: list[Any] = []
    for index, (text, sample) in enumerate(zip(texts, own, strict=True)):
        try:
            values.append(reward.score(text, sample))
        except (Exception, SystemExit) as error:
            raise failure(name, error, named(completions, samples, index)) from error
    return values


def failure(name: str, error: BaseException, where: str) -> RewardError:
    """What to say of a reward that raised, once however deep it stands in others."""
    if isinstance(error, ExplainedError):
        return ExplainedError(f"reward {name!r}: {error}")
    if isinstance(error, RewardError):  # worded for the user
        return ExplainedError(f"reward {name!r} raised RewardError: {error}; on {where}")
    reason = traceback.format_exception_only(error)[-1].strip()[:SHOWN_CHARACTERS]
    return ExplainedError(
        f"reward {name!r} raised {reason}; on {where}; repair or remove the reward"
    )


def named(completions: Sequence[str], samples: Sequence[Sample], index: int) -> str:
    """A completion as messages name it."""
    if not completions:
        return "no completion"
    return f"sample {samples[index].uid}, completion {completions[index][:SHOWN_CHARACTERS]!r}"


def checked_scores(name: str, values: Any, count: int) -> list[float]:
    """The values as N floats; NaN where a reward gave None.

    Raises:
        RewardError: not a sequence, of another length, or with a value that is no finite number.
    """
    is_listing = isinstance(values, Iterable) and getattr(values, "ndim", 1) == 1
    if not is_listing or isinstance(values, str | bytes | Mapping | set | frozenset | Iterator):
        raise RewardError(
            f"reward {name!r}: expected a list of {count} rewards, got {type(values).__name__}"
        )
    found = list(values)
    if hasattr(values, "iloc") and list(values.index) != list(range(len(found))):
        raise RewardError(
            f"reward {name!r}: got a {type(values).__name__} whose index is not 0, 1, 2, ...: its "
            "values may belong to other rows; return them in the order of the completions, as a "
            "list"
        )
    if len(found) != count:
        raise RewardError(f"reward {name!r}: expected {count} rewards, got {len(found)}")
    return [_number(name, index, value) for index, value in enumerate(found)]


def _number(name: str, index: int, value: Any) -> float:
    """One reward as a float; accepts int, float, numpy reals, 0-d arrays and tensors, and None."""
    if value is None:
        return math.nan
    given = value
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isnan(number) or abs(number) <= MAX_FLOAT32:
            return number
    raise RewardError(
        f"reward {name!r}: value {index} is {_brief(given)} ({type(given).__name__}); expected a "
        "finite number (float32), or None where the completion could not be scored"
    )


def _brief(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        return "a value that cannot be shown"
    return text if len(text) <= 40 else text[:40] + "..."
