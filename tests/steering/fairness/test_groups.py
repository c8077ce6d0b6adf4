"""Groups of users: from a table of them, from how much they consume, and how popular it is."""

import numpy as np
import pandas as pd

from helpers import toy
from recsae.recommender.user_table import build_user_table
from recsae.steering.fairness.groups import (
    INTERACTIONS,
    MAX_COLUMNS,
    MAX_GROUPS,
    MIN_USERS,
    POPULARITY,
    TASTES,
    divided,
)
from recsae.steering.steps.goals import popularity_of

N = 3 * MIN_USERS


def cases_of(n_users=N, each=2):
    """So many cases of each user, who goes on to the same item as everybody."""
    n = n_users * each
    return toy.cases(np.repeat(np.arange(n_users), each).tolist(), [[1]] * n, [[1]] * n)


def table_of(n_users=N, **columns):
    users = [f"u{i}" for i in range(n_users)]
    return build_user_table(users, pd.DataFrame({"user": users, **columns}))


def found(cases=None, **columns):
    """Numbers of users by value, for each column; and what is left out."""
    cases = cases or cases_of()
    table = table_of(cases.n_users, **columns) if columns else None
    divisions, left_out = divided(cases, table, popularity_of(cases))
    sizes = {d.by: {g.value: int(g.users.sum()) for g in d.groups} for d in divisions}
    return sizes, left_out


def test_values_and_who_has_them():
    gender = ["F"] * 20 + ["M"] * 40
    cases = cases_of()
    divisions, left_out = divided(cases, table_of(gender=gender), popularity_of(cases))
    (division,) = divisions
    assert (division.by, left_out) == ("gender", {})
    men, women = division.groups  # of the most users first
    assert (men.value, women.value) == ("M", "F")
    assert women.users.tolist() == [True] * 20 + [False] * 40
    assert men.users.tolist() == [False] * 20 + [True] * 40


def test_without_a_table_users_are_divided_by_what_they_do():
    """A third has one case, a third two, a third three; histories are one item longer."""
    histories = [[1 + user % 3] * (2 + user // MIN_USERS) for user in range(N)]
    cases = toy.cases_of(*histories)
    popularity = np.array([0, 1, 10, 100, 0, 0, 0, 0, 0])
    divisions, left_out = divided(cases, None, popularity)
    activity, taste = divisions
    assert (activity.by, taste.by, left_out) == (INTERACTIONS, POPULARITY, {})
    assert [group.value for group in activity.groups] == ["up to 2", "3", "over 3"]
    assert [group.value for group in taste.groups] == list(TASTES)
    for number, group in enumerate(activity.groups):
        assert group.users.tolist() == [user // MIN_USERS == number for user in range(N)]
    for number, group in enumerate(taste.groups):
        assert group.users.tolist() == [user % 3 == number for user in range(N)]


def test_taste_is_that_of_whole_histories():
    """Whoever is measured on a few cases only is not put in a group by what came next in these."""
    popularity = np.array([0, 1, 10, 100, 0, 0, 0, 0, 0])
    histories = [[3, 3, 3, 3, 1] if user < 30 else [1, 1, 1, 1, 3] for user in range(N)]
    cases = toy.cases_of(*histories)
    some = cases.take(np.flatnonzero(cases.position == 3))  # who go on to the other kind
    ((_, groups),) = (d for d in divided(some, None, popularity)[0] if d.by == POPULARITY)
    values = {group.value: group.users for group in groups}
    assert values["tail"].tolist() == [user >= 30 for user in range(N)]


def test_where_all_are_alike_there_is_nothing_to_divide():
    assert found() == ({}, {})


def test_ages_are_put_in_decades_and_whoever_has_none_is_in_none():
    age = [20.0 + n % 10 for n in range(20)] + [30.0 + n % 10 for n in range(30)] + [np.nan] * 10
    sizes, left_out = found(age=age)
    assert sizes == {"age": {"20s": 20, "30s": 30}}
    assert left_out == {}
    assert found(age=[np.nan] * N) == ({}, {"age": f"no two values of {MIN_USERS} users"})


def test_bands_stay_in_their_order():
    sizes, _ = found(age=[30.0 + n % 10 for n in range(40)] + [20.0 + n % 10 for n in range(20)])
    assert list(sizes["age"]) == ["20s", "30s"]


def test_small_groups_are_left_out_and_counted():
    job = ["nurse"] * 21 + ["clerk"] * 20 + ["smith"] * 19
    sizes, left_out = found(job=job)
    assert sizes == {"job": {"nurse": 21, "clerk": 20}}
    assert left_out == {"job": f"1 of 3 values, of fewer than {MIN_USERS} users"}


def test_of_many_values_those_of_most_users_are_taken():
    sizes_of = [MIN_USERS + n for n in range(MAX_GROUPS + 2)]
    job = [f"j{n}" for n, size in enumerate(sizes_of) for _ in range(size)]
    sizes, left_out = found(cases_of(len(job)), job=job)
    assert list(sizes["job"].values()) == sorted(sizes_of)[::-1][:MAX_GROUPS]
    assert left_out == {"job": "2 of 10 values, of fewer users"}


def test_what_says_who_somebody_is_is_left_out():
    cases = cases_of(3000, each=1)
    postal, own = [f"{n:05d}" for n in range(3000)], [f"z{n % 301}" for n in range(3000)]
    sizes, left_out = found(cases, zip_code=postal, club=own)
    assert sizes == {}
    assert left_out == {"zip_code": "3,000 different values", "club": "301 different values"}


def test_further_columns_are_not_taken():
    columns = {f"c{n}": ["a"] * 30 + ["b"] * 30 for n in range(MAX_COLUMNS + 1)}
    sizes, left_out = found(**columns)
    assert list(sizes) == [f"c{n}" for n in range(MAX_COLUMNS)]
    assert left_out == {f"c{MAX_COLUMNS}": f"only the first {MAX_COLUMNS} columns are taken"}


def test_several_values_of_a_user_put_them_in_several_groups():
    tags = [["a", "b"]] * 20 + [["a"]] * 20 + [["b"]] * 20
    cases = cases_of()
    table = build_user_table(
        [f"u{i}" for i in range(N)],
        pd.DataFrame({"user": [f"u{i}" for i in range(N)], "tags": tags}),
    )
    (division,), _ = divided(cases, table, popularity_of(cases))
    first, second = (group.users for group in division.groups)
    assert (first & second).sum() == 20


def test_users_of_whom_the_table_says_nothing_are_in_no_group():
    table = table_of(gender=["F"] * 25 + ["M"] * 35).iloc[5:]
    cases = cases_of()
    (division,), _ = divided(cases, table, popularity_of(cases))
    assert {g.value: int(g.users.sum()) for g in division.groups} == {"M": 35, "F": 20}
