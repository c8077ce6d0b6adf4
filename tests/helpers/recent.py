"""A torch model small enough for attributions by hand: its state is a sum over recent items."""

import numpy as np
import torch
from torch import nn

import recsae_torch
from helpers.toy import ITEMS
from recsae.sae.config import make_config
from recsae.sae.model import SAE

IDS = {external: i for i, external in enumerate(ITEMS["item_id"], start=1)}
N = 9
LONGEST = 4
DECAY = 0.5
VECTORS = np.array(
    [[0, 0], [2, 1], [-1, 1], [0, 3], [1, -2], [3, 0], [-2, -1], [1, 1], [0.5, -1]],
    dtype=np.float32,
)
OUT = np.array(
    [[0, 0], [1, 0], [0, 1], [1, 1], [-1, 0], [0, -1], [2, 1], [1, -2], [0.5, 0.5]],
    dtype=np.float32,
)
BIAS = np.array([0, 0.1, 0.2, 0, 0, -0.3, 0, 0.4, 0], dtype=np.float32)
HISTORIES = {f"u{u}": [f"m{1 + (u * 3 + t * t) % 8}" for t in range(2 + u % 5)] for u in range(40)}


class Recent(nn.Module):
    """State: sum of item vectors, each half as heavy as the one after it; maybe squashed."""

    def __init__(self, squash=False):
        super().__init__()
        self.items = nn.Embedding(N, 2)
        self.mixed, self.out = nn.Identity(), nn.Linear(2, N)
        self.squash = squash
        self.load_state_dict(
            {
                "items.weight": torch.tensor(VECTORS),
                "out.weight": torch.tensor(OUT),
                "out.bias": torch.tensor(BIAS),
            }
        )

    def vectors(self, items):
        return self.items(items)

    def forward(self, items, lengths):
        back = lengths[:, None] - 1 - torch.arange(items.shape[1])
        weight = torch.where(back >= 0, DECAY ** back.clamp_min(0), 0.0)
        state = self.mixed((self.vectors(items) * weight[:, :, None]).sum(1))
        return self.out(torch.tanh(state) if self.squash else state)


def batch_of(histories):
    items = torch.zeros(len(histories), LONGEST, dtype=torch.int64)
    for row, history in enumerate(histories):
        items[row, : len(history)] = torch.tensor(history)
    return items, torch.tensor([len(h) for h in histories])


def attached(model=None, **options):
    """The model as a recommender, ids m1 to m8 its rows 1 to 8."""
    given = {
        "site": "out.input",
        "histories": HISTORIES,
        "item_ids": IDS,
        "items": ITEMS,
        "make_batch": batch_of,
        "max_length": LONGEST,
    }
    return recsae_torch.attach(model or Recent(), **{**given, **options})


def state_of(history):
    """The state after a history, by NumPy."""
    weights = DECAY ** np.arange(len(history) - 1, -1, -1)
    return (VECTORS[history] * weights[:, None]).sum(0)


def small_sae(k=2):
    """Three latents of two dimensions, with an offset of its own."""
    sae = SAE(make_config(n_latents=3, k=k), 2)
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]))
        sae.b_enc.copy_(torch.tensor([0.0, 0.1, -0.1]))
        sae.b_dec.copy_(torch.tensor([0.1, -0.2]))
        sae.mean.copy_(torch.tensor([0.5, 0.25]))
        sae.scale.fill_(2.0)
    return sae.eval()


def preactivations_of(state):
    """What goes into the latents of :func:`small_sae`, by NumPy."""
    x = (np.asarray(state) - [0.5, 0.25]) / 2.0 - [0.1, -0.2]
    return x @ np.array([[1, 0], [0, 1], [0.6, 0.8]]).T + [0.0, 0.1, -0.1]
