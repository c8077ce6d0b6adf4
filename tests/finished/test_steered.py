"""Concepts turned in Python: settings, users, lists, files and goals."""

import json

import numpy as np
import pytest
import torch

from helpers.runs import copy_of, planted_top
from recsae.core.errors import InvalidInput
from recsae.recommender.sequences import pad, split_users

pytestmark = pytest.mark.end_to_end


def test_a_steered_list_is_that_of_the_edited_states(run, name):
    history = run.recommender.sequences()[3]
    latents = run.search(status="verified").query("name == @name")["latent"].tolist()

    def without(states):
        code = run.sae.encode(states)
        return states - code[:, latents] @ run.sae.directions()[latents]

    ids = [run.recommender.catalog.external_ids[i] for i in history]
    change = run.steer({name: 0}).lists(sequence=ids)
    titles = run.recommender.catalog.titles
    before, after = (
        [titles[i] for i in planted_top(list(history), edit)] for edit in (None, without)
    )
    assert [place.before.title for place in change.places] == before
    assert [place.after.title for place in change.places] == after


@pytest.mark.parametrize("setting", ["{}=x0", "{}=off"])
def test_factors_and_texts_say_the_same(run, name, setting):
    one = run.steer({name: 0}).lists(user="u3")
    other = run.steer(setting.format(name)).lists(user="u3")
    assert [p.after for p in one.places] == [p.after for p in other.places]


def test_a_latent_is_given_by_its_number(run):
    for key in (3, "3", np.int64(3)):
        (one,) = run.steer({key: 2}).steering.interventions
        assert (one.latents, one.op, one.value) == ((3,), "scale", 2.0)


def test_settings_are_done_in_their_order(run):
    steered = run.steer(run.steer({3: 2}), "4=0", {5: 0.5})
    assert [one.latents for one in steered.steering.interventions] == [(3,), (4,), (5,)]


def test_steerings_for_different_users_are_not_joined(run):
    one, other = run.steer({3: 0}, users=["u1", "u2"]), run.steer({4: 0}, users="u1")
    with pytest.raises(InvalidInput, match="for different users"):
        run.steer(one, other)
    assert run.steer(one, {4: 0}).steering.users == ("u1", "u2")
    assert run.steer(one, other, users=["u3"]).steering.users == ("u3",)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ((), "Nothing is turned"),
        (({"no such thing": 0},), "No concept is named 'no such thing'"),
        (({99: 0},), "There is no latent 99"),
        (({3: "a lot"},), "'3?3'? cannot be multiplied by 'a lot'|3 cannot be multiplied"),
        (({3: True},), "cannot be multiplied by True"),
        (("3",), "Cannot read the setting '3'"),
        ((3,), "3 is no setting"),
    ],
)
def test_what_cannot_be_turned_is_refused(run, settings, match):
    with pytest.raises(InvalidInput, match=match):
        run.steer(*settings)


def test_the_model_is_steered_within_a_context_alone(run, name):
    batch = pad([[7, 30, 31]], 10)
    before = run.recommender.score(batch)
    with run.steer({name: 3}).model() as steered:
        assert not torch.equal(steered.score(batch), before)
    assert torch.equal(run.recommender.score(batch), before)


def test_a_model_is_not_steered_for_some_users_alone(run, name):
    steered = run.steer({name: 3}, users=["u1"])
    with pytest.raises(InvalidInput, match="for some users only"), steered.model():
        pass


def test_a_steering_is_kept_and_loaded(planted_run, tmp_path, opened_in):
    folder = copy_of(planted_run, tmp_path / "run")
    opened = opened_in(folder)
    made = opened.steer({3: 0}, users=["u1", "u2"])
    assert made.save("less") == folder / "steering" / "less.json"
    assert opened.load_steering("less").steering == made.steering
    assert opened.steering_files() == ({"less": made.steering}, {})
    assert made.save("less") == folder / "steering" / "less.json"  # the same may be there
    with pytest.raises(InvalidInput, match="keeps another steering already"):
        opened.steer({3: 2}).save("less")
    opened.steer({3: 2}).save("less", replace=True)
    assert opened.load_steering("less").steering.users is None


def test_a_damaged_steering_file_hides_no_other(planted_run, tmp_path, opened_in):
    opened = opened_in(copy_of(planted_run, tmp_path / "run"))
    opened.steer({3: 0}).save("good")
    (opened.folder / "steering" / "bad.json").write_text("{")
    found = opened.steering_files()
    assert list(found.kept) == ["good"]
    assert list(found.damaged) == ["bad"]
    assert found.damaged["bad"].endswith("bad.json is no steering file: it is not JSON.")


def written(opened, **change):
    """A steering file of the run, changed by hand."""
    opened.steer({3: 0}, users=["u1", "u2"]).save("one")
    path = opened.folder / "steering" / "one.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    return path


def test_users_whom_the_model_does_not_know_are_told(planted_run, tmp_path, opened_in):
    opened = opened_in(copy_of(planted_run, tmp_path / "run"))
    held = opened.recommender.sequences()
    held = [str(u) for u in held.users[split_users(held)][:3]]
    path = written(opened, users=[*held, "nobody", "u9999"])
    made = opened.load_steering("one")
    assert made.metrics().to_dict()["unknown users"] == 2
    assert made.lists(held[0]).to_dict()["unknown users"] == 2
    assert "unknown users:</span> 2" in made._repr_html_()
    known = opened.steer({3: 0}, users=held)
    assert "unknown users" not in known.metrics().to_dict()
    path.write_text(json.dumps({**json.loads(path.read_text()), "users": ["nobody", "x"]}))
    with pytest.raises(
        InvalidInput, match=r"one.json cannot be used: .* knows none of its users \(2\)"
    ):
        opened.load_steering("one")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"steps": [{"kind": "filter", "never": ["Comedi"]}]},
            r"one.json cannot be used: step 1: .* is named 'Comedi'\. Did you mean 'Comedy'",
        ),
        (
            {
                "steps": [
                    {"kind": "filter", "never": ["Comedy"]},
                    {"kind": "re-ranking", "by": "constant", "less": ["Comedi"], "strength": 1,
                     "unit": 1},
                ]
            },
            "one.json cannot be used: step 2: No attribute value",
        ),
        (
            {"goal": {"more": ["Comedi"], "max_loss": 0.1}},
            "one.json cannot be used: its goal: No attribute value",
        ),
        (
            {"goal": {"more": ["Comedy"], "never": ["Comedy"], "max_loss": 0.1}},
            "one.json cannot be used: its goal: Give --never, or",
        ),
    ],
)  # fmt: skip
def test_names_that_a_run_does_not_know_are_told_with_the_file(
    planted_run, tmp_path, opened_in, change, match
):
    opened = opened_in(copy_of(planted_run, tmp_path / "run"))
    written(opened, **change)
    with pytest.raises(InvalidInput, match=match):
        opened.load_steering("one")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "latents", "candidates": 50}, "method latents re-ranks nothing, so candidates"),
        ({"method": "filter", "candidates": 50}, "method filter re-ranks nothing"),
        ({"method": "class-mean", "candidates": 50}, "method class-mean re-ranks nothing"),
        (
            {"method": "probe", "n_latents": 4, "compare": False},
            "method probe turns no latents, and nothing is compared",
        ),
    ],
)
def test_what_a_method_would_not_heed(run, name, options, match):
    with pytest.raises(InvalidInput, match=match):
        run.tune(more=name, **options)


def test_a_goal_is_reached_and_can_be_used_again(run, name):
    tuned = run.tune(more=name, max_ndcg_loss=0.05, n_latents=4, compare=False)
    assert tuned.result.effect.after > tuned.result.effect.before
    assert tuned.steered.steering.goal.more == (name,)
    assert tuned.steered.steering.goal.ndcg_kept == tuned.result.effect.ndcg_kept[0]
    assert run.steer(tuned.steered).steering == tuned.steered.steering


@pytest.mark.parametrize(
    ("wish", "match"),
    [
        ({"max_ndcg_loss": 1.5}, "The loss 1.5 is no part"),
        ({"popularity": "less"}, "The popularity 'less' is neither"),
        ({"users": ["u1"], "cohort": "item:1"}, "Give one of users and cohort"),
    ],
)
def test_goals_that_cannot_be(run, name, wish, match):
    wish = wish if "popularity" in wish else {"more": name, **wish}
    with pytest.raises(InvalidInput, match=match):
        run.tune(**wish)
