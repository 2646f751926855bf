"""An HTTP service that is spoken to in lines, and cannot hang its caller."""

from __future__ import annotations

import os

from rl4bio.errors import ConfigError
from rl4bio.files.http import NoAnswerError, post
from rl4bio.rewards.external.failures import ExchangeError
from rl4bio.sections.checks import http_address

MAX_ANSWER_BYTES = 16 << 20


def check_url(url: str) -> None:
    """Raise a ConfigError where a text is no address of an HTTP service, or holds a password."""
    http_address(
        "url",
        url,
        example="http://localhost:8080/score",
        instead="name the environment variable that holds the service's token in token_variable",
    )


def read_token(variable: str) -> str:
    """The token that an environment variable holds.

    Raises:
        ConfigError: it is not set, or cannot stand in a header.
    """
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ConfigError(
            f"token_variable: the environment variable {variable} is not set; set it, or "
            "correct token_variable"
        )
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(
            f"token_variable: the environment variable {variable} holds characters that cannot "
            "stand in a header"
        )
    return token


class Endpoint:
    """An address that takes lines by POST and answers lines.

    Args:
        url: as `check_url` takes it.
        token_variable: environment variable whose value goes into `Authorization: Bearer`; read
            for each request, so that a token can be renewed.
    """

    def __init__(self, url: str, *, token_variable: str | None = None) -> None:
        self.url = url
        self.token_variable = token_variable

    def post(self, data: bytes, *, timeout_s: float) -> bytes:
        """The body of the answer to a request.

        Raises:
            ExchangeError: no answer in time, an error status, a redirect, or too long an answer.
        """
        headers = {"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"}
        if self.token_variable is not None:
            headers["Authorization"] = f"Bearer {read_token(self.token_variable)}"
        try:
            return post(self.url, data, headers, timeout_s=timeout_s, max_bytes=MAX_ANSWER_BYTES)
        except NoAnswerError as error:
            raise _as_exchange_error(error, timeout_s) from error


def _as_exchange_error(error: NoAnswerError, timeout_s: float) -> ExchangeError:
    if error.late:
        return ExchangeError("time-out", f"no answer within {timeout_s:g} s")
    if error.status is not None:
        return ExchangeError("unreachable", f"answered {error.status} {error}")
    if error.too_long:
        return ExchangeError("unreachable", f"{error}; lower batch_size")
    return ExchangeError("unreachable", f"no answer ({error})")
