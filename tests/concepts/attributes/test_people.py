"""What most of the people of a group are: by hand, and planted and found again."""

import numpy as np
import pandas as pd
import pytest

from helpers.toy import cases_of
from recsae.concepts.attributes import communities as module
from recsae.concepts.attributes.names import FANS, MOSTLY
from recsae.concepts.attributes.people import People
from recsae.concepts.attributes.values import item_attributes
from recsae.recommender.catalog import build_catalog
from recsae.recommender.user_table import build_user_table

LEFT, RIGHT = np.array([1, 2, 3]), np.array([4, 5, 6])
NAMES = [f"i{i}" for i in range(1, 9)]
ITEMS = build_catalog(["[PAD]", *NAMES], pd.DataFrame({"item_id": NAMES, "title": NAMES}))
IN_LEFT, IN_RIGHT = [1, 2, 3, 1], [4, 5, 6, 4]  # the last item is what comes next


def table_of(n, **columns):
    users = [f"u{i}" for i in range(n)]
    return build_user_table(users, pd.DataFrame({"user": users, **columns}))


def people_of(*histories, **columns):
    cases = cases_of(*histories, items=ITEMS)
    return People.of(cases, table_of(len(histories), **columns))


def values_of(people, alike=None, n_groups=2):
    return [people.value_of(group, alike, n_groups) for group in (LEFT, RIGHT)]


HALVES = [IN_LEFT] * 7 + [IN_RIGHT] * 7


def test_each_of_two_groups_is_said_by_what_its_people_are():
    people = people_of(*HALVES, job=["student"] * 7 + ["writer"] * 7)
    assert people.names == (("job", "student"), ("job", "writer"))
    # 1 of each group and .5 of all; by chance (1/2) ** 7, of two values in two groups 4 times that
    assert values_of(people) == [("job", "student"), ("job", "writer")]
    assert values_of(people, n_groups=4) == [None, None]


def test_a_value_must_be_twice_as_frequent_as_of_all():
    jobs = [*["student"] * 7, *["student"] * 1, *[None] * 6]
    assert values_of(people_of(*HALVES, job=jobs)) == [None, None]  # 1, and 8 / 14 of all


@pytest.mark.parametrize(("holders", "found"), [(6, ("job", "nurse")), (5, None)])
def test_a_value_must_be_of_half_of_the_consumption(holders, found):
    histories = [IN_LEFT] * 12 + [IN_RIGHT] * 88
    jobs = ["nurse"] * holders + [""] * (12 - holders) + ["clerk"] * 88
    assert values_of(people_of(*histories, job=jobs))[0] == found  # of 12 users


@pytest.mark.parametrize(("holders", "found"), [(5, ("job", "nurse")), (4, None)])
def test_a_value_of_fewer_than_five_people_would_say_who_they_are(holders, found):
    histories = [IN_LEFT] * holders + [IN_RIGHT] * (100 - holders)
    jobs = ["nurse"] * holders + ["clerk"] * (100 - holders)
    assert values_of(people_of(*histories, job=jobs))[0] == found


def test_users_count_as_one_however_much_they_consume():
    heavy = IN_LEFT[:3] * 50 + [1]
    histories = [heavy, *[IN_LEFT] * 9, *[IN_RIGHT] * 90]
    jobs = ["nurse", *["clerk"] * 9, *["judge"] * 90]
    assert values_of(people_of(*histories, job=jobs))[0] == ("job", "clerk")
    consumed = people_of(*histories, job=jobs).consumed
    assert np.asarray(consumed.sum(1)).ravel() == pytest.approx(np.ones(100))


def test_one_who_consumes_little_else_cannot_decide_for_many_who_consume_a_little():
    histories = [IN_LEFT, *[[1, *[4, 5, 6] * 33, 4]] * 6, *[IN_RIGHT] * 60]
    jobs = [
        *["nurse"] * 7,
        *["clerk"] * 60,
    ]  # 1 and 6 times .01 of the group: one is as good as all
    assert values_of(people_of(*histories, job=jobs))[0] is None


def test_where_the_items_say_it_already_people_must_say_more():
    # all of Comedy, 1 to 6, is of students; items 1 to 3 are of no others
    histories = [*[IN_LEFT] * 10, *[IN_RIGHT] * 10, *[[7, 8, 7, 8]] * 80]
    comedy = np.isin(np.arange(9), [1, 2, 3, 4, 5, 6])
    same = people_of(*histories, job=["student"] * 20 + ["clerk"] * 80)
    assert values_of(same) == [("job", "student")] * 2
    assert values_of(same, comedy) == [None, None]
    more = people_of(*histories, job=["student"] * 10 + ["nurse"] * 10 + ["clerk"] * 80)
    assert values_of(more, comedy) == [("job", "student"), ("job", "nurse")]  # 1, .5 of Comedy


def test_the_value_that_tells_most_is_said():
    plan = ["gold"] * 7 + ["gold"] * 2 + ["none"] * 12
    job = ["student"] * 7 + ["writer"] * 14
    histories = [IN_LEFT] * 7 + [IN_RIGHT] * 14
    people = people_of(*histories, plan=plan, job=job)
    assert people.value_of(LEFT, None, 1) == ("job", "student")  # log 3, before log 21 / 9


@pytest.mark.parametrize(
    "column",
    [
        {"zip": [f"{i % 12:05d}" for i in range(14)]},  # nearly one each
        {"job": ["other"] * 7 + ["unknown"] * 7},
        {"job": ["none"] * 7 + [""] * 7},
        {"age": [None] * 14},
    ],
)
def test_what_says_nothing_of_groups(column):
    assert people_of(*HALVES, **column) is None


def test_ages_are_said_by_decades_and_other_numbers_by_quarters():
    ages = [20, 21, 22, 23, 24, 25, 29, 31, 33, 35, 36, 37, 38, 39]
    people = people_of(*HALVES, age=ages)
    assert people.names == (("age", "20s"), ("age", "30s"))
    assert values_of(people) == [("age", "20s"), ("age", "30s")]
    numbers = [float(i) for i in range(20)]
    people = people_of(*([IN_LEFT] * 5 + [IN_RIGHT] * 15), orders=numbers)
    assert [value for _, value in people.names] == [
        *("up to 4.75", "4.75 to 9.5", "9.5 to 14.25", "over 14.25"),
    ]
    assert people.value_of(LEFT, None, 1) == ("orders", "up to 4.75")  # (1/4) ** 5, four values


def test_few_different_numbers_are_codes():
    people = people_of(*HALVES, age=[18] * 7 + [25] * 7)
    assert people.names == (("age", "18"), ("age", "25"))


def test_of_several_values_each_counts():
    people = people_of(*HALVES, likes=[["tea", "jazz"]] * 7 + [["tea"]] * 7)
    assert values_of(people) == [("likes", "jazz"), None]


def test_users_outside_of_the_cases_have_no_part():
    cases = cases_of(*HALVES, items=ITEMS)
    table = table_of(40, job=["student"] * 7 + ["writer"] * 7 + ["student"] * 26)
    held_out = People.of(cases, table)
    assert held_out.has.shape == (2, 14)
    assert values_of(held_out) == [("job", "student"), ("job", "writer")]
    assert People.of(cases, None) is None


def test_quarters_are_those_of_the_users_of_the_cases():
    cases = cases_of(*([IN_LEFT] * 5 + [IN_RIGHT] * 15), items=ITEMS)
    table = table_of(60, orders=[float(i) for i in range(20)] + [99.0] * 40)
    assert People.of(cases, table).names[0] == ("orders", "up to 4.75")


N_GROUPS, SIZE = 4, 12
MORE = [f"i{i}" for i in range(1, N_GROUPS * SIZE + 1)]
JOBS = ("student", "nurse", "judge", "poet")


def planted(jobs):
    """Users of four jobs who stay within one of four groups of items each; half are Comedy."""
    rng = np.random.default_rng(0)
    group = np.arange(160) % N_GROUPS
    histories = [(1 + g * SIZE + rng.integers(0, SIZE, 20)).tolist() for g in group]
    genres = ["Comedy" if i < 2 * SIZE else f"g{i}" for i in range(N_GROUPS * SIZE)]
    frame = pd.DataFrame({"item_id": MORE, "title": MORE, "genres": genres})
    items = build_catalog(["[PAD]", *MORE], frame)
    cases = cases_of(*histories, items=items)
    table = table_of(160, job=[jobs[g] for g in group])
    return item_attributes(items, cases, table), item_attributes(items, cases)


def fans(attributes):
    return [value for name, value in attributes.names if name == FANS]


def test_planted_people_are_said(monkeypatch):
    monkeypatch.setattr(module, "SIZES", (N_GROUPS,))
    found, without = planted(JOBS)
    assert sorted(value.partition(MOSTLY)[2] for value in fans(found)) == [
        *("job=judge", "job=nurse", "job=poet", "job=student"),
    ]
    assert [value.partition(MOSTLY)[0] for value in fans(found)] == fans(without)
    said = {value.partition(MOSTLY)[2] for value in fans(found) if value.startswith("Comedy ∷ ")}
    assert said == {"job=student", "job=nurse"}
    assert (found.matrix != without.matrix).nnz == 0  # the same items


def test_people_of_any_kind_are_not_said(monkeypatch):
    monkeypatch.setattr(module, "SIZES", (N_GROUPS,))
    found, without = planted(("clerk",) * N_GROUPS)
    assert fans(found) == fans(without)
