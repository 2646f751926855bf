"""Tests of the HTTP client against a real server on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rl4bio.errors import ConfigError
from rl4bio.rewards.external import endpoint as module
from rl4bio.rewards.external.endpoint import Endpoint, check_url, read_token
from rl4bio.rewards.external.failures import ExchangeError

LONG_S = 60.0
SHORT_S = 0.2
SECRET = "s3cret-of-the-service"
Handle = Callable[[BaseHTTPRequestHandler, bytes], None]


def reply(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Handle], str]]:
    """The address of a server that answers every POST as a function says."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def serve(handle: Handle) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                handle(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/score"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_body_and_the_headers_that_are_sent(
    serve: Callable[[Handle], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def handle(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        seen.update(handler.headers.items(), path=handler.path, body=body)
        reply(handler, b"answer " + body)

    url = serve(handle)
    assert Endpoint(url).post(b"one\ntwo\n", timeout_s=LONG_S) == b"answer one\ntwo\n"
    assert (seen["path"], seen["Content-Type"]) == ("/score", "application/x-ndjson")
    assert "Authorization" not in seen
    monkeypatch.setenv("DOCK_SECRET", f"{SECRET}\n")
    Endpoint(url, token_variable="DOCK_SECRET").post(b"", timeout_s=LONG_S)
    assert seen["Authorization"] == f"Bearer {SECRET}"


def failure(url: str, *, timeout_s: float = LONG_S, **options: str) -> ExchangeError:
    with pytest.raises(ExchangeError) as raised:
        Endpoint(url, **options).post(b"x\n", timeout_s=timeout_s)
    return raised.value


def test_an_error_status_tells_the_body_without_secrets(
    serve: Callable[[Handle], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCK_SECRET", SECRET)
    url = serve(lambda handler, body: reply(handler, f"bad token {SECRET}".encode(), 401))
    error = failure(url, token_variable="DOCK_SECRET")
    assert (error.kind, str(error)) == ("unreachable", "answered 401 bad token ***")
    assert (
        str(failure(serve(lambda h, b: reply(h, b"", 503)))) == "answered 503 Service Unavailable"
    )


def test_a_redirect_is_not_followed(serve: Callable[[Handle], str]) -> None:
    followed = []
    target = serve(lambda handler, body: followed.append(body))
    for status in (301, 302, 303, 307, 308):
        url = serve(lambda h, b, status=status: reply(h, b"", status, Location=target))
        assert f"answered {status}" in str(failure(url))
    assert followed == []


def test_nobody_listens() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = server.server_port
    server.server_close()
    error = failure(f"http://127.0.0.1:{port}")
    assert error.kind == "unreachable"
    assert "refused" in str(error)


def test_silence_and_an_answer_by_drops_end_with_the_time_out(
    serve: Callable[[Handle], str],
) -> None:
    """Each drop comes in time for a time-out of one read; the whole answer does not."""
    done = threading.Event()

    def drip(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        reply(handler, b"", **{"Content-Length": "100000"})
        while not done.wait(SHORT_S / 10):
            handler.wfile.write(b"x")

    def drip_headers(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Header: ")
        while not done.wait(SHORT_S / 10):
            handler.wfile.write(b"x")

    def silence(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        done.wait(LONG_S)

    for url in map(serve, (drip, drip_headers, silence)):
        start = time.monotonic()
        error = failure(url, timeout_s=SHORT_S)
        assert (error.kind, str(error)) == ("time-out", "no answer within 0.2 s")
        assert time.monotonic() - start < LONG_S / 2
    done.set()


def test_an_answer_cut_off_or_without_end(
    serve: Callable[[Handle], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1 << 20)
    url = serve(lambda h, b: reply(h, b"x" * (2 << 20)))
    assert "answered more than 1 MiB" in str(failure(url))
    url = serve(lambda h, b: h.wfile.write(b"no HTTP at all\n"))
    assert failure(url).kind == "unreachable"


@pytest.mark.parametrize(
    "url",
    ["", "localhost:80", "ftp://host/x", "file:///etc/passwd", "http://", "http://h:99999", "http://[",
     "http://h/a b", "http://h/\r\nX: 1"],
)  # fmt: skip
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError, match="needs an address such as"):
        check_url(url)


def test_no_password_in_an_address() -> None:
    check_url("https://dock.example.org:8443/score?target=egfr")
    with pytest.raises(ConfigError, match="token_variable") as raised:
        check_url("http://me:hunter22@host/score")
    assert "hunter22" not in str(raised.value)


def test_tokens_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCK_SECRET", raising=False)
    with pytest.raises(ConfigError, match="DOCK_SECRET is not set"):
        read_token("DOCK_SECRET")
    monkeypatch.setenv("DOCK_SECRET", f"{SECRET}\nX-Other: 1")
    with pytest.raises(ConfigError, match="cannot stand in a header") as raised:
        read_token("DOCK_SECRET")
    assert SECRET not in str(raised.value)
