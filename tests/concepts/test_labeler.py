"""The predicate chosen for a latent is the best of all predicates there are."""

from importlib.metadata import EntryPoint

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from helpers import scoring_kit
from helpers.labels import LABELER, OLD, RED
from helpers.runs import planted
from helpers.scoring_kit import BLIND, ITEMS, step_of
from helpers.toy import cases, catalog, random_cases, sparse
from recsae.concepts import labeler as labelers
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.values import item_attributes
from recsae.concepts.labeler import AttributeLabeler, cells_of, labels_by, named_labeler
from recsae.concepts.wording import Predicate
from recsae.core import columns as C
from recsae.core.errors import InvalidInput, LabelerFailed
from recsae.recommender.catalog import build_catalog
from recsae.recommender.plugins import LABELERS
from recsae.run.record import Run
from recsae.run.workspace import Workspace

HAS = {"red": RED, "old": OLD}


ITEMS_AT = {
    "last": lambda made: made.last_items[:, :1],
    "last5": lambda made: made.last_items,
    "top1": lambda made: made.top_items[:, :1],
    "top10": lambda made: made.top_items,
    "last20": lambda made: made.recent(20),
    "last50": lambda made: made.recent(50),
    "share50": lambda made: made.recent(50),
}


def count(items, view: str, value: str) -> int:
    """How many of the items that a case has at the view have the value, one by one."""
    has = HAS.get(value) or {int(item[1:]) for item in value.split(" | ")}
    n = sum(int(i) in has for i in items)
    return 100 * n // int((items > 0).sum()) if view == "share50" else n


def says(made, view: str, value: str, threshold: int) -> np.ndarray:
    items = ITEMS_AT[view](made)
    return np.array([count(items[row], view, value) >= threshold for row in range(len(made))])


def test_by_hand():
    # Latent 0 is active where 2 of the last 5 items and more are red, latent 1 where the top
    # recommendation is old, latent 2 on the first case alone, whose last item is red and old.
    last = [[3, 1], [1, 2, 7], [7, 1], [8], [2], [7, 7, 2, 1]]
    top = [[4, 7], [7, 4], [5, 1], [1, 2], [8, 4], [3, 8]]
    code = [[1, 2, 3], [2, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0.5, 3, 0]]
    # each case twice: of a user in whose half labels are found, and of one in the other
    last, top, code = ([row for row in rows for _ in range(2)] for rows in (last, top, code))
    labels = LABELER.label(sparse(code), cases(list(range(12)), last, top))
    assert labels[C.LATENT].tolist() == [0, 1, 2]
    assert labels[C.LABEL].tolist() == [
        "At least 2 of the last 5 items are red.",
        "The top recommendation is old.",
        "The last item is old.",
    ]
    assert labels[C.NAME].tolist() == ["red", "old", "old"]
    assert labels[C.VIEW].tolist() == ["last5", "top1", "last"]
    assert labels[C.THRESHOLD].tolist() == [2, 1, 1]
    assert set(labels[C.LABELER]) == {"attributes"}


def test_size_of_the_activation_does_not_matter():
    rng = np.random.default_rng(0)
    made = random_cases(rng, 50, 5)
    dense = rng.random((50, 3)) * (rng.random((50, 3)) < 0.4)
    one, other = (LABELER.label(sparse(x), made) for x in (dense, 100 * dense**3))
    pd.testing.assert_frame_equal(one, other)


def test_zeros_that_are_stored_are_not_active():
    rng = np.random.default_rng(0)
    made = random_cases(rng, 30, 5)
    dense = rng.random((30, 2)) * (rng.random((30, 2)) < 0.4)
    stored = sparse(dense + 1)
    stored.data -= 1
    assert stored.nnz == 60
    pd.testing.assert_frame_equal(LABELER.label(stored, made), LABELER.label(sparse(dense), made))


def test_many_cases_are_thinned_evenly(monkeypatch):
    rng = np.random.default_rng(2)
    made, dense = random_cases(rng, 41, 5), rng.random((41, 3)) * (rng.random((41, 3)) < 0.3)
    monkeypatch.setattr(labelers, "MAX_SEARCH_CASES", 21)
    every_other = np.arange(0, 41, 2)
    pd.testing.assert_frame_equal(
        LABELER.label(sparse(dense), made),
        LABELER.label(sparse(dense[every_other]), made.take(every_other)),
    )


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_predictions_are_what_the_predicates_say(seed):
    rng = np.random.default_rng(seed)
    construction, others = random_cases(rng, 60, 6), random_cases(rng, 20, 4)
    dense = rng.random((60, 6)) * (rng.random((60, 6)) < 0.3)
    labels = LABELER.label(sparse(dense), construction)
    found = LABELER.predict(labels, others)
    for j, row in labels.iterrows():
        said = found.steps[:, [found.column[j]]].toarray().ravel() >= found.threshold[j]
        assert said.tolist() == true_of(row, others).tolist()


def true_of(row, made) -> np.ndarray:
    """Whether a label is true, one case after another."""
    if not isinstance(row[C.ATTRIBUTE], str):
        return np.ones(len(made), dtype=bool)
    where = row[C.VIEW], row[C.VALUE], row[C.THRESHOLD]
    first = says(made, *where) != row[C.NEGATED]
    if not isinstance(row[C.SECOND_ATTRIBUTE], str):
        return first
    where = row[C.SECOND_VIEW], row[C.SECOND_VALUE], row[C.SECOND_THRESHOLD]
    second = says(made, *where) != row[C.SECOND_NEGATED]
    if isinstance(row[C.THIRD_ATTRIBUTE], str):
        where = row[C.THIRD_VIEW], row[C.THIRD_VALUE], row[C.THIRD_THRESHOLD]
        second &= says(made, *where) != row[C.THIRD_NEGATED]
    return first | second if row[C.JOINT] == "or" else first & second


PLANTED = {
    "and": lambda red, old: red & old,
    "and not": lambda red, old: red & ~old,
}


@pytest.mark.end_to_end
@pytest.mark.parametrize("negated", [False, True])
def test_a_third_statement_is_found_where_it_is_there(negated):
    rng = np.random.default_rng(3)
    made = random_cases(rng, 6000, 200)
    both = says(made, "last5", "red", 2) & says(made, "top10", "old", 4)
    active = both & (says(made, "last", "old", 1) != negated)
    (row,) = LABELER.label(sparse(active[:, None]), made).to_dict("records")
    assert f1_score(active, true_of(row, made)) > 0.95
    assert isinstance(row[C.THIRD_ATTRIBUTE], str)
    assert row[C.JOINT] == "and"
    assert row[C.LABEL].count(",") == 2
    assert ", and " in row[C.LABEL]
    by_chance = np.stack([both & (rng.random(6000) < share) for share in (1, 0.9, 0.7, 0.5)], 1)
    assert LABELER.label(sparse(by_chance), made)[C.THIRD_ATTRIBUTE].isna().all()


def test_three_statements_count_how_many_hold_from_the_first_on():
    made = cases([0] * 4, [[1], [1], [4], [3]], [[3, 4], [8, 8], [3, 4], [3, 3]])
    first = Predicate("last", "colour", "red", 1)
    others = (Predicate("top10", "age", "old", 2), Predicate("top10", "colour", "red", 2, True))
    row = {C.LATENT: 0, C.NAME: "", C.LABEL: "", C.LABELER: "", C.ORIGIN: "found", C.JOINT: "and"}
    for columns, predicate in zip(C.PARTS, (first, *others), strict=True):
        row |= dict(zip(columns, cells_of(predicate), strict=True))
    said = LABELER.predict(pd.DataFrame([row]), made)
    assert said.steps.toarray()[:, 0].tolist() == [3, 1, 0, 2]
    assert said.threshold.tolist() == [3]


@pytest.mark.end_to_end
@pytest.mark.parametrize("kind", PLANTED)
def test_planted_pairs_are_found(kind):
    rng = np.random.default_rng(3)
    made = random_cases(rng, 1200, 60)
    active = PLANTED[kind](says(made, "last5", "red", 3), says(made, "top10", "old", 4))
    (row,) = LABELER.label(sparse(active[:, None]), made).to_dict("records")
    assert f1_score(active, true_of(row, made)) > 0.95
    assert row[C.JOINT] == "and"


@pytest.mark.end_to_end
def test_alternatives_of_one_kind_are_found_and_others_are_not_made():
    """ "Or" joins two values of one attribute in one view, each of which tells cases of its own."""
    rng = np.random.default_rng(3)
    made, kinds = random_cases(rng, 2400, 60, items=ITEMS), scoring_kit.HAS
    last, top = kinds[made.last_items].sum(1), kinds[made.top_items].sum(1)
    one_view = (last[:, 0] >= 4) | (last[:, 1] >= 4)
    two_views = (last[:, 0] >= 4) | (top[:, 1] >= 6)
    labels = BLIND.label(sparse(np.stack([one_view, two_views], axis=1)), made)
    assert labels[C.JOINT].tolist() == ["or", None]
    assert {labels[C.VALUE][0], labels[C.SECOND_VALUE][0]} == {"0", "1"}
    assert f1_score(one_view, step_of(labels.loc[0], made)[0] >= 1) > 0.95


def test_a_latent_that_follows_a_few_items_is_called_after_them():
    rng = np.random.default_rng(6)
    last = rng.integers(1, 9, (600, 1))
    made = cases(np.repeat(np.arange(60), 10).tolist(), last.tolist(), [[5]] * 600)
    active = np.isin(last[:, 0], [2, 7])
    (row,) = LABELER.label(sparse(active[:, None]), made).to_dict("records")
    assert row[C.ATTRIBUTE] == "item"
    assert set(row[C.VALUE].split(" | ")) == {"m2", "m7"}
    assert (row[C.VIEW], row[C.THRESHOLD], row[C.NEGATED]) == ("last", 1, False)
    assert row[C.NAME].startswith("after ")
    said = LABELER.predict(pd.DataFrame([row]), made)
    assert (said.steps.toarray()[:, 0] >= said.threshold[0]).tolist() == active.tolist()


def test_a_theme_that_is_as_good_is_preferred_to_a_list():
    """All red items: the set of them says the same as the attribute, which is plainer."""
    rng = np.random.default_rng(7)
    last = rng.integers(1, 9, (600, 1))
    made = cases(np.repeat(np.arange(60), 10).tolist(), last.tolist(), [[5]] * 600)
    (row,) = LABELER.label(sparse(np.isin(last, sorted(RED))), made).to_dict("records")
    assert row[C.LABEL] == "The last item is red."


def test_most_of_a_history_is_a_share_of_what_is_there():
    rng = np.random.default_rng(8)
    made = random_cases(rng, 1200, 60)
    active = says(made, "share50", "red", 60)
    (row,) = LABELER.label(sparse(active[:, None]), made).to_dict("records")
    assert f1_score(active, true_of(row, made)) > 0.95


def test_a_pair_that_is_no_better_is_not_taken():
    rng = np.random.default_rng(4)
    made = random_cases(rng, 1200, 60)
    active = says(made, "last5", "red", 3) ^ (rng.random(1200) < 0.1)
    (row,) = LABELER.label(sparse(active[:, None]), made).to_dict("records")
    assert row[C.LABEL] == "At least 3 of the last 5 items are red."
    assert row[C.JOINT] is None


def test_what_is_active_on_most_cases_is_general_purpose():
    rng = np.random.default_rng(5)
    made = random_cases(rng, 200, 20)
    labels = LABELER.label(sparse(rng.random((200, 2)) < [0.7, 0.2]), made)
    assert labels[C.NAME][0] == "general-purpose"
    assert labels[C.NAME][1] != "general-purpose"
    assert LABELER.predict(labels, made).steps.shape[0] == 200


def test_labels_are_those_of_the_attributes_that_are_asked():
    """Attributes that are gone leave their id to others, but not what was counted for them."""
    made = cases(list(range(8)), [[i] for i in (1, 1, 2, 2) * 2], [[5]] * 8)
    code = sparse(np.array([[1], [1], [0], [0]] * 2))
    for number in range(40):
        matrix = scipy.sparse.csr_matrix(np.eye(9, dtype=np.int8)[:, [1 + number % 2]])
        labeler = AttributeLabeler(ItemAttributes(matrix, (("kind", "X"),)))
        says = "not " * (number % 2)
        assert labeler.label(code, made)[C.LABEL].tolist() == [f"The last item is {says}X."]
        del labeler


def test_labels_of_items_without_titles_and_attributes():
    items = build_catalog(["[PAD]", *catalog().external_ids[1:]], None)
    made = cases(list(range(8)), [[i] for i in range(1, 9)], [[5, 6]] * 8, items=items)
    labeler = AttributeLabeler(item_attributes(items, made))
    # items 1 and 2 are the first quarter of the interactions: the band says both, the item one
    labels = labeler.label(sparse(np.array([[1, 0, 0, 0, 0, 0, 0, 0], [1] * 2 + [0] * 6]).T), made)
    assert labels[C.LABEL].tolist() == [
        "The last item is “m1”.",
        "The last item is among the most popular.",
    ]
    assert labels[C.NAME].tolist() == ["after “m1”", "most popular items"]
    assert labeler.predict(labels, made).steps.toarray().sum(0).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("view", "threshold", "text"),
    [
        ("last", 1, "The last item is X."),
        ("top1", 1, "The top recommendation is X."),
        ("last5", 1, "At least 1 of the last 5 items is X."),
        ("last5", 5, "All of the last 5 items are X."),
        ("top10", 7, "At least 7 of the top 10 recommendations are X."),
    ],
)
def test_sentences(view, threshold, text):
    assert Predicate(view, "kind", "X", threshold).sentence({}) == text


@pytest.mark.end_to_end
def test_no_second_statement_is_found_by_chance(planted_run):
    """Activations given to other cases: what a pair gains must beat what its search flatters."""
    work = Workspace(Run(planted_run), planted(), finished=True)
    code = work.sae_codes.construction
    assert work.labeler.label(code, work.construction)[C.JOINT].notna().any()
    found = 0
    for seed in range(5):
        elsewhere = np.random.default_rng(seed).permutation(code.shape[0])
        labels = work.labeler.label(code[elsewhere], work.construction)
        found += int(labels[C.JOINT].notna().sum())
    assert found <= 1  # of 80


def test_a_gate_is_called_after_the_statement_of_its_value_that_it_follows():
    rng = np.random.default_rng(9)
    made = random_cases(rng, 2400, 80)
    asked = [Predicate("last", "colour", "red", 1), Predicate("last", "age", "old", 1)]
    follows = [says(made, "last5", "red", 3), says(made, "last", "old", 1)]
    labels = LABELER.label(sparse(np.stack(follows, axis=1)), made, asked)
    assert labels[C.LABEL].tolist() == [
        "At least 3 of the last 5 items are red.",
        "The last item is old.",
    ]
    assert labels[C.ORIGIN].tolist() == ["core", "core"]


def test_a_gate_is_not_called_after_another_value_or_its_opposite():
    rng = np.random.default_rng(9)
    made = random_cases(rng, 2400, 80)
    asked = [Predicate("last", "colour", "red", 1), Predicate("last", "age", "old", 1, True)]
    follows = [says(made, "last5", "old", 3), says(made, "last5", "old", 3)]
    labels = LABELER.label(sparse(np.stack(follows, axis=1)), made, asked)
    assert labels[C.VALUE].tolist() == ["red", "old"]
    assert labels[C.NEGATED].tolist() == [False, True]


def test_a_statement_that_is_hardly_better_is_not_taken():
    rng = np.random.default_rng(9)
    made = random_cases(rng, 2400, 80)
    asked = Predicate("last5", "colour", "red", 3)
    noisy = says(made, "last5", "red", 3) ^ (rng.random(2400) < 0.3)
    labels = LABELER.label(sparse(noisy[:, None]), made, [asked])
    assert labels[C.LABEL].tolist() == [asked.sentence({})]


def test_of_two_values_that_deny_each_other_the_one_that_holds_is_said():
    matrix = np.zeros((9, 2), dtype=np.int8)
    matrix[[1, 2, 3], 0], matrix[[4, 5, 6, 7, 8], 1] = 1, 1
    names = (("decade", "1990s"), ("before decade", "1990s"))
    labeler = AttributeLabeler(ItemAttributes(scipy.sparse.csr_matrix(matrix), names))
    made = random_cases(np.random.default_rng(4), 1200, 60)
    new, old = says(made, "last5", "red", 3), ~says(made, "last5", "red", 1)  # items 1 to 3
    labels = labeler.label(sparse(np.stack([new, old], axis=1)), made)
    assert labels[C.NEGATED].tolist() == [False, False]
    assert labels[C.ATTRIBUTE].tolist() == ["decade", "before decade"]


# -- one of somebody else's ------------------------------------------------------------------------


class Theirs:
    name, sees_examples = "theirs", False

    def __init__(self, table):
        self.table = table

    def label(self, code, cases, asked=()):
        return self.table


def said(**columns):
    rows = pd.DataFrame(columns)
    return labels_by(Theirs(rows), scipy.sparse.csr_matrix((1, 2)), None)


def test_two_columns_are_enough():
    table = said(name=["a", "b"], label=["A.", "B."], value=["x", None])
    assert list(table.columns) == list(C.LABEL_COLUMNS)
    assert table[C.LATENT].tolist() == [0, 1]
    assert table[C.LABELER].tolist() == ["theirs"] * 2
    assert table[C.ORIGIN].tolist() == ["found"] * 2
    assert table[C.VALUE].tolist() == ["x", None]
    assert table[C.ATTRIBUTE].tolist() == [None, None]
    assert table[[C.THRESHOLD, C.SECOND_THRESHOLD]].to_numpy().tolist() == [[1, 0], [1, 0]]
    assert not table[[C.NEGATED, C.SECOND_NEGATED, C.THIRD_NEGATED]].to_numpy().any()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"name": ["a"], "label": ["A."]}, "for each of 2 latents, .* 1 rows of name, label"),
        ({"name": ["a", "b"]}, "with name and label"),
        ({"name": ["a", " "], "label": ["A.", "B."]}, "left a name or a label empty"),
        ({"name": ["a", None], "label": ["A.", "B."]}, "left a name or a label empty"),
    ],
)
def test_no_usable_labels(columns, words):
    with pytest.raises(LabelerFailed, match=words):
        said(**columns)


def test_no_table():
    with pytest.raises(LabelerFailed, match="seen: None"):
        labels_by(Theirs(None), scipy.sparse.csr_matrix((1, 2)), None)


def test_labelers_are_found_by_name(monkeypatch):
    points = [
        EntryPoint("mine", f"{__name__}:Theirs", LABELERS),
        EntryPoint("gone", "no_such_module:it", LABELERS),
    ]
    monkeypatch.setattr("recsae.concepts.labeler.entry_points", lambda group: points)
    assert named_labeler("mine") is Theirs
    with pytest.raises(InvalidInput, match=r"No labeler named 'mime' .* gone, mine.*'mine'"):
        named_labeler("mime")
    with pytest.raises(InvalidInput, match=r"'gone' cannot be imported .ModuleNotFoundError"):
        named_labeler("gone")
