"""``recsae explain`` on a run that the command line made."""

import json
import re

import pytest

pytest.importorskip("recbole")

from helpers.runs import checkpoint, command
from recsae.cli.shared.explained import titled
from recsae.finished.loaded import load_run
from recsae.recommender.plugins import load_recommender
from recsae.recommender.sequences import pad

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


@pytest.fixture
def says(capsys, recbole_run):
    """Run ``explain`` on the run: exit code, stdout, stderr."""

    def run(*arguments):
        capsys.readouterr()
        code = command("explain", recbole_run, *arguments)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def facts(says):
    def run(*arguments):
        code, out, err = says(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


@pytest.fixture(scope="module")
def recommender():
    return load_recommender(checkpoint(), trust=True)


def user_of(recommender, row=5):
    return str(recommender.sequences().users[row])


def test_of_a_user_for_machines(facts, recommender, recbole_run):
    found = facts("--user", user_of(recommender), "--latent", "7")
    known = recommender.sequences()[5][:-1].tolist()
    read = known[-recommender.max_length :]
    ids, titles = recommender.catalog.external_ids, recommender.catalog.titles
    assert found["n_known"] == len(known)
    assert [(i["back"], i["item"], i["title"]) for i in found["history"]] == [
        (len(read) - place, ids[i], titles[i]) for place, i in enumerate(read)
    ]
    scores = recommender.score(pad([known], recommender.max_length))[0]
    best = int(scores[1:].argmax()) + 1
    item = found["item"]
    assert (item["item"], item["title"], item["rank"]) == (ids[best], titles[best], 1)
    assert item["of"] == 234
    assert item["in_history"] == (best in read)
    assert found["sum"]["contribution"] == pytest.approx(float(scores[best]), rel=1e-4)
    assert found["sum"]["centred"] == pytest.approx(item["above_mean"], rel=1e-3)
    parts = [*found["terms"], *found["rest"]]
    assert sum(part["centred"] for part in parts) == pytest.approx(found["sum"]["centred"])
    assert found["gap"] <= 1e-4
    concepts = load_run(recbole_run).concepts.set_index("latent")
    for term in found["terms"]:
        row = concepts.loc[term["latent"]]
        assert (term["name"], term["status"]) == (row["name"], row["status"])
    drivers = {d["latent"]: d for d in found["drivers"]}
    assert list(drivers) == list(
        dict.fromkeys([None, *(t["latent"] for t in found["terms"][:3]), 7])
    )
    for mine in drivers.values():
        assert sorted(row["back"] for row in mine["items"]) == list(range(1, len(read) + 1))
        sizes = [abs(row["left_out"]) for row in mine["items"]]
        assert sizes == sorted(sizes, reverse=True)
        rise = mine["path"]["value"] - mine["path"]["baseline_value"]
        slopes = [row["gradients"] for row in mine["items"]]
        size = sum(map(abs, slopes))
        assert abs(sum(slopes) - rise) == pytest.approx(mine["path"]["gap"] * size, abs=1e-6)
        assert mine["agreement"]["n_top"] == 3


def test_of_a_user_for_people(says, recommender):
    code, out, err = says("--user", user_of(recommender), "--top", "4")
    assert (code, err) == (0, "")
    first, second, *_ = out.splitlines()
    assert "has rank 1 of 234" in first
    assert "raised most by " in first
    assert second.startswith("Of the history ")
    assert "\nThe model reads " in out
    for words in ("bias of the model", "offset of the SAE", "not reconstructed by the SAE", "sum"):
        assert f" -  {words} " in out
    assert "The sum is the model's own score, to " in out
    assert "What drives the score, less the mean over items (" in out
    assert out.count("What drives latent ") == 3
    assert out.count("Gradients from sampled-users add up to the change from") == 4
    assert out.count("Agreement of the two: Spearman ") == 4
    blocks = out.split("What drives ")[1:]
    assert all(len(block.splitlines()) <= 2 + 4 + 1 + 3 for block in blocks)
    tables = [line for line in out.splitlines() if re.match(r" *\S+  ", line)]
    assert len(tables) > 20
    assert max(map(len, tables)) <= 80


def test_all_rows(says, recommender):
    of = ("--user", user_of(recommender), "--method", "leave-one-out")
    few, every = says(*of, "--top", "2")[1], says(*of, "--all")[1]
    assert "more: --all shows them" in few
    assert "--all shows" not in every
    assert len(every.splitlines()) > len(few.splitlines())


def test_items_one_by_one(facts, recommender):
    ids, titles = recommender.catalog.external_ids, recommender.catalog.titles
    comma = next(i for i, t in enumerate(titles) if ", " in t and titles.count(t) == 1)
    asked = ("--method", "leave-one-out")
    found = facts("--sequence", titles[comma], "--sequence", ids[9], *asked)
    assert [i["item"] for i in found["history"]] == [ids[comma], ids[9]]
    alone = facts("--sequence", titles[comma], *asked)
    assert [i["item"] for i in alone["history"]] == [ids[comma]]


def test_of_a_sequence_and_an_item_by_title(facts, recommender):
    ids, titles = recommender.catalog.external_ids, recommender.catalog.titles
    found = facts("--sequence", f"{ids[3]},{ids[9]}", "--item", titles[20], "--method", "gradients")
    assert [i["item"] for i in found["history"]] == [ids[3], ids[9]]
    assert found["item"]["item"] == ids[20]
    scores = recommender.score(pad([[3, 9]], recommender.max_length))[0, 1:]
    assert found["item"]["rank"] == 1 + int((scores > scores[19]).sum())
    assert all("left_out" not in row for d in found["drivers"] for row in d["items"])
    assert all(d["agreement"] is None for d in found["drivers"])


def test_what_the_history_has_can_be_left_out_of_the_list(facts, says, recommender):
    ids = recommender.catalog.external_ids
    asked = ("--sequence", f"{ids[3]},{ids[9]}", "--method", "leave-one-out")
    found = facts(*asked, "--mask-seen")
    assert found["item"]["of"] == 232
    assert found["item"]["item"] not in (ids[3], ids[9])
    _, out, _ = says(*asked, "--mask-seen", "--item", ids[9])
    assert "left out of the list, because the history has it" in out
    _, out, _ = says(*asked, "--item", ids[9])
    assert "(the history has it; --mask-seen leaves such items out)" in out
    assert "Gradients" not in out


@pytest.mark.parametrize("baseline", ["zero", "mean-user", "popular-user"])
def test_other_baselines(says, recommender, baseline):
    code, out, _ = says("--user", user_of(recommender, 8), "--baseline", baseline)
    assert code == 0
    assert f"Gradients from {baseline} " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give one of --user and --sequence."),
        (("--user", "1", "--sequence", "1,2"), "Give one of --user and --sequence."),
        (("--user", "nobody"), "No user has the id 'nobody'."),
        (("--sequence", "1,nothing"), "No item has the id or title 'nothing'."),
        (("--sequence", "{item}", "--item", "nothing"), "No item has the id or title 'nothing'."),
        (("--sequence", "{item}", "--latent", "999"), "latents are numbered 0 to "),
        (("--sequence", "{item}", "--method", "guess"), "'guess' is not one of"),
        (("--sequence", "{item}", "--baseline", "mean"), "'mean' is not one of"),
        (("--sequence", "{item}", "--top", "0"), "0 is not in the range"),
    ],
)
def test_what_cannot_be_asked_ends_in_one_sentence(says, recommender, arguments, words):
    item = recommender.catalog.external_ids[4]
    code, out, err = says(*(a.format(item=item) for a in arguments))
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Alien | Aliens", "Alien | Aliens (a1)"),
        ("千と千尋の神隠し – 2001", "千と千尋の神隠し – 2001 (a1)"),
        ("two\nlines\tand\x1b[31m red", "two lines and [31m red (a1)"),
        ("a1", "a1"),
    ],
)
def test_titles_of_any_kind_stay_on_one_line(title, shown):
    assert titled({"item": "a1", "title": title}) == shown
