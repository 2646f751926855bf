"""Messages over a socket: a length of four bytes and as many bytes."""

from __future__ import annotations

import socket
import struct
import time

MAX_BYTES = 1 << 28


class Gone(Exception):
    """The other side has closed the socket, or says what makes no sense."""


def send(connection: socket.socket, data: bytes, deadline: float | None = None) -> None:
    """Send one message.

    Raises:
        TimeoutError: the deadline (of time.monotonic) has passed.
        Gone: nobody reads.
    """
    try:
        connection.settimeout(_left(deadline))
        connection.sendall(struct.pack("!I", len(data)) + data)
    except TimeoutError:
        raise
    except OSError as error:
        raise Gone(str(error)) from None


def receive(connection: socket.socket, deadline: float | None = None) -> bytes:
    """One message; errors as in `send`."""
    (size,) = struct.unpack("!I", _exactly(connection, 4, deadline))
    if size > MAX_BYTES:
        raise Gone(f"a message of {size:,} bytes")
    return _exactly(connection, size, deadline)


def _exactly(connection: socket.socket, size: int, deadline: float | None) -> bytes:
    parts: list[bytes] = []
    while size:
        try:
            connection.settimeout(_left(deadline))
            part = connection.recv(min(size, 1 << 20))
        except TimeoutError:
            raise
        except OSError as error:
            raise Gone(str(error)) from None
        if not part:
            raise Gone("it ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
