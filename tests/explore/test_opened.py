"""A finished run in Python: what its methods give is what the run holds and the command prints."""

import json
import re

import numpy as np
import pytest
import torch

import recsae
from helpers.reports import HOSTILE
from helpers.runs import command, copy_of, planted, planted_open, planted_top
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_json, write_json
from recsae.explore.opened import OpenRun
from recsae.recommender.sequences import pad
from recsae.run.record import Run
from recsae.run.workspace import Workspace

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def run():
    return OpenRun(planted_open())


@pytest.fixture(scope="module")
def name(run):
    return run.search(status="verified")["name"].iloc[0]


def opened_in(folder):
    """A copy of the planted run, attached to the planted recommender."""
    return OpenRun(Workspace(Run(folder), planted(), finished=True))


# -- a run -----------------------------------------------------------------------------------------


def test_public_names_stay_the_only_ones():
    assert dir(recsae) == sorted(recsae.__all__)
    assert recsae.SAE.__module__ == "recsae.sae.model"
    assert recsae.open_run.__module__ == "recsae.explore.opened"
    assert dir(recsae) == sorted(recsae.__all__)


def test_the_tables_are_those_that_need_no_model(run, planted_run):
    alone = recsae.load_run(str(planted_run))
    assert run.concepts.equals(alone.concepts)
    assert run.search("drama").equals(alone.search("drama"))
    assert run.report == alone.report
    assert not hasattr(alone, "explain")


def test_a_run_of_a_model_in_memory_cannot_be_opened_but_read(planted_run):
    with pytest.raises(InvalidInput, match="made from a model in memory"):
        recsae.open_run(str(planted_run))
    assert len(recsae.load_run(planted_run).concepts) == 16


def test_compared_with_itself_nothing_is_lost(run, planted_run):
    for other in (run, planted_run, str(planted_run)):
        counts = run.compare(other).n_all
        assert (counts.lost, counts.new, counts.same_name) == (0, 0, 16)


def test_the_report_is_written_again_and_stays_redacted(planted_run, tmp_path):
    folder = copy_of(planted_run, tmp_path / "run")
    page = recsae.load_run(folder).write_report(redact_users=True)
    assert page == folder / "report.html"
    assert "user 1" in page.read_text(encoding="utf-8")
    with recsae.load_run(folder).run.reading("report.html"):
        pass


def test_an_answer_is_refused_once_the_run_was_made_anew(planted_run, tmp_path, name):
    folder = copy_of(planted_run, tmp_path / "run")
    opened = opened_in(folder)
    steered = opened.steer({name: 0})
    record = read_json(folder / "run.json")
    record["stages"]["concepts"]["outputs"]["concepts.parquet"] = "0" * 64
    write_json(folder / "run.json", record)
    for ask in (lambda: steered.lists(user="u0"), lambda: opened.explain(user="u0")):
        with pytest.raises(ArtifactMismatch):
            ask()


# -- explanations ----------------------------------------------------------------------------------


def test_an_explanation_speaks_of_titles_and_names(run):
    history = [7, 30, 31]
    ids, titles = run.recommender.catalog.external_ids, run.recommender.catalog.titles
    why = run.explain(sequence=[ids[i] for i in history])
    assert [item.title for item in why.history] == [titles[i] for i in history]
    scores = run.recommender.score(pad([history], 10))[0]
    best = int(scores[1:].argmax()) + 1
    assert why.item == (titles[best], ids[best])
    named = run.concepts.set_index("latent")["name"]
    assert (named[why.terms["latent"]].to_numpy() == why.terms["name"]).all()
    adds = why.terms["centred"].abs().to_numpy()
    assert (np.diff(adds) <= 1e-9).all()


def test_drivers_are_of_the_score_or_of_a_latent(run):
    ids = run.recommender.catalog.external_ids
    why = run.explain(sequence=f"{ids[7]}, {ids[30]}", method="leave-one-out")
    driven = why.drivers()
    assert sorted(driven["back"]) == [1, 2]
    assert (np.diff(driven["left_out"].abs()) <= 0).all()
    assert len(why.drivers(int(why.terms["latent"].iloc[0]))) == 2
    assert why.drivers(-1).empty


@pytest.mark.parametrize("who", [{}, {"user": "u0", "sequence": "1"}])
def test_one_of_user_and_sequence(run, name, who):
    with pytest.raises(InvalidInput, match="Give one of user and sequence"):
        run.explain(**who)
    with pytest.raises(InvalidInput, match="Give one of user and sequence"):
        run.steer({name: 0}).lists(**who)


def test_an_empty_sequence_is_refused(run):
    with pytest.raises(InvalidInput, match="The sequence is empty"):
        run.explain(sequence=[])


# -- steering --------------------------------------------------------------------------------------


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


def test_a_steering_is_kept_and_loaded(planted_run, tmp_path):
    folder = copy_of(planted_run, tmp_path / "run")
    opened = opened_in(folder)
    made = opened.steer({3: 0}, users=["u1", "u2"])
    assert made.save("less") == folder / "steering" / "less.json"
    assert opened.load_steering("less").steering == made.steering
    assert opened.steering_files() == {"less": made.steering}


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


@pytest.mark.parametrize("choice", [{}, {"item": "i1", "user": "u1"}])
def test_a_profile_is_of_one(run, choice):
    with pytest.raises(InvalidInput, match="Give one of item, user, users and cohort"):
        run.profile(**choice)


# -- what is shown ---------------------------------------------------------------------------------


def shown(run, name):
    steered = run.steer({name: 0})
    return {
        "OpenRun": run,
        "LoadedRun": recsae.load_run(run.folder),
        "LatentFacts": run.concept(3),
        "ExplainedItem": run.explain(user="u3", method="leave-one-out"),
        "Steered": steered,
        "ListChange": steered.lists(user="u3"),
        "SAE": run.sae,
        "ActivationStore": run.heldout_store,
        "Profile": run.profile(user="u3"),
    }


def test_one_line_and_a_card_for_each(run, name):
    for kind, value in shown(run, name).items():
        assert re.match(rf"{kind}\(.+\)$", repr(value)), kind
        assert len(repr(value)) < 250
        html = value._repr_html_()
        assert html.startswith("<div")
        assert html.count("<div") == html.count("</div")


def test_the_comparison_is_one_line(run):
    assert repr(run.compare(run)).count("\n") == 0


def test_hostile_names_and_titles_are_text_in_cards(run, name, monkeypatch):
    catalog = run.recommender.catalog
    plain = {kind: value._repr_html_() for kind, value in shown(run, name).items()}
    hostile = [HOSTILE[i % len(HOSTILE)] for i in range(len(catalog.titles))]
    monkeypatch.setitem(vars(catalog), "titles", hostile)
    seen = 0
    for kind, value in shown(run, name).items():
        html = value._repr_html_()
        assert set(re.findall(r"<(\w+)", html)) <= {
            "div",
            "span",
            "b",
            "table",
            "caption",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
        }, kind
        seen += html != plain[kind]
    assert seen >= 2


# -- beside the command line -----------------------------------------------------------------------


@pytest.mark.recbole
def test_the_command_prints_what_the_methods_give(recbole_run, capsys):
    def printed(*arguments):
        capsys.readouterr()
        assert command(*arguments, "--json") == 0
        return json.loads(capsys.readouterr().out)

    run = recsae.open_run(str(recbole_run))
    user = str(run.recommender.sequences().users[5])
    lists = printed("steer", recbole_run, "--set", "3=x2", "--user", user)
    assert lists == json.loads(json.dumps(run.steer({3: 2}).lists(user=user).to_dict()))
    terms = run.explain(user=user, method="leave-one-out").terms
    said = printed("explain", recbole_run, "--user", user, "--method", "leave-one-out")
    assert [row["latent"] for row in said["terms"]] == terms["latent"].tolist()
    rows = printed("concepts", recbole_run, "--status", "verified")
    assert [row["latent"] for row in rows] == run.search(status="verified")["latent"].tolist()
