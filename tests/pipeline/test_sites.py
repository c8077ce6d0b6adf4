"""The scan of all sites: comparable figures, failures as values, a rule that can be checked."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("recbole")

from helpers.runs import checkpoint, planted
from recsae.cli.sites import reason
from recsae.concepts.status import verified_latents
from recsae.core.errors import InvalidInput, NotEnoughData, RecSAEError
from recsae.evaluation.explained import explained
from recsae.evaluation.reconstruction import heldout_accuracy
from recsae.evaluation.scoring import score_concepts
from recsae.evaluation.share import share_on_halves
from recsae.pipeline import sites
from recsae.pipeline.sites import (
    MeasuredSite,
    SiteFigures,
    named_edit,
    recommend,
    scan_sites,
)
from recsae.recommender.plugins import load_recommender
from recsae.recommender.protocol import Site
from recsae.recommender.score_metric import score_metric
from recsae.run.config import RunConfig
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.testing.planted import PlantedRecommender

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


SMALL = RunConfig(core="none", latents=48, k=4, construction_positions=3000, heldout_positions=1000)
LAST = "trm_encoder.layer.1"
ADDED = "trm_encoder.layer.1.feed_forward.dense_2"


@pytest.fixture(scope="module")
def sasrec():
    return load_recommender(checkpoint(), trust=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sites")


@pytest.fixture(scope="module")
def scan(sasrec, folder):
    return scan_sites(sasrec, SMALL, folder)


def by_name(found):
    return {measured.site.name: measured.figures for measured in found.sites}


def work_at(sasrec, folder, number):
    """The workspace that the scan used at a site."""
    config = SMALL.model_copy(update={"site": sasrec.sites()[number].name, "samples": 30_000})
    return Workspace(Run(folder / f"site-{number}", config), sasrec, None)


def test_a_place_with_the_states_of_another_is_measured_once(scan, sasrec):
    assert [measured.site for measured in scan.sites] == sasrec.sites()
    twins = {measured.site.name: measured.same_as for measured in scan.sites if measured.same_as}
    assert twins[LAST] == "sequence"
    assert scan.recommended.site not in twins


def test_every_site_has_a_row_with_all_figures(scan):
    for measured in (one for one in scan.sites if one.same_as is None):
        assert measured.problem is None
        row = measured.figures
        assert 0 < row.fvu < 1
        assert 0.5 < row.auc_sae < row.auc_supervised <= 1
        assert 0 <= row.distinct_verified <= row.verified <= 48
        everything = measured.site.share >= 0.99
        assert (row.named_share is not None) == everything, measured.site.name


def test_figures_of_the_default_site_are_those_of_a_run(scan, sasrec, folder):
    work = work_at(sasrec, folder, 0)
    labels = work.label()
    cases = work.construction, work.halves
    halves = [(work.sae_codes.heldout[rows], own) for rows, own in work.halves]
    verified = [
        verified_latents(score_concepts(code, labels, cases, work.labeler))
        for code, cases in halves
    ]
    share = share_on_halves(work.sae_codes, *cases, verified, work.head)
    first = scan.sites[0].figures
    assert first.named_share == pytest.approx(share.shares[32].value)
    found = heldout_accuracy(work.heldout, work.sae, work.head)
    assert first.ndcg_kept == pytest.approx(found.lists.ndcg_kept)


def test_running_on_from_the_last_block_is_the_default_site_again(scan, sasrec, folder):
    """Its states are the default site's: what is measured by running equals what is computed."""
    first = by_name(scan)["sequence"]
    number = [site.name for site in sasrec.sites()].index(LAST)
    again = sites._measured(work_at(sasrec, folder, number))
    assert again.fvu == pytest.approx(first.fvu, abs=1e-4)
    assert again.ndcg_kept == pytest.approx(first.ndcg_kept, abs=1e-3)
    assert again.named_share == pytest.approx(first.named_share, abs=0.05)


def test_the_named_edit_is_what_is_measured(sasrec, folder):
    number = [site.name for site in sasrec.sites()].index(LAST)
    work = work_at(sasrec, folder, number)
    chosen = np.argsort(-work.sae_codes[0].sum(0).A1)[:8].tolist()
    edit = named_edit(work.sae, chosen, work.sae_codes[0], work.construction.states)
    metric = score_metric(sasrec.linear_head(), sasrec.catalog.recommendable, work.sae.width)
    cases = work.heldout
    guess = edit(sites.torch.from_numpy(cases.states)).numpy()
    ran = sites.share_by_running(work, edit, cases, metric)
    assert ran == pytest.approx(explained(cases.states, guess, metric), abs=1e-3)
    assert 0 < ran < 1


def test_a_site_that_fails_says_why_and_the_others_go_on(sasrec, scan, folder, monkeypatch):
    """In the folder of the scan, where states and SAEs are there already."""
    measured = sites._measured

    def broken(work):
        if work.site == ADDED:
            raise RecSAEError("Nothing ever varies here.")
        return measured(work)

    monkeypatch.setattr(sites, "_measured", broken)
    rows = {measured.site.name: measured for measured in scan_sites(sasrec, SMALL, folder).sites}
    assert rows[ADDED].problem == "Nothing ever varies here."
    assert rows[ADDED].figures is None
    assert rows["sequence"].figures.fvu is not None


def test_the_same_seed_gives_the_same_figures(tmp_path):
    one, two = (scan_sites(planted(), SMALL, tmp_path / name) for name in ("one", "two"))
    same, other = (
        replace(
            found,
            sites=tuple(replace(measured, seconds=0) for measured in found.sites),
            capture_seconds=0,
        )
        for found in (one, two)
    )
    assert same == other
    assert 900 < one.n_heldout <= 1000


def test_on_small_data_there_are_fewer_latents(tmp_path):
    few = PlantedRecommender(n_users=30, n_items=40, n_concepts=4, width=8, length=12)
    found = scan_sites(few, RunConfig(k=4), tmp_path)
    assert found.sites[0].figures.n_latents < 64


def test_too_few_users(tmp_path):
    few = PlantedRecommender(n_users=3, n_items=40, n_concepts=4, width=8)
    with pytest.raises(NotEnoughData, match="too few"):
        scan_sites(few, RunConfig(), tmp_path)


def test_settings_that_cannot_be_are_refused_before_anything_is_done(tmp_path):
    with pytest.raises(InvalidInput, match="k=9"):
        scan_sites(planted(), RunConfig(latents=4, k=9), tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- the rule --------------------------------------------------------------------------------------


def row(name, named=0.6, share=1.0, auc_sae=0.7, problem=None):
    figures = None if problem else SiteFigures(48, 0.1, 0.9, auc_sae, 0.8, 5, 5, named)
    return MeasuredSite(Site(name, "", 8, every_position=True, share=share), figures, problem)


def chosen(*rows):
    return recommend(list(rows)).site


def why(*rows):
    return reason(recommend(list(rows)))


def test_the_default_unless_another_is_better_by_more_than_the_margin():
    assert chosen(row("a", 0.60), row("b", 0.62), row("c", 0.61)) == "a"
    assert chosen(row("a", 0.60), row("b", 0.63), row("c", 0.65)) == "c"
    assert chosen(row("a", 0.60), row("b", None)) == "a"


def test_sites_that_only_a_part_of_the_scores_goes_through_are_out():
    assert chosen(row("a", 0.60), row("b", 0.90, share=0.5)) == "a"
    assert chosen(row("a", 0.60), row("b", 0.90, share=None)) == "b"  # not tried


def test_without_a_named_share_attributes_decide():
    rows = [row("a", None), row("b", None, auc_sae=0.8)]
    assert chosen(*rows) == "b"
    assert "attribute AUC" in why(*rows)


def test_reasons():
    assert why(row("a", 0.6), row("b", 0.5)) == ("the default, with the highest named share (.60)")
    assert why(row("a", 0.6), row("b", 0.615)) == (
        "the default; at b the named share is hardly higher (.61 against .60)"
    )
    assert "only site" in why(row("a"))


def test_a_default_that_failed_is_not_recommended():
    assert chosen(row("a", None, problem="broken"), row("b"), row("c", 0.5)) == "b"
    with pytest.raises(NotEnoughData, match="At a: broken"):
        recommend([row("a", None, problem="broken")])
