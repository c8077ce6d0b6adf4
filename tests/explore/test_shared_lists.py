"""Lists of two models for the same users: models made by hand, whose scores are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import toy
from recsae.core.errors import CannotOpenModel
from recsae.explore import shared_lists as sharing
from recsae.explore.shared_lists import shared_lists
from recsae.recommender.catalog import build_catalog
from recsae.report.sharing import Hidden, remember

IDS = [f"m{i}" for i in range(15)]
SHUFFLED = [IDS[0], *IDS[:0:-1]]
"""The same items, but that of each internal id is another."""
USERS = ["a", "b", "c"]
HISTORIES = [["m1", "m2", "m3"], ["m4", "m5", "m6", "m7"], ["m1", "m5", "m9"]]


def model(best, histories=HISTORIES, users=USERS, ids=IDS, *, filters_seen=False):
    """A model that puts these items first, whatever the history, and then those of lowest id."""
    rows = [[ids.index(item) for item in history] for history in histories]
    sequences, catalog = toy.sequences(*rows, users=list(users)), build_catalog(ids, None)
    order = [*best, *(item for item in IDS[1:] if item not in best)]
    one = torch.full((len(ids),), float("-inf"))
    for place, item in enumerate(order):
        one[ids.index(item)] = -place
    return SimpleNamespace(
        sequences=lambda: sequences,
        catalog=catalog,
        max_length=4,
        filters_seen=filters_seen,
        score=lambda batch: one.repeat(len(batch.items), 1),
    )


@pytest.fixture
def lists_of(tmp_path, monkeypatch):
    """``shared_lists`` of two models, of which all users are held out."""

    def make(one, two, hidden=None):
        models, folders = {"one": one, "two": two}, (tmp_path / "one", tmp_path / "two")

        def opened(folder, trust):
            if isinstance(models[folder.name], Exception):
                raise models[folder.name]
            rows = np.arange(len(models[folder.name].sequences()))
            columns = {"sequence": rows, "position": np.zeros(len(rows), dtype=int)}
            name = tmp_path / f"store {folder.name}"
            store = toy.store(name, np.ones((len(rows), 2)), **columns)
            return SimpleNamespace(recommender=models[folder.name], heldout_store=store)

        monkeypatch.setattr(sharing, "open_workspace", opened)
        for folder in folders:
            folder.mkdir(exist_ok=True)
        remember(folders[1], hidden or Hidden())
        return shared_lists(*folders)

    return make


def test_lists_are_of_the_same_users_and_items_by_external_ids(lists_of):
    two = model(["m9", "m2"], HISTORIES[::-1], USERS[::-1], SHUFFLED)
    found = lists_of(model(["m9", "m8"]), two)
    assert [one.user for one in found.users] == USERS
    first = found.users[0]
    assert (first.history, first.n_history) == (("m1", "m2"), 2)  # the last item is held out
    assert first.before == ("m9", "m8", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m10")
    assert first.after == ("m9", "m2", "m1", "m3", "m4", "m5", "m6", "m7", "m8", "m10")
    assert (first.shared, first.shared_after) == ((True,) * 10,) * 2
    assert (found.n_compared, found.mean_shared, found.n_listed) == (3, 10, 10)


def test_what_only_one_list_has_is_marked_and_counted(lists_of):
    found = lists_of(model(["m14", "m13", "m12"]), model(["m14"]))
    assert found.users[0].before[:4] == ("m14", "m13", "m12", "m1")
    assert found.users[0].shared == (True, False, False, *(True,) * 7)
    assert found.users[0].shared_after == (True,) * 8 + (False,) * 2
    assert found.mean_shared == 8


def test_each_model_leaves_out_what_it_leaves_out(lists_of):
    found = lists_of(model(["m1", "m2"], filters_seen=True), model(["m1", "m2"]))
    assert found.users[0].before[0] == "m3"
    assert found.users[0].after[:2] == ("m1", "m2")


def test_users_with_another_history_are_not_compared(lists_of):
    other = [["m1", "m3", "m3"], [*HISTORIES[1], "m8"], HISTORIES[2]]
    found = lists_of(model([]), model([], other))
    assert [one.user for one in found.users] == ["c"]
    said = lists_of(model([]), model([], other[:2], USERS[:2]))
    assert said == "No held-out user has the same items in the same order in both runs."


def test_ids_and_long_histories_are_hidden_where_either_report_hides_them(lists_of):
    found = lists_of(model([]), model([]), Hidden(users=True, max_history=1))
    assert [one.user for one in found.users] == ["user 1", "user 2", "user 3"]
    assert (found.users[1].history, found.users[1].n_history) == (("m6",), 3)


def test_of_many_users_a_few_are_shown_evenly_spread(lists_of):
    users = [f"u{n:03}" for n in range(301)]
    one = model([], [["m1", "m2"]] * 301, users)
    found = lists_of(one, one)
    assert found.n_compared == sharing.MAX_COMPARED
    assert len(found.users) == sharing.N_USERS
    assert (found.users[0].user, found.users[-1].user) == ("u000", "u300")


def test_a_model_that_cannot_be_opened_is_said(lists_of):
    said = lists_of(model([]), CannotOpenModel("Say --trust."))
    assert said == "Say --trust."
