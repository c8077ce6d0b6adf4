"""Shards captured here and there, and put together: the store of one capture, byte for byte."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsae.capture.store as activations
from helpers import toy
from recsae.capture.fill import capture
from recsae.capture.shards import capture_shard, merge_shards, plan_capture
from recsae.capture.store import SEQUENCE, STATES
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.testing.planted import PlantedRecommender

PLANTED = PlantedRecommender(n_users=40, n_items=40, n_concepts=4, width=8, length=14)
EVERYBODY = np.arange(40)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(activations, "SHARD", 100)


def test_three_users_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(activations, "SHARD", 2)
    table = [[0, 0], *([item, -item] for item in range(1, 9))]
    histories = toy.sequences([8, 7, 3], [2, 1], [5], [4, 5, 6])  # nothing comes before the 5
    users = toy.UserTable(histories, [2, 1, 0, 2], [[0, 0], [1, 0], [0, 1], [1, 1], [2, 2]], table)
    plan = plan_capture(users, np.arange(4))
    assert [plan.windows_of(number).rows.tolist() for number in range(len(plan))] == [[0, 1], [3]]
    assert plan.positions.tolist() == [2, 3]
    for number, part in ((1, "a"), (0, "b")):
        file = capture_shard(users, plan, number, tmp_path / part)
        assert file.parent == tmp_path / part
    store = merge_shards(plan, [tmp_path / "a", tmp_path / "b"], tmp_path / "store")
    assert store.column(SEQUENCE).tolist() == [0, 1, 3]
    assert store.column(STATES).tolist() == [[1, 0], [0, 1], [2, 2]]


@settings(max_examples=60)
@given(
    rows=st.sets(st.integers(0, 39)).map(lambda rows: np.array(sorted(rows), dtype=np.int64)),
    shard=st.integers(20, 400),
    n_parts=st.integers(1, 5),
    limit=st.none() | st.integers(1, 300),
    chance=st.randoms(use_true_random=False),
)
def test_shards_of_any_number_of_machines_are_the_store_of_one(
    rows, shard, n_parts, limit, chance, tmp_path_factory
):
    """Shards are dealt out by chance: uneven shares, in any order, some machines without any."""
    here = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(activations, "SHARD", shard)
        capture(PLANTED, rows, here / "one", limit=limit, seed=3)
        plan = plan_capture(PLANTED, rows, limit=limit, seed=3)
    parts = [here / str(number) for number in range(n_parts)]
    numbers = list(range(len(plan)))
    chance.shuffle(numbers)
    for number in numbers:
        capture_shard(PLANTED, plan, number, chance.choice(parts))
    merge_shards(plan, parts, here / "merged")
    assert files(here / "merged") == files(here / "one")


def test_machines_that_see_the_stores_folder_capture_into_it(small_shards, tmp_path):
    plan = plan_capture(PLANTED, EVERYBODY)
    assert len(plan) > 3
    for number in range(len(plan)):
        capture_shard(PLANTED, plan_capture(PLANTED, EVERYBODY), number, tmp_path / "shared")
    merge_shards(plan, [], tmp_path / "shared")
    capture(PLANTED, EVERYBODY, tmp_path / "one")
    assert files(tmp_path / "shared") == files(tmp_path / "one")


def test_a_merged_store_is_not_captured_again(small_shards, tmp_path, monkeypatch):
    plan = plan_capture(PLANTED, EVERYBODY)
    for number in range(len(plan)):
        capture_shard(PLANTED, plan, number, tmp_path)
    merge_shards(plan, [], tmp_path)
    monkeypatch.setattr(PLANTED, "represent", None)
    assert len(capture(PLANTED, EVERYBODY, tmp_path)) == plan.windows.n_positions


def test_a_shard_that_is_there_is_kept(small_shards, tmp_path, monkeypatch):
    plan = plan_capture(PLANTED, EVERYBODY)
    file = capture_shard(PLANTED, plan, 1, tmp_path)
    monkeypatch.setattr(PLANTED, "represent", None)
    assert capture_shard(PLANTED, plan, 1, tmp_path) == file


def test_what_no_machine_has_captured_is_said_and_can_be_added(small_shards, tmp_path):
    plan = plan_capture(PLANTED, EVERYBODY)
    for number in range(len(plan)):
        if number not in (1, 3):
            capture_shard(PLANTED, plan, number, tmp_path / "part")
    with pytest.raises(ArtifactMismatch, match=rf"2 of {len(plan)} shards .* such as number 1:"):
        merge_shards(plan, [tmp_path / "part"], tmp_path / "store")
    assert not (tmp_path / "store/manifest.json").exists()
    for number in (1, 3):
        capture_shard(PLANTED, plan, number, tmp_path / "late")
    merge_shards(plan, [tmp_path / "late"], tmp_path / "store")
    capture(PLANTED, EVERYBODY, tmp_path / "one")
    assert files(tmp_path / "store") == files(tmp_path / "one")


def test_a_plan_is_of_one_model(small_shards, tmp_path):
    other = PlantedRecommender(n_users=40, n_items=40, n_concepts=4, width=8, length=14, seed=1)
    plan = plan_capture(PLANTED, EVERYBODY)
    with pytest.raises(ArtifactMismatch, match="of another model or other data than"):
        capture_shard(other, plan, 0, tmp_path)
    capture_shard(other, plan_capture(other, EVERYBODY), 0, tmp_path)
    with pytest.raises(ArtifactMismatch, match="were captured nowhere, such as number 0"):
        merge_shards(plan, [tmp_path], tmp_path / "store")


@pytest.mark.parametrize("number", [-1, 9_999])
def test_there_is_no_such_shard(number, tmp_path):
    plan = plan_capture(PLANTED, EVERYBODY)
    with pytest.raises(InvalidInput, match=rf"no shard {number}: the plan has {len(plan)}"):
        capture_shard(PLANTED, plan, number, tmp_path)


def test_a_plan_is_of_a_site_and_of_settings(small_shards):
    plans = [
        plan_capture(PLANTED, EVERYBODY, seed=seed, limit=limit)
        for seed, limit in ((0, None), (1, None), (0, 200))
    ]
    names = {plan.manifests["sequence"]["shards"][0] for plan in plans}
    assert len(names) == 3
    with pytest.raises(InvalidInput, match="no site 'sequense'"):
        plan_capture(PLANTED, EVERYBODY, site="sequense")
