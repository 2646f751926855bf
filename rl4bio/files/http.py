"""One POST to a service of the user's own, which cannot hang its caller."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage
from typing import IO

from rl4bio.files.deadline import within

_CHUNK_BYTES = 1 << 16
_ERROR_BYTES = 1 << 14


class NoAnswerError(Exception):
    """A service gave no answer; the message is its own or the system's, untrusted.

    Args:
        reason: the beginning of an error's body, the status in words, or what the system says.
        status: of an answer that is an error; None where there is no answer.
        late: whether the time was up.
        too_long: whether it is the answer that was too long.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        late: bool = False,
        too_long: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.late = late
        self.too_long = too_long


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would lose its body, and could carry the token to another host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        raise NoAnswerError(f"and moved to {newurl}: give that as url", status=code)


def post(
    url: str,
    data: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    max_bytes: int | None = None,
) -> bytes:
    """The body of the answer to a request; redirects are not followed.

    Args:
        timeout_s: for the whole answer, the name's look-up included.
        max_bytes: of the answer; None is any number.

    Raises:
        NoAnswerError: an error status, nothing in time, nothing at all, or too long an answer.
    """
    # A time-out of urllib's is for each piece alone, and for no name that is looked up.
    try:
        return within(timeout_s, _post, url, data, headers, timeout_s, max_bytes)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        late = isinstance(reason, TimeoutError)
        raise NoAnswerError(str(reason) or type(reason).__name__, late=late) from error


def _post(
    url: str, data: bytes, headers: Mapping[str, str], timeout_s: float, max_bytes: int | None
) -> bytes:
    deadline = time.monotonic() + timeout_s
    request = urllib.request.Request(url, data, dict(headers), method="POST")
    opener = urllib.request.build_opener(_NoRedirects)
    found = bytearray()
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            while chunk := answer.read1(_CHUNK_BYTES):
                found += chunk
                if time.monotonic() > deadline:
                    raise TimeoutError
                if max_bytes is not None and len(found) > max_bytes:
                    mebibytes = max_bytes >> 20
                    raise NoAnswerError(f"answered more than {mebibytes} MiB", too_long=True)
    except urllib.error.HTTPError as error:
        raise NoAnswerError(_said(error), status=error.code) from error
    return bytes(found)


def _said(error: urllib.error.HTTPError) -> str:
    """The beginning of what a service says about an error; the status in words where nothing."""
    try:
        body = error.read(_ERROR_BYTES).decode("utf-8", "replace").strip()
    except (OSError, HTTPException):
        body = ""
    return body or str(error.reason)
