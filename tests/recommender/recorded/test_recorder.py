"""Modules small enough to reckon by hand, recorded and run without torch."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recsae.recommender.recorded.graph import Operation
from recsae.recommender.recorded.names import LOWERING
from recsae.recommender.recorded.recorder import CannotRecord, Recorder, plain_operations

TABLE = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])
LENGTH = 4
HISTORIES = ([1], [2, 3], [3, 3, 1], [1, 2, 3, 1], [2, 1, 3, 3, 2, 1])


def given(history):
    items = torch.zeros(1, LENGTH, dtype=torch.int64)
    kept = history[-LENGTH:]
    items[0, : len(kept)] = torch.tensor(kept)
    return items, torch.tensor([len(kept)])


def recorded(model, history=(1, 2)):
    """The graph of ``model(items, lengths)``, recorded on one history."""
    items, lengths = given(list(history))
    recorder = Recorder(items, lengths, LOWERING)
    with torch.no_grad(), plain_operations(), recorder:
        out = model(items, lengths)
    return recorder.graph(out)


def names(graph):
    return [operation.name for operation in graph.operations]


def summed(items, lengths):
    return TABLE[items].sum(1) / lengths[:, None]


def test_a_mean_of_item_vectors_by_hand():
    graph = recorded(summed)
    assert names(graph) == ["constant", "rows", "view", "sum", "div"]
    assert graph.tables == [0]
    assert graph.run([1])[0].tolist() == [1, 2]
    assert graph.run([1, 2, 3])[0].tolist() == [1.5, 0.5]
    assert graph.run([9, 9, 1, 1, 1, 1])[0].tolist() == [1, 2]  # the last four
    doubled = {0: 2 * TABLE.numpy()}
    assert graph.run([1], doubled)[0].tolist() == [2, 4]


def test_what_does_not_depend_on_the_history_is_no_operation():
    def model(items, lengths):
        weights = torch.softmax(torch.arange(4.0), 0).cumsum(0)
        return (items * weights).sum(1)

    graph = recorded(model)
    assert names(graph) == ["constant", "mul", "sum"]
    assert len(graph.constants) == 1


def test_the_same_operation_is_written_once_and_what_nobody_asks_for_never():
    def model(items, lengths):
        torch.exp(TABLE[items]).sum()
        return TABLE[items].tanh() + TABLE[items].tanh()

    graph = recorded(model)
    assert names(graph) == ["constant", "rows", "tanh", "add"]
    assert graph.operations[-1] == Operation("add", (4, 4), ())


class InPlace(nn.Module):
    """Writes to views of what depends on the history, and of what did not."""

    def forward(self, items, lengths):
        kept = torch.zeros(1, 6)
        kept[:, 1:5] = items
        kept[0, 5] = 7
        first = kept.view(2, 3)[0]
        first.add_(1)
        kept[kept > 3] = -1
        column = kept.view(3, 2).t()[1]
        column.mul_(2)
        return kept.relu_() + first.sum()


def split(items, lengths):
    one, two = (items.float() + 1).chunk(2, 1)
    three = torch.cat([two, one.flip(1)], 1)
    return torch.stack([three, three.roll(1, 1)], 2).transpose(0, 1).repeat(1, 2, 1)


def looked_up(items, lengths):
    x = TABLE[items]
    last = x[torch.arange(1), lengths - 1]
    other = x.gather(1, (lengths - 1).view(-1, 1, 1).expand(-1, -1, 2)).squeeze(1)
    first = x[..., 0] + torch.arange(4) / 8  # no two alike
    best, order = first.topk(2, dim=1), first.sort(descending=True)
    spread = torch.zeros(1, 4).scatter(1, best.indices, best.values)
    ranks = torch.zeros(1, 4).scatter_add(1, order.indices, order.values * torch.arange(4))
    return torch.cat([last, other, spread, ranks, x.amax(1), first.argmax(1)[:, None]], 1)


def normal(items, lengths):
    x = F.layer_norm(TABLE[items], (2,), torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
    x = F.gelu(x) + F.gelu(x, approximate="tanh") + F.silu(x) + F.leaky_relu(x) + F.elu(x)
    x = x / (x.norm(dim=-1, keepdim=True) + x.var(-1, keepdim=True) + x.std(1, keepdim=True) + 1)
    return x.softmax(1) + x.log_softmax(-1).exp() - x.mean((1, 2), keepdim=True)


def masked(items, lengths):
    inside = (items > 0) & ~(items == 3) | (items >= 3)
    scores = items.float().masked_fill(~inside, -torch.inf).softmax(-1)
    allowed = torch.tril(items.float().unsqueeze(1).expand(1, 4, 4), -1)
    near = torch.where(items.clamp(1, 2) != 1, items // 2, items.clamp_max(1) ** 2)
    return torch.cat([scores, allowed.sum(1), near, inside.any(1, keepdim=True).float()], 1)


class Recurrent(nn.Module):
    """A recurrent layer of two, both ways round."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gru = nn.GRU(2, 3, 2, bidirectional=True, batch_first=True).eval()

    def forward(self, items, lengths):
        return self.gru(TABLE[items])[0][:, -1]


class Attends(nn.Module):
    """torch's own layer, which takes a fused path where it can."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()

    def forward(self, items, lengths):
        x = torch.cat([TABLE[items], TABLE[items.roll(1, 1)]], 2)
        later = torch.ones(LENGTH, LENGTH).triu(1).bool()
        x = self.encoder(x, mask=later)
        return F.scaled_dot_product_attention(x, x, x, is_causal=True)


@pytest.mark.parametrize(
    "model",
    [summed, InPlace(), split, looked_up, normal, masked, Recurrent(), Attends()],
    ids=lambda m: getattr(m, "__name__", type(m).__name__),
)
def test_other_histories_come_out_as_by_torch(model):
    graph = recorded(model)
    for history in HISTORIES:
        with torch.no_grad():
            expected = model(*given(history)).double().numpy().ravel()
        np.testing.assert_allclose(graph.run(history)[0], expected, atol=2e-6)


def test_a_token_beside_the_items_is_looked_up_with_them():
    def model(items, lengths):
        return TABLE[F.pad(items, (0, 1), value=3)].sum(1)

    graph = recorded(model)
    assert graph.tables == [0]
    assert graph.run([1, 2])[0].tolist() == [4.5, 1.5]


def test_a_table_of_anything_else_is_none_of_items():
    graph = recorded(lambda items, lengths: TABLE[lengths - 1] + TABLE.sum())
    assert graph.tables == []


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda items, lengths: items * int(lengths[0]), "number by number"),
        (lambda items, lengths: items[:, : lengths.max()], "number by number"),
        (lambda items, lengths: TABLE[items[items > 0]].sum(0), "as many values as the history"),
        (lambda items, lengths: torch.linalg.svd(TABLE[items])[1], "_linalg_svd"),
        (lambda items, lengths: torch.fft.rfft(items.float()).real, "_fft_r2c"),
        (lambda items, lengths: TABLE[items].half(), "float16"),
        (lambda items, lengths: TABLE[items].norm(p=1, dim=1), "norm of order 1"),
    ],
)
def test_what_cannot_be_written_down_is_refused(model, why):
    with pytest.raises(CannotRecord, match=why):
        recorded(model)


def test_a_refusal_that_the_model_swallows_stays_one():
    def model(items, lengths):
        try:
            n = int(lengths[0])
        except Exception:
            n = 2
        return TABLE[items] * n

    with pytest.raises(CannotRecord, match="number by number"):
        recorded(model)


def test_switches_are_put_back():
    before = torch.backends.mha.get_fastpath_enabled()
    within = []
    with pytest.raises(ZeroDivisionError), plain_operations():
        within.append(torch.backends.mha.get_fastpath_enabled() / 0)
    assert within == []
    assert torch.backends.mha.get_fastpath_enabled() == before
