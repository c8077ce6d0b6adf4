"""A small OpenAI-compatible server on the loopback, and a judge that really reads what it is asked.

Tests choose what it says and what goes wrong: ``server.say``, ``server.trouble``, ``server.delay``.
"""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from recsae.testing.planted import GENRES

PROMPT_TOKENS = 100
COMPLETION_TOKENS = 7
DROP = "drop"
HTML = "html"
NOT_JSON = "not json"
EMPTY = "empty"
NO_USAGE = "no usage"


class LLMServer:
    """Runs while it is a context; ``url`` is what goes into ``base_url``.

    ``say(prompt)`` gives the text of a reply. ``trouble(number)`` says what goes wrong with the
    request of that number, from 0 on: a status from 400 on, a pair of status and message, one of
    the words above, or None.
    """

    def __init__(self, say=None, trouble=None, delay=0.0):
        self.say = say or truthful
        self.trouble = trouble or (lambda number: None)
        self.delay = delay
        self.requests, self.keys = [], []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def prompts(self):
        return [body["messages"][-1]["content"] for body in self.requests]

    def __enter__(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # clients that hang up are part of the tests
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            number = len(self.requests)
            self.requests.append(body)
            self.keys.append(handler.headers["Authorization"])
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.delay)
            status, kind, text = self.reply(body, self.trouble(number))
        finally:
            with self.lock:
                self.at_once -= 1
        if status is None:
            handler.close_connection = True
            return
        data = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("Retry-After-Ms", "5")
        handler.end_headers()
        handler.wfile.write(data)

    def reply(self, body, trouble):
        """Status, content type and text."""
        if trouble == DROP:
            return None, None, None
        if trouble == HTML:
            return 200, "text/html", "<html><script>alert(1)</script></html>"
        if trouble == NOT_JSON:
            return 200, "application/json", '{"choices": [{"mess'
        if isinstance(trouble, int):
            trouble = (trouble, "as the test asked")
        if isinstance(trouble, tuple):
            error = {"error": {"message": trouble[1], "type": "error"}}
            return trouble[0], "application/json", json.dumps(error)
        text = None if trouble == EMPTY else self.say(body["messages"][-1]["content"])
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS}
        whole = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": None if trouble == NO_USAGE else {**usage, "total_tokens": 107},
        }
        return 200, "application/json", json.dumps(whole)


def data_of(prompt):
    """The JSON values in a prompt's data block."""
    block = re.search(r"\n<data>\n(.*)\n</data>\n", prompt, re.DOTALL)
    assert block is not None
    return [json.loads(line) for line in block[1].split("\n")]


def genres_of(text):
    """Genres of an item, by what stands in the last brackets; or genres that a sentence names."""
    return {genre for genre in GENRES if genre in text.rpartition("(")[2]}


def matches(genres, sequence):
    """What a planted concept is: at least two of the last five items have the genre."""
    recent = [item["marked"] if isinstance(item, dict) else item for item in sequence["items"][-5:]]
    return any(sum(genre in genres_of(item) for item in recent) >= 2 for genre in genres)


def about_of(prompt):
    """The descriptions in a prompt that judges, and the sequences after them."""
    shown = data_of(prompt)
    about = [line for line in shown if "description" in line]
    return about, shown[len(about) :]


def truthful(prompt):
    """Finds the genre that tells examples apart; judges sequences by the genres in a sentence."""
    if "level" in data_of(prompt)[0]:
        return explained([line for line in data_of(prompt) if "level" in line])
    about, sequences = about_of(prompt)
    genres = [genres_of(line["description"]) for line in about]
    said = {}
    for sequence in sequences:
        marked = [item["marked"] for item in sequence["items"] if isinstance(item, dict)]
        if "id" in about[0]:  # which of several descriptions it matches
            pairs = zip(about, genres, strict=True)
            said[sequence["id"]] = [line["id"] for line, g in pairs if matches(g, sequence)]
            continue
        yes = bool(genres[0] & genres_of(marked[0])) if marked else matches(genres[0], sequence)
        said[sequence["id"]] = (
            (10 if yes else 0) if "whole number" in prompt else "yes" * yes or "no"
        )
    return f"Let me see.\n```json\n{json.dumps(said)}\n```"


def explained(shown):
    def gap(genre):
        hits = [
            [matches({genre}, s) for s in shown if (s["level"] > 0) == on] for on in (True, False)
        ]
        return sum(hits[0]) / len(hits[0]) - sum(hits[1]) / max(len(hits[1]), 1)

    best = max(GENRES, key=gap)
    return json.dumps({"name": f"{best} fans", "explanation": f"Several last items are {best}."})
