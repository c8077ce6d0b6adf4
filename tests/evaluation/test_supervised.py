"""Supervised directions on planted truth: what is learnable, how the latents compare."""

import json

import numpy as np
import pytest

from helpers.runs import planted
from recsae.concepts.attributes.probes import class_means
from recsae.evaluation.attribute_auc import attribute_table
from recsae.evaluation.supervised import (
    METHODS,
    control_by_directions,
    supervised_table,
)
from recsae.pipeline.stages.supervised import directions_of, supervised_stage
from recsae.run.record import Run
from recsae.run.workspace import Workspace

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def work(planted_run):
    return Workspace(Run(planted_run), planted(), None)


@pytest.fixture(scope="module")
def stage(work):
    return supervised_stage(work).to_dict()


@pytest.fixture(scope="module")
def table(work):
    made = directions_of(work)
    return supervised_table(made, control_by_directions(made)).set_index("attribute")


def genres(table):
    return table[table.index.str.startswith("genre: ")]


def test_one_row_per_attribute(work, table):
    assert len(table) == len(directions_of(work).tasks)
    assert len(genres(table)) == 6
    for measure in ("auc", "balanced_accuracy", "explained", "lift", "off_target", "ndcg_kept"):
        for method in METHODS:
            assert np.isfinite(genres(table)[f"{measure}_{method}"]).all(), (measure, method)


def test_aucs_are_those_of_the_report(work, table):
    """The same cases, latents and baselines as in the attributes of the report."""
    codes = {"sae": work.sae_codes, "pca": work.encode(work.baseline("pca", work.config.k))}
    other = attribute_table(work.labeler.attributes, work.construction, work.heldout, codes)
    other = other.set_index("attribute").loc[table.index]
    for name in ("best_latent", "auc_sae", "auc_pca", "prevalence"):
        assert table[name].to_numpy() == pytest.approx(other[name].to_numpy()), name


def test_planted_genres_pass_every_part(table):
    ours = genres(table)
    assert (ours["auc_probe"] > 0.95).all()
    others = table.drop(ours.index)
    assert (others["auc_low_sae"] < others["auc_sae"]).all()
    assert (ours["auc_sae"] > 0.9).all()
    for method in METHODS:
        assert (ours[f"lift_{method}"] > 0).all(), method
        assert (ours[f"lift_{method}"] > ours[f"off_target_{method}"]).all(), method
    assert not ours["over_split"].any()
    assert ours["occluded_by"].isna().all()


def test_directions_are_made_from_construction_cases_alone(work):
    made = directions_of(work)
    construction = made.construction
    assert set(construction.cases.sequence).isdisjoint(made.heldout.cases.sequence)
    means = class_means(construction.cases.states, construction.truth)
    assert (made.vectors["class_mean"] == means).all()


def test_the_stage_is_json_and_says_what_the_table_says(stage, table):
    assert json.loads(json.dumps(stage, allow_nan=False)) == stage
    summary = stage["summary"]
    assert summary["n_attributes"] == len(stage["rows"]) == len(table)
    assert summary["mean_auc"]["sae"] == pytest.approx(table["auc_sae"].mean())
    assert summary["mean_lift"]["probe"] == pytest.approx(table["lift_probe"].mean())
    together = summary["explained_together"]
    assert set(together) == {*METHODS, "answers"}
    assert all(0 < share <= 1 for share in together.values())
    assert summary["n_latents"] == table["best_latent"].nunique()
    assert summary["left_out"] == []


def test_without_a_linear_head_control_is_skipped_with_a_reason(planted_run):
    other = Workspace(Run(planted_run), planted(), None)
    other.head = None
    found = supervised_stage(other).to_dict()
    assert "not linear" in found["summary"]["control"]["skipped"]
    assert "lift_sae" not in found["rows"][0]
    assert found["summary"]["mean_explained"]["class_mean"] > 0  # of the states' own variance
