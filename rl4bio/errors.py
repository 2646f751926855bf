"""The errors rl4bio raises on purpose, each with the exit code of the command that meets it.

A message says where, what came, what was expected and what to do. Commands print it as
`rl4bio: error[<kind>]: <what>; <where>; <what to do>` and leave with `exit_code`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Rl4bioError(Exception):
    """Base of every error that a user can cause or must act on."""

    kind = "internal"
    exit_code = 1


class ConfigError(Rl4bioError):
    """The configuration or the command line is wrong."""

    kind = "config"
    exit_code = 2


class MissingPackageError(ConfigError):
    """An optional package is needed; the message names the extra that installs it."""


class DataError(Rl4bioError):
    """A data file, or a record in it, cannot be used."""

    kind = "data"
    exit_code = 3


@contextlib.contextmanager
def about_sample(uid: str) -> Iterator[None]:
    """Name the sample in a DataError from inside."""
    try:
        yield
    except DataError as error:
        raise DataError(f"sample {uid}: {error}") from error


class ModelError(Rl4bioError):
    """A model or checkpoint is missing, gated, unreadable or does not fit."""

    kind = "model"
    exit_code = 4


class NonFiniteError(Rl4bioError):
    """A loss, gradient, log-probability or logit is NaN or infinite."""

    kind = "numbers"
    exit_code = 5


class RewardError(Rl4bioError):
    """A reward raised, or returned something that is not one number per completion."""

    kind = "reward"
    exit_code = 6


class StorageError(Rl4bioError):
    """An output cannot be written, or a written file does not verify."""

    kind = "storage"
    exit_code = 7


class RankError(Rl4bioError):
    """Another process of the run has failed, or is not there."""

    kind = "rank"
    exit_code = 8


class ShapeError(ValueError):
    """A tensor handed to a kernel has the wrong shape; a bug of the caller, not of the user."""


EXIT_RANK_FAILURE = RankError.exit_code
EXIT_OUT_OF_MEMORY = 9
