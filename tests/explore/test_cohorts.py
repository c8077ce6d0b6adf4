"""Profiles: concepts of groups of users against the rest, of one user, and around an item."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from helpers.runs import planted, planted_open
from recsae.concepts.dictionary import ConceptDictionary
from recsae.core import columns as C
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.explore.cohort_statistics import Shares, compare
from recsae.explore.cohorts import Activity, Profiler, concepts_of, read_users

pytestmark = pytest.mark.end_to_end


CONCEPTS = pd.DataFrame({"name": ["A", "B"], "latents": [(0,), (1, 2)]})


# -- two sets of users -----------------------------------------------------------------------------


def shares(values, n_positions=10.0):
    values = np.array(values, dtype=float).reshape(len(values), -1)
    n = np.full(len(values), float(n_positions))
    return Shares(np.arange(len(values)), n, scipy.sparse.csr_matrix(values))


def test_shares_of_users_by_hand():
    # user 3 has two positions, user 7 three
    active = scipy.sparse.csr_matrix(np.array([[1, 0], [1, 1], [0, 1], [0, 0], [0, 1]], np.float32))
    activity = Activity(active, np.array([3, 3, 7, 7, 7]), np.array([1, 2, 1, 2, 2]), CONCEPTS)
    everywhere = activity.shares(np.ones(5, dtype=bool))
    assert everywhere.users.tolist() == [3, 7]
    assert everywhere.n_positions.tolist() == [2, 3]
    expected = [[1, 0.5], [0, 2 / 3]]
    assert everywhere.share.toarray() == pytest.approx(np.array(expected))
    after_one = activity.shares(activity.item == 1)
    assert after_one.share.toarray().tolist() == [[1, 0], [0, 1]]
    assert activity.shares(activity.item == 9).users.tolist() == []


def test_a_share_is_never_more_than_one():
    """Sums of 1 / n over n positions can be."""
    for n in (3, 6, 49, 93):
        active = scipy.sparse.csr_matrix(np.ones((n, 2), dtype=np.float32))
        activity = Activity(active, np.zeros(n, np.int64), np.ones(n, np.int64), CONCEPTS)
        assert activity.shares(np.ones(n, dtype=bool)).share.toarray().tolist() == [[1, 1]]


def test_users_count_alike_whatever_their_histories():
    table = compare(
        shares([[0.5], [0.1], [0.3], [0.5], [0.1]]), shares([[0.1]] * 5 + [[0.2]] * 5), CONCEPTS[:1]
    )
    assert table["share"].item() == pytest.approx(0.3)
    assert table["others"].item() == pytest.approx(0.15)
    assert table["difference"].item() == pytest.approx(0.15)
    assert table["ratio"].item() == pytest.approx(2)
    assert table["n_users"].item() == 5
    assert table["low"].item() < 0.15 < table["high"].item()
    assert table["ratio_low"].item() < 2 < table["ratio_high"].item()


def test_the_most_over_represented_come_first():
    rng = np.random.default_rng(0)
    mine, others = rng.random((60, 3)) * [0.2, 0.6, 0.4], rng.random((300, 3)) * 0.4
    names = pd.DataFrame({"name": ["less", "more", "same"], "latents": [(0,), (1,), (2,)]})
    table = compare(shares(mine), shares(others), names).set_index("name")
    assert list(table.index) == ["more", "same", "less"]
    assert (table["p_adjusted"] < 0.001).tolist() == [True, False, True]
    assert table.loc["more", "low"] > 0 > table.loc["less", "high"]
    assert table.loc["more", "ratio_low"] > 1 > table.loc["less", "ratio_high"]
    assert table.loc["same", "low"] < 0 < table.loc["same", "high"]


def test_one_test_alone_tells_what_its_interval_tells():
    rng = np.random.default_rng(1)
    for _ in range(40):
        mine = rng.random((20, 1)) ** 2 * rng.choice([0.2, 0.5])
        row = compare(shares(mine), shares(rng.random((200, 1)) ** 2 * 0.3), CONCEPTS[:1]).iloc[0]
        excluded = row["low"] > 0 or row["high"] < 0
        assert (row["p_adjusted"] <= 0.05) == excluded


def test_what_nobody_has():
    table = compare(shares([[0.0, 0.4]] * 6), shares([[0.0, 0.0]] * 30), CONCEPTS).set_index("name")
    assert table.loc["A", "p_adjusted"] == 1
    assert table.loc["A", ["share", "others", "difference"]].tolist() == [0, 0, 0]
    assert np.isnan(table.loc["A", "ratio"])
    assert table.loc["B", "ratio_high"] == np.inf


def test_one_user_alone_makes_no_group_differ():
    """Among rare concepts a group nearly always has somebody with a lot of one."""
    mine = np.zeros((20, 1))
    mine[:4] = 1.0
    others = np.zeros((2000, 1))
    others[:10] = 1.0
    assert compare(shares(mine), shares(others), CONCEPTS[:1])["p_adjusted"].item() == 1
    mine[4] = 1.0
    assert compare(shares(mine), shares(others), CONCEPTS[:1])["p_adjusted"].item() < 0.001


@pytest.mark.parametrize("size", [8, 40, 400])
def test_groups_drawn_by_chance_do_not_differ(size):
    """Shares like real ones: most users have none of a concept, a few have much."""
    rng = np.random.default_rng(size)
    n, m = 2000, 60
    rate = rng.uniform(0.02, 0.5, m)
    table = rng.beta(0.5, 3, (n, m)) * (rng.random((n, m)) < rate)
    names = pd.DataFrame({"name": [str(j) for j in range(m)], "latents": [(j,) for j in range(m)]})
    inside, differ = [], 0
    for _ in range(25):
        group = np.isin(np.arange(n), rng.choice(n, size, replace=False))
        found = compare(shares(table[group]), shares(table[~group]), names)
        inside.append(((found["low"] <= 0) & (found["high"] >= 0)).mean())
        differ += bool((found["p_adjusted"] <= 0.05).any())
    assert np.mean(inside) > 0.94
    assert differ <= 4  # of 25; 5 % would be 1.25


@pytest.mark.parametrize("size", [10, 100])
def test_the_interval_holds_the_difference(size):
    rng = np.random.default_rng(size)
    m, mean = 40, 0.3 * 0.5 - 0.2 * 0.25
    names = pd.DataFrame({"name": range(m), "latents": [(j,) for j in range(m)]})
    held = []
    for _ in range(40):
        mine = rng.beta(1.5, 3.5, (size, m)) * (rng.random((size, m)) < 0.5)
        others = rng.beta(1, 4, (1000, m)) * (rng.random((1000, m)) < 0.25)
        found = compare(shares(mine), shares(others), names)
        held.append(((found["low"] <= mean) & (found["high"] >= mean)).mean())
    assert 0.93 < np.mean(held) <= 1


# -- on a planted recommender ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened():
    return planted_open()


@pytest.fixture(scope="module")
def profiler(opened):
    return Profiler(opened)


def genre_shares(genre):
    """Of each user's items the share that have a genre."""
    catalog, sequences = planted().catalog, planted().sequences()
    has = np.array([genre in values for values in catalog.frame["genre"]])
    return np.array([has[sequences[row]].mean() for row in range(len(sequences))])


def best_name(profiler):
    return next(n for n in profiler.concepts[C.NAME] if n in planted().concepts)


def test_the_concepts_are_the_names_of_verified_latents(profiler, opened):
    table = opened.dictionary.table.set_index(C.LATENT)
    known = set(table.loc[opened.verified, C.NAME])
    assert set(profiler.concepts[C.NAME]) == known
    assert sorted(j for g in profiler.concepts["latents"] for j in g) == sorted(opened.verified)


def test_every_position_counts(profiler):
    lengths = planted().sequences().lengths
    assert len(profiler.activity.user) == (lengths - 1).sum()
    assert np.bincount(profiler.activity.user).tolist() == (lengths - 1).tolist()


def test_lovers_of_a_genre_have_its_concept(profiler):
    genre = best_name(profiler)
    share = genre_shares(genre)
    lovers = np.argsort(-share)[:40]
    table = profiler.of_users(lovers).set_index(C.NAME)
    assert table.index[0] == genre
    assert table.loc[genre, "ratio_low"] > 2
    assert table.loc[genre, "p_adjusted"] < 1e-4
    others = table.drop(index=genre)
    assert (others["difference"] < table.loc[genre, "difference"]).all()


def test_too_small_groups_are_refused(profiler):
    with pytest.raises(NotEnoughData, match="4 users in the group: a comparison needs 5 at least"):
        profiler.of_users(np.arange(4))
    with pytest.raises(NotEnoughData, match="2 users outside it"):
        profiler.of_users(np.arange(398))


def test_one_user(profiler):
    genre = best_name(profiler)
    lover = int(genre_shares(genre).argmax())
    table = profiler.of_user(lover)
    assert table[C.NAME].iloc[0] == genre
    row = table.iloc[0]
    assert row["percentile"] > 95
    assert row["share"] == pytest.approx(row["others"] + row["difference"])
    assert row["ratio"] == pytest.approx(row["share"] / row["others"])
    everyone = profiler.activity.shares(np.ones(len(profiler.activity.user), dtype=bool))
    column = everyone.share[:, profiler.concepts.index[profiler.concepts[C.NAME] == genre][0]]
    values = column.toarray().ravel()
    rest = np.delete(values, lover)
    assert row["others"] == pytest.approx(rest.mean(), rel=1e-5)
    assert row["percentile"] == pytest.approx(100 * (rest < values[lover]).mean())


def test_after_an_item(profiler):
    genre = best_name(profiler)
    frame = planted().catalog.frame
    last = np.bincount(profiler.activity.item, minlength=len(frame))
    only = [i for i in range(1, len(frame)) if frame["genre"][i] == (genre,)]
    item = max(only, key=lambda i: last[i])
    table = profiler.after_item(item).set_index(C.NAME)
    assert table.loc[genre, "low"] > 0
    assert table.loc[genre, "share"] > 2 * table.loc[genre, "others"]
    promoted = profiler.promoting(item)
    assert promoted[C.NAME].iloc[0] == genre
    assert promoted["adds"].is_monotonic_decreasing
    rare = int(np.flatnonzero(last[1:] <= 4)[0]) + 1 if (last[1:] <= 4).any() else None
    assert rare is None or profiler.after_item(rare) is None


def test_ranks_and_weights_are_those_of_all_items(profiler, opened):
    item = 7
    table = planted().linear_head().items[1:]
    weights = (opened.sae.directions() @ (table - table.mean(0)).T).numpy()
    for row in profiler.promoting(item).itertuples():
        assert row.weight == pytest.approx(weights[row.latent, item - 1], abs=1e-5)
        assert row.rank == 1 + (weights[row.latent] > weights[row.latent, item - 1]).sum()


def test_cohorts(profiler, opened):
    genre = best_name(profiler)
    rows, latents = profiler.cohort(f"concept: {genre} > 0.3")
    assert set(latents) == set(opened.dictionary.find(genre, opened.verified))
    column = profiler.concepts.index[profiler.concepts[C.NAME] == genre][0]
    everyone = profiler.activity.shares(np.ones(len(profiler.activity.user), dtype=bool))
    values = everyone.share.toarray()[:, column]
    assert rows.tolist() == np.flatnonzero(values > 0.3).tolist()
    fewer, _ = profiler.cohort(f"concept:{genre}<.1")
    assert fewer.tolist() == np.flatnonzero(values < 0.1).tolist()
    table = profiler.of_users(rows, without=latents)
    assert genre not in set(table[C.NAME])
    assert len(table) == len(profiler.concepts) - 1


def test_cohort_of_an_item(profiler):
    title = planted().catalog.titles[5]
    rows, latents = profiler.cohort(f"item:{title}")
    sequences = planted().sequences()
    assert rows.tolist() == [r for r in range(len(sequences)) if 5 in sequences[r]]
    assert latents == ()


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ("Horror>0.1", "Cannot read the cohort"),
        ("concept:Horror", "Cannot read the cohort"),
        ("concept:Horror>much", "Cannot read the cohort"),
        ("concept:Comedyy>0.1", "No concept is named 'Comedyy'. Did you mean 'Comedy'"),
        ("item:nothing", "No item has the id or title 'nothing'"),
    ],
)
def test_rules_that_cannot_be(profiler, rule, match):
    with pytest.raises(InvalidInput, match=match):
        profiler.cohort(rule)


def test_each_latent(opened):
    profiler = Profiler(opened, each_latent=True)
    assert profiler.concepts["latents"].tolist() == [(j,) for j in range(16)]
    table = profiler.of_users(np.arange(50))
    assert len(table) == 16


# -- names -----------------------------------------------------------------------------------------


def dictionary(names, corrections=None):
    table = pd.DataFrame(
        {C.LATENT: range(len(names)), C.NAME: names, C.ABOUT: names, C.LABEL: names}
    )
    if corrections:
        table["correction"] = corrections
    return ConceptDictionary(table, pd.DataFrame())


def test_names_of_corrected_concepts():
    known = dictionary(
        ["Horror", "Mine", "horror", "Drama", "latent 4 (rejected)"],
        ["", "renamed", "", "", "rejected"],
    )
    found = concepts_of(known, np.array([0, 2, 4]), each_latent=False)
    assert found[C.NAME].tolist() == ["Horror", "Mine"]
    assert found["latents"].tolist() == [(0, 2), (1,)]


def test_nothing_verified():
    with pytest.raises(NotEnoughData, match="No concept of this run is verified: --latents"):
        concepts_of(dictionary(["A"]), np.array([], dtype=int), each_latent=False)


def test_users_from_a_list_or_a_file(tmp_path):
    assert read_users("1, 2,3,") == ["1", "2", "3"]
    (tmp_path / "users.txt").write_text("u1\nu2, u3\n\n")
    assert read_users(str(tmp_path / "users.txt")) == ["u1", "u2", "u3"]
    assert len(read_users(",".join(["user"] * 5000))) == 5000
    (tmp_path / "bad").write_bytes(b"\xff\xff")
    with pytest.raises(InvalidInput, match="Cannot read users from"):
        read_users(str(tmp_path / "bad"))
