"""Models shaped like RecBole's, with numbers to work out by hand; nothing is trained."""

from typing import Any

import torch
from torch import nn

# vectors of items 0 (padding) to 3
ITEMS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def sequences(*items, users=None):
    """RecBole's Interaction of some sequences, padded to three items, and of their users."""
    from recbole.data.interaction import Interaction

    rows = [[*row, 0, 0, 0][:3] for row in items]
    users = range(len(rows)) if users is None else users
    return Interaction(
        {
            Toy.ITEM_SEQ: torch.tensor(rows),
            Toy.ITEM_SEQ_LEN: torch.tensor([len(row) for row in items]),
            Toy.USER_ID: torch.tensor(list(users)),
        }
    )


class Toy(nn.Module):
    """The last item's vector, which went through ``encoder``, times the vectors of all items."""

    USER_ID, ITEM_ID, POS_ITEM_ID = "user_id", "item_id", "item_id"
    ITEM_SEQ, ITEM_SEQ_LEN = "item_id_list", "item_length"
    device = torch.device("cpu")

    def __init__(self, encoder=None, items=ITEMS):
        super().__init__()
        self.items, self.encoder = items, encoder or nn.Identity()

    def forward(self, item_seq, lengths):
        states = self.encoder(self.items[item_seq])
        return states[torch.arange(len(lengths)), lengths - 1]

    def full_sort_predict(self, interaction):
        return self._states(interaction) @ self.items.T

    def predict(self, interaction):
        return (self._states(interaction) * self.items[interaction[self.ITEM_ID]]).sum(1)

    def _states(self, interaction):
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])


class PairToy(Toy):
    """Scores pairs only, as DIN does, and notes how many there are in each call."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sizes = []

    def full_sort_predict(self, interaction):
        raise NotImplementedError

    def predict(self, interaction):
        self.sizes.append(len(interaction))
        return super().predict(interaction)


def plus_one(states):
    return states + 1


class PairOfToys(Toy):
    """Like FPMC: a user's vector and the last item's, each with its own table of items."""

    def __init__(self):
        super().__init__()
        self.user, self.last = nn.Embedding(4, 2), nn.Embedding(4, 1)
        self.user.weight.data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
        self.last.weight.data = torch.tensor([[0.0], [10.0], [20.0], [30.0]])

    def _states(self, interaction):
        index = interaction[self.ITEM_SEQ_LEN][:, None] - 1
        last = interaction[self.ITEM_SEQ].gather(1, index)
        return self.user(interaction[self.USER_ID]) + self.last(last)[:, 0]  # (n, 1, 1)


class GraphToy(Toy):
    """Like LightGCN: forward makes both tables, full ranking keeps them, pairs make them anew."""

    USERS = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])

    def __init__(self):
        super().__init__()
        self.restore_user_e: Any = None
        self.restore_item_e: Any = None
        self.forwards = 0

    def forward(self):
        self.forwards += 1
        return self.USERS.clone(), self.items

    def full_sort_predict(self, interaction):
        if self.restore_user_e is None:
            self.restore_user_e, self.restore_item_e = self.forward()
        return (self.restore_user_e[interaction[self.USER_ID]] @ self.restore_item_e.T).view(-1)

    def predict(self, interaction):
        users, items = self.forward()
        users, items = users[interaction[self.USER_ID]], items[interaction[self.ITEM_ID]]
        return (users * items).sum(1)
