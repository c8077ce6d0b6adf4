"""Asking a server on the loopback: what is remembered, what is counted, what goes wrong."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from helpers.llm_server import (
    COMPLETION_TOKENS,
    DROP,
    EMPTY,
    HTML,
    NO_USAGE,
    NOT_JSON,
    PROMPT_TOKENS,
    LLMServer,
)
from recsae.core.errors import LabelerFailed
from recsae.core.llm.client import LanguageClient
from recsae.core.llm.server import MAX_REPLY
from recsae.core.llm.settings import LanguageSettings

pytestmark = pytest.mark.processes


NOBODY = SimpleNamespace(url="http://127.0.0.1:9/v1")


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def echo(prompt):
    return f"answer to {prompt}"


def client(server, folder, **settings):
    options = {"retries": 1, "model": "m", "base_url": server.url, **settings}
    return LanguageClient(LanguageSettings(**options), folder, 1)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


QUESTIONS = [f"q{i}" for i in range(12)]


def test_answers_come_in_order_and_the_same_question_is_asked_once(tmp_path):
    with LLMServer(echo) as server:
        asked = client(server, tmp_path).ask(["b", "a", "b"])
    assert [a.text for a in asked] == ["answer to b", "answer to a", "answer to b"]
    assert sorted(server.prompts) == ["a", "b"]


def test_nothing_is_asked_twice_wherever_the_server_is(tmp_path):
    with LLMServer(echo) as server:
        first = client(server, tmp_path)
        answers = first.ask(QUESTIONS)
    second = client(NOBODY, tmp_path)
    assert second.ask(QUESTIONS) == answers
    assert second.tokens == first.tokens


@pytest.mark.parametrize(
    "other",
    [
        {"model": "n"},
        {"temperature": 0.5},
        {"max_tokens": 9},
        {"sampling_seed": 1},
        {"extra": {"top_k": 1}},
    ],
)
def test_another_model_or_other_sampling_is_another_question(tmp_path, other):
    with LLMServer(echo) as server:
        client(server, tmp_path).ask(["a"])
        client(server, tmp_path, **other).ask(["a"])
    assert len(server.requests) == 2


def test_the_request_says_what_the_settings_say(tmp_path):
    with LLMServer(echo) as server:
        client(server, tmp_path, sampling_seed=3, extra={"top_k": 1}).ask(["a"])
        client(server, tmp_path, temperature=None, max_tokens=None).ask(["a"])
    message = [{"role": "user", "content": "a"}]
    full = {"temperature": 0.0, "max_tokens": 2000, "seed": 3, "top_k": 1}
    assert server.requests == [
        {"model": "m", "messages": message, **full},
        {"model": "m", "messages": message},
    ]


@pytest.mark.parametrize(("key", "sent"), [("sk-1", "Bearer sk-1"), (None, "Bearer none")])
def test_the_key_comes_from_the_environment_and_is_not_kept(tmp_path, monkeypatch, key, sent):
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with LLMServer(echo) as server:
        client(server, tmp_path).ask(["a"])
    assert server.keys == [sent]
    assert all("sk-1" not in path.read_text() for path in files(tmp_path))


def test_no_more_at_once_than_allowed(tmp_path):
    with LLMServer(echo, delay=0.05) as server:
        client(server, tmp_path, concurrency=3).ask(QUESTIONS)
    assert server.most_at_once == 3


def test_tokens_and_cost(tmp_path):
    with LLMServer(echo) as server:
        asked = client(server, tmp_path, price_in=1000, price_out=10_000)
        asked.ask(["a", "b"])
        asked.ask(["a"])
    counts = {"prompt": 2 * PROMPT_TOKENS, "completion": 2 * COMPLETION_TOKENS}
    assert asked.tokens == {"answers": 2, **counts, "uncounted": 0}
    assert asked.cost() == pytest.approx((200 * 1000 + 14 * 10_000) / 1e6)


def test_without_prices_or_counts_there_is_no_cost(tmp_path):
    with LLMServer(echo, lambda number: NO_USAGE) as server:
        unknown = client(server, tmp_path, price_in=1, price_out=1)
        unknown.ask(["a"])
        unpriced = client(server, tmp_path, price_in=1)
        unpriced.ask(["b"])
    assert unknown.tokens == {"answers": 1, "prompt": 0, "completion": 0, "uncounted": 1}
    assert unknown.cost() is None
    assert unpriced.cost() is None


def test_progress_is_told(tmp_path):
    told = []
    with LLMServer(echo) as server:
        client(server, tmp_path).ask(["a"])
        client(server, tmp_path, concurrency=1, price_in=1e6, price_out=0).ask(
            ["a", "b", "c"], "naming", lambda *step: told.append(step)
        )
    assert told == [
        (1, 3, "naming, 107 tokens, cost 100.00"),
        (2, 3, "naming, 214 tokens, cost 200.00"),
        (3, 3, "naming, 321 tokens, cost 300.00"),
    ]


@pytest.mark.parametrize("trouble", [429, 500, 503, DROP])
def test_passing_trouble_is_waited_out(tmp_path, trouble):
    with LLMServer(echo, lambda number: trouble if number == 0 else None) as server:
        assert client(server, tmp_path).ask(["a"])[0].text == "answer to a"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (429, "allows no more requests now (429 as the test asked): wait"),
        (500, "failed (500 as the test asked). Answers so far are kept"),
        ((401, "bad\x1b[31m key"), "refused the key (401 bad [31m key): set OPENAI_API_KEY"),
        (403, "set OPENAI_API_KEY"),
        ((404, "no such model"), "knows no model 'm' (404 no such model)"),
        (DROP, "No language model answers at http://127.0.0.1"),
    ],
)
def test_lasting_trouble_is_one_sentence_and_keeps_what_was_answered(tmp_path, trouble, words):
    with LLMServer(echo, lambda number: trouble if number >= 5 else None) as server:
        asked = client(server, tmp_path, concurrency=1)
        with pytest.raises(LabelerFailed) as error:
            asked.ask(QUESTIONS)
        assert words in str(error.value)
        assert error.value.exit_code == 3
        assert len(files(tmp_path)) == 5
        server.trouble = lambda number: None
        before = len(server.requests)
        assert len(client(server, tmp_path).ask(QUESTIONS)) == 12
    assert len(server.requests) - before == 7


def test_the_others_are_not_asked_once_one_has_failed(tmp_path):
    with (
        LLMServer(echo, lambda number: 401, delay=0.02) as server,
        pytest.raises(LabelerFailed, match="refused the key"),
    ):
        client(server, tmp_path, concurrency=2).ask([str(i) for i in range(200)])
    assert len(server.requests) <= 4


def test_nobody_answers(tmp_path):
    with pytest.raises(LabelerFailed, match=r"No language model answers at .*9/v1 .*running\?"):
        client(NOBODY, tmp_path, retries=0).ask(["a"])
    assert files(tmp_path) == []


def test_a_slow_server_is_given_up(tmp_path):
    with (
        LLMServer(echo, delay=1) as server,
        pytest.raises(LabelerFailed, match=r"no answer within 0\.1 seconds"),
    ):
        client(server, tmp_path, timeout=0.1, retries=0).ask(["a"])


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ((400, "context too long"), "the server refused the question: 400 context too long"),
        (422, "the server refused the question: 422 as the test asked"),
        (NOT_JSON, "the reply is no JSON"),
        (HTML, "the reply is no chat completion"),
        (EMPTY, "the reply has no text"),
    ],
)
def test_what_one_question_suffers_from_is_its_own_problem(tmp_path, trouble, why):
    """It is not remembered, so that it is asked again another time."""
    with LLMServer(echo, lambda number: trouble if number == 1 else None) as server:
        answers = client(server, tmp_path, concurrency=1).ask(["a", "b", "c"])
        assert [a.text for a in answers] == ["answer to a", None, "answer to c"]
        assert answers[1].problem.startswith(why)
        assert client(server, tmp_path).ask(["b"])[0].text == "answer to b"


@pytest.mark.parametrize("n", [3, 50])
def test_a_server_that_answers_nothing_at_all_is_given_up(tmp_path, n):
    with (
        LLMServer(echo, lambda number: (400, "temperature must be 1")) as server,
        pytest.raises(LabelerFailed, match=r"answered none of \d+ questions.*must be 1"),
    ):
        client(server, tmp_path, concurrency=1).ask([str(i) for i in range(n)])
    assert len(server.requests) <= 21


def test_a_huge_reply_is_kept_by_its_end(tmp_path):
    with LLMServer(lambda prompt: "x" * 1_000_000 + "end") as server:
        text = client(server, tmp_path).ask(["a"])[0].text
    assert (len(text), text[-4:]) == (MAX_REPLY, "xend")
    assert files(tmp_path)[0].stat().st_size < 2 * MAX_REPLY


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"answer": {"text": 5}}', '{"answer": null}'])
def test_a_damaged_answer_is_asked_again(tmp_path, damage):
    with LLMServer(echo) as server:
        client(server, tmp_path).ask(["a"])
        files(tmp_path)[0].write_text(damage)
        assert client(server, tmp_path).ask(["a"])[0].text == "answer to a"
    assert len(server.requests) == 2
    assert json.loads(files(tmp_path)[0].read_text())["answer"]["text"] == "answer to a"


def test_it_works_where_a_loop_is_running_already(tmp_path):
    """As in a notebook."""

    async def cell():
        return client(server, tmp_path).ask(["a"])[0].text

    with LLMServer(echo) as server:
        assert asyncio.run(cell()) == "answer to a"


KILLED = """
import sys
from pathlib import Path
from recsae.core.llm.client import LanguageClient
from recsae.core.llm.settings import LanguageSettings
settings = LanguageSettings(base_url=sys.argv[1], model="m", concurrency=2)
LanguageClient(settings, Path(sys.argv[2]), 1).ask([f"q{i}" for i in range(12)])
"""


def test_a_killed_process_loses_only_what_was_under_way(tmp_path):
    with LLMServer(echo, delay=0.05) as server:
        command = [sys.executable, "-c", KILLED, server.url, str(tmp_path)]
        process = subprocess.Popen(command)
        while len(server.requests) < 7 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.1)
        asked = len(server.requests)
        whole = [path for path in files(tmp_path) if path.suffix == ".json"]
        assert 7 <= asked < 12
        assert len(whole) >= asked - 4
        answers = client(server, tmp_path).ask(QUESTIONS)
    assert [a.text for a in answers] == [f"answer to q{i}" for i in range(12)]
    assert len(server.requests) - asked == 12 - len(whole)


def test_without_the_sdk_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(LabelerFailed, match=r'pip install "recsae\[llm\]"'):
        client(NOBODY, tmp_path).ask(["a"])
