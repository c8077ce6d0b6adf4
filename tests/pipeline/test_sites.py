"""The scan of all sites: comparable figures, failures as values, a rule that can be checked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("recbole")

from helpers.runs import checkpoint, planted
from recsae.cli.sites import reason, to_dict
from recsae.concepts.status import verified_latents
from recsae.core import layout
from recsae.core.errors import InvalidInput, NotEnoughData, RecSAEError
from recsae.core.intervals import UserEstimate
from recsae.evaluation.explained import explained
from recsae.evaluation.scoring import measure_concepts
from recsae.evaluation.share import share_on_halves
from recsae.pipeline import sites
from recsae.pipeline.site_figures import (
    SiteFigures,
    SiteWorkspace,
    measured,
    named_edit,
    share_by_running,
)
from recsae.pipeline.sites import MeasuredSite, recommend, scan_sites
from recsae.recommender.plugins import load_recommender
from recsae.recommender.protocol import Site
from recsae.recommender.score_metric import score_metric
from recsae.run.config import RunConfig
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.testing.planted import PlantedRecommender

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


SMALL = RunConfig(core="none", latents=48, k=4, construction_positions=3000, heldout_positions=1000)
WITH_CORE = SMALL.model_copy(update={"core": "statements"})
POSITIONS = 3000
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
    return scan_sites(sasrec, SMALL, folder, positions=POSITIONS)


def by_name(found):
    return {measured.site.name: measured.figures for measured in found.sites}


def work_at(sasrec, folder, number):
    """The workspace that the scan used at a site."""
    config = SMALL.model_copy(update={"site": sasrec.sites()[number].name, "samples": 30_000})
    return SiteWorkspace(Run(folder / f"site-{number}", config), sasrec, None)


def asked_at(sasrec, folder):
    """The workspace of the default site, whose cases are asked, and their windows."""
    default = work_at(sasrec, folder, 0)
    return default, default.windows(layout.HELDOUT_STORE)


def test_a_place_with_the_states_of_another_is_measured_once(scan, sasrec):
    assert [measured.site for measured in scan.sites] == sasrec.sites()
    twins = {measured.site.name: measured.same_as for measured in scan.sites if measured.same_as}
    assert twins[LAST] == "sequence"
    assert scan.recommended.site not in twins


def test_every_site_has_a_row_with_all_figures(scan):
    for one in (one for one in scan.sites if one.same_as is None):
        assert one.problem is None
        row = one.figures
        assert 0 < row.fvu < 1
        assert 0.5 < row.auc_sae < row.auc_supervised <= 1
        assert 0 <= row.distinct_verified <= row.verified <= 48
        everything = one.site.share >= 0.99
        assert (row.named_share is not None) == everything, one.site.name
        assert (row.share_of_states is None) == (one.site.name == "sequence")


def test_what_is_said_of_the_default_site_is_what_a_run_of_that_size_finds(tmp_path):
    """The same gates, the same test, the same halves of the users, and so the same interval."""
    model = planted()
    found = scan_sites(model, WITH_CORE, tmp_path / "scan", positions=POSITIONS)
    samples = {"samples": 10 * found.n_construction}
    work = Workspace(Run(tmp_path / "run", WITH_CORE.model_copy(update=samples)), model)
    codes, labels = work.sae_codes, work.label()
    tested = measure_concepts(
        *(codes.heldout, labels, work.heldout, work.labeler), parts=work.users_of_halves
    )
    cases = work.construction, work.halves
    share = share_on_halves(codes, *cases, tested.verified_of, work.head)
    figures = found.sites[0].figures
    assert figures.n_core == work.sae.n_gates > 0
    assert figures.n_latents == work.sae.n_latents == 48 + figures.n_core
    assert figures.verified == len(verified_latents(tested.scores))
    assert figures.named_share.interval() == pytest.approx(share.shares[32].interval())
    assert figures.share_of_states is None


def test_positions_are_an_even_part_of_those_that_a_run_reads(tmp_path):
    """The last windows of histories alone, which a run reads first, are other cases."""
    model, config = planted(), SMALL.model_copy(update={"heldout_positions": 10_000})
    found = scan_sites(model, config, tmp_path, positions=900)
    work = SiteWorkspace(Run(tmp_path / "site-0", SMALL), model)
    assert 250 < found.n_heldout == len(work.heldout) <= 300
    lengths = model.sequences().lengths[work.heldout.sequence]
    at_the_end = (work.heldout.position == lengths - 2).mean()
    assert at_the_end < 0.2  # one position in twenty to thirty is the last of its history


def test_running_on_from_the_last_block_is_the_default_site_again(scan, sasrec, folder):
    """Its states are the default site's: what is measured by running equals what is computed."""
    first = by_name(scan)["sequence"]
    number = [site.name for site in sasrec.sites()].index(LAST)
    again = measured(work_at(sasrec, folder, number), *asked_at(sasrec, folder))
    assert again.fvu == pytest.approx(first.fvu, abs=1e-4)
    assert again.ndcg_kept == pytest.approx(first.ndcg_kept, abs=1e-3)
    value, low, high = again.named_share.minus(first.named_share).interval()
    assert abs(value) < 0.05
    assert low < 0 < high
    assert 0 < again.share_of_states.value < 1


def test_the_named_edit_is_what_is_measured(sasrec, folder):
    number = [site.name for site in sasrec.sites()].index(LAST)
    work, (default, windows) = work_at(sasrec, folder, number), asked_at(sasrec, folder)
    chosen = np.argsort(-work.sae_codes[0].sum(0).A1)[:8].tolist()
    edit = named_edit(work.sae, chosen, work.sae_codes[0], work.construction.states)
    metric = score_metric(sasrec.linear_head(), sasrec.catalog.recommendable, work.sae.width)
    cases = default.heldout
    guess = edit(torch.from_numpy(work.heldout.states)).numpy()
    ran = share_by_running(work, edit, default, cases, windows)
    assert ran.value == pytest.approx(explained(cases.states, guess, metric), abs=1e-3)
    assert 0 < ran.value < 1
    assert len(ran.influence) == cases.n_users


class Mixed(PlantedRecommender):
    """The states of the default site come one at a time, those of another place all together."""

    def sites(self):
        only = replace(super().sites()[0], every_position=False, share=1.0)
        return [only, replace(only, name="inside", every_position=True)]


def test_sites_read_from_other_windows_are_compared_on_the_same_cases(tmp_path):
    size = {"n_users": 400, "n_items": 240, "n_concepts": 6, "width": 12, "length": 24}
    config = WITH_CORE.model_copy(
        update={"construction_positions": 10_000, "heldout_positions": 4000}
    )
    found = scan_sites(Mixed(**size), config, tmp_path, positions=POSITIONS)
    default, inside = found.sites
    works = [SiteWorkspace(Run(tmp_path / f"site-{n}", SMALL), Mixed(**size)) for n in (0, 1)]
    assert len(works[0].heldout) != len(works[1].heldout)
    assert inside.same_as is None
    assert len(inside.named_share.influence) == works[0].heldout.n_users
    assert default.named_share.value > 0.8
    assert inside.named_share.value == pytest.approx(default.named_share.value, abs=0.05)


class LastOnly(PlantedRecommender):
    """The states of another place come one at a time, those of the default site all together."""

    def sites(self):
        first = replace(super().sites()[0], share=1.0)
        return [first, replace(first, name="inside", every_position=False)]


def test_where_an_edit_reaches_the_last_position_alone_nothing_is_compared(tmp_path):
    few = LastOnly(n_users=60, n_items=40, n_concepts=4, width=8, length=12)
    default, inside = scan_sites(few, SMALL, tmp_path, positions=600).sites
    assert default.named_share is not None
    assert inside.problem is None
    assert (inside.named_share, inside.figures.ndcg_kept) == (None, None)
    assert inside.figures.fvu > 0


def test_a_site_that_fails_says_why_and_the_others_go_on(sasrec, scan, folder, monkeypatch):
    """In the folder of the scan, where states and SAEs are there already."""

    def broken(work, *asked):
        if work.site == ADDED:
            raise RecSAEError("Nothing ever varies here.")
        return measured(work, *asked)

    monkeypatch.setattr(sites, "measured", broken)
    again = scan_sites(sasrec, SMALL, folder, positions=POSITIONS)
    rows = {one.site.name: one for one in again.sites}
    assert rows[ADDED].problem == "Nothing ever varies here."
    assert rows[ADDED].figures is None
    assert rows["sequence"].figures.fvu is not None


def test_the_same_seed_gives_the_same_figures(tmp_path):
    one, two = (scan_sites(planted(), SMALL, tmp_path / name, positions=POSITIONS) for name in "ab")

    def figures(found):
        quick = tuple(replace(measured, seconds=0) for measured in found.sites)
        return to_dict(replace(found, sites=quick, capture_seconds=0))

    assert figures(one) == figures(two)
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


def row(name, named=0.6, share=1.0, problem=None, moved=0.01):
    """A site with a named share of two users, who move it by ``moved`` each."""
    named = None if named is None else UserEstimate(named, moved * np.array([1.0, -1.0]))
    figures = None if problem else SiteFigures(48, 9, 0.1, 0.9, 0.7, 0.8, 5, 5, named, None)
    return MeasuredSite(Site(name, "", 8, every_position=True, share=share), figures, problem)


def chosen(*rows):
    return recommend(list(rows)).site


def why(*rows):
    return reason(recommend(list(rows)))


def test_the_default_unless_another_is_better_by_more_than_the_margin():
    assert chosen(row("a", 0.60), row("b", 0.609), row("c", 0.605)) == "a"
    assert chosen(row("a", 0.60), row("b", 0.63), row("c", 0.65)) == "c"
    assert chosen(row("a", 0.60), row("b", None)) == "a"


def test_a_lead_is_sure_only_user_by_user():
    """Both shares are as uncertain as can be, but the same users move them the same way."""
    assert chosen(row("a", 0.60, moved=0.3), row("b", 0.65, moved=0.3)) == "b"
    assert chosen(row("a", 0.60, moved=0.3), row("b", 0.65, moved=-0.3)) == "a"
    found = recommend([row("a", 0.60, moved=0.02), row("b", 0.65, moved=-0.01)])
    # each of two users moves the difference by .03: an error of sqrt(2 / 1 * 2 * .03 ** 2) = .06
    assert found.ahead == pytest.approx((0.05, 0.05 - 1.96 * 0.06, 0.05 + 1.96 * 0.06), abs=1e-4)
    assert (found.site, found.best) == ("a", "b")


def test_sites_that_only_a_part_of_the_scores_goes_through_are_out():
    assert chosen(row("a", 0.60), row("b", 0.90, share=0.5)) == "a"
    assert chosen(row("a", 0.60), row("b", 0.90, share=None)) == "b"  # not tried


def test_without_a_named_share_nothing_speaks_against_the_default():
    rows = [row("a", None), row("b", None)]
    assert chosen(*rows) == "a"
    assert "no other" in why(*rows)
    assert chosen(row("a", None), row("b", 0.9)) == "a"


def test_reasons():
    assert why(row("a", 0.6), row("b", 0.5)) == "the default, with the highest named share"
    assert why(row("a", 0.6), row("b", 0.605)) == (
        "the default; at b the named share is higher, but only by 0.5 points (0.5 to 0.5)"
    )
    assert why(row("a", 0.6), row("b", 0.7)) == (
        "its concepts explain more of the scores than those at a, the default: "
        "by 10.0 points (10.0 to 10.0)"
    )
    assert "no other" in why(row("a"))


def test_a_default_that_failed_is_not_recommended():
    assert chosen(row("a", None, problem="broken"), row("b"), row("c", 0.5)) == "b"
    with pytest.raises(NotEnoughData, match="At a: broken"):
        recommend([row("a", None, problem="broken")])
