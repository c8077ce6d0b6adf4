"""Two runs beside each other: dictionaries made by hand, users in another order, planted seeds."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import toy
from helpers.reports import HOSTILE, make_plain
from helpers.runs import CONFIG, copy_of, in_brief, planted, taken_as_it_is
from recsae.cli.compare import to_dict
from recsae.cli.shared.matching import how_matched
from recsae.core import columns as C
from recsae.core.errors import ArtifactMismatch, CannotOpenModel
from recsae.core.files import read_json, write_json, write_parquet
from recsae.explore import compare as comparing
from recsae.explore.common_cases import common_rows, same_beginnings
from recsae.explore.compare import compare_runs, strongest
from recsae.pipeline.plan import run_pipeline
from recsae.recommender.catalog import build_catalog
from recsae.run.config import RunConfig
from recsae.run.record import VERSION
from recsae.sae.config import make_config
from recsae.sae.model import SAE

pytestmark = pytest.mark.end_to_end


N_CASES = 1_200
AXES = np.eye(4)
CHANGES = ("another name", "merged", "split", "lost", "new", "same name")


def run_of(
    folder: Path,
    directions: np.ndarray,
    names: list[str],
    *,
    status: dict[str, str] | None = None,
    stability: dict[str, Any] | None = None,
    model: str = "toy",
    site: str = "toy",
    checkpoint: str | None = "model.pth",
    states: np.ndarray | None = None,
    **columns: np.ndarray,
) -> Path:
    """The folder of a finished run whose SAE has these directions, one active per state.

    Concepts are verified unless ``status`` says otherwise by name.
    """
    n, width = len(names), np.shape(directions)[1]
    sae = SAE(make_config(n_latents=n, k=1), width)
    with torch.no_grad():
        for weights in (sae.W_enc, sae.W_dec):
            weights.copy_(torch.as_tensor(directions))
    sae.save(folder / "sae")
    states = cases_of([0]) if states is None else states
    toy.store(folder / "heldout", states, **columns)
    manifest = read_json(folder / "heldout/manifest.json")
    write_json(folder / "heldout/manifest.json", {**manifest, "model": model, "site": site})
    statuses = [(status or {}).get(name, "verified") for name in names]
    f1 = np.linspace(0.95, 0.9, n)
    known = {C.LATENT: range(n), C.STATUS: statuses, C.F1: f1}
    rates = {C.PRECISION: f1, C.PRECISION_LOW: f1 - 0.05, C.RECALL: f1, C.RECALL_LOW: f1 - 0.1}
    write_parquet(folder / "scores.parquet", pd.DataFrame({**known, **rates}))
    labels = {C.LATENT: range(n), C.NAME: names, C.ABOUT: names}
    write_parquet(folder / "concepts.parquet", pd.DataFrame(labels))
    write_json(folder / "stability.json", stability or {})
    config = RunConfig(checkpoint=checkpoint).model_dump()
    write_json(folder / "report.json", headline(n, statuses.count("verified"), site))
    files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    outputs = dict.fromkeys(files, "")
    stages = {"report": {"made_from": "", "outputs": outputs, "seconds": 0, "peak_mb": 0}}
    write_json(
        folder / "run.json",
        {"version": VERSION, "model": model, "sources": {}, "versions": {}}
        | {"config": config, "stages": stages},
    )
    return taken_as_it_is(folder)


def headline(n_latents: int, verified: int, site: str) -> dict[str, Any]:
    plain = make_plain()
    plain["model"] |= {"name": "Toy", "site": site}
    plain["data"]["name"] = "toy"
    plain["sae"] |= {"n_latents": n_latents, "l0": 1.0, "fvu": 0.1}
    plain["accuracy"]["heldout"]["ndcg_kept"] = 0.9
    counts = {"tested": n_latents, "verified": verified, "distinct_verified": verified}
    plain["concepts"] |= counts
    plain["named_share"]["sae"] |= {"8": 0.4, "16": 0.5, "32": None}
    plain["label_quality"]["sae"]["value"] = [0.55, 0.5, 0.6]
    rows = zip(plain["attributes"], (0.6, 0.8, None), strict=False)
    plain["attributes"] = [row | {"auc_sae": auc} for row, auc in rows]
    return plain


def cases_of(axes: list[int]) -> np.ndarray:
    """States along the axes in turn, of different lengths."""
    rng = np.random.default_rng(0)
    return AXES[np.resize(axes, N_CASES)] * rng.uniform(1, 3, (N_CASES, 1))


def rows_of(compared):
    """The changes as records, None where there is no counterpart."""
    return to_dict(compared)["concepts"]


def seen(compared):
    return [
        (row["change"], row["name_before"], row["name_after"])
        for row in sorted(rows_of(compared), key=lambda row: CHANGES.index(row["change"]))
    ]


# -- the same model and site -----------------------------------------------------------------------


def test_latents_in_another_order_are_all_the_same(tmp_path):
    names = ["Horror", "Drama", "1990s", "Comedy"]
    order = [2, 0, 3, 1]
    one = run_of(tmp_path / "one", AXES, names)
    two = run_of(tmp_path / "two", AXES[order], [names[i] for i in order])
    compared = compare_runs(one, two)
    assert (compared.matching.method, compared.matching.n_cases) == ("direction", None)
    assert compared.n_all.same_name == 4
    assert {(r["latent_before"], r["latent_after"]) for r in rows_of(compared)} == {
        *((0, 1), (1, 3), (2, 0), (3, 2))
    }
    assert {row["similarity"] for row in rows_of(compared)} == {1}
    assert vars(compared.names) == {"both": sorted(names), "lost": [], "new": []}


def test_what_was_removed_is_lost_what_was_added_is_new_what_was_relabelled_has_another_name(
    tmp_path,
):
    one = run_of(tmp_path / "one", AXES[:3], ["Horror", "Drama", "1990s"])
    two = run_of(tmp_path / "two", AXES[1:], ["Drama", "1980s", "Comedy"])
    compared = compare_runs(one, two)
    assert seen(compared) == [
        ("another name", "1990s", "1980s"),
        ("lost", "Horror", None),
        ("new", None, "Comedy"),
        ("same name", "Drama", "Drama"),
    ]
    counts = {"another name": 1, "merged": 0, "split": 0, "lost": 1, "new": 1, "same name": 1}
    expected = {**counts, "lost_with_name": 1, "new_with_name": 1}
    assert to_dict(compared)["counts"] == {"verified": expected, "all": expected}
    assert vars(compared.names) == {
        "both": ["Drama"],
        "lost": ["1990s", "Horror"],
        "new": ["1980s", "Comedy"],
    }


def test_a_lost_latent_may_leave_its_name_to_another(tmp_path):
    one = run_of(tmp_path / "one", AXES[:2], ["Horror", "Drama"])
    two = run_of(tmp_path / "two", AXES[1:3], ["Drama", "Horror"])
    counts = compare_runs(one, two).n_all
    assert (counts.lost, counts.new) == (1, 1)
    assert (counts.lost_with_name, counts.new_with_name) == (0, 0)


def test_two_latents_that_are_like_one_are_merged_and_the_other_way_split(tmp_path):
    near = [[1, 0, 0, 0], [0.96, 0.28, 0, 0]]
    one = run_of(tmp_path / "one", np.array(near), ["Horror", "Gore"])
    two = run_of(tmp_path / "two", AXES[:1], ["Horror"])
    assert seen(compare_runs(one, two)) == [
        ("merged", "Gore", "Horror"),
        ("same name", "Horror", "Horror"),
    ]
    assert seen(compare_runs(two, one)) == [
        ("split", "Horror", "Gore"),
        ("same name", "Horror", "Horror"),
    ]


def test_verified_on_either_side_is_counted_and_shown_first(tmp_path):
    names = ["Horror", "Drama", "1990s", "Comedy"]
    poor = dict.fromkeys(["Drama", "1990s"], "unsupported")
    one = run_of(tmp_path / "one", AXES, names, status=poor)
    two = run_of(tmp_path / "two", AXES[:3], names[:3], status={"Drama": "unsupported"})
    compared = compare_runs(one, two)
    assert compared.n_all.same_name == 3
    assert compared.n_verified.same_name == 2  # Horror, and the 1990s only after
    assert vars(compared.names) == {"both": ["Horror"], "lost": ["Comedy"], "new": ["1990s"]}
    changes = compared.changes
    assert list(strongest(changes, 1)["change"]) == ["lost", "same name"]
    assert set(strongest(changes, 9)["name_before"]) == {"Horror", "1990s", "Comedy"}
    assert len(strongest(changes.iloc[:0], 3)) == 0


def test_headlines_stand_beside_each_other_and_json_can_hold_all(tmp_path):
    one = run_of(tmp_path / "one", AXES, ["a", "b", "c", "d"])
    two = run_of(tmp_path / "two", AXES[:2], ["a", "b"], site="other")
    compared = compare_runs(one, two)
    found = to_dict(compared)
    figures = {row["figure"]: (row["before"], row["after"]) for row in found["headline"]}
    assert figures["latents"] == (4, 2)
    assert figures["site"] == ("toy", "other")
    assert figures["attribute AUC"] == pytest.approx((0.7, 0.7))
    assert figures["named share, 32 concepts"] == (None, None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_verdict_is_on_verified_concepts_by_what_comes_back_of_them_anyway(tmp_path):
    names = [f"c{i}" for i in range(25)]
    axes = np.eye(50)
    again = {"cosine": {"half-1": 1.0}, "correlation": {"half-1": 0.0}}
    stability = {
        "dictionaries": [{"name": "half-1", "kind": "halves"}],
        "latents": [{"latent": latent, **again} for latent in range(25)],
    }
    one = run_of(
        *(tmp_path / "one", axes[:25], names),
        status={"c0": "untested"},
        stability=stability,
        states=np.ones((10, 50)),
    )
    two = run_of(tmp_path / "two", axes[20:45], names, states=np.ones((10, 50)))
    said = compare_runs(one, two).verdict
    figures = said.sides
    assert (figures[0].n, figures[0].found, figures[0].control) == (
        24,
        pytest.approx(5 / 24),
        (1.0,),
    )
    assert (figures[1].n, figures[1].found, figures[1].control) == (25, pytest.approx(5 / 25), ())
    assert said.kind == "less"
    assert compare_runs(one, one).verdict.kind == "same"


# -- another site, another model -------------------------------------------------------------------


def test_two_sites_are_compared_by_activity_whatever_their_directions(tmp_path):
    rows = {"sequence": np.arange(N_CASES) // 6, "position": np.arange(N_CASES) % 6}
    states, turn = (
        cases_of([0, 1, 2]),
        np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0],
    )
    one = run_of(tmp_path / "one", AXES[:3], ["Horror", "Drama", "1990s"], states=states, **rows)
    later = np.random.default_rng(2).permutation(N_CASES)
    two = run_of(
        *(tmp_path / "two", AXES[[1, 0, 3]] @ turn, ["Drama", "Gore", "Comedy"]),
        site="other",
        states=(states @ turn)[later],
        **{key: column[later] for key, column in rows.items()},
    )
    compared = compare_runs(one, two)
    assert (compared.matching.method, compared.matching.n_cases) == ("activity", N_CASES)
    assert "1,200 held-out positions" in how_matched(compared.matching)
    assert seen(compared) == [
        ("another name", "Horror", "Gore"),
        ("lost", "1990s", None),
        ("new", None, "Comedy"),
        ("same name", "Drama", "Drama"),
    ]


HISTORIES = [[1, 2, 3, 4], [5, 6, 7], [8, 1, 2, 3, 5]]
IDS = [f"m{i}" for i in range(9)]


def model(histories, users, ids=IDS):
    sequences, catalog = toy.sequences(*histories, users=users), build_catalog(ids, None)
    return SimpleNamespace(sequences=lambda: sequences, catalog=catalog)


def in_ids(histories, ids):
    """The same histories where items have other internal ids."""
    return [[ids.index(IDS[item]) for item in history] for history in histories]


SHUFFLED = ["m0", "m8", "m3", "m1", "m5", "m2", "m7", "m4", "m6"]


def test_users_and_items_are_known_by_their_external_ids():
    one = model(HISTORIES, ["a", "b", "c"])
    two = model(in_ids([HISTORIES[2], HISTORIES[0]], SHUFFLED), ["c", "a"], SHUFFLED)
    other, shared = same_beginnings(one, two, np.array([0, 1, 2]))
    assert other.tolist() == [1, -1, 0]
    assert shared.tolist() == [4, 0, 5]


def test_histories_are_shared_up_to_the_first_other_item():
    one = model(HISTORIES, ["a", "b", "c"])
    two = model([[1, 2, 9, 4], [5, 6], [8, 1, 2, 3, 5, 7]], ["a", "b", "c"], [*IDS, "m9"])
    _, shared = same_beginnings(one, two, np.array([0, 1, 2]))
    assert shared.tolist() == [2, 2, 5]


def test_rows_of_two_stores_are_of_the_same_user_after_the_same_items(tmp_path):
    def store(name, sequence, position):
        columns = {"sequence": np.array(sequence), "position": np.array(position)}
        return toy.store(tmp_path / name, np.ones((len(sequence), 2)), **columns)

    one = store("one", [0, 0, 0, 1, 2, 2], [0, 1, 2, 0, 3, 1])
    two = store("two", [1, 1, 0, 0], [2, 1, 1, 2])
    models = (
        model(HISTORIES, ["a", "b", "c"]),
        model([HISTORIES[2], [1, 2, 9, 4]], ["c", "a"], [*IDS, "m9"]),
    )
    here, there = common_rows(one, two, models)
    assert sorted(zip(here.tolist(), there.tolist(), strict=True)) == [(1, 1), (5, 2)]
    here, there = common_rows(one, two, None)
    assert sorted(zip(here.tolist(), there.tolist(), strict=True)) == [(1, 2), (2, 3)]


@pytest.fixture
def two_models(tmp_path):
    """Runs of two models with 300 users; the second has them in the opposite order."""
    n = 300
    users = [f"u{i}" for i in range(n)]
    ids = [f"m{i}" for i in range(6)]
    rows = {"sequence": np.arange(N_CASES) // 4, "position": np.arange(N_CASES) % 4}
    states = cases_of([0, 1, 2])
    one = run_of(tmp_path / "one", AXES[:2], ["Horror", "Drama"], states=states, **rows)
    rows["sequence"] = n - 1 - rows["sequence"]
    two = run_of(
        *(tmp_path / "two", AXES[[2, 1]], ["1990s", "Drama"]), model="b", states=states, **rows
    )
    histories = [[1, 2, 3, 4, 5]] * n
    models = {"one": model(histories, users, ids), "two": model(histories, users[::-1], ids)}
    return one, two, models


def test_two_models_are_compared_on_the_same_users(two_models, monkeypatch):
    one, two, models = two_models
    monkeypatch.setattr(
        comparing,
        "open_workspace",
        lambda folder, trust: SimpleNamespace(recommender=models[folder.name]),
    )
    compared = compare_runs(one, two)
    assert (compared.matching.method, compared.matching.n_cases) == ("activity", N_CASES)
    assert seen(compared) == [
        ("lost", "Horror", None),
        ("new", None, "1990s"),
        ("same name", "Drama", "Drama"),
    ]


def test_too_few_common_users_leave_only_names(two_models, monkeypatch):
    one, two, models = two_models
    others = replace(models["two"].sequences(), users=np.array([f"v{i}" for i in range(300)]))
    models["two"].sequences = lambda: others
    monkeypatch.setattr(
        comparing,
        "open_workspace",
        lambda folder, trust: SimpleNamespace(recommender=models[folder.name]),
    )
    compared = compare_runs(one, two)
    assert compared.matching.method == "names"
    assert how_matched(compared.matching).startswith(
        "The runs have 0 held-out positions in common."
    )


def test_a_model_that_cannot_be_opened_leaves_only_names(two_models, monkeypatch):
    def refuse(folder, trust):
        raise CannotOpenModel("The checkpoint is gone.")

    monkeypatch.setattr(comparing, "open_workspace", refuse)
    compared = compare_runs(*two_models[:2])
    assert (compared.matching.method, compared.matching.n_cases) == ("names", None)
    assert how_matched(compared.matching) == "The checkpoint is gone. So only names are compared."
    assert compared.verdict.title == "Compared by name alone"


def test_by_name_the_best_of_each_name_is_compared(tmp_path):
    weak = {"Drama": "supported"}
    one = run_of(tmp_path / "one", AXES, ["Horror", "Drama", "Horror", "Comedy"], checkpoint=None)
    two = run_of(tmp_path / "two", AXES[:2], ["Drama", "1990s"], model="b", status=weak)
    compared = compare_runs(one, two)
    assert "model in memory" in how_matched(compared.matching)
    assert seen(compared) == [
        ("lost", "Horror", None),
        ("lost", "Comedy", None),
        ("new", None, "1990s"),
        ("same name", "Drama", "Drama"),
    ]
    horror = rows_of(compared)[0]
    assert (horror["latent_before"], horror["latent_after"]) == (0, None)
    assert horror["similarity"] is None
    assert compared.names.lost == ["Comedy", "Drama", "Horror"]  # Drama is not verified after


# -- runs that were made ---------------------------------------------------------------------------


def test_a_notebook_shows_the_verdict_changes_and_figures_and_no_markup_of_names(tmp_path):
    compared = compare_runs(*(run_of(tmp_path / name, np.eye(3), list("abc")) for name in "xy"))
    plain = compared._repr_html_()
    assert compared.verdict.title in plain
    for words in ("same name", "lost", "attribute AUC", "in both"):
        assert words in plain
    hostile = compared.changes.assign(name_before=HOSTILE[0], name_after=HOSTILE[1])
    html = replace(compared, changes=hostile)._repr_html_()
    assert html != plain
    assert re.findall(r"<(?!td)[^>]*>", html) == re.findall(r"<(?!td)[^>]*>", plain)


def test_an_unfinished_run_and_no_run_are_refused(tmp_path, planted_run):
    run = run_of(tmp_path / "one", AXES[:1], ["a"])
    record = read_json(run / "run.json")
    write_json(run / "run.json", {**record, "stages": {}})
    with pytest.raises(ArtifactMismatch, match="not finished"):
        compare_runs(planted_run, run)
    with pytest.raises(ArtifactMismatch, match="holds no run"):
        compare_runs(tmp_path / "nowhere", planted_run)


def test_a_run_beside_itself_is_all_the_same(tmp_path, planted_run):
    compared = compare_runs(planted_run, copy_of(planted_run, tmp_path / "copy"))
    assert compared.n_all.same_name == len(rows_of(compared)) == CONFIG.latents
    assert compared.verdict.title == "The same dictionary"
    assert not compared.names.lost
    assert not compared.names.new


def test_planted_names_come_back_with_another_seed(tmp_path, planted_run):
    config = CONFIG.model_copy(update={"seed": 1})
    with in_brief():
        run_pipeline(planted(), tmp_path / "two", config)
    compared = compare_runs(planted_run, tmp_path / "two")
    assert compared.matching.method == "direction"
    both = {row["name_before"] for row in rows_of(compared)} & {
        row["name_after"] for row in rows_of(compared)
    }
    assert len(set(planted().concepts) - both) <= 1  # one may be called "Drama, not ..."
    assert compared.n_verified.same_name > 0
    assert len(set(planted().concepts) & set(compared.names.both)) >= 4
