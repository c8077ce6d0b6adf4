"""RecTools' transformers of every kind keep the whole protocol, and their lists are its own."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("rectools")

from rectools.metrics import NDCG
from rectools.models import BERT4RecModel, HSTUModel, SASRecModel

from helpers.rectools_kit import (
    MODELS,
    attached,
    before_last,
    dataset,
    fit,
    fitted,
    interactions,
    recommended,
)
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.recommender.checks import is_causal
from recsae.recommender.evaluation import evaluate, evaluation_cases
from recsae.recommender.protocol import EvaluationCases
from recsae.recommender.sequences import probe_batch
from recsae.testing import check_recommender
from recsae_rectools.boundary import rectools_boundary
from recsae_rectools.open import open_model

pytestmark = pytest.mark.rectools

EVERY = [
    (name, distance, with_features)
    for name in MODELS
    for distance in ("dot", "cosine")
    for with_features in (False, True)
]


def lists_of(recommender, rows, ends, k=10):
    """External ids on top after the first ``ends`` items of some sequences, the best first."""
    starts = np.maximum(0, ends - recommender.max_length)
    batch = recommender.sequences().batch(rows, starts, ends, recommender.max_length)
    best = (-recommender.score(batch)[:, 1:]).argsort(dim=1, stable=True)[:, :k] + 1
    return [[recommender.catalog.external_ids[i] for i in items] for items in best.tolist()]


@pytest.mark.parametrize(("name", "distance", "with_features"), EVERY)
def test_every_model_keeps_the_protocol(name, distance, with_features):
    recommender = attached(name, distance, with_features)
    assert recommender.linear_head() is not None
    assert recommender.describe()["similarity"] == distance
    n_blocks = 1 + with_features
    assert len(recommender.describe()["item_net"]) == n_blocks
    json.dumps(recommender.describe())
    check_recommender(recommender, 12)


@pytest.mark.parametrize(("name", "distance", "with_features"), EVERY)
def test_lists_of_every_user_are_those_of_recommend(name, distance, with_features):
    """After whole histories: ids and order."""
    recommender = attached(name, distance, with_features)
    sequences = recommender.sequences()
    last = interactions().groupby("user_id")["datetime"].max()
    users = list(sequences.users)
    theirs = recommended(
        *(fitted(name, distance, with_features), users, dataset(with_features)),
        at=last[users].to_numpy(),
    )
    mine = lists_of(recommender, np.arange(len(users)), sequences.lengths)
    for user, items in zip(users, mine, strict=True):
        assert items == theirs.loc[theirs["user_id"] == user, "item_id"].astype(str).tolist()
        assert len(items) == 10


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("distance", ["dot", "cosine"])
def test_ndcg_of_leave_one_out_is_rectools_own(name, distance):
    recommender, model = attached(name, distance), fitted(name, distance)
    with rectools_boundary():
        rest, last = before_last(interactions())
        asked = last[last["user_id"] != "alone"].sort_values("user_id")
        lists = recommended(
            *(model, asked["user_id"].tolist(), type(dataset()).construct(rest)),
            at=asked["datetime"].to_numpy(),
        )
        theirs = NDCG(10, divide_by_achievable=True).calc(lists, asked)
    ours = evaluate(recommender, recommender.evaluation())["ndcg@10"]
    assert len(ours) == 40
    assert ours.mean() == pytest.approx(theirs, abs=1e-6)
    assert 0 < theirs < 1


def test_who_has_something_unknown_last_is_not_asked_about():
    """As where RecTools' splitters filter cold items. Of u4 only what is first is unknown."""
    late = pd.Timestamp("2021-01-01")
    new = [("u3", 777, 1.0, late), ("u4", 777, 1.0, pd.Timestamp("2019-01-01"))]
    table = pd.concat([interactions(), pd.DataFrame(new, columns=interactions().columns)])
    with rectools_boundary():
        rest, last = before_last(table)
        asked = last[~last["item_id"].isin([777, 999])]
        lists = recommended(fitted(), asked["user_id"].tolist(), type(dataset()).construct(rest))
        theirs = NDCG(10, divide_by_achievable=True).calc(lists, asked)
        found = open_model(fitted(), dataset=type(dataset()).construct(table))
    cases = found.evaluation()
    users = set(found.sequences().users[cases.rows])
    assert len(users) == len(asked) == 39
    assert "u3" not in users
    assert evaluate(found, cases)["ndcg@10"].mean() == pytest.approx(theirs, abs=1e-6)
    valid = found.evaluation("valid")
    assert "u3" in set(found.sequences().users[valid.rows])
    row = found.sequences().row_of("u3")
    (at,) = np.flatnonzero(valid.rows == row)
    assert valid.targets[at] == found.sequences()[row][-1]


def test_if_everybody_has_something_unknown_last_the_one_before_is_asked_for():
    late = interactions().drop_duplicates("user_id").assign(item_id=777)
    late["datetime"] = pd.Timestamp("2021-01-01")
    with rectools_boundary():
        data = type(dataset()).construct(pd.concat([interactions(), late]))
    found = open_model(fitted(), dataset=data)
    with pytest.raises(
        NotEnoughData, match="Of no user is the interaction that the split 'test' a"
    ):
        found.evaluation()
    assert len(evaluation_cases(found).rows) == 40
    with pytest.raises(InvalidInput, match="There is no split 'train'"):
        found.evaluation("train")


@pytest.mark.parametrize("name", ["SASRec", "BERT4Rec", "HSTU"])
def test_ndcg_of_a_split_in_time_is_rectools_own(name):
    """Everything from a day on is asked for, of users with something before."""
    recommender, model, table = attached(name), fitted(name), interactions()
    day = pd.Timestamp("2020-01-10")
    with rectools_boundary():
        before, after = table[table["datetime"] < day], table[table["datetime"] >= day]
        after = after[after["user_id"].isin(before["user_id"]) & (after["item_id"] != 999)]
        first = after.groupby("user_id")["datetime"].min()
        lists = recommended(
            *(model, first.index.tolist(), type(dataset()).construct(before)),
            at=first.to_numpy(),
        )
        theirs = NDCG(10, divide_by_achievable=True).calc(lists, after)
    sequences, rows, ends = recommender.sequences(), [], []
    for row, user in enumerate(sequences.users):
        known = int((before["user_id"] == user).sum())
        ends += range(known, int(sequences.lengths[row])) if known else ()
        rows += [row] * (len(ends) - len(rows))
    rows, ends = np.array(rows), np.array(ends)
    targets = sequences.flat[sequences.offsets[rows] + ends].astype(np.int64)
    _, groups = np.unique(rows, return_inverse=True)
    cases = EvaluationCases(rows, ends, targets, groups, None, ("ndcg",), (10,), "a day")
    ours = evaluate(recommender, cases)["ndcg@10"]
    assert len(ours) == len(first) > 20
    assert len(targets) > len(first)  # several are asked for in a list
    assert ours.mean() == pytest.approx(theirs, abs=1e-6)


def test_a_user_of_unknown_items_has_no_sequence():
    recommender = attached()
    assert "alone" not in recommender.sequences().users
    assert "999" not in recommender.catalog.external_ids
    assert len(recommender.sequences()) == 40


@pytest.mark.parametrize(
    ("model_class", "settings", "causal"),
    [
        (SASRecModel, {}, False),
        (SASRecModel, {"use_pos_emb": False, "use_key_padding_mask": True}, True),
        (HSTUModel, {}, False),
        (HSTUModel, {"use_pos_emb": False, "relative_time_attention": False}, True),
        (BERT4RecModel, {"use_pos_emb": False}, False),
    ],
)
def test_causality_is_tried(model_class, settings, causal):
    """Positions are counted from the newest item, and padding is read too, so that an earlier state
    is another one than when its item was the newest, unless settings say otherwise."""
    recommender = open_model(fit(model_class, dataset(), **settings), dataset=dataset())
    assert [s.every_position for s in recommender.sites()] == [causal] * len(recommender.sites())
    batch = probe_batch(recommender.sequences(), recommender.max_length, 8)
    assert is_causal(recommender, None, batch) == causal


def test_who_somebody_is_can_be_read_from_the_fingerprint():
    one = attached().fingerprint()
    assert one == open_model(fitted(), dataset=dataset()).fingerprint()
    assert one != attached(distance="cosine").fingerprint()
    with rectools_boundary():
        rest, _ = before_last(interactions())
        fewer = type(dataset()).construct(rest)
    assert one != open_model(fitted(), dataset=fewer).fingerprint()
