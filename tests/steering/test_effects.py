"""What steering does to held-out users' lists, worked out again from the scores."""

import numpy as np
import pytest

from helpers.runs import planted, planted_open, planted_top, relabelled
from recsae.concepts.attributes.names import LENGTH, LENGTHS
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.recommender.sequences import split_users
from recsae.run.workspace import Workspace
from recsae.sae.editing import Intervention, make_edit
from recsae.steering.effects import at_positions, metrics_before_after
from recsae.steering.files import Steering
from recsae.steering.parse import read_interventions
from recsae.steering.steps.applied import steered_lists
from recsae.steering.words import promoted_values

pytestmark = pytest.mark.end_to_end


GENRE = "Comedy"


@pytest.fixture(scope="module")
def opened():
    return planted_open()


def measured(work, cases, steps, targets):
    sides = (steered_lists(work, cases, interventions) for interventions in ([], steps))
    return at_positions(cases, *sides, targets)


def test_metrics_worked_out_again(opened):
    steps = read_interventions(opened, (f"{GENRE}=3",))
    effect = metrics_before_after(opened, Steering(steps))
    rows = np.flatnonzero(split_users(planted().sequences()))
    histories = [planted().sequences()[row].tolist() for row in rows]
    genre = list(planted().catalog.frame["genre"])
    edit = make_edit(opened.sae, steps)
    lists = {
        "before": [planted_top(h[:-1]) for h in histories],
        "after": [planted_top(h[:-1], edit) for h in histories],
    }
    table = {row.measure: row for row in effect.own_test}
    assert list(table) == [
        *("recall@10", "ndcg@10", "mrr@10"),
        f"share of {GENRE} in the top 10",
    ]
    for side, tops in lists.items():
        hits = np.array([[i == h[-1] for i in t] for t, h in zip(tops, histories, strict=True)])
        share = np.mean([[GENRE in genre[i] for i in t] for t in tops])
        expected = [
            hits.any(1).mean(),
            (hits / np.log2(np.arange(2, 12))).sum(1).mean(),
            (hits / np.arange(1, 11)).sum(1).mean(),
            share,
        ]
        assert [getattr(row, side) for row in table.values()] == pytest.approx(expected, abs=1e-9)
    assert effect.n_users == len(rows)
    changed = np.mean([a != b for a, b in zip(lists["before"], lists["after"], strict=True)])
    record = effect.to_dict()
    assert record["lists that changed"] == f"{100 * changed:.1f} %"
    assert record["latents"] == list(steps[0].latents)
    assert table[f"share of {GENRE} in the top 10"].after > 0.5


def test_every_held_out_position_worked_out_again(opened):
    """Of two users; the interval is that of the ratio of their sums."""
    steps = read_interventions(opened, (f"{GENRE}=3",))
    cases = opened.heldout.take(np.flatnonzero(opened.heldout.user < 2))
    items = np.array([GENRE in genres for genres in planted().catalog.frame["genre"]])
    ndcg, share = measured(opened, cases, steps, {GENRE: items})
    assert (ndcg.measure, share.measure) == ("ndcg@10", f"share of {GENRE} in the top 10")
    edit = make_edit(opened.sae, steps)
    for side, edited in (("before", None), ("after", edit)):
        lists = [
            planted_top(cases.sequences[row][: end + 1].tolist(), edited)
            for row, end in zip(cases.sequence, cases.position, strict=True)
        ]
        hits = np.array(lists) == cases.targets[:, None]
        expected = (hits / np.log2(np.arange(2, 12))).sum(1).mean()
        assert getattr(ndcg, side) == pytest.approx(expected, abs=1e-9)
        assert getattr(share, side) == pytest.approx(items[np.array(lists)].mean())
    ratio, low, high = share.ratio
    assert ratio == pytest.approx(share.after / share.before)
    assert low < ratio < high


def test_groups_of_users_have_what_everybody_has_between_them(opened):
    effect = metrics_before_after(opened, Steering(read_interventions(opened, (f"{GENRE}=3",))))
    ndcg, share = effect.at_positions
    groups = effect.groups
    assert groups.quantity == share.measure
    for by in groups.divided_by:
        rows = [row for row in groups.rows if row.by == by]
        assert len(rows) > 1
        assert all(row.n_users >= 20 for row in rows)
        kept = [row.ndcg_kept[0] for row in rows]
        assert min(kept) <= ndcg.ratio[0] <= max(kept)
        after = [row.after for row in rows]
        assert min(after) <= share.after <= max(after)
    assert effect.to_dict()["user groups"] == groups.to_dict()
    assert "Groups of users, share of" in effect._repr_html_()


def test_where_there_is_no_head_the_model_is_run(opened):
    steps = read_interventions(opened, (f"{GENRE}=3",))
    cases = opened.heldout.take(np.flatnonzero(opened.heldout.user < 20))
    other = Workspace(opened.run, planted(), finished=True)
    other.__dict__["head"] = None
    by_head, by_running = (measured(w, cases, steps, {})[0] for w in (opened, other))
    assert by_running.before == pytest.approx(by_head.before, rel=0.02)
    assert by_running.after == pytest.approx(by_head.after, rel=0.02)


def test_latents_are_named_by_the_items_that_they_promote(opened):
    """The value whose items' scores one more unit raises most, against the spread of the others."""
    found = promoted_values(opened, read_interventions(opened, ("3=1", "7=1")))
    assert list(found) == [3, 7]
    moved = (planted().model.items @ opened.sae.directions()[7]).double().numpy()[1:]
    genres = list(planted().catalog.frame["genre"])[1:]
    names = sorted({one for several in genres for one in several})
    mine = {n: moved[[n in several for several in genres]] for n in names}
    surely = {n: (x.mean() - moved.mean()) * np.sqrt(len(x)) for n, x in mine.items()}
    assert surely[max(names, key=surely.get)] > 0
    assert found[7] == max(names, key=surely.get)
    other = Workspace(opened.run, planted(), finished=True)
    other.__dict__["head"] = None
    assert promoted_values(other, read_interventions(opened, ("3=1",))) == {3: None}


def test_nothing_turned_nothing_changes(opened):
    effect = metrics_before_after(opened, Steering([Intervention((1, 2), "scale", 1.0)]))
    assert effect.to_dict()["lists that changed"] == "0.0 %"
    for row in effect.own_test + effect.at_positions:
        assert row.before == row.after
        assert row.ratio == (1, 1, 1)


def test_a_concept_about_histories_has_no_target(opened):
    other = relabelled(opened, **{C.ATTRIBUTE: LENGTH, C.VALUE: next(iter(LENGTHS))})
    effect = metrics_before_after(other, Steering([Intervention((1,), "set", 0.0)]))
    assert [row.measure for row in effect.own_test] == ["recall@10", "ndcg@10", "mrr@10"]
    assert effect.groups.quantity is None


def test_for_a_cohort(opened):
    steps = read_interventions(opened, ("3=9",))
    users = planted().sequences().users[split_users(planted().sequences())][:7]
    record = metrics_before_after(opened, Steering(steps, tuple(map(str, users)))).to_dict()
    assert (record["for"], record["held-out users"]) == ("7 users", 7)


def test_a_cohort_without_held_out_users_cannot_be_measured(opened):
    sequences = planted().sequences()
    seen = str(sequences.users[~split_users(sequences)][0])
    with pytest.raises(NotEnoughData, match="None of these users was held out"):
        metrics_before_after(opened, Steering(read_interventions(opened, ("3=9",)), (seen,)))
