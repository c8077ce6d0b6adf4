"""A server that is a stranger: where the key goes, how long it holds, how much it can send."""

import gzip
import json
import logging
import os
import socket
import threading
import time
import traceback
from contextlib import contextmanager, suppress

import pytest
from pydantic import ValidationError

from helpers.llm_server import LLMServer
from recsae.core.errors import InvalidInput, LabelerFailed
from recsae.core.llm import server as wire
from recsae.core.llm.client import LanguageClient
from recsae.core.llm.settings import LanguageSettings
from recsae.run.settings import read_settings

pytestmark = pytest.mark.processes

KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@contextmanager
def raw_server(send):
    """A server that calls ``send(connection)`` once it has read a request; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def talk(connection):
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            send(connection)
            stop.wait(0.01)

    def accept():
        with suppress(OSError):
            while True:
                threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        stop.set()
        listener.close()


def completion(text="yes", **more):
    return json.dumps({"choices": [{"message": {"content": text}}], **more}).encode()


def reply(body, status="200 OK", **headers):
    lines = {"Content-Type": "application/json", "Content-Length": len(body), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def ask(url, folder, **settings):
    options = {"retries": 0, "model": "m", "base_url": url, "timeout": 20, **settings}
    return LanguageClient(LanguageSettings(**options), folder, 1).ask(["a"])[0]


def kept(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()).decode()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nothing_is_sent_on_to_another_host(tmp_path, status):
    with LLMServer() as other:

        def send(connection):
            connection.sendall(reply(b"", f"{status} Moved", Location=f"{other.url}/chat"))

        with raw_server(send) as url, pytest.raises(LabelerFailed) as error:
            ask(url, tmp_path)
        assert (
            f"The server at {url} sends requests on to {other.url}/chat ({status}), which are not "
            "sent there: give the address of the server that answers."
        ) in str(error.value)
    assert other.requests == []


def test_a_redirect_without_a_place_is_a_sentence_too(tmp_path):
    send = reply(b"", "304 Not Modified")
    with raw_server(lambda c: c.sendall(send)) as url, pytest.raises(LabelerFailed) as error:
        ask(url, tmp_path)
    assert "sends requests on to an address it does not name (304)" in str(error.value)


@pytest.mark.parametrize("part", ["head", "body"])
def test_one_deadline_holds_for_a_whole_answer(tmp_path, part):
    """Each byte comes well within the time-out; all of them would take ten minutes."""
    whole = reply(completion("x" * 6000))
    n_sent = []

    def drip(connection):
        first = 10 if part == "head" else len(whole) - 6000
        connection.sendall(whole[:first])
        for place in range(first, len(whole)):
            time.sleep(0.1)
            connection.sendall(whole[place : place + 1])
            n_sent.append(1)

    with (
        raw_server(drip) as url,
        pytest.raises(LabelerFailed, match=r"gave no answer within 0\.5 seconds"),
    ):
        ask(url, tmp_path, timeout=0.5)
    assert len(n_sent) < 100


def test_the_deadline_holds_for_all_retries_together(tmp_path):
    with (
        LLMServer(trouble=lambda number: 500) as server,
        pytest.raises(LabelerFailed, match=r"gave no answer within 0\.5 seconds"),
    ):
        ask(server.url, tmp_path, timeout=0.5, retries=100)
    assert len(server.requests) < 100


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("status", ["200 OK", "401 No", "500 No"])
def test_a_reply_without_end_is_cut(tmp_path, monkeypatch, stated, status):
    monkeypatch.setattr(wire, "MAX_BYTES", 1 << 16)
    n_sent = []

    def flood(connection):
        length = f"Content-Length: {1 << 30}" if stated else "Connection: close"
        connection.sendall(f"HTTP/1.1 {status}\r\n{length}\r\n\r\n".encode())
        for _ in range(1 << 14):
            connection.sendall(b" " * (1 << 16))
            n_sent.append(1)

    with raw_server(flood) as url, pytest.raises(LabelerFailed) as error:
        ask(url, tmp_path)
    assert wire.TOO_LONG in str(error.value)
    assert len(n_sent) < 1 << 10  # what the system's buffers take, of a gigabyte


def test_a_small_reply_cannot_unpack_to_a_large_one(tmp_path):
    packed = gzip.compress(completion("x" * 50_000_000))
    send = reply(packed, Content_Encoding="gzip")
    with raw_server(lambda c: c.sendall(send)) as url, pytest.raises(LabelerFailed) as error:
        ask(url, tmp_path)
    assert "the reply is compressed, though none was asked for" in str(error.value)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"choices": ' * 100_000, b"1" * 5000])
def test_json_that_nests_without_end_is_no_answer(tmp_path, body):
    with (
        raw_server(lambda c: c.sendall(reply(body))) as url,
        pytest.raises(LabelerFailed, match="answered none of 1 questions: the reply is no"),
    ):
        ask(url, tmp_path)


@pytest.mark.parametrize("count", [-1, 10**30, 1e300, "7", True, [1]])
def test_counts_that_cannot_be_are_no_counts(tmp_path, count):
    body = completion(usage={"prompt_tokens": count, "completion_tokens": 3})
    with raw_server(lambda c: c.sendall(reply(body))) as url:
        answer = ask(url, tmp_path)
    assert answer == ("yes", None, None, 3)


def test_half_characters_of_an_answer_are_replaced(tmp_path):
    body = b'{"choices": [{"message": {"content": "a\\ud800b"}}]}'
    with raw_server(lambda c: c.sendall(reply(body))) as url:
        assert ask(url, tmp_path).text == "a?b"


TELLTALE = json.dumps({"error": {"message": f"no key like {KEY} is known"}}).encode()


@pytest.mark.parametrize(
    "send",
    [
        reply(TELLTALE, "401 No"),
        reply(TELLTALE, "500 No"),
        reply(TELLTALE, "400 No"),
        reply(TELLTALE, "307 Away", Location=f"http://x/{KEY}"),
        reply(KEY.encode()),
        reply(json.dumps(KEY * 9).encode()),
        KEY.encode() + b"\r\n\r\n",
    ],
)
def test_the_key_is_in_no_message_and_no_log_whatever_the_server_says(tmp_path, caplog, send):
    caplog.set_level(logging.INFO)
    with raw_server(lambda c: c.sendall(send)) as url, pytest.raises(LabelerFailed) as error:
        ask(url, tmp_path)
    shown = "".join(traceback.format_exception(error.value))  # as --debug shows it
    assert "LabelerFailed" in shown
    assert KEY not in shown
    assert KEY not in caplog.text


def test_the_key_is_in_no_answer_no_file_and_no_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with LLMServer(lambda prompt: f"your key is {KEY}") as server:
        assert ask(server.url, tmp_path).text == "your key is [the key]"
    assert server.keys == [f"Bearer {KEY}"]
    assert "your key is" in kept(tmp_path)
    assert KEY not in kept(tmp_path)
    assert "chat/completions" in caplog.text
    assert KEY not in caplog.text


def test_a_word_that_local_servers_take_for_a_key_stays_in_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    with LLMServer(lambda prompt: "EMPTY") as server:
        assert ask(server.url, tmp_path).text == "EMPTY"


def test_line_breaks_around_a_key_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    with LLMServer(lambda prompt: "yes") as server:
        ask(server.url, tmp_path)
    assert server.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("key", ["sk very secret", "sk-\x1b[31m", "sk-sécret", "sk-a\nb"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(tmp_path, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(LabelerFailed, match="OPENAI_API_KEY is no key") as error:
        ask("http://127.0.0.1:9/v1", tmp_path)
    assert key[3:] not in str(error.value)


def test_a_proxy_that_is_no_address_is_named_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "nonsense://u:hunter2@x")
    with pytest.raises(LabelerFailed, match="The proxy in the environment") as error:
        ask("http://127.0.0.1:9/v1", tmp_path)
    assert "hunter2" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter2@x/v1",
        "http://hunter2@x/v1",
        "http://u:hun/ter2@x/v1",
        "http://x/v1?key=hunter2",
        "http://x/v1#hunter2",
        "http://u:hunter2@x:port/v1",
        "http://u:hunter2@[/v1",
    ],
)
def test_a_password_in_the_address_is_refused_and_in_no_message(tmp_path, url):
    with pytest.raises(InvalidInput) as refused:
        read_settings(tmp_path, {"llm_base_url": url, "llm_model": "m"}, None)
    assert str(refused.value).startswith("Setting 'language.base_url': it is kept with the run")
    with pytest.raises(ValidationError) as error:
        LanguageSettings(base_url=url, model="m")
    shown = "".join(traceback.format_exception(refused.value)) + str(error.value)
    assert "hunter2" not in shown
    assert "hun/ter2" not in shown


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "/v1", "ftp://x/v1", "file:///etc", "http://", "http:///v1", "http://[::1/v1"),
        *("http://x:y/v1", "http://x:99999/v1", "http://x:0/v1", "http://x /v1", "http://x/\x1b[m"),
    ],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ValidationError, match="an address such as"):
        LanguageSettings(base_url=url, model="m")


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"messages": []}, "'messages' is set by recsae"),
        ({"stream": True}, "'stream' is set by recsae"),
        ({"x": float("nan")}, "JSON has no such values"),
        ({"x": float("inf")}, "JSON has no such values"),
        ({"x": deep(100_000)}, "JSON has no such values"),
        ({"x": "y" * 20_000}, "at most 10,000 characters"),
    ],
)
def test_more_fields_of_a_request_are_checked(extra, why):
    with pytest.raises(ValidationError, match=why):
        LanguageSettings(base_url="http://x/v1", model="m", extra=extra)


def test_the_key_is_in_no_repr(monkeypatch):
    settings = LanguageSettings(base_url="http://x/v1", model="m")
    client = LanguageClient(settings, __file__, 1)
    server = wire.open_server(settings)
    assert os.environ["OPENAI_API_KEY"] == KEY
    assert KEY not in f"{settings!r} {client!r} {server!r} {vars(client)!r}"
