"""A finished run in Python: what its methods give is what the run holds and the command prints."""

import json
import re

import pytest

import recsae
from helpers.reports import HOSTILE
from helpers.runs import command, copy_of
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_json, write_json

pytestmark = pytest.mark.end_to_end


# -- a run -----------------------------------------------------------------------------------------


def test_public_names_stay_the_only_ones():
    assert dir(recsae) == sorted(recsae.__all__)
    assert recsae.SAE.__module__ == "recsae.sae.model"
    assert recsae.open_run.__module__ == "recsae.finished.opened"
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


def test_an_answer_is_refused_once_the_run_was_made_anew(planted_run, tmp_path, opened_in, name):
    folder = copy_of(planted_run, tmp_path / "run")
    opened = opened_in(folder)
    steered = opened.steer({name: 0})
    record = read_json(folder / "run.json")
    record["stages"]["concepts"]["outputs"]["concepts.parquet"] = "0" * 64
    write_json(folder / "run.json", record)
    for ask in (lambda: steered.lists(user="u0"), lambda: opened.explain(user="u0")):
        with pytest.raises(ArtifactMismatch):
            ask()


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
        "SteeringEffect": steered.metrics(),
        "TunedSteering": run.tune(more=name, n_latents=2, compare=False),
        "SAE": run.sae,
        "ActivationStore": run.heldout_store,
        "Profile": run.profile(user="u3"),
        "Comparison": run.compare(run),
    }


def test_one_line_and_a_card_for_each(run, name):
    for kind, value in shown(run, name).items():
        assert re.match(rf"{kind}\(.+\)$", repr(value)), kind
        assert len(repr(value)) < 250
        html = value._repr_html_()
        assert html.startswith("<div")
        assert html.count("<div") == html.count("</div")


def test_what_has_no_card_is_one_line(run):
    value = run.audit(2)
    assert "\n" not in repr(value)
    assert len(repr(value)) < 400


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


def test_corrections_are_kept_in_a_file(planted_run, tmp_path):
    run = recsae.load_run(copy_of(planted_run, tmp_path / "run"))
    path, remark = run.corrections_file()
    assert (path.name, remark) == ("corrections.toml", None)
    assert run.corrections().empty
    path.write_text('[rename]\n3 = "Mine"\n', encoding="utf-8")
    assert run.corrections()[["latent", "name"]].to_numpy().tolist() == [[3, "Mine"]]
    assert run.search("mine")["latent"].tolist() == [3]


def test_every_file_is_as_it_was_left(run):
    health = run.health()
    assert (health.damaged, health.n_files > 20) == ((), True)


def test_an_unfinished_run_says_so_in_a_notebook(planted_run, tmp_path):
    folder = copy_of(planted_run, tmp_path / "run")
    record = read_json(folder / "run.json")
    del record["stages"]["report"]
    write_json(folder / "run.json", record)
    assert "is not finished" in recsae.load_run(folder)._repr_html_()


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
