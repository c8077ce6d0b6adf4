"""What a run keeps of its recommender, and when the model is opened all the same."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.runs import command, copy_of, planted
from recsae.core import layout
from recsae.core.errors import ArtifactMismatch
from recsae.core.files import map_arrays, read_json, write_arrays, write_json
from recsae.recommender.catalog import build_catalog
from recsae.recommender.protocol import as_recommender
from recsae.recommender.sequences import probe_batch
from recsae.recommender.user_table import build_user_table
from recsae.run import kept
from recsae.run import open as opening
from recsae.run.kept import KeptRecommender, keep
from recsae.run.open import open_workspace
from recsae.testing import check_recommender
from recsae.testing.planted import PlantedRecommender


def refused():
    raise AssertionError("the model was opened")


def made(**values):
    """A small recommender, with some of its values replaced."""
    recommender = PlantedRecommender(n_users=30, n_items=20, n_concepts=2, width=4, seed=0)
    for name, value in values.items():
        setattr(recommender, name, value)
    return recommender


def users_of(recommender):
    ids = list(recommender.sequences().users)
    table = pd.DataFrame({"id": ids, "age": [30.0, None] * 15, "job": ["", "nurse, née"] * 15})
    known = build_user_table(ids, table)
    recommender.user_table = lambda: known
    return recommender


def again(folder, open_model=refused):
    return KeptRecommender(folder, [__file__], open_model)


def test_what_needs_no_model_comes_back(tmp_path):
    recommender = users_of(made())
    keep(recommender, tmp_path)
    found = again(tmp_path)
    for name in ("name", "plugin", "dataset", "max_length", "filters_seen", "max_positions"):
        assert getattr(found, name) == getattr(recommender, name), name
    assert found.sites() == recommender.sites()
    assert found.fingerprint() == recommender.fingerprint()
    assert found.sources() == [__file__]
    sequences, known = found.sequences(), recommender.sequences()
    for name in ("flat", "offsets", "user_rows"):
        assert np.array_equal(getattr(sequences, name), getattr(known, name)), name
        assert getattr(sequences, name).dtype == getattr(known, name).dtype, name
    assert sequences.users.tolist() == known.users.tolist()
    assert sequences.learned is None
    assert torch.equal(found.linear_head().items, recommender.linear_head().items)
    pd.testing.assert_frame_equal(found.user_table(), recommender.user_table())
    assert as_recommender(found) is found


def test_the_catalog_comes_back(tmp_path):
    ids = ["", "ü", "b", "c", *(f"i{n}" for n in range(4, 21))]
    table = pd.DataFrame(
        {"id": ids[1:4], "title": ["Amélie", "B, C", "c"], "genres": ["a|b", "", "b"]}
    ).assign(year=["1999", "", "2005"])
    catalog = build_catalog(ids, table, separator="|")
    keep(made(catalog=catalog), tmp_path)
    found = again(tmp_path).catalog
    assert found.frame.to_dict("list") == catalog.frame.to_dict("list")
    assert found.frame["genres"].tolist()[:4] == [(), ("a", "b"), (), ("b",)]
    assert found.recommendable.tolist() == catalog.recommendable.tolist()
    for name in ("title_column", "attributes", "notes", "separated_by", "unread"):
        assert getattr(found, name) == getattr(catalog, name), name


@pytest.mark.parametrize("bias", [None, torch.arange(21.0)])
def test_the_head_comes_back(tmp_path, bias):
    recommender = made()
    head = recommender.linear_head()._replace(bias=bias)
    recommender.linear_head = lambda: head
    keep(recommender, tmp_path)
    found = again(tmp_path).linear_head()
    assert found.bias is None if bias is None else torch.equal(found.bias, bias)
    recommender.linear_head = lambda: None
    keep(recommender, tmp_path)
    assert again(tmp_path).linear_head() is None


def test_a_model_without_sequences_knows_what_it_learned(tmp_path):
    recommender = made()
    known = recommender.sequences()
    known = replace(known, learned=known.lengths - 2)
    recommender.sequences = lambda: known
    keep(recommender, tmp_path)
    assert again(tmp_path).sequences().learned.tolist() == known.learned.tolist()


def test_the_rest_is_asked_of_the_model_which_is_opened_once(tmp_path):
    recommender, opened = planted(), []
    keep(recommender, tmp_path)
    found = again(tmp_path, lambda: opened.append(1) or recommender)
    batch = probe_batch(found.sequences(), found.max_length, 8)
    assert not opened
    plain = recommender.score(batch)
    assert torch.equal(found.score(batch), plain)
    assert found.model is recommender.model
    assert np.array_equal(found.directions, recommender.directions)  # what only this adapter has
    with found.edit(torch.zeros_like):
        assert not torch.equal(found.score(batch), plain)
    assert len(check_recommender(found)) == len(check_recommender(recommender))
    assert len(opened) == 1
    with pytest.raises(AttributeError):
        _ = found._nothing_of_the_kind
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = found.nothing_of_the_kind


@pytest.mark.parametrize("cells", [[1, "a"], ["a", ("b",)], [("a",), (1,)], ["\ud800", "a"]])
def test_cells_that_do_not_come_back_keep_nothing(tmp_path, cells):
    recommender = made()
    keep(recommender, tmp_path)
    assert (tmp_path / layout.KEPT_FACTS).exists()
    frame = recommender.catalog.frame.assign(odd=(cells * 11)[: recommender.catalog.n_items])
    recommender.catalog = replace(recommender.catalog, frame=frame)
    keep(recommender, tmp_path)
    assert not list((tmp_path / layout.RECOMMENDER).iterdir())  # nor what was there


def odd_facts():
    site = made().sites()[0]
    yield "sites", lambda: [replace(site, share=float("nan"))]
    yield "sites", lambda: [replace(site, share=[0.5])]
    yield "dataset", 7
    known, head = made().sequences(), made().linear_head()
    yield "sequences", lambda: replace(known, user_rows=known.user_rows.astype(np.int32))
    yield "linear_head", lambda: head._replace(items=head.items.double())
    table = pd.DataFrame({7: [1.0] * 30}, index=made().sequences().users)
    yield "user_table", lambda: table
    several = pd.DataFrame({"age": [1.0]}, index=pd.MultiIndex.from_tuples([("a", "b")]))
    yield "user_table", lambda: several


@pytest.mark.parametrize(("name", "value"), list(odd_facts()))
def test_facts_that_do_not_come_back_keep_nothing(tmp_path, name, value):
    keep(made(**{name: value}), tmp_path)
    assert not (tmp_path / layout.RECOMMENDER).exists()


def test_what_is_too_large_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MAX_BYTES", 1000)
    keep(made(), tmp_path)
    assert not (tmp_path / layout.RECOMMENDER).exists()


@pytest.mark.parametrize(
    "spoil",
    [
        {"flat": np.full(10, 999, np.int32)},
        {"offsets": np.array([0, 5], np.int64)},
        {"head": np.zeros((3, 4), np.float32)},
        {"recommendable": np.ones(3, np.uint8)},
        {"learned": np.ones(3, np.int64)},
        {"offsets": np.r_[5, np.arange(30)].astype(np.int64)},
        {"user_rows": np.full(30, -1, np.int64)},
        {"head": np.zeros((21, 5), np.float32)},
        {"head": np.zeros((21, 4), np.int32)},
        {"bias": np.zeros(3, np.float32)},
        {"another": np.zeros(3, np.float32)},
        {"flat": None},
    ],
)
def test_parts_that_do_not_go_together_are_refused(tmp_path, spoil):
    keep(made(), tmp_path)
    arrays = {name: np.array(a) for name, a in map_arrays(tmp_path / layout.KEPT_ARRAYS).items()}
    changed = {n: a for n, a in {**arrays, **spoil}.items() if a is not None}
    write_arrays(tmp_path / layout.KEPT_ARRAYS, changed)
    with pytest.raises(ArtifactMismatch, match="run the same `recsae run` again"):
        again(tmp_path)


def test_facts_of_another_form_are_refused(tmp_path):
    keep(made(), tmp_path)
    facts = read_json(tmp_path / layout.KEPT_FACTS)
    for changed in ({"max_length": "long"}, {"max_length": -1}, {"sites": []}, {"more": 1}):
        write_json(tmp_path / layout.KEPT_FACTS, {**facts, **changed})
        with pytest.raises(ArtifactMismatch, match=r"facts.json was not written by this version"):
            again(tmp_path)
    write_json(tmp_path / layout.KEPT_FACTS, {**facts, "item_columns": ["item_id"]})
    with pytest.raises(ArtifactMismatch, match="are not of one run"):
        again(tmp_path)


@pytest.mark.end_to_end
@pytest.mark.recbole
def test_a_run_is_tuned_without_the_model(recbole_run, monkeypatch, capsys):
    monkeypatch.setattr(opening, "open_recommender", lambda *_, **__: refused())
    assert command("tune", recbole_run, "--more", "Comedy", "--quick") == 0
    assert "of the lists" in capsys.readouterr().out
    assert command("profile", recbole_run, "--item", "50") == 0


@pytest.mark.end_to_end
@pytest.mark.recbole
def test_a_run_that_kept_nothing_opens_the_model(recbole_run, tmp_path):
    copy = copy_of(recbole_run, tmp_path / "copy")
    record = read_json(copy / layout.RUN)
    outputs = record["stages"]["capture"]["outputs"]
    known = {n: d for n, d in outputs.items() if not n.startswith(layout.RECOMMENDER)}
    record["stages"]["capture"]["outputs"] = known
    write_json(copy / layout.RUN, record)
    opened = open_workspace(copy).recommender
    assert not isinstance(opened, KeptRecommender)
    found = open_workspace(recbole_run).recommender
    assert isinstance(found, KeptRecommender)
    assert found.catalog.frame.to_dict("list") == opened.catalog.frame.to_dict("list")
    assert set(found.sources()) == set(opened.sources())


@pytest.mark.end_to_end
@pytest.mark.recbole
def test_a_damaged_file_is_named(recbole_run, tmp_path):
    copy = copy_of(recbole_run, tmp_path / "copy")
    (copy / layout.KEPT_ITEMS).write_bytes(b"PAR1")
    with pytest.raises(ArtifactMismatch, match=r"items.parquet is not as the run left it"):
        open_workspace(copy)
