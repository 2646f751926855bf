"""An HTTP service that is spoken to in lines, and cannot hang its caller."""

from __future__ import annotations

import os
import queue
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit

from rl4bio.errors import ConfigError
from rl4bio.rewards.external.failures import ExchangeError

MAX_ANSWER_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 16
_ERROR_BYTES = 1 << 12


def check_url(url: str) -> None:
    """Raise a ConfigError where a text is no address of an HTTP service, or holds a password."""
    try:
        address = urlsplit(url)
        ok = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # a port that is no number, or half of an IPv6 address
        ok = False
    if not ok or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"url: got {url!r}, needs an address such as http://localhost:8080/score")
    if "@" in address.netloc:
        raise ConfigError(
            "url: holds a user or password; leave it out, and name the environment variable that "
            "holds the service's token in token_variable"
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


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would lose its body, and could carry the token to another host."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        raise ExchangeError("unreachable", f"answered {code}, moved to {newurl}; give that as url")


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
        self._opener = urllib.request.build_opener(_NoRedirects)

    def post(self, data: bytes, *, timeout_s: float) -> bytes:
        """The body of the answer to a request.

        Raises:
            ExchangeError: no answer in time, an error status, a redirect, or too long an answer.
        """
        # A time-out of urllib's is for each piece alone, and for no name that is looked up.
        results: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        deadline = time.monotonic() + timeout_s

        def work() -> None:
            try:
                results.put(self._post(data, timeout_s, deadline))
            except Exception as error:
                results.put(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            result = results.get(timeout=timeout_s)
        except queue.Empty:
            result = TimeoutError()
        if isinstance(result, bytes):
            return result
        raise _as_exchange_error(result, timeout_s) from result

    def _post(self, data: bytes, timeout_s: float, deadline: float) -> bytes:
        headers = {"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"}
        if self.token_variable is not None:
            headers["Authorization"] = f"Bearer {read_token(self.token_variable)}"
        request = urllib.request.Request(self.url, data, headers, method="POST")
        found = bytearray()
        with self._opener.open(request, timeout=timeout_s) as answer:
            while chunk := answer.read1(_CHUNK_BYTES):
                found += chunk
                if time.monotonic() > deadline:
                    raise TimeoutError
                if len(found) > MAX_ANSWER_BYTES:
                    reason = f"answered more than {MAX_ANSWER_BYTES >> 20} MiB"
                    raise ExchangeError("unreachable", f"{reason}; lower batch_size")
        return bytes(found)


def _as_exchange_error(error: Exception, timeout_s: float) -> Exception:
    if isinstance(error, ExchangeError | ConfigError):
        return error
    if isinstance(error, urllib.error.HTTPError):
        return ExchangeError("unreachable", f"answered {error.code} {_body(error)}")
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return ExchangeError("time-out", f"no answer within {timeout_s:g} s")
    if isinstance(error, OSError | HTTPException):
        return ExchangeError("unreachable", f"no answer ({reason or type(error).__name__})")
    return error


def _body(error: urllib.error.HTTPError) -> str:
    """The beginning of what a service says about an error; the status in words where nothing."""
    try:
        body = error.read(_ERROR_BYTES).decode("utf-8", "replace").strip()
    except (OSError, HTTPException):
        body = ""
    return body or str(error.reason)
