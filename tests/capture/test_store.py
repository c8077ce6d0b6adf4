"""Capture into a store: whose states, which positions, the same bits after a kill, and damage."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import recsae.capture.forward as forwards
import recsae.capture.shards as capturing
import recsae.capture.store as activations
from helpers import toy
from helpers.runs import planted
from recsae.capture.fill import capture, capture_sites
from recsae.capture.store import POSITION, SEQUENCE, STATES, TOP, ActivationStore
from recsae.core.errors import ArtifactMismatch, NotEnoughData, RecSAEError, SiteNotFound
from recsae.recommender.catalog import build_catalog
from recsae.recommender.evaluation import leave_one_out
from recsae.recommender.lists import best_items
from recsae.recommender.protocol import Recommender, Site
from recsae.recommender.sequences import pad, split_users
from recsae.testing.planted import PlantedRecommender


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(activations, "SHARD", 1000)
    monkeypatch.setattr(forwards, "WINDOWS_AT_ONCE", 64)


def rows(held=False):
    return np.flatnonzero(split_users(planted().sequences()) == held)


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store captured without interruption, of shards of 1,000."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(activations, "SHARD", 1000)
        return capture(planted(), rows(), tmp_path_factory.mktemp("whole") / "store", seed=4)


# -- what is in it ---------------------------------------------------------------------------------


def test_every_position_but_the_last_of_these_users_and_of_no_other(whole):
    lengths = planted().sequences().lengths
    expected = {(row, p) for row in rows().tolist() for p in range(lengths[row] - 1)}
    found = list(zip(whole.column(SEQUENCE).tolist(), whole.column(POSITION).tolist(), strict=True))
    assert len(found) == len(whole) == len(expected)
    assert set(found) == expected
    assert len(whole.manifest["shards"]) == 8


def test_states_and_lists_are_those_of_single_forwards(whole):
    recommender = planted()
    for index in np.linspace(0, len(whole) - 1, 40).astype(int):
        row, position = whole.column(SEQUENCE)[index], whole.column(POSITION)[index]
        history = recommender.sequences()[row][: position + 1].tolist()
        batch = pad([history], recommender.max_length)
        state = torch.from_numpy(whole.column(STATES)[index])
        torch.testing.assert_close(state, recommender.represent(batch)[0], atol=1e-6, rtol=1e-5)
        scores = best_items(recommender.score(batch), recommender.catalog, 10)
        assert whole.column(TOP)[index].tolist() == scores[0].tolist()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_makes_the_same_store(threads, whole, tmp_path):
    """Beside the next forward, lists are made by further threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        store = capture(planted(), rows(), str(tmp_path), seed=4)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for column in (SEQUENCE, POSITION, TOP, STATES):
        everything = np.arange(len(whole))
        assert np.array_equal(store.rows(column, everything), whole.rows(column, everything))


def test_limit_keeps_the_last_position_of_every_user_first(tmp_path):
    store = capture(planted(), rows(), tmp_path / "one", limit=4000, seed=1)
    assert 0.9 * 4000 < len(store) <= 4000
    last = planted().sequences().lengths[rows()] - 2
    found = set(zip(store.column(SEQUENCE).tolist(), store.column(POSITION).tolist(), strict=True))
    assert found >= set(zip(rows().tolist(), last.tolist(), strict=True))
    other = capture(planted(), rows(), tmp_path / "other", limit=4000, seed=2)
    drawn = {tuple(s.column(SEQUENCE).tolist()) for s in (store, other)}
    assert len(drawn) == 2


class Stub(Recommender):
    """States are the item's number, at every position; no linear head: scores by the prefix."""

    name, plugin, dataset, max_length = "Stub", "testing", "toy", 4

    def __init__(self, histories, broken=None, every_position=True):
        self._sequences = toy.sequences(*histories)
        self.catalog = build_catalog(["[PAD]", *"abcdefgh"], None)
        self.broken, self.every_position = broken, every_position

    def sequences(self):
        return self._sequences

    def evaluation(self, split="test"):
        return leave_one_out(self._sequences, split)

    def sites(self):
        return [Site("stub", "the item's number", 2, self.every_position)]

    def represent(self, batch, site=None, *, positions=False):
        states = torch.stack([batch.items, batch.items**2], -1).float()
        if self.broken is not None:
            states[batch.items == self.broken] = float("nan")
        n = torch.arange(len(batch.lengths))
        return states if positions else states[n, batch.lengths - 1]

    def score(self, batch):
        """The item seen most often in the prefix is recommended, then the lower number."""
        seen = torch.nn.functional.one_hot(batch.items, 9).sum(1).float()
        return seen - torch.arange(9) / 100

    def linear_head(self):
        return None

    def edit(self, edit, site=None):
        raise NotImplementedError

    def fingerprint(self):
        return "stub"

    def sources(self):
        return []

    def describe(self):
        return {}


@pytest.mark.parametrize("every_position", [True, False])
def test_by_hand_without_a_linear_head(every_position, tmp_path):
    recommender = Stub([[3, 3, 5], [7], [2, 8, 8, 8, 6, 1]], every_position=every_position)
    store = capture(recommender, np.arange(3), tmp_path)
    rows = zip(*(store.column(c).tolist() for c in (SEQUENCE, POSITION, STATES)), strict=True)
    assert sorted(rows) == [
        (0, 0, [3, 9]),
        (0, 1, [3, 9]),
        (2, 0, [2, 4]),
        (2, 1, [8, 64]),
        (2, 2, [8, 64]),
        (2, 3, [8, 64]),
        (2, 4, [6, 36]),
    ]
    first = dict(
        zip(
            zip(store.column(SEQUENCE).tolist(), store.column(POSITION).tolist(), strict=True),
            store.column(TOP)[:, :2].tolist(),
            strict=True,
        )
    )
    assert first[(2, 1)] == [2, 8]
    assert first[(2, 2)] == [8, 2]
    assert first[(2, 4)] == [8, 6]  # 2 is out of the window


def test_nan_states_are_one_sentence_and_leave_no_store(tmp_path):
    recommender = Stub([[3, 3, 5], [4, 6, 4, 1]], broken=4)
    with pytest.raises(RecSAEError, match="Stub gives NaN or infinite states at 2 of 5 positions"):
        capture(recommender, np.arange(2), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_an_empty_store_says_so(tmp_path):
    store = capture(Stub([[3], [4]]), np.arange(2), tmp_path)
    assert len(store) == 0
    with pytest.raises(NotEnoughData, match="is empty"):
        store.column(STATES)


# -- lists that leave out the history --------------------------------------------------------------


@pytest.mark.parametrize("every_position", [True, False])
def test_lists_leave_out_the_history_where_the_models_do(every_position, tmp_path):
    recommender = Stub([[3, 3, 5], [2, 8, 8, 8, 6, 1]], every_position=every_position)
    recommender.filters_seen = True
    store = capture(recommender, np.arange(2), tmp_path)
    keys = zip(store.column(SEQUENCE).tolist(), store.column(POSITION).tolist(), strict=True)
    lists = dict(zip(keys, store.column(TOP).tolist(), strict=True))
    assert lists[(0, 1)] == [1, 2, 4, 5, 6, 7, 8, 0]  # the next item, 5, was not yet seen
    assert lists[(1, 4)] == [1, 3, 4, 5, 7, 0, 0, 0]  # 2 is out of the window, but was seen
    assert store.manifest["hides_history"]


def test_one_state_per_user(tmp_path):
    histories = toy.sequences([8, 7, 3, 6, 1], [2, 1, 2, 4], [5, 6])
    table = [[9, 9], *([i, -i] for i in range(1, 9))]
    states = [[0, 0], [1, 0], [0, 1], [1, 1]]
    recommender = toy.UserTable(histories, [3, 2, 2], states, table)
    store = capture(recommender, np.arange(3), tmp_path)
    assert store.column(SEQUENCE).tolist() == [0, 1]  # nothing of the third is left to ask for
    assert store.column(POSITION).tolist() == [2, 1]
    assert store.column(STATES).tolist() == [[1, 0], [0, 1]]
    assert store.column(TOP)[:, :5].tolist() == [[6, 5, 4, 2, 1], [3, 4, 5, 6, 7]]


# -- several sites ---------------------------------------------------------------------------------


class Places(PlantedRecommender):
    """Half of the state is read before its place; one site takes a forward per position."""

    def __init__(self, **sizes):
        super().__init__(n_users=40, n_items=40, n_concepts=4, width=8, length=14, **sizes)
        self.asked, self.scored = [], 0

    def sites(self):
        (last,) = super().sites()
        names = {"before": True, "pooled": False}
        return [last, *(replace(last, name=n, every_position=e) for n, e in names.items())]

    def represent(self, batch, site=None, *, positions=False):
        return self.represent_sites(batch, [site or "sequence"], positions=positions)[
            site or "sequence"
        ]

    def represent_sites(self, batch, sites, *, positions=False):
        self.asked.append((tuple(sites), positions))
        states = super().represent(batch, positions=positions)
        return {site: states if site == "sequence" else states / 2 for site in sites}

    def score(self, batch):
        self.scored += 1
        return super().represent(batch) @ self.model.items.T


NAMES = ("pooled", "before", "sequence")


def test_sites_share_their_forwards(tmp_path):
    recommender = Places(max_length=10)
    stores = capture_sites(recommender, np.arange(40), {n: tmp_path / n for n in NAMES})
    assert list(stores) == list(NAMES)
    together = {asked for asked, positions in recommender.asked if positions}
    assert together == {("before", "sequence")}
    assert {asked for asked, positions in recommender.asked if not positions} == {
        ("pooled", "sequence")
    }
    assert recommender.scored == 0
    before, last = stores["before"], stores["sequence"]
    assert np.array_equal(before.column(STATES), last.column(STATES) / 2)
    for column in (SEQUENCE, POSITION, TOP):
        assert np.array_equal(before.column(column), last.column(column))


def test_one_site_is_a_case_of_several(tmp_path):
    capture_sites(Places(), np.arange(40), {n: tmp_path / n for n in NAMES}, limit=300, seed=2)
    for name in NAMES:
        capture(Places(), np.arange(40), tmp_path / "one", site=name, limit=300, seed=2)
        assert files(tmp_path / "one") == files(tmp_path / name)


@pytest.mark.parametrize("site", ["before", "pooled"])
def test_lists_at_inner_sites_are_those_of_scoring(site, tmp_path):
    recommender, scoring = Places(), Places()
    scoring.linear_head = lambda: None
    found = capture(recommender, np.arange(40), tmp_path / "head", site=site)
    wanted = capture(scoring, np.arange(40), tmp_path / "scores", site=site)
    assert np.array_equal(found.column(TOP), wanted.column(TOP))
    assert recommender.scored == 0 < scoring.scored


def test_without_states_of_every_position_behind_the_head_prefixes_are_scored(tmp_path):
    recommender = Places()
    sites = recommender.sites()
    recommender.sites = lambda: [replace(sites[0], every_position=False), *sites[1:]]
    found = capture(recommender, np.arange(40), tmp_path / "inner", site="before")
    assert recommender.scored > 0
    wanted = capture(Places(), np.arange(40), tmp_path / "default")
    assert np.array_equal(found.column(TOP), wanted.column(TOP))


@pytest.mark.parametrize("after", [1, 3])
def test_several_sites_stopped_go_on_where_each_was(after, tmp_path, monkeypatch):
    monkeypatch.setattr(activations, "SHARD", 100)
    names = NAMES[1:]
    capture_sites(Places(), np.arange(40), {n: tmp_path / "whole" / n for n in names})

    def stop(done, total, what):
        seen.append(done)
        if len(seen) == after:
            raise KeyboardInterrupt

    seen, folders = [], {n: tmp_path / "again" / n for n in names}
    with pytest.raises(KeyboardInterrupt):
        capture_sites(Places(), np.arange(40), folders, progress=stop)
    next(folders["before"].glob("*-00000.safetensors")).unlink()
    recommender = Places()
    capture_sites(recommender, np.arange(40), folders)
    assert {a for a, _ in recommender.asked} == {("before", "sequence")}  # lists need the second
    for name in names:
        assert files(folders[name]) == files(tmp_path / "whole" / name)
    capture_sites(recommender := Places(), np.arange(40), folders)
    assert recommender.asked == []


def test_an_unknown_site_is_refused_before_anything_is_captured(tmp_path):
    with pytest.raises(SiteNotFound, match=r"no site 'bevore'\. Did you mean 'before'"):
        capture_sites(Places(), np.arange(40), {"sequence": tmp_path, "bevore": tmp_path})
    assert files(tmp_path) == {}


# -- killed, changed, damaged ----------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 3, 8])
def test_stopped_after_a_shard_it_goes_on_to_the_same_bits(whole, after, tmp_path):
    seen = []

    def stop(done, total, what):
        seen.append((done, total, what))
        if len(seen) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(planted(), rows(), tmp_path, seed=4, progress=stop)
    kept = files(tmp_path)
    assert len(kept) == after
    assert seen[-1] == (seen[-1][0], len(whole), "positions captured")
    made = []
    with pytest.MonkeyPatch.context() as patched:
        write = capturing.write_arrays
        patched.setattr(capturing, "write_arrays", lambda p, a: (made.append(p.name), write(p, a)))
        capture(planted(), rows(), tmp_path, seed=4)
    assert not set(made) & set(kept)
    assert files(tmp_path) == files(whole.folder)


def test_a_finished_store_is_not_captured_again(whole, monkeypatch):
    monkeypatch.setattr(planted(), "represent", None)
    again = capture(planted(), rows(), whole.folder, seed=4)
    assert again.fingerprint == whole.fingerprint


@pytest.mark.parametrize("change", ["model", "seed", "rows", "limit"])
def test_made_from_something_else_it_is_made_anew(change, tmp_path):
    old = capture(planted(), rows()[:20], tmp_path)
    before = files(tmp_path)
    recommender, mine, options = planted(), rows()[:20], {}
    if change == "model":
        recommender = PlantedRecommender(
            n_users=400, n_items=240, n_concepts=6, width=12, length=24, max_length=10, seed=2
        )
    elif change == "rows":
        mine = mine[1:]
    else:
        options = {change: 100}
    new = capture(recommender, mine, tmp_path, **options)
    assert new.fingerprint != old.fingerprint
    assert set(before) & set(files(tmp_path)) == {"manifest.json"}
    assert sorted(files(tmp_path)) == sorted([*new.manifest["shards"], "manifest.json"])


def test_a_manifest_never_stands_beside_shards_that_are_not_its_own(tmp_path):
    """Stopped while a changed store replaces a finished one, the next call still works."""
    capture(planted(), rows()[:90], tmp_path)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(planted(), rows()[1:90], tmp_path, progress=stop)
    assert "manifest.json" not in files(tmp_path)
    new = capture(planted(), rows()[1:90], tmp_path)
    assert set(new.column(SEQUENCE)) == set(rows()[1:90])
    assert sorted(files(tmp_path)) == sorted([*new.manifest["shards"], "manifest.json"])


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "header"])
def test_a_damaged_shard(damage, tmp_path):
    store = capture(planted(), rows()[:90], tmp_path)
    shard = tmp_path / store.manifest["shards"][1]
    good = shard.read_bytes()
    shard.write_bytes(
        {"cut": good[:-1], "empty": b"", "text": b"x" * len(good), "header": b"\0" * 8 + good[8:]}[
            damage
        ]
    )
    del store
    with pytest.raises(ArtifactMismatch, match=r"missing or damaged.*run the same `recsae run`"):
        ActivationStore(tmp_path)
    with pytest.raises(ArtifactMismatch, match="missing or damaged"):
        capture(planted(), rows()[:90], tmp_path)
    shard.unlink()  # as the message says
    capture(planted(), rows()[:90], tmp_path)
    assert shard.read_bytes() == good


def test_shards_that_do_not_add_up(tmp_path):
    toy.store(tmp_path, np.zeros((25, 3)), shard=10)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"n": 25', '"n": 26'))
    with pytest.raises(ArtifactMismatch, match="do not add up to the 26 positions"):
        ActivationStore(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"n": 25, "shards": []}'])
def test_a_manifest_that_is_json_but_no_manifest(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    for opened in (ActivationStore, lambda folder: capture(planted(), rows()[:90], folder)):
        with pytest.raises(ArtifactMismatch, match=r"manifest\.json is not the manifest of"):
            opened(tmp_path)


def test_no_store(tmp_path):
    with pytest.raises(ArtifactMismatch, match=r"manifest\.json is missing or damaged"):
        ActivationStore(tmp_path)


# -- reading ---------------------------------------------------------------------------------------


@pytest.fixture
def counted(tmp_path):
    """25 states in shards of 10, 10, 5; the first value is the row's number."""
    states = np.stack([np.arange(25), np.arange(25) % 7], axis=1)
    return toy.store(tmp_path, states, shard=10, position=np.arange(25) * 3)


@pytest.mark.parametrize("rows", [1, 10, 20, 1000])
def test_blocks_cover_every_row_once_in_an_order_of_the_seed(counted, rows, monkeypatch):
    monkeypatch.setattr(activations, "SHARD", 10)
    blocks = [b[:, 0].int().tolist() for b in counted.blocks(3, rows)]
    assert sorted(i for b in blocks for i in b) == list(range(25))
    assert max(map(len, blocks)) <= max(rows, 10)
    assert len(blocks) == {1: 3, 10: 3, 20: 2, 1000: 1}[rows]
    assert [b[:, 0].int().tolist() for b in counted.blocks(3, rows)] == blocks
    assert [b[:, 0].int().tolist() for b in counted.blocks(4, rows)] != blocks
    assert any(b != sorted(b) for b in blocks)


def test_blocks_in_pieces_are_the_same_states_in_the_same_order(counted, monkeypatch):
    monkeypatch.setattr(activations, "SHARD", 10)
    pieces = list(counted.blocks(3, 20, size=8))
    assert [len(piece) for piece in pieces] in ([8, 8, 4, 5], [8, 7, 8, 2])
    assert torch.equal(torch.cat(pieces), torch.cat(list(counted.blocks(3, 20))))


@pytest.mark.parametrize("column", [STATES, SEQUENCE, POSITION, TOP])
def test_rows_of_a_column_in_any_order(counted, column):
    index = np.array([24, 3, 3, 9, 10, 0, 19, 20])
    assert np.array_equal(counted.rows(column, index), counted.column(column)[index])
    assert counted.rows(column, index).dtype == counted.column(column).dtype
    assert len(counted.rows(column, index[:0])) == 0


def test_moments(counted):
    states = counted.column(STATES).astype(np.float64)
    np.testing.assert_allclose(counted.moments().mean, states.mean(0), rtol=1e-6)
    assert counted.moments().variance == pytest.approx(states.var(0).sum(), rel=1e-6)
    assert (len(counted), counted.width) == (25, 2)


def test_covariance(counted, monkeypatch):
    monkeypatch.setattr(activations, "ROWS_AT_ONCE", 3)
    states = counted.column(STATES).astype(np.float64)
    np.testing.assert_allclose(counted.covariance, np.cov(states.T, bias=True), rtol=1e-6)
    half = np.zeros(100, dtype=bool)
    half[counted.column(SEQUENCE)[::3]] = True
    part = counted.only(half)  # which has moments of its own
    own = part.column(STATES).astype(np.float64)
    np.testing.assert_allclose(part.covariance, np.cov(own.T, bias=True), rtol=1e-6, atol=1e-9)
    assert part.moments().mean.tolist() == pytest.approx(own.mean(0).tolist())


def test_the_jury_is_one_user_in_twenty_and_blocks_leave_it_out(tmp_path):
    users = np.repeat(np.arange(3, 63), 4)
    counted = toy.store(tmp_path, np.arange(240.0)[:, None], shard=50, sequence=users)
    validation_users = counted.validation_users()
    assert validation_users.sum() == 3
    assert not validation_users[:3].any()
    theirs = counted.states_of(validation_users, 1000)[:, 0].astype(int)
    assert sorted(set(users[theirs])) == np.flatnonzero(validation_users).tolist()
    assert len(theirs) == counted.count_of(validation_users) == 12
    assert len(counted.states_of(validation_users, 6)) == 6
    shown = torch.cat(list(counted.blocks(1, without=validation_users)))[:, 0].int().tolist()
    assert sorted(shown) == sorted(set(range(240)) - set(theirs.tolist()))
    whole = torch.cat(list(counted.blocks(1)))[:, 0].int().tolist()
    assert shown == [row for row in whole if row not in theirs]  # in the same order
