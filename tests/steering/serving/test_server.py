"""The example of a server: what strangers send is answered in a sentence, and none holds it up."""

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from recsae.steering.serving import server as serving
from recsae.steering.serving.server import Refused, Server, Steered, read_request

ITEMS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32)
"""Padding, a, b and c."""


def export_by_hand(folder):
    """States of two numbers; the steering adds one to the second."""
    weights = {
        "items": ITEMS,
        "bias": np.zeros(4, dtype=np.float32),
        "recommendable": np.array([False, True, True, True]),
    }
    folder.mkdir()
    save_file(weights, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps({"k": 1, "latents": [], "steps": []}))
    (folder / "ids.json").write_text(json.dumps([None, "a", "b", "c"]))
    np.save(folder / "shift.npy", np.array([0, 1], dtype=np.float32))
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "SECONDS", 0.5)
    started = Server(("127.0.0.1", 0), Steered(export_by_hand(tmp_path / "out")))
    threading.Thread(target=started.serve_forever, args=(0.01,), daemon=True).start()
    yield started
    started.shutdown()
    started.server_close()


def ask(server, method="POST", path="/", body=None, headers=None):
    connection = http.client.HTTPConnection(*server.server_address, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_items_come_best_first_after_the_shift(server):
    """The state (2, 0) becomes (2, 1): c has 3, a has 2, b has 1; padding is no item."""
    whole = [{"item": "c", "score": 3.0}, {"item": "a", "score": 2.0}, {"item": "b", "score": 1.0}]
    assert ask(server, body='{"state": [2, 0]}') == (200, whole)
    assert ask(server, body='{"state": [2, 0], "k": 2}') == (200, whole[:2])
    assert ask(server, body='{"state": [2, 0], "k": 1000}') == (200, whole)


def test_health(server):
    assert ask(server, "GET", "/health") == (200, {"status": "ok", "items": 3, "width": 2})
    found = raw(server, b"HEAD /health HTTP/1.0\r\n\r\n")
    assert found.startswith(b"HTTP/1.0 200")
    assert found.endswith(b"\r\n\r\n")


NUMBERS = "The state has something else than finite numbers in it."
WIDTH = "The state is a list of 2 numbers."
NO_JSON = "The request is no JSON, or nests too deeply."
K = "k is a whole number from 1 to 1000."
FORM = 'Send {"state": [...], "k": 10}; k can be left out.'


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", NO_JSON),
        (b"{", NO_JSON),
        (b"\xff", NO_JSON),
        (b"[" * 100_000, NO_JSON),
        (b'{"state":' * 50_000, NO_JSON),
        (b'{"state": [' + b"9" * 5000 + b", 0]}", NO_JSON),
        (b"[]", FORM),
        (b"1", FORM),
        (b"{}", FORM),
        (b'{"state": [1, 2], "x": 1}', FORM),
        (b'{"state": 1}', WIDTH),
        (b'{"state": []}', WIDTH),
        (b'{"state": [1, 2, 3]}', WIDTH),
        (b'{"state": {"0": 1, "1": 2}}', WIDTH),
        (b'{"state": [1, NaN]}', NUMBERS),
        (b'{"state": [1, Infinity]}', NUMBERS),
        (b'{"state": [1, -1e999]}', NUMBERS),
        (b'{"state": [1, 1e39]}', NUMBERS),
        (b'{"state": [1, ' + b"9" * 400 + b"]}", NUMBERS),
        (b'{"state": [1, "2"]}', NUMBERS),
        (b'{"state": [1, true]}', NUMBERS),
        (b'{"state": [1, null]}', NUMBERS),
        (b'{"state": [1, [2]]}', NUMBERS),
        (
            b'{"state": [3e38, 3e38]}',
            "The numbers of the state are too large: scores are not finite.",
        ),
        *((b'{"state": [1, 2], "k": %b}' % k, K) for k in (b"0", b"-1", b"1.5", b"true", b"null")),
        *((b'{"state": [1, 2], "k": %b}' % k, K) for k in (b'"3"', b"1001", b"1e3", b"NaN", b"[]")),
    ],
)
def test_a_request_that_is_none_is_answered_in_a_sentence(server, body, why):
    assert ask(server, body=body) == (400, {"error": why})
    assert ask(server, "GET", "/health")[0] == 200


@pytest.mark.parametrize(
    ("length", "status", "why"),
    [
        (None, 411, "Say how long the request is"),
        ("x", 400, "no number"),
        ("-1", 400, "no number"),
        ("٣", 400, "no number"),
        ("9" * 30, 400, "no number"),
        (str((1 << 20) + 1), 413, "at most 1048576 bytes"),
    ],
)
def test_a_length_that_cannot_be_is_refused(server, length, status, why):
    stated = b"" if length is None else f"Content-Length: {length}\r\n".encode()
    answer = raw(server, b"POST / HTTP/1.1\r\n" + stated + b"\r\n")
    assert answer.startswith(b"HTTP/1.0 %d " % status)
    assert why in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/health", 404), ("GET", "/../etc", 404), ("DELETE", "/", 501)],
)
def test_other_requests_are_refused(server, method, path, status):
    found, content = ask(server, method, path, body=b"{}" if method == "POST" else None)
    assert (found, list(content)) == (status, ["error"])


def raw(server, *parts):
    """Send bytes and read until the server closes."""
    with socket.create_connection(server.server_address, timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_what_is_no_http_is_refused(server):
    assert b'{"error": ' in raw(server, b"\x00\x1b[31m\r\n\r\n")
    assert raw(server, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 414")
    many = b"".join(b"X-%d: 1\r\n" % n for n in range(200))
    assert raw(server, b"GET /health HTTP/1.1\r\n" + many + b"\r\n").startswith(b"HTTP/1.0 431")


def test_a_request_that_ends_early_is_refused(server):
    with socket.create_connection(server.server_address, timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert b" 400 " in answer
    assert b"ended before its Content-Length" in answer


@pytest.mark.parametrize(
    "head",
    [b"", b"POST / HT", b"POST / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"],
)
def test_a_client_that_drips_or_is_idle_is_left(server, head):
    """Each byte comes in time, all of them would take minutes; meanwhile others are served."""
    n_sent = 0
    with (
        socket.create_connection(server.server_address, timeout=20) as connection,
        suppress(OSError),
    ):
        connection.sendall(head)
        for n_sent in range(1000):
            connection.sendall(b" ")
            time.sleep(0.05)
            if n_sent == 2:
                assert ask(server, body='{"state": [2, 0], "k": 1}')[0] == 200
    assert 2 < n_sent < 500


def test_a_request_that_does_not_come_in_time_is_told_so(server):
    answer = raw(server, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.0 408 ")
    assert b"did not come within 0.5 seconds" in answer


def test_so_many_at_a_time_are_served_and_others_told_to_come_again(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "AT_ONCE", 2)
    monkeypatch.setattr(serving, "SECONDS", 20)
    server = Server(("127.0.0.1", 0), Steered(export_by_hand(tmp_path / "out")))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        idle = [socket.create_connection(server.server_address) for _ in range(2)]
        while server.slots._value:
            time.sleep(0.01)
        answer = raw(server)
        assert answer.startswith(b"HTTP/1.0 503 ")
        assert b"Retry-After: 1" in answer
        for connection in idle:
            connection.close()
        while not server.slots._value:
            time.sleep(0.01)
        assert ask(server, "GET", "/health")[0] == 200
    finally:
        server.shutdown()
        server.server_close()


def test_a_fault_of_the_server_is_not_shown_to_clients(server, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("secret \x1b[31m")

    monkeypatch.setattr(server.model, "recommend", fail)
    assert ask(server, body='{"state": [2, 0]}') == (
        500,
        {"error": "The server failed; its log says why."},
    )
    logged = capsys.readouterr().err
    assert "secret" in logged
    assert "\x1b" not in logged


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["state", "k"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_body_is_a_state_or_refused(body):
    state, k = np.zeros(2), 1
    with suppress(Refused):
        state, k = read_request(body, 2)
    assert state.shape == (2,)
    assert np.isfinite(state).all()
    assert 1 <= k <= 1000


# -- the folder ------------------------------------------------------------------------------------


def without_items(folder):
    save_file({"mean": np.zeros(2, dtype=np.float32)}, folder / "weights.safetensors")


DAMAGES = {
    "gone": (lambda f: (f / "weights.safetensors").unlink(), "no whole export"),
    "cut": (lambda f: (f / "weights.safetensors").write_bytes(b"\xff" * 100), "no whole export"),
    "deep": (lambda f: (f / "config.json").write_text("[" * 100_000), "no whole export"),
    "ids gone": (lambda f: (f / "ids.json").unlink(), "no whole export"),
    "few ids": (lambda f: (f / "ids.json").write_text("[]"), "no whole export"),
    "other shift": (lambda f: np.save(f / "shift.npy", np.zeros(3)), "no whole export"),
    "huge shift": (
        lambda f: (f / "shift.npy").write_bytes(
            (f / "shift.npy").read_bytes().replace(b"(2,), }      ", b"(9000000000,),}")
        ),
        "no whole export",
    ),
    "states alone": (without_items, "no table of items"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_folder_that_cannot_be_served_is_refused(tmp_path, name):
    folder = export_by_hand(tmp_path / "out")
    damage, why = DAMAGES[name]
    damage(folder)
    with pytest.raises(ValueError, match=why):
        Steered(folder)


def started_with(*arguments):
    command = [sys.executable, "-m", "recsae.steering.serving.server", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.processes
def test_it_starts_with_python_m_and_without_torch(tmp_path):
    folder = export_by_hand(tmp_path / "out")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from recsae.steering.serving import server\n"
        f"server.Server.serve_forever = lambda self: print(self.model.width)\n"
        f"sys.argv = ['server', {str(folder)!r}, '--port', '0']\nserver.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert done.stderr == f"Serving {folder} on 127.0.0.1, port 0.\n"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("more", "why"), [((), "no whole export"), (("--port", 99999), "port must be 0-65535")]
)
def test_what_cannot_be_started_is_one_sentence(tmp_path, more, why):
    folder = export_by_hand(tmp_path / "out") if more else tmp_path
    done = started_with(folder, *more)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
