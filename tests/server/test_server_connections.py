"""Laws of connections on a real socket: who neither sends nor reads is not waited for without end."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import time
from urllib.parse import urlsplit

import pytest
from clients import KEY, LONG, listening
from server_fakes import Served

import avengers_edge.server.launcher as launcher
from avengers_edge.errors import AvengersError
from avengers_edge.server.launcher import serve
from avengers_edge.server.options import Limits, ServeOptions

HURRIED = Limits(drain=1, idle_seconds=0.5, send_seconds=0.5, body_seconds=0.5)
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextlib.contextmanager
def connected(served, room=None):
    with socket.socket() as connection:
        if room:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        connection.settimeout(LONG)
        connection.connect(("127.0.0.1", urlsplit(served.url).port))
        yield connection


def answered(connection):
    got = b""
    while not got.endswith(b"}"):
        got += connection.recv(65536)
    return got


def ends(connection):
    """Read to the end; it is one, however the server makes it."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass


@pytest.mark.parametrize(
    "head",
    [
        POST + b"Content-Length: 1000\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
    ],
    ids=["without a key", "needing no body"],
)
def test_the_body_of_a_request_that_was_answered_without_it_is_not_waited_for(head):
    with listening(limits=HURRIED) as served, connected(served) as connection:
        connection.sendall(head)
        got = answered(connection)
        assert got.startswith(b"HTTP/1.1 ") and b"connection: close" in got.lower()
        ends(connection)


def test_a_request_after_a_body_that_was_read_is_answered_on_the_same_connection():
    with listening(limits=HURRIED) as served, connected(served) as connection:
        key = f"Authorization: Bearer {KEY}\r\n".encode()
        connection.sendall(POST + key + b"Content-Length: 4\r\n\r\nxxxx")
        assert answered(connection).startswith(b"HTTP/1.1 400")
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answered(connection).startswith(b"HTTP/1.1 200")


def test_a_slow_body_is_not_waited_for_while_others_are_answered_and_its_connection_ends():
    with listening(limits=HURRIED) as served, contextlib.ExitStack() as stack:
        key = f"Authorization: Bearer {KEY}\r\n".encode()
        slow = [stack.enter_context(connected(served)) for _ in range(4)]
        for connection in slow:
            connection.sendall(POST + key + b"Content-Length: 1000\r\n\r\n{")
        with connected(served) as other:
            other.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answered(other).startswith(b"HTTP/1.1 200")
        for connection in slow:
            got = answered(connection)
            assert got.startswith(b"HTTP/1.1 408") and b"connection: close" in got.lower()
            ends(connection)


def test_a_connection_without_a_further_request_ends():
    with listening(limits=HURRIED) as served, connected(served) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answered(connection).startswith(b"HTTP/1.1 200")
        ends(connection)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops such connections")
def test_a_client_that_reads_nothing_of_its_answer_is_left():
    letters = "x" * 8_000_000
    with listening(letters, limits=HURRIED) as served, connected(served, room=4096) as connection:
        body = b'{"model": "big", "messages": [{"role": "user", "content": "Hi"}]}'
        key = f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(POST + key + body)
        began = connection.recv(100)
        assert began.startswith(b"HTTP/1.1 200")
        open_ones = served.server.server_state.connections
        for _ in range(LONG * 50):
            if not open_ones:
                break
            time.sleep(0.02)
        got = len(began)
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                got += len(chunk)
        assert got < len(letters)


def test_what_is_no_http_is_400_and_a_head_that_is_too_long_is_told_how_long_it_may_be():
    with listening(limits=HURRIED) as served:
        with connected(served) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 400")
        with connected(served) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
            got = answered(connection)
        assert got.startswith(b"HTTP/1.1 431") and b"headers have more than 32768 bytes" in got


def test_more_connections_than_allowed_are_503():
    with listening(limits=Limits(drain=1, connections=2)) as served, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connected(served)).sendall(b"GET")
        connection = stack.enter_context(connected(served))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize("stream", ["true", "false"])
def test_told_twice_to_end_the_server_tells_its_clients_and_does_not_wait_for_what_is_under_way(stream, caplog):
    with listening("a b c", limits=Limits(drain=600)) as served, connected(served) as connection:
        served.engine.hold.clear()
        body = b'{"model": "big", "messages": [{"role": "user", "content": "Hi"}], "stream": %s}' % stream.encode()
        key = f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(POST + key + body)
        assert served.engine.began.wait(LONG)
        for _ in range(2):
            served.server.handle_exit(signal.SIGINT, None)
        got = b""
        while chunk := connection.recv(65536):
            got += chunk
        assert b"shutting_down" in got and b"[DONE]" not in got
    assert served.closed
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


@pytest.mark.parametrize("other", [b"websocket", b"h2c"])
def test_a_request_for_another_protocol_is_answered_in_this_one_and_logs_nothing_foreign(other, caplog):
    with listening(limits=HURRIED) as served, connected(served) as connection:
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: " + other
        connection.sendall(asked + b"\r\n\r\n")
        assert answered(connection).startswith(b"HTTP/1.1 401")
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


def test_an_address_that_cannot_be_had_is_told_in_one_line_before_anything_is_loaded(caplog):
    served = Served(warm_error=AssertionError("loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AvengersError, match="it is taken, use another --port"):
            serve(served.app, ServeOptions(port=port))
    for host, complaint in (("999.1.1.1", "there is no address 999.1.1.1"), ("203.0.113.1", "no address of this")):
        with pytest.raises(AvengersError, match=complaint):
            serve(served.app, ServeOptions(host=host, api_key=KEY, port=0))
    assert not caplog.records and not served.closed


def test_a_name_of_several_addresses_is_served_at_those_that_are_there_and_refused_where_none_is(monkeypatch):
    def meaning(*hosts):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    meaning("203.0.113.1", "203.0.113.2")
    with pytest.raises(AvengersError, match="no address of this machine"):
        launcher._listen("edge.lan", 0)
    meaning("203.0.113.1", "127.0.0.1")
    (listening,) = launcher._listen("edge.lan", 0)
    with listening:
        assert listening.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_what_serves_can_be_called_at_the_address_that_it_tells(host, monkeypatch):
    served, told = Served(), []

    def call(address):
        with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), LONG):
            told.append(address)
        server.should_exit = True

    made = launcher.make_server

    def make(*words):
        nonlocal server
        server = made(*words)
        return server

    server = None
    monkeypatch.setattr(launcher, "make_server", make)
    serve(served.app, ServeOptions(host=host, port=0), call)
    assert told and served.closed
