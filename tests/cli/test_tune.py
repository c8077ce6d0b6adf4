"""``recsae tune`` from the command line."""

import json
import re

import pytest

from helpers.runs import command, copy_of
from recsae.steering.fairness import groups

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


@pytest.fixture
def said(capsys):
    def run(*arguments, code=0):
        assert command(*arguments) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory, recbole_run):
    return copy_of(recbole_run, tmp_path_factory.mktemp("tuned") / "run")


def test_a_goal_is_reached_kept_and_used_again(said, folder):
    out = said("tune", folder, "--more", "Comedy", "--max-ndcg-loss", "5%", "--save", "funny")
    assert out.startswith("More Comedy by ")
    for words in (
        "goal: more Comedy",
        "done: ",
        "What each method reaches that --method and --save can keep",
        "probability *",
        "The latents' curve",
        "within 100",
        "Saved: ",
    ):
        assert words in out
    kept = r"re-ranked by (calibrated )?probability: more Comedy \(strength"
    assert re.search(kept, said("steer", folder, "--list"))
    goal_first = said("steer", folder, "--with", "funny", "--all").split("before  after")
    assert [part.split("\n")[1].split("  ")[0] for part in goal_first[1:]] == [
        "share of Comedy in the top 10"
    ] * 2
    found = json.loads(said("steer", folder, "--with", "funny", "--json"))
    assert found["lists that changed"] != "0.0 %"
    assert found["positions"][0]["measure"] == "share of Comedy in the top 10"
    assert found["positions"][0]["after"] > found["positions"][0]["before"]
    one = said("steer", folder, "--with", "funny", "--sequence", "50, 56")
    assert "probability: more Comedy" in one


def test_a_method_that_is_asked_for_and_candidates(said, folder):
    arguments = ("tune", folder, "--more", "Comedy", "--max-ndcg-loss", "5%", "--json", "--quick")
    latents = json.loads(said(*arguments, "--method", "latents", "--save", "by-latents"))
    assert latents["method"] == "latents"
    assert [one["method"] for one in latents["choices"]] == ["latents"]
    found = said("steer", folder, "--with", "by-latents")
    assert "promote: " in found
    assert "times as strong where active; more Comedy (16 latents): " in said(
        "steer", folder, "--list"
    )
    within = json.loads(said(*arguments[:-1], "--method", "re-ranking", "--candidates", "50"))
    ways = [one["way"] for one in within["ways"]]
    assert {"re-ranking within 50", "re-ranking by probability within 50"} <= set(ways)
    assert sum(way.startswith("re-ranking") and " within " not in way for way in ways) == 1
    assert within["method"] == "re-ranking within 50"
    assert within["after"] > within["before"]


def test_where_any_strength_loses_too_much_nothing_is_done(said, folder, monkeypatch, capsys):
    monkeypatch.setattr("recsae.steering.tuning.tune._refined", lambda *_: 0.0)
    asked = ("tune", folder, "--more", "Comedy", "--quick", "--method", "latents")
    assert "done: nothing: at any strength more is lost than is allowed" in said(*asked)
    assert command(*asked, "--save", "nothing") == 2
    out, err = capsys.readouterr()
    assert "More Comedy by latents: " in out
    assert "Nothing was saved in 'nothing': at any strength more is lost than is allowed" in err
    assert not (folder / "steering/nothing.json").exists()


def test_never_is_a_filter_and_says_what_latents_leave_over(said, folder):
    out = said("tune", folder, "--never", "Comedy", "--quick", "--save", "none")
    assert out.startswith("Never Comedy by filter: ")
    assert re.search(r"Where items have no such data, latents .* reach \d", out)
    found = json.loads(said("steer", folder, "--with", "none", "--json"))
    assert found["positions"][0]["after"] == 0


def test_for_machines_and_quick(said, folder):
    arguments = ("tune", folder, "--less", "Comedy", "--quick", "--latents", "4", "--json")
    arguments = (*arguments, "--method", "latents")
    found = json.loads(said(*arguments))
    assert len(found["latents"]) == 4
    for one in found["latents"]:
        assert one["promotes"]
        assert one["where active"].endswith(("times as strong", "as it is", "switched off"))
        assert one["for everybody"].endswith(("as it is", " sd)"))
    shown = said(*arguments[:-3], "--method", "latents")
    assert "latent  promotes" in shown
    assert "where it is active" in shown
    assert "ways" not in found
    assert found["after"] <= found["before"]
    assert found["allowed loss"] == 0.01


def test_for_a_cohort(said, folder):
    arguments = ("--more", "Comedy", "--quick", "--json", "--save", "some")
    everybody = json.loads(said("tune", folder, *arguments))
    some = json.loads(said("tune", folder, *arguments, "--cohort", "item:50", "--replace"))
    assert 0 < some["held-out users"] < everybody["held-out users"]
    assert "(for everybody)" not in said("steer", folder, "--list").split("some: ")[1]


def test_what_a_cohort_is_never_to_be_recommended(said, folder):
    arguments = ("tune", folder, "--never", "Comedy", "--cohort", "item:50", "--quick")
    out = said(*arguments, "--method", "latents")
    for words in (
        "goal: never Comedy",
        "What is reached at what loss. The strength is chosen on construction users",
        "lists with any",
        "Side effects",
    ):
        assert words in out


def test_popularity(said, folder):
    out = said("tune", folder, "--popularity", "-", "--quick", "--max-ndcg-loss", "0.02")
    for words in (
        "goal: less popular items",
        "Gini coefficient",
        "logit adjustment",
        "popularity direction",
        "One direction of the states carries",
    ):
        assert words in out


def test_groups_of_users_are_shown_when_all_is(said, folder, monkeypatch):
    """This run has few users: groups of four are taken."""
    arguments = ("tune", folder, "--less", "Comedy", "--quick", "--method", "re-ranking")
    assert "Users are too few to be divided" in said(*arguments, "--all")
    monkeypatch.setattr(groups, "MIN_USERS", 4)
    line = next(x for x in said(*arguments).splitlines() if "groups of users" in x)
    assert re.match(
        r"None of \d+ groups of users \(by age, gender, .* --all shows all groups\.$", line
    )
    shown = said(*arguments, "--all", "--save", "less")
    found = json.loads(said(*arguments, "--json"))["user groups"]
    assert "Groups of held-out users, the part of NDCG@10 that they keep, and the share" in shown
    assert "--all shows" not in shown
    assert {"gender", "age", "occupation"} <= {row["by"] for row in found["rows"]}
    for row in found["rows"]:
        assert f"\n{row['users'].removeprefix('users ')}  " in shown
        assert row["held-out users"] >= 4
    assert "zip_code" in found["left out"]
    assert "zip_code (" in shown
    again = json.loads(said("steer", folder, "--with", "less", "--json"))["user groups"]
    kept = [[row["NDCG@10 kept"] for row in one["rows"]] for one in (found, again)]
    assert kept[0] == kept[1]
    assert again["quantity"] == "share of Comedy in the top 10"
    table = "Groups of held-out users, the part of NDCG@10 that they keep"
    assert table in said("steer", folder, "--with", "less", "--all")
    assert table not in said("steer", folder, "--with", "less")


def test_calibration_is_measured_kept_and_used_again(said, folder):
    arguments = ("tune", folder, "--calibrate", "class", "--max-ndcg-loss", "5%")
    out = said(*arguments, "--save", "own")
    assert out.startswith("Lists calibrated to each user's own class by ")
    for words in (
        "for a loss of at most 5% on construction users",
        "NDCG@10 kept: ",
        "the quarter whose lists are off most: ",
        "What each method reaches at what loss.",
        "greedy",
        "per-user",
        "Saved: ",
    ):
        assert words in out
    assert "calibrated to each user's own class" in said("steer", folder, "--list")
    found = json.loads(said("steer", folder, "--with", "own", "--json"))
    row = found["positions"][-1]
    assert row["measure"] == "calibration error (class)"
    assert row["after"] < row["before"]
    one = said("steer", folder, "--with", "own", "--sequence", "50, 56")
    assert "calibrated to each user's own class" in one
    quick = ("--quick", "--json", "--method", "per-user", "--candidates", "50")
    record = json.loads(said(*arguments, *quick))
    assert (record["method"], record["candidates"]) == ("per-user", 50)
    assert [row["allowed loss"] for row in record["methods"]] == [0.05]
    assert "quantile error" not in record


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ((), "Say what there should be more or less of"),
        (("--more", "Comedi"), "Did you mean 'Comedy'"),
        (("--more", "Comedy", "--save", "a/b"), "neither the name of a steering file kept with"),
        (("--more", "Comedy", "--popularity", "-"), "Give --popularity, or --more and --less"),
        (("--never", "Comedy", "--popularity", "-"), "or --never"),
        (("--never", "Comedy", "--less", "Comedy"), "Give --never, or --more and --less"),
        (("--more", "Comedy", "--users", "1", "--cohort", "item:50"), "Give one of"),
        (("--more", "Comedy", "--method", "prob"), "no method 'prob', only latents"),
        (("--more", "Comedy", "--candidates", "9"), "Among 9 candidates there is nothing"),
        (("--more", "Comedy", "--method", "filter", "--quick"), "There is no filter for the goal"),
        (("--more", "Comedy", "--method", "probe", "--candidates", "50"), "re-ranks nothing, so"),
        (
            ("--more", "Comedy", "--method", "probe", "--latents", "4", "--quick"),
            "turns no latents",
        ),
        (("--more", "Comedy", "--replace"), "--replace is for --save"),
        (("--more", "Comedy", "--save", "nowhere/x.json"), "There is no folder nowhere to keep"),
        (("--calibrate", "clas"), "Did you mean 'class'"),
        (("--calibrate", "length"), "'length' is not an attribute of the items' own"),
        (("--calibrate", "class", "--more", "Comedy"), "cannot go with 'more Comedy'"),
        (("--calibrate", "class", "--popularity", "-"), "cannot go with 'less popular items'"),
        (("--calibrate", "class", "--cohort", "item:50"), "leave users and cohort out"),
        (("--calibrate", "class", "--method", "latents"), "no method 'latents' of calibration"),
        (("--calibrate", "class", "--candidates", "9"), "Among 9 candidates there is nothing"),
        (("--more", "Comedy", "--method", "greedy"), "The method greedy is for --calibrate"),
        (("--more", "Comedy", "--max-ndcg-loss", "much"), "'much' is no part: write e.g. 1%"),
        (("--more", "Comedy", "--max-ndcg-loss", "100%"), "is no part"),
    ],
)
def test_what_cannot_be(options, match, said, folder):
    assert match in said("tune", folder, *options, code=2)
