"""The planted recommender is what it says it is, and the kit notices what adapters get wrong."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.toy import UserTable, user_table
from recsae.capture.cases import Cases, read_cases
from recsae.capture.fill import capture
from recsae.core.errors import InvalidInput
from recsae.recommender.checks import verify_head
from recsae.recommender.plugins import load_recommender
from recsae.recommender.protocol import LinearHead, Recommender, Site, find_site
from recsae.recommender.sequences import Batch
from recsae.testing import PlantedRecommender, check_recommender

SMALL = {"n_users": 30, "n_items": 40, "n_concepts": 4, "width": 8}


@pytest.fixture
def planted() -> PlantedRecommender:
    return PlantedRecommender(**SMALL)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlantedRecommender, Cases]:
    planted = PlantedRecommender(n_users=60)
    folder = tmp_path_factory.mktemp("store")
    store = capture(planted, np.arange(60), folder)
    return planted, read_cases(store, planted.sequences(), planted.catalog)


# -- the planted recommender ----------------------------------------------------------------------
def test_planted_is_a_recommender_and_passes_the_kit(planted: PlantedRecommender) -> None:
    assert isinstance(planted, Recommender)
    names = check_recommender(planted)
    assert names == list(dict.fromkeys(names))
    assert len(names) == 20


def test_a_recommender_of_users_passes_the_kit():
    assert "states are those of the last item or of the user" in check_recommender(user_table(30))


def test_planted_loads_as_a_live_object(planted: PlantedRecommender) -> None:
    assert load_recommender(planted) is planted
    with pytest.raises(InvalidInput, match="open already"):
        load_recommender(planted, items="items.csv")


def test_planted_depends_on_its_seed_alone(planted: PlantedRecommender) -> None:
    torch.manual_seed(5)
    again, other = PlantedRecommender(**SMALL), PlantedRecommender(**SMALL, seed=1)
    assert again.fingerprint() == planted.fingerprint() != other.fingerprint()
    assert np.array_equal(again.sequences().flat, planted.sequences().flat)


def test_true_code_is_the_rule_written_down(cases: tuple[PlantedRecommender, Cases]) -> None:
    planted, some = cases
    code = planted.true_code(some).toarray()
    genres, strengths = planted.catalog.frame["genre"], planted.model.strengths.numpy()
    for row in np.linspace(0, len(some) - 1, 60).astype(int):
        recent = [genres[int(i)] for i in some.last_items[row]]
        for g, name in enumerate(planted.concepts):
            count = sum(name in values for values in recent)
            expected = strengths[g] * count / 5 if count >= 2 else 0.0
            assert code[row, g] == pytest.approx(expected)


def test_states_are_the_true_code_and_little_else(
    cases: tuple[PlantedRecommender, Cases],
) -> None:
    planted, some = cases
    directions = planted.directions
    assert directions @ directions.T == pytest.approx(np.eye(12), abs=1e-5)
    rest = some.states - planted.true_code(some) @ directions
    noise = np.linalg.norm(rest, axis=1).mean()
    assert noise == pytest.approx(0.2, rel=0.1)
    assert np.square(rest).sum() < 0.05 * np.square(some.states - some.states.mean(0)).sum()


def test_recommendations_have_the_genres_that_are_on(
    cases: tuple[PlantedRecommender, Cases],
) -> None:
    planted, some = cases
    assert verify_head(planted, planted.linear_head(), _some_batch(planted), rtol=1e-6)
    code, genres = planted.true_code(some).toarray(), planted.model.genres.numpy()
    one = np.flatnonzero((code > 0).sum(1) == 1)
    on = code[one].argmax(1)
    assert genres[some.top_items[one], on[:, None]].mean() > 0.95


def test_items_users_and_titles_are_in_order(planted: PlantedRecommender) -> None:
    catalog, sequences = planted.catalog, planted.sequences()
    assert catalog.attributes == ("genre",)
    assert catalog.n_items == 41
    assert len(set(catalog.titles)) == 41
    assert {len(values) for values in catalog.frame["genre"][1:]} == {1, 2}
    assert len(sequences) == 30
    assert sequences.lengths.min() >= 20
    assert sequences.lengths.max() <= 60
    assert planted.evaluation().targets[0] == sequences[0][-1]


def test_sizes_that_cannot_be_planted_are_refused() -> None:
    with pytest.raises(InvalidInput, match="12 planted concepts"):
        PlantedRecommender(width=8)


# -- the kit --------------------------------------------------------------------------------------
def _some_batch(recommender: Recommender) -> Batch:
    rows = np.arange(8)
    return recommender.sequences().batch(rows, rows * 0, rows * 0 + 9, recommender.max_length)


def _break(recommender: PlantedRecommender, name: str, value: object) -> None:
    setattr(recommender, name, value)


def _noisy_score(r: PlantedRecommender) -> None:
    generator = torch.Generator().manual_seed(0)
    score = r.score
    r.score = lambda b: score(b) + 1e-6 * torch.rand(1, generator=generator)


def _draws_global_numbers(r: PlantedRecommender) -> None:
    score = r.score
    r.score = lambda b: score(b) + 0 * torch.rand(1)


def _edit_that(
    r: PlantedRecommender, made: Callable[[Callable, str | None], AbstractContextManager[None]]
) -> None:
    def edit(change: Callable, site: str | None = None) -> AbstractContextManager[None]:
        find_site(r, site)
        return made(change, site)

    r.edit = edit


def _stays_after_exception(r: PlantedRecommender) -> None:
    original, contexts = r.edit, []

    @contextmanager
    def edit(change: Callable, site: str | None) -> Iterator[None]:
        contexts.append(original(change, site))
        contexts[-1].__enter__()
        yield
        contexts[-1].__exit__(None, None, None)

    _edit_that(r, edit)


def _changes_weights(r: PlantedRecommender) -> None:
    score = r.score

    def edited(batch: Batch) -> torch.Tensor:
        r.model.noise[0, 0, 0] += 1
        return score(batch)

    r.score = edited


def _reads_the_future(r: PlantedRecommender) -> None:
    states = r.model.states
    r.model.states = lambda items: states(items) + states(items).mean(1, keepdim=True)


def _states_of_padding(r: PlantedRecommender) -> None:
    r.model.forward = lambda items, lengths: r.model.states(items)[:, -1]
    r.sites = lambda: [Site("sequence", "", 8, False)]


def _batch_statistics(r: PlantedRecommender) -> None:
    represent = r.represent
    r.represent = lambda b, s=None, positions=False: (
        represent(b, s, positions=positions) - represent(b, s).mean(0)
    )


def _wrong_head(r: PlantedRecommender) -> None:
    r.linear_head = lambda: LinearHead(r.model.items * 1.01, None)


def _ids_twice(r: PlantedRecommender) -> None:
    frame = r.catalog.frame.copy()
    frame.loc[2, "item_id"] = frame.loc[1, "item_id"]
    r.catalog = replace(r.catalog, frame=frame)


def _takes_any_site(r: PlantedRecommender) -> None:
    original = r.edit
    r.edit = lambda change, site=None: original(change)


def _targets_off_by_one(r: PlantedRecommender) -> None:
    cases = r.evaluation()
    r.evaluation = lambda split="test": replace(cases, ends=cases.ends - 1)


def _other_states_together(r: PlantedRecommender) -> None:
    r.represent_sites = lambda b, sites, positions=False: {
        name: r.represent(b, name, positions=positions) + 1e-7 for name in sites
    }


def _learned_too_much(r: PlantedRecommender) -> None:
    r._sequences = replace(r._sequences, learned=r._sequences.lengths + 1)


def _users(table: pd.DataFrame) -> Callable[[PlantedRecommender], None]:
    return lambda r: _break(r, "user_table", lambda: table)


FAULTS = {
    "ids round-trip": _ids_twice,
    "sites give states": lambda r: _break(r, "sites", lambda: [Site("sequence", "", 9, True)]),
    "unknown site is refused": _takes_any_site,
    "scores have a column per item": lambda r: _break(r, "score", lambda b: torch.zeros(30, 40)),
    "two calls give the same": _noisy_score,
    "a sequence does not depend on the batch": _batch_statistics,
    "states are those of the last item or of the user": _states_of_padding,
    "several sites at once give the same": _other_states_together,
    "sequences hold what was learned": _learned_too_much,
    "no-op edit leaves scores bit-equal": lambda r: _edit_that(
        r, lambda f, s, real=r.edit: real(lambda h: f(h) + 1e-7, s)
    ),
    "edit changes scores": lambda r: _edit_that(r, lambda f, s: nullcontext()),
    "edits are gone afterwards": _stays_after_exception,
    "linear head gives the scores": _wrong_head,
    "every_position is true": _reads_the_future,
    "evaluation asks for what came next": _targets_off_by_one,
    "user table is of the sequences": _users(pd.DataFrame({"age": [30.0]}, index=["nobody"])),
    "fingerprint is stable": lambda r: _break(r, "fingerprint", lambda: "1"),
}


@pytest.mark.parametrize("check", FAULTS)
def test_kit_names_the_check_that_fails(check: str, planted: PlantedRecommender) -> None:
    FAULTS[check](planted)
    with pytest.raises(AssertionError, match=f"^Planted fails '{check}': .*[.]$"):
        check_recommender(planted)


@pytest.mark.parametrize(
    ("users", "cells", "match"),
    [
        (["u00", "u00"], [1.0, 2.0], "a user has two rows"),
        (["u00", "u01"], ["student", "nurse"], "'student'] in column 'job' is neither a number"),
        (["u00", "u01"], [("student",), (1,)], r"\(1,\)\] in column 'job' is neither a number"),
    ],
)
def test_kit_reads_the_table_of_users(
    users: list[str], cells: list[object], match: str, planted: PlantedRecommender
) -> None:
    known = list(planted.sequences().users)
    table = pd.DataFrame({"job": cells}, index=[known[int(user[1:])] for user in users])
    _users(table)(planted)
    with pytest.raises(AssertionError, match=match):
        check_recommender(planted)


def test_a_table_of_users_passes_the_kit(planted: PlantedRecommender) -> None:
    known = list(planted.sequences().users)[:2]
    rows = {"age": [30.0, np.nan], "job": [("student",), ()]}
    _users(pd.DataFrame(rows, index=known))(planted)
    assert "user table is of the sequences" in check_recommender(planted)


def test_kit_finds_a_store_that_is_not_what_single_forwards_give(
    planted: PlantedRecommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(*args: object, **kwargs: object) -> Cases:
        cases = read_cases(*args, **kwargs)
        return replace(cases, states=np.roll(cases.states, 1, axis=0))

    monkeypatch.setattr("recsae.testing.data_checks.read_cases", shifted)
    with pytest.raises(AssertionError, match="stored states at 'sequence' differ"):
        check_recommender(planted)


def _cases_with(**changed: object) -> Callable[[UserTable], None]:
    def fault(r: UserTable) -> None:
        cases = replace(r.evaluation(), **changed)
        r.evaluation = lambda split="test": cases

    return fault


def _follows_items(r: UserTable) -> None:
    represent = r.represent
    r.represent = lambda b, s=None, positions=False: represent(b, s) + b.items.sum(1)[:, None]


def _knows_no_user(r: UserTable) -> None:
    with torch.no_grad():
        r.model.weight.copy_(r.model.weight[:1] + 1)


def _one_window_per_prefix(r: UserTable) -> None:
    site = r.sites()[0]
    r.sites = lambda: [replace(site, per_user=False)]


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        (_follows_items, "100% of the states at 'user' change when the last item does"),
        (_knows_no_user, "only 0% of the states at 'user' change when the user does"),
        (_one_window_per_prefix, "only 0% of the states at 'user' change when the last item does"),
        (_cases_with(groups=np.repeat(np.arange(30), 3) * 2), "groups are not numbered 0, 1, 2"),
        (_cases_with(groups=np.repeat(np.arange(10), 9)), "a group has two sequences"),
        (_cases_with(filters_seen=False), "filters_seen is False in it and True in the recom"),
    ],
)
def test_kit_knows_what_is_special_of_users(fault: Callable[[UserTable], None], match: str) -> None:
    recommender = user_table(30)
    fault(recommender)
    with pytest.raises(AssertionError, match=match):
        check_recommender(recommender)


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (_changes_weights, "the model's parameters"),
        (_draws_global_numbers, "torch's random numbers"),
    ],
)
def test_kit_notices_side_effects(
    fault: Callable[[PlantedRecommender], None], what: str, planted: PlantedRecommender
) -> None:
    fault(planted)
    with pytest.raises(AssertionError, match=f"it changed {what}"):
        check_recommender(planted)


def test_kit_says_what_was_raised(planted: PlantedRecommender) -> None:
    planted.score = lambda batch: batch.nothing
    with pytest.raises(AssertionError, match=r"raised AttributeError: .*nothing"):
        check_recommender(planted)


def test_kit_says_what_is_missing() -> None:
    with pytest.raises(AssertionError, match=r"Path lacks .*fingerprint"):
        check_recommender(Path())
