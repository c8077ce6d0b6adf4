"""A run with a core, from the report to the exported model."""

import pytest
import torch

from helpers.exports import batch, steered_scores
from helpers.runs import planted
from recsae.report import read_report
from recsae.report.words.findings import core
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.sae.editing import Intervention

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def report(core_run):
    return read_report(core_run)


@pytest.fixture(scope="module")
def opened(core_run):
    return Workspace(Run(core_run), planted(), finished=True)


def test_concepts_say_where_they_are_from(report):
    n = report.sae.n_core
    assert n == len(planted().concepts)
    assert report.sae.n_latents == n + 16
    origins = [c.origin for c in sorted(report.concepts.list, key=lambda c: c.latent)]
    assert origins == ["core"] * n + ["found"] * 16
    assert {c.value for c in report.concepts.list if c.origin == "core"} == set(planted().concepts)


def test_core_found_plain_and_random_have_their_rows(report):
    share, quality = report.named_share, report.label_quality
    assert set(share) == {
        *("sae", "core", "found", "words", "statements", "plain", "gates"),
        *("neurons", "random", "pca"),
    }
    assert set(quality) == set(share) - {"words", "statements"}
    assert 0.5 < share["words"].of_32 < share["sae"].of_32
    assert 0.5 < share["statements"].of_32 < share["sae"].of_32
    assert share["core"].of_32 > 0.9
    assert share["sae"].of_32 >= share["core"].of_32 - 0.01
    assert share["found"].of_32 < share["core"].of_32
    assert share["gates"].of_32 < share["core"].of_32
    assert quality["core"].value[0] > 0.95
    assert quality["core"].value[0] > quality["plain"].value[0]
    assert report.baselines.plain.n_units == report.sae.n_latents
    assert report.baselines.gates.n_units == report.sae.n_core


def test_the_page_says_what_was_asked_and_held(report):
    figures = report.sae.core
    said = core(report)
    assert said.startswith("The core are the first 6 latents. ")
    assert f"{figures.n_candidates:,} statements" in said
    assert f"{figures.n_learnable:,} are held" in said
    assert figures.n_added == 0
    assert "verified ones say 0 values" in said


STEPS = [Intervention((0, 9), "scale", (2.0, 0.0)), Intervention((3, 12), "set", 1.5)]


def test_turning_latents_of_both_kinds_is_what_it_is_by_hand(opened):
    """``h + (z' - z) . directions``, then the scores of the model."""
    sae, recommender = opened.sae, opened.recommender
    h = recommender.represent(batch(opened))
    before = sae.encode(h)
    after = before.clone()
    after[:, 0] *= 2
    after[:, 9] = 0
    after[:, [3, 12]] = 1.5
    moved = h + (after - before) @ sae.directions()
    expected = recommender.linear_head().score(moved)
    found, real = steered_scores(opened, STEPS), recommender.catalog.recommendable
    torch.testing.assert_close(found[:, real], expected[:, real], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, recommender.score(batch(opened)))
