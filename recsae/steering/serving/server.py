"""An exported steered model behind HTTP, in plain numpy: an example of a server.

It needs numpy and safetensors, no torch and nothing of recsae: the file can be copied.
``python -m recsae.steering.serving.server FOLDER`` with a folder that ``recsae export`` wrote, then

    curl -d '{"state": [0.1, ...], "k": 10}' localhost:8765
    curl localhost:8765/health

with the state that the model makes of a history. In production the product with all items is a
nearest-neighbour index; what comes before it stays as it is here.

Clients are strangers: a request that is no request is answered by a status from 400 on and one
sentence, one that does not come in time is left, and so many at a time are served at most.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

SECONDS = 10.0
"""How long a request may take to arrive, and an answer to be taken, however slow the client is."""
MAX_BODY = 1 << 20
"""Bytes of a request: the numbers of a state of width 10,000 are a quarter of it."""
MAX_ITEMS = 1000
"""Items in one answer at most."""
AT_ONCE = 64
"""Requests at a time; others are told to come again."""
Floats = NDArray[np.float32]
LARGEST = float(np.finfo(np.float32).max)


class Refused(Exception):
    """A request that cannot be answered: a status, and why in a sentence."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Steered:
    """What ``recsae export`` wrote.

    Raises
    ------
    ValueError
        The folder holds none, or one without a table of items.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.weights = load_file(folder / "weights.safetensors")
            self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if "items" in self.weights:
                self._read_items(folder)
        except Exception as error:  # damaged files fail in their own ways
            raise ValueError(f"{folder} holds no whole export of recsae's ({error!r}).") from error
        if "items" not in self.weights:
            raise ValueError(
                f"The export in {folder} has no table of items, since scores are not linear in its "
                "states: steered states are for the rest of the model to run on."
            )

    def _read_items(self, folder: Path) -> None:
        self.ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        self.real = np.flatnonzero(self.weights["recommendable"])
        shift = folder / "shift.npy"
        # mapped, so that a file that says it is large takes no memory
        self.shift = np.load(shift, mmap_mode="r") if shift.exists() else None
        self.recommend(np.zeros(self.width, dtype=np.float32), 1)  # does it all fit together?

    @property
    def width(self) -> int:
        """How many numbers a state has."""
        return int(self.weights["items"].shape[1])

    def edit(self, state: Floats) -> Floats:
        """The steered state ``(d,)``."""
        if self.shift is not None:
            return np.asarray(state + self.shift)
        shift = self._encoded(state) if self.config["latents"] else np.zeros_like(state)
        return np.asarray(state + shift + self.weights.get("direction", np.float32(0)))

    def _encoded(self, state: Floats) -> Floats:
        w = self.weights
        gates = np.maximum(w["gate_weight"] @ state - w["gate_bound"], 0)
        rest = state - gates @ w["gate_decoder"] * w["scale"]
        pre = w["W_enc"] @ ((rest - w["mean"]) / w["scale"] - w["b_dec"]) + w["b_enc"]
        code = np.zeros_like(pre)
        active = np.argsort(-pre, kind="stable")[: self.config["k"]]
        code[active] = np.maximum(pre[active], 0)
        before = np.concatenate([gates, code])[self.config["latents"]]
        after = before.copy()
        for number, step in enumerate(self.config["steps"]):
            value, reached = w[f"value_{number}"], w[f"reached_{number}"]
            turned = {
                "set": value,
                "scale": after * value,
                "add": after + value,
                "at_most": np.minimum(after, value),
                "at_least": np.maximum(after, value),
            }[step["op"]]
            if step["where"] == "active":
                reached = reached & (before > 0)
            after = np.where(reached, turned, after)
        shift: Floats = (after - before) @ w["directions"]
        return shift

    def recommend(self, state: Floats, k: int) -> list[dict[str, object]]:
        """The k best items with their scores, best first; fewer where there are fewer."""
        with np.errstate(all="ignore"):  # what overflows is refused below
            scores, own = (
                self.weights["items"] @ one + self.weights["bias"]
                for one in (self.edit(state), state)
            )
        real, unsteered = scores[self.real], own[self.real]
        if not (np.isfinite(real).all() and np.isfinite(unsteered).all()):
            raise Refused(400, "The numbers of the state are too large: scores are not finite.")
        best = self.real[self._ranked(real, unsteered, k)]
        return [{"item": self.ids[i], "score": float(scores[i])} for i in best]

    def _ranked(self, scores: Floats, own: Floats, k: int) -> NDArray[np.int64]:
        """Places ``(k,)`` among the real items, best first, by their steered scores; ``own`` are
        those without steering."""
        among = np.arange(len(scores))
        for number, step in enumerate(self.config.get("ranking", [])):
            weights = self.weights[f"weights_{number}"]
            if step["edits"] == "pushes":
                weights = (scores - own) / np.float32(step["temperature"])
            else:
                weights = weights[self.real]
            if step["edits"] != "scores":
                n_own = step["candidates"] - step["turned"]
                found = [np.argsort(-own, kind="stable")[:n_own]]
                found.append(np.argsort(-scores, kind="stable")[: step["turned"]])
                among, scores = np.unique(np.concatenate(found)), own
            elif step["candidates"] is not None:
                first = np.argsort(-scores[among], kind="stable")[: step["candidates"]]
                among = np.sort(among[first])
            if step["temperature"] is not None:
                prior = self.weights.get(f"prior_{number}")
                prior = None if prior is None else prior[self.real]
                return _by_probability(scores, weights, prior, among, step, k)
            scores, own = (one + np.float32(step["gain"]) * weights for one in (scores, own))
        return np.asarray(among[np.argsort(-scores[among], kind="stable")[:k]])


def _by_probability(
    scores: Floats,
    weights: Floats,
    prior: Floats | None,
    among: NDArray[np.int64],
    step: dict[str, Any],
    k: int,
) -> NDArray[np.int64]:
    """Place by place the item with the largest ``p * discount + gain * weight``, then by p."""
    scaled = scores[among] / np.float32(step["temperature"])
    p = np.exp(scaled - scaled.max())
    p, own = p / p.sum(), weights[among]
    gain = np.float32(step["gain"]) * own
    if step["first"] is not None:  # so many by score, and the first of the most useful
        order = np.argsort(-scaled, kind="stable")
        useful = order[own[order] == own.max()]
        closed = np.ones(len(among), dtype=bool)
        closed[order[: step["first"]]] = closed[useful[:k]] = False
        gain = np.where(closed, -np.inf, gain)
    if prior is not None:
        log_p = scaled - scaled.max()
        log_p = np.where(np.isfinite(gain), log_p - np.log(np.exp(log_p).sum()), -np.inf)
        p = _calibrated(log_p, step["powers"], prior[among])
    places = []
    for place in range(min(k, int(np.isfinite(gain).sum()))):
        best = int(np.argmax(p / math.log2(place + 2) + gain))
        places.append(best)
        gain[best] = -np.inf
    order = np.argsort(-p[places], kind="stable")
    return np.asarray(among[np.asarray(places, dtype=np.int64)[order]])


def _calibrated(log_p: Floats, powers: list[float], prior: Floats) -> Floats:
    """Better probabilities than the model's, -inf being what is left out."""
    place = np.empty_like(log_p)
    place[np.argsort(-log_p, kind="stable")] = np.log(np.arange(1, len(log_p) + 1))
    own = np.float32(powers[0]) * np.maximum(log_p, -200) + np.float32(powers[1]) * place + prior
    own = np.where(np.isfinite(log_p), own, -np.inf)
    outside = np.log(max(1 - float(np.exp(log_p).sum()), 1e-6))
    most = max(own.max(), outside)
    own = np.exp(own - most)
    return np.asarray(own / (own.sum() + np.exp(outside - most)), dtype=np.float32)


def read_request(body: bytes, width: int) -> tuple[Floats, int]:
    """State and number of items of a request.

    >>> read_request(b'{"state": [1, 0.5], "k": 3}', 2)
    (array([1. , 0.5], dtype=float32), 3)
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The request is no JSON, or nests too deeply.") from error
    if not isinstance(asked, dict) or not {"state"} <= set(asked) <= {"state", "k"}:
        raise Refused(400, 'Send {"state": [...], "k": 10}; k can be left out.')
    state, k = asked["state"], asked.get("k", 10)
    if not isinstance(state, list) or len(state) != width:
        raise Refused(400, f"The state is a list of {width} numbers.")
    for value in state:
        if type(value) not in (int, float) or not abs(value) <= LARGEST:  # nor NaN
            raise Refused(400, "The state has something else than finite numbers in it.")
    if type(k) is not int or not 1 <= k <= MAX_ITEMS:
        raise Refused(400, f"k is a whole number from 1 to {MAX_ITEMS}.")
    return np.array(state, dtype=np.float32), k


class InTime(io.RawIOBase):
    """What a client sends, until a deadline: a byte now and then does not put it off."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.connection, self.deadline = connection, time.monotonic() + seconds

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One request on one connection."""

    server: Server

    def setup(self) -> None:
        """Read what the client sends by a deadline."""
        super().setup()
        self.rfile = io.BufferedReader(InTime(self.connection, SECONDS))

    def finish(self) -> None:
        """Take what is still on its way, or closing would cut the answer off."""
        super().finish()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(0.2)
            for _ in range(MAX_BODY >> 16):
                if not self.connection.recv(1 << 16):
                    break

    def do_GET(self) -> None:
        """Whether the server works: /health."""
        model = self.server.model
        if self.path != "/health":
            self._answer(404, {"error": "There is /health to GET, and / to POST to."})
            return
        self._answer(200, {"status": "ok", "items": len(model.real), "width": model.width})

    def do_HEAD(self) -> None:
        """The same without a body, as load balancers ask."""
        self.do_GET()

    def do_POST(self) -> None:
        """The best items for a state."""
        try:
            if self.path != "/":
                raise Refused(404, "There is /health to GET, and / to POST to.")
            state, k = read_request(self._body(), self.server.model.width)
            found: object = self.server.model.recommend(state, k)
            self._answer(200, found)
        except Refused as error:
            self._answer(error.status, {"error": str(error)})
        except TimeoutError:
            self._answer(408, {"error": f"The request did not come within {SECONDS:g} seconds."})
        except OSError:  # the client has gone
            return
        except Exception as error:
            self.log_message("%s", repr(error))
            self._answer(500, {"error": "The server failed; its log says why."})

    def _body(self) -> bytes:
        stated = self.headers.get("Content-Length", "")
        if not stated:
            raise Refused(411, "Say how long the request is, with Content-Length.")
        if not (stated.isascii() and stated.isdecimal() and len(stated) < 20):
            raise Refused(400, "Content-Length is no number.")
        if int(stated) > MAX_BODY:
            raise Refused(413, f"A request has at most {MAX_BODY} bytes.")
        body = self.rfile.read(int(stated))
        if len(body) < int(stated):
            raise Refused(400, "The request ended before its Content-Length.")
        return body

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content, allow_nan=False).encode()
        self.connection.settimeout(SECONDS)
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:  # the client has gone, or does not read
            self.close_connection = True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request of HTTP, in JSON as everything else."""
        self._answer(code, {"error": message or "This is no request that is understood."})

    def log_message(self, format: str, *values: Any) -> None:
        """Write a line to stderr; what a terminal would act on is a blank."""
        line = format % values
        plain = "".join(c if c.isprintable() else " " for c in line)
        sys.stderr.write(f"{self.address_string()} {self.log_date_time_string()} {plain}\n")


class Server(ThreadingHTTPServer):
    """Serves one model, at most ``AT_ONCE`` requests at a time."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], model: Steered) -> None:
        self.model = model
        self.slots = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a request, if there is a slot for it."""
        if self.slots.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except BaseException:  # no thread could be started
                self.slots.release()
                raise
            return
        body = b'{"error": "Too many requests at a time: come again."}'
        head = f"HTTP/1.0 503 Busy\r\nRetry-After: 1\r\nContent-Length: {len(body)}\r\n\r\n"
        request.settimeout(0.1)
        with contextlib.suppress(OSError):
            request.sendall(head.encode() + body)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve, and free the slot."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave a client that has gone or never came: nothing is wrong here."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def main() -> None:
    """Serve what is exported in a folder."""
    parser = argparse.ArgumentParser(description="Serve what `recsae export` wrote, as an example.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1: this machine alone")
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    try:
        server = Server((given.host, given.port), Steered(given.folder))
    except (OSError, OverflowError, ValueError) as error:
        sys.exit(f"Error: {error}")
    sys.stderr.write(f"Serving {given.folder} on {given.host}, port {given.port}.\n")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
