"""An exported steered model behind HTTP, in plain numpy: no torch, no recsae.

``python docs/serving.py FOLDER`` with a folder that ``recsae export`` wrote, then

    curl -d '{"state": [0.1, ...], "k": 10}' localhost:8765

with the state that the model makes of a history. In production the product with all items is a
nearest-neighbour index; what comes before it stays as it is here.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


class Steered:
    """What ``recsae export`` wrote."""

    def __init__(self, folder: Path) -> None:
        self.weights = load_file(folder / "weights.safetensors")
        self.config = json.loads((folder / "config.json").read_text())
        self.ids = json.loads((folder / "ids.json").read_text())
        shift = folder / "shift.npy"
        self.shift = np.load(shift) if shift.exists() else None

    def edit(self, state: np.ndarray) -> np.ndarray:
        """The steered state ``(d,)``."""
        return state + (self.shift if self.shift is not None else self._encoded(state))

    def _encoded(self, state: np.ndarray) -> np.ndarray:
        w = self.weights
        gates = np.maximum(w["gate_weight"] @ state - w["gate_bound"], 0)
        rest = state - gates @ w["gate_decoder"] * w["scale"]
        pre = w["W_enc"] @ ((rest - w["mean"]) / w["scale"] - w["b_dec"]) + w["b_enc"]
        code = np.zeros_like(pre)
        active = np.argpartition(-pre, self.config["k"])[: self.config["k"]]
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
        return (after - before) @ w["directions"]

    def recommend(self, state: np.ndarray, k: int) -> list[dict[str, object]]:
        """The k best items with their scores, best first."""
        scores = self.weights["items"] @ self.edit(state) + self.weights["bias"]
        scores[~self.weights["recommendable"]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:k]
        return [{"item": self.ids[i], "score": float(scores[i])} for i in best]


def handler_of(model: Steered) -> type[BaseHTTPRequestHandler]:
    """Answers POST requests with a JSON list."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                state = np.array(asked["state"], dtype=np.float32)
                found, code = model.recommend(state, int(asked.get("k", 10))), 200
            except (ValueError, KeyError, TypeError) as error:
                found, code = [{"error": str(error)}], 400
            body = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

    return Handler


if __name__ == "__main__":
    model = Steered(Path(sys.argv[1]))
    HTTPServer(("127.0.0.1", 8765), handler_of(model)).serve_forever()
