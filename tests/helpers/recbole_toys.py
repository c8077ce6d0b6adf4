"""Models shaped like RecBole's, with numbers to work out by hand; nothing is trained."""

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
