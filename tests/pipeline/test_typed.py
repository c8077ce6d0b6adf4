"""A history that a reader puts together: what the page runs gives the model's states and lists."""

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import runs
from recsae.pipeline import typed as module
from recsae.pipeline.turn import turn_data
from recsae.recommender.recorded.graph import Graph, Operation
from recsae.recommender.sequences import pad
from recsae.report.schema.forward import Forward, ItemRows
from recsae.report.schema.rounded import Rounded
from recsae.report.write import read_turn


@pytest.fixture(scope="module")
def opened():
    return runs.planted_open()


@pytest.fixture(scope="module")
def made(opened):
    return turn_data(opened)


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)


def graph_of(turn):
    """The operations as the page reads them, all of its numbers decoded."""
    forward, items = turn.forward, np.frombuffer(base64.b64decode(turn.forward.numbers), "<i4")
    constants = []
    for constant in forward.constants:
        if isinstance(constant, ItemRows):
            rows = (constant.rows or turn.vectors).matrix()
            table = np.full((max(items.max(), *constant.others) + 1, rows.shape[1]), np.nan)
            table[items] = rows
            table[constant.others] = floats(constant.other_rows).reshape(len(constant.others), -1)
            constants.append(table)
        else:
            constants.append(floats(constant))
    operations = tuple(Operation(n, tuple(t), tuple(s)) for n, t, s in forward.operations)
    return Graph(forward.length, operations, tuple(constants), forward.outputs)


def test_states_and_activations_are_the_models(opened, made):
    recommender, graph = opened.recommender, graph_of(made)
    real = np.flatnonzero(recommender.catalog.recommendable)
    drawn = np.random.default_rng(3)
    for n in (1, 2, 4, 9, 10, 11, 30):
        history = drawn.choice(real, n).tolist()
        state = recommender.represent(pad([history], recommender.max_length))
        found, active = graph.run(history)
        np.testing.assert_allclose(found, state[0], atol=1e-3)
        np.testing.assert_allclose(active, opened.sae.encode(state)[0], atol=5e-3)


def test_lists_are_counted_and_agree(made):
    forward = made.forward
    assert made.no_forward == ""
    assert forward.n_histories == module.N_TYPED
    assert forward.agreement.n_lists == 2 * module.N_TYPED
    assert forward.agreement.n_same >= 0.99 * forward.agreement.n_lists
    assert [c.others for c in forward.constants if isinstance(c, ItemRows)] == [[0]] * 5
    assert (made.reads, made.reads_histories, made.same_typed) == (10, True, True)
    assert Forward.model_validate_json(forward.model_dump_json()) == forward


class Shared:
    """The planted recommender with item vectors that serve in its states as well."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def represent(self, batch, site=None, *, positions=False):
        vectors = self.inner.model.items[batch.items].sum(1)
        return self.inner.represent(batch, site) + 0.1 * vectors / batch.lengths[:, None]


def refused(opened, **pieces):
    turn = turn_data(runs.with_pieces(opened, **pieces))
    assert turn.forward is None
    return turn.no_forward


def test_a_table_that_the_page_has_already_is_not_there_twice(opened):
    turn = turn_data(runs.with_pieces(opened, recommender=Shared(opened.recommender)))
    tables = [c for c in turn.forward.constants if isinstance(c, ItemRows)]
    assert [table.rows is None for table in tables].count(True) == 1
    found = graph_of(turn).run([3, 5, 8])[0]
    batch = pad([[3, 5, 8]], 10)
    np.testing.assert_allclose(found, Shared(opened.recommender).represent(batch)[0], atol=1e-3)


@pytest.mark.recbole
@pytest.mark.end_to_end
def test_sasrec_is_taken_with_one_table_for_both():
    turn = read_turn(runs.recbole_run())
    assert turn.no_forward == ""
    tables = [c for c in turn.forward.constants if isinstance(c, ItemRows)]
    assert [(table.rows, table.others) for table in tables] == [(None, [0])]
    assert turn.forward.agreement.n_same_items >= 0.99 * turn.forward.agreement.n_lists


class OutsideOfTorch(Shared):
    """Its states depend on how often the newest item is in the history, which NumPy counts."""

    def represent(self, batch, site=None, *, positions=False):
        states = self.inner.represent(batch, site)
        items, last = batch.items.numpy(), batch.lengths.numpy() - 1
        often = [(row == row[n]).sum() for row, n in zip(items, last, strict=True)]
        return states + 0.1 * torch.tensor(np.array(often, dtype=np.float32))[:, None]


class Decides(Shared):
    """Does one thing or another."""

    def represent(self, batch, site=None, *, positions=False):
        states = self.inner.represent(batch, site)
        return 2 * states if batch.lengths.max() > 9 else states


class Breaks(Shared):
    """Does not bear to be watched."""

    def represent(self, batch, site=None, *, positions=False):
        if len(batch.items) == 1 and batch.lengths[0].tolist() and self.watched():
            raise TypeError("no\nsuch thing")
        return self.inner.represent(batch, site)

    def watched(self):
        return torch.utils._python_dispatch._get_current_dispatch_mode() is not None


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (OutsideOfTorch, "does more with a history than can be followed step by step"),
        (Decides, "reads a history number by number"),
        (Breaks, "cannot be followed step by step (no such thing)"),
    ],
)
def test_what_cannot_be_followed_is_refused(opened, model, why):
    assert refused(opened, recommender=model(opened.recommender)).startswith(why)


def test_what_is_too_large_is_refused(opened, monkeypatch):
    monkeypatch.setattr(module, "MAX_SIZE", 30_000)
    assert "takes 0.1 MB, and the page has room for 0 MB" in refused(opened)
    monkeypatch.setattr(module, "MAX_SIZE", 1_000)
    monkeypatch.setattr(module, "_prove", lambda *_: pytest.fail("time is spent on it"))
    assert "MB, and the page has room for 0 MB" in refused(opened)


def test_lists_that_rounding_changes_are_refused(opened, monkeypatch):
    rounded = Rounded.of
    monkeypatch.setattr(module, "KINDS", ("int8", "int8"))
    monkeypatch.setattr(module, "SAME", 1.0)
    monkeypatch.setattr(Rounded, "of", lambda matrix, kind: rounded(np.round(matrix, 0), kind))
    assert refused(opened).startswith("makes other lists once its numbers are rounded")


def test_a_model_of_users_reads_no_history(opened):
    class OfUsers(Shared):
        def sites(self):
            return [replace(site, per_user=True) for site in self.inner.sites()]

        represent = property(lambda self: self.inner.represent)

    work = runs.with_pieces(opened, recommender=OfUsers(opened.recommender))
    turn = turn_data(work)
    assert turn.no_forward == "keeps one state for each user and reads no history"
    assert (turn.forward, turn.reads_histories, turn.same_typed) == (None, False, False)


def test_a_user_who_matters_to_the_state_is_not_among_what_is_typed(opened):
    class WithUsers(Shared):
        def represent(self, batch, site=None, *, positions=False):
            return self.inner.represent(batch, site) + 0.3 * (batch.users > 0)[:, None]

    turn = turn_data(runs.with_pieces(opened, recommender=WithUsers(opened.recommender)))
    assert (turn.no_forward, turn.reads_histories, turn.same_typed) == ("", True, False)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"operations": [("exp", [2], [])]}, "takes what is made later"),
        ({"outputs": (0, 10_000)}, "an output is made by no operation"),
        ({"constants": ["AAA="]}, "no multiple of 4"),
        ({"constants": ["not base64!"]}, "is not base64"),
    ],
)
def test_operations_that_do_not_fit_are_refused(made, change, why):
    with pytest.raises(ValueError, match=why):
        Forward.model_validate(made.forward.model_dump() | change)
