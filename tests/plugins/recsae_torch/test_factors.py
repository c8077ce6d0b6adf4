"""Vectors of users and items: what is made of them, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

import recsae_torch
from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae.pipeline import run_pipeline
from recsae.recommender.evaluation import evaluate, evaluation_cases, top_lists
from recsae.recommender.lists import best_items
from recsae.testing import check_recommender

N_USERS, N_ITEMS, WIDTH, LENGTH = 90, 60, 6, 9


def world(seed=0):
    """Vectors, and for each user the items with the best scores and some noise, best ones last."""
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(N_USERS, WIDTH)), rng.normal(size=(N_ITEMS, WIDTH))
    noisy = users @ items.T + rng.normal(size=(N_USERS, N_ITEMS))
    liked = noisy.argsort(1)[:, -LENGTH:]
    return users.astype(np.float32), items.astype(np.float32), liked


USERS, ITEMS, LIKED = world()
USER_IDS, ITEM_IDS = [f"u{i}" for i in range(N_USERS)], [f"i{i}" for i in range(N_ITEMS)]
TRAINED = {u: [ITEM_IDS[i] for i in row[:-2]] for u, row in zip(USER_IDS, LIKED, strict=True)}
TEST = {u: [ITEM_IDS[i] for i in row[-2:]] for u, row in zip(USER_IDS, LIKED, strict=True)}
GIVEN = {"user_ids": USER_IDS, "item_ids": ITEM_IDS, "histories": TRAINED, "test": TEST}


def attach(user_vectors=USERS, item_vectors=ITEMS, **options):
    return recsae_torch.attach_factors(user_vectors, item_vectors, **{**GIVEN, **options})


def scores_of(recommender, rows):
    """Scores ``(n, n_items)`` of the users in these rows of the sequences, without padding."""
    rows = np.asarray(rows)
    ends = recommender.sequences().known[rows]
    batch = recommender.sequences().batch(rows, ends * 0, ends, recommender.max_length)
    return recommender.score(batch)[:, 1:].numpy()


def lists_of(recommender, k=10):
    """``(n, k)`` the rows of the best items of every user, whatever they have seen."""
    scores = scores_of(recommender, np.arange(len(recommender.sequences())))
    padded = torch.from_numpy(np.pad(scores, ((0, 0), (1, 0))))
    return best_items(padded, recommender.catalog, k).numpy() - 1


# -- three users and three items ---------------------------------------------------------------
TINY = {
    "user_ids": ["ann", "bob", "cy"],
    "item_ids": ["a", "b", "c"],
    "histories": {"bob": ["c"], "ann": ["a"]},
    "test": {"ann": ["b"], "bob": ["a", "b"]},
}
TINY_USERS = [[1, 0], [0, 1], [5, 5]]
TINY_ITEMS = [[2, 1], [3, 0], [0, 2]]


def tiny(user_vectors=TINY_USERS, item_vectors=TINY_ITEMS, **options):
    return recsae_torch.attach_factors(user_vectors, item_vectors, **{**TINY, **options})


def test_scores_are_products_and_biases():
    assert scores_of(tiny(), [0, 1]).tolist() == [[1, 0, 2], [2, 3, 0]]  # bob came first
    with_biases = tiny(item_biases=[0, 10, 20])
    assert scores_of(with_biases, [0, 1]).tolist() == [[1, 10, 22], [2, 13, 20]]
    assert tiny().linear_head().bias is None


def test_a_history_is_what_was_learned_and_then_the_test():
    data = tiny().sequences()
    assert [data[row].tolist() for row in range(2)] == [[3, 1, 2], [1, 2]]
    assert data.known.tolist() == [1, 1]
    assert tiny().max_length == 1


def test_ids_may_be_dicts_with_the_row_of_each():
    users, items = {"bob": 1, "cy": 2, "ann": 0}, {"c": 2, "a": 0, "b": 1}
    assert scores_of(tiny(user_ids=users, item_ids=items), [0, 1]).tolist() == [
        [1, 0, 2],
        [2, 3, 0],
    ]


def test_ids_are_text_and_tables_may_have_numbers():
    train = pd.DataFrame({"user": [1, 2], "item": [7, 9]})
    test = pd.DataFrame({"user": [1, 2], "item": [9, 8]})
    ids = {"user_ids": np.array([1, 2]), "item_ids": pd.Index([7, 8, 9])}
    found = tiny(TINY_USERS[:2], **ids, histories=train, test=test)
    assert found.sequences().users.tolist() == ["1", "2"]
    assert found.catalog.external_ids[1:] == ["7", "8", "9"]


def test_ndcg_is_what_one_works_out_by_hand():
    """ann's b is first of b, c, as a is seen; bob's a is first of a, b and his b the second."""
    cases = evaluation_cases(tiny())
    assert evaluate(tiny(), cases)["ndcg@10"].tolist() == [1, 1]
    seen_too = tiny(filters_seen=False)  # bob: c, a, b; ann: b, a, c
    bob = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert evaluate(seen_too, evaluation_cases(seen_too))["ndcg@10"] == pytest.approx([bob, 1])


def test_without_a_test_the_last_item_is_asked_for_and_said_to_be_known():
    found = tiny(histories={"ann": ["a", "b"], "bob": ["c"]}, test=None)
    cases = found.evaluation()
    assert (cases.rows.tolist(), cases.ends.tolist(), cases.targets.tolist()) == ([0], [1], [2])
    assert "known to the vectors" in cases.description
    assert any("the vectors were trained on" in note for note in found.catalog.notes)
    assert not any("trained on" in note for note in tiny().catalog.notes)


def test_users_who_are_not_looked_at_are_said():
    assert "1 of 3 users have a vector and no history." in tiny().catalog.notes
    (_, _, note) = tiny(test={"ann": ["b"]}).catalog.notes
    assert note.startswith("1 of 2 users with histories have no item that the evaluation could")


def test_what_is_the_same_for_all_users_is_a_bias():
    """As implicit's BPR has it: the last column is 1 for users, and the bias for items."""
    biases = np.array([0.5, -1, 2], dtype=np.float32)
    users, items = np.c_[TINY_USERS, [1, 1, 0]], np.c_[TINY_ITEMS, biases]  # cy is not looked at
    found = tiny(users, items, item_biases=[1, 1, 1])
    assert found.sites()[0].width == 2
    assert found.linear_head().bias.tolist() == [0, 1.5, 0, 3]
    assert (
        scores_of(found, [0, 1]).tolist()
        == scores_of(tiny(item_biases=biases + 1), [0, 1]).tolist()
    )


def test_titles_and_what_is_known_of_users():
    items = pd.DataFrame({"id": ["a", "b", "c"], "title": ["A!", "B!", "C!"], "genre": "xyz"})
    users = pd.DataFrame({"user": ["bob", "ann"], "age": [20, 30]})
    found = tiny(items=items, users=users)
    assert found.catalog.titles[1:] == ["A!", "B!", "C!"]
    assert found.user_table()["age"].to_dict() == {"bob": 20, "ann": 30}


# -- a model of its own ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"test": None},
        {"filters_seen": False},
        {"item_biases": np.linspace(-1, 1, N_ITEMS)},
        {"users": pd.DataFrame({"user": USER_IDS, "age": range(N_USERS)})},
    ],
)
def test_the_whole_protocol_is_kept(options):
    assert "edits are gone afterwards" in check_recommender(attach(**options))


def test_lists_leave_out_the_history_and_change_inside_the_context_alone():
    found = attach()
    cases = found.evaluation()
    before = top_lists(found, cases)
    for row, items in enumerate(before):
        history = found.sequences()[row][: LENGTH - 2]
        expected = USERS[row] @ ITEMS.T
        expected[history - 1] = -np.inf
        assert items.tolist() == (1 + np.argsort(-expected)[:10]).tolist()
    with found.edit(lambda states: -states):
        assert not (top_lists(found, cases) == before).any(1).all()
    assert np.array_equal(top_lists(found, cases), before)


def test_the_fingerprint_is_of_all_that_makes_lists():
    changed = USERS.copy()
    changed[3, 2] += 1e-3
    shorter = {**TRAINED, "u0": TRAINED["u0"][1:]}
    other = [
        *(attach(changed), attach(item_biases=np.ones(N_ITEMS)), attach(test=None)),
        *(attach(histories=shorter), attach(filters_seen=False)),
    ]
    prints = [attach().fingerprint(), *(found.fingerprint() for found in other)]
    assert len(set(prints)) == len(prints)
    assert attach().fingerprint() == prints[0]


def test_nobody_knows_a_sequence_without_a_user():
    found = attach()
    batch = found.sequences().batch(np.array([0]), np.array([0]), np.array([1]), 1)
    with pytest.raises(InvalidInput, match="knows users, not sequences"):
        found.score(batch._replace(users=batch.users * 0))
    with pytest.raises(CannotOpenModel, match="one state for each user"):
        found.represent(batch, positions=True)
    with pytest.raises(InvalidInput, match="no split 'valid'"):
        found.evaluation("valid")


# -- what does not fit -------------------------------------------------------------------------
def with_nan(vectors, value=np.nan):
    changed = np.array(vectors, dtype=np.float64)
    changed[[1, 2], 0] = value
    return changed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"user_vectors": TINY_ITEMS[0]},
            r"user_vectors has the shape \(2,\): it is a row for each user",
        ),
        ({"user_vectors": [[1, 0], [1]]}, "user_vectors is no array of numbers"),
        ({"item_vectors": [["x", "y"]] * 3}, "item_vectors holds text"),
        ({"user_vectors": TINY_USERS[:2]}, "user_vectors has 2 rows and user_ids has 3 ids"),
        ({"user_ids": None}, "user_ids is a NoneType: it holds your own ids"),
        ({"item_ids": "abc"}, "item_ids is a str: it holds your own ids"),
        ({"item_ids": list("abcd")}, "item_vectors has 3 rows and item_ids has 4 ids"),
        ({"item_vectors": [[1], [2], [3]]}, "users have 2 numbers and those of items 1"),
        (
            {"user_vectors": with_nan(TINY_USERS)},
            "2 of 3 rows of user_vectors hold NaN .* row 1 the first",
        ),
        (
            {"item_vectors": with_nan(TINY_ITEMS, np.inf)},
            "2 of 3 rows of item_vectors hold NaN or inf",
        ),
        (
            {"item_vectors": with_nan(TINY_ITEMS, 1e300)},
            "2 of 3 rows of item_vectors hold NaN or inf",
        ),
        (
            {"item_vectors": np.array(TINY_ITEMS) * 1e30},
            r"as large as 5 \(users\) and 3e\+30 \(items\) make scores that are not finite",
        ),
        ({"user_ids": ["ann", "bob", "ann"]}, "user_ids has 'ann' more than once"),
        ({"item_ids": {"a": 0, "b": 1, "c": 3}}, "item_ids is a dict whose values are not the row"),
        ({"histories": {"dan": ["a"]}}, "1 of 1 users of histories are not in user_ids, 'dan'"),
        ({"histories": {"ann": ["d"]}}, "1 of 1 interactions are with items that item_ids does"),
        ({"test": {"cy": ["a"]}}, "1 of 1 users of test have no history, 'cy' among them"),
        ({"test": {"ann": ["d"]}}, "test cannot be read as histories are: 1 of 1 interactions"),
        ({"test": pd.DataFrame({"user": ["ann"]})}, "test cannot be read as histories are: hist"),
        ({"test": {"ann": ["a"]}}, "1 of 1 interactions of test are .* user 'ann' and item 'a'"),
        ({"test": {}}, "test has no interactions of users with histories"),
        ({"test": None}, "No history has two items or more"),
        ({"item_biases": [1, 2]}, r"item_biases is of the shape \(2,\): it is a number for each"),
        ({"item_biases": [1, 2, np.nan]}, "item_biases is NaN or infinite"),
        (
            {"user_vectors": [[0, 0], [0, 1], [5, 5]]},
            "vectors of 1 of 2 users of histories are all 0, 'a",
        ),
        ({"item_vectors": [[0, 0]] * 3}, "All vectors of items are 0"),
        ({"user_vectors": [[1, 2]] * 3}, "All 2 users of histories have the same vector"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(options, words):
    with pytest.raises((InvalidInput, NotEnoughData), match=words) as error:
        tiny(**options)
    assert "\n" not in str(error.value)


def test_a_user_without_a_history_may_be_all_zero():
    assert len(tiny([[1, 0], [0, 1], [0, 0]]).sequences()) == 2


def test_too_few_users_for_a_run_are_said(tmp_path):
    with pytest.raises(NotEnoughData, match="too few to keep some users aside"):
        run_pipeline(tiny(), tmp_path / "run")


def test_swapped_matrices_are_said():
    with pytest.raises(InvalidInput, match=r"user_vectors has 60 rows, as many as item_ids.*swapp"):
        attach(ITEMS, USERS)


@pytest.mark.parametrize(
    "options",
    [
        {"user_ids": USER_IDS[::-1]},
        {"item_ids": ITEM_IDS[::-1]},
        {"user_vectors": ITEMS, "item_vectors": USERS[:N_ITEMS], "n": N_ITEMS},
    ],
)
def test_ids_in_another_order_are_noticed(options):
    """Matrices of one size may be swapped too."""
    n = options.pop("n", N_USERS)
    ids = USER_IDS[:n]
    kept = {name: {u: GIVEN[name][u] for u in ids} for name in ("histories", "test")}
    attach(USERS[:n], **kept, user_ids=ids)
    with pytest.raises(InvalidInput, match="fit their own histories no better than those of other"):
        attach(**{"user_vectors": USERS[:n], **kept, "user_ids": ids, **options})


# -- other people's models ---------------------------------------------------------------------
def matrix():
    """What the models are trained on: a row for each user."""
    import scipy.sparse

    rows = np.repeat(np.arange(N_USERS), LENGTH - 2)
    ones = np.ones(len(rows), dtype=np.float32)
    return scipy.sparse.csr_matrix((ones, (rows, LIKED[:, :-2].ravel())), (N_USERS, N_ITEMS))


def implicit_als(implicit):
    options = {"factors": 8, "iterations": 10, "random_state": 0, "num_threads": 1}
    return implicit.als.AlternatingLeastSquares(**options)


def implicit_bpr(implicit):
    options = {"factors": 8, "iterations": 200, "random_state": 0, "num_threads": 1}
    return implicit.bpr.BayesianPersonalizedRanking(**options)


@pytest.mark.parametrize("make", [implicit_als, implicit_bpr])
def test_lists_are_those_of_implicit(make):
    model, seen = make(pytest.importorskip("implicit")), matrix()
    model.fit(seen, show_progress=False)
    found = attach(model.user_factors, model.item_factors)
    every = np.arange(N_USERS)
    theirs, _ = model.recommend(every, seen, filter_already_liked_items=False)
    assert np.array_equal(lists_of(found), theirs)
    unseen, _ = model.recommend(every, seen)
    assert np.array_equal(top_lists(found, found.evaluation()) - 1, unseen)
    assert (found.linear_head().bias is None) == (make is implicit_als)
    assert found.sites()[0].width == 8


def test_scores_are_those_of_lightfm():
    lightfm = pytest.importorskip("lightfm")
    model = lightfm.LightFM(no_components=8, loss="warp", random_state=0)
    model.fit(matrix(), epochs=60)
    (own, users), (biases, items) = (
        model.get_user_representations(),
        model.get_item_representations(),
    )
    found = attach(users, items, item_biases=biases)
    pairs = np.repeat(np.arange(N_USERS), N_ITEMS), np.tile(np.arange(N_ITEMS), N_USERS)
    theirs = model.predict(*pairs).reshape(N_USERS, N_ITEMS)
    assert np.allclose(scores_of(found, range(N_USERS)) + own[:, None], theirs, atol=1e-5)
    assert np.array_equal(lists_of(found), np.argsort(-theirs, 1, kind="stable")[:, :10])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"user_vectors": USERS.astype(complex)}, "user_vectors holds complex numbers, of the"),
        ({"item_vectors": ITEMS.astype(str)}, "item_vectors holds text"),
        ({"user_vectors": np.zeros(USERS.shape, "datetime64[s]")}, "user_vectors holds dates"),
        ({"user_vectors": np.ma.masked_array(USERS, USERS > 0)}, "has masked entries"),
        ({"user_vectors": USERS[0]}, r"user_vectors has the shape \(6,\)"),
        ({"user_vectors": None}, r"user_vectors has the shape \(\)"),
        ({"user_vectors": [[1j] * 6] * 90}, "user_vectors holds complex numbers"),
        ({"item_vectors": np.full(ITEMS.shape, None)}, "rows of item_vectors hold NaN"),
        ({"item_biases": np.ones(N_ITEMS) * 1j}, "item_biases holds complex numbers"),
        ({"user_ids": {u: [0] for u in USER_IDS}}, "a dict whose values are not the rows"),
        ({"item_ids": dict.fromkeys(ITEM_IDS, 0.5)}, "a dict whose values are not the rows"),
        ({"histories": {"u0": 5}}, "history of user 'u0' is a int: it is a list of items"),
        ({"histories": {"u0": None}}, "history of user 'u0' is a NoneType"),
        ({"histories": {"u0": {"i1", "i2"}}}, "history of user 'u0' is a set"),
        ({"histories": {"u0": np.array([["i1"]])}}, "history of user 'u0' is a ndarray"),
        ({"histories": {"u0": [["i1"]]}}, "Items of histories are single ids"),
        ({"test": {"u0": 5}}, "test cannot be read .* history of user 'u0' is a int"),
        ({"filters_seen": "no"}, "filters_seen is 'no': say True or False"),
        ({"items": 5}, "items is a int: it is a DataFrame, or the path of a CSV file"),
        ({"items": ["a"]}, "items is a list"),
        ({"attribute_columns": "genre"}, "attribute_columns is 'genre': give a list"),
        ({"attribute_columns": 5}, "attribute_columns is 5: give a list"),
        ({"separator": 5}, "separator is 5: give a text"),
        (
            {"items": pd.DataFrame([["i0", "a", "b"]], columns=["item", "genre", "genre"])},
            "has the column 'genre' twice",
        ),
        ({"users": 5}, "users is a int"),
    ],
)
def test_what_is_no_array_no_table_and_no_setting_is_refused_in_a_sentence(options, match):
    with pytest.raises(InvalidInput, match=match):
        attach(**options)
