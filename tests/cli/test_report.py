"""``recsae report``: the same files again, users hidden, and hostile items that stay text."""

import csv
import json
import re

import pytest

pytest.importorskip("recbole")

from helpers.browser import CHROMIUM, browse, requests
from helpers.runs import checkpoint, command, settings
from recsae.core.locks import alone_in
from recsae.pipeline.plan import STAGES
from recsae.report import read_report
from recsae.run.record import Run

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.recbole,
    pytest.mark.browser,
]


QUICK = "latents = 64\nsamples = 20000\n"
QUICK += "construction_positions = 1500\nheldout_positions = 800\n"


# -- report ----------------------------------------------------------------------------------------


def test_report_again_gives_the_same_files(says, folder):
    pages = ("report.html", "card.md", "concepts.csv", "report.json")
    before = {name: (folder / name).read_bytes() for name in pages}
    for name in pages[:3]:
        (folder / name).write_text("spoiled")
    assert says("report", folder) == f"Report: {folder / 'report.html'}\n"
    assert {name: (folder / name).read_bytes() for name in pages} == before


def test_a_report_is_made_of_what_the_run_left(recsae_says, folder):
    page, data = folder / "report.html", folder / "report.json"
    before, text = page.read_bytes(), data.read_text()
    data.write_text(text.replace("0.9", "0.8", 1))
    code, out, err = recsae_says("report", folder)
    assert (code, out) == (3, "")
    assert "report.json is not as the run left it: run the same `recsae run` again" in err
    assert page.read_bytes() == before
    data.write_text(text)
    with alone_in(folder):
        code, out, err = recsae_says("report", folder)
    assert (code, out) == (3, "")
    assert "Another recsae works in" in err
    (folder / ".report.html.7.part").write_text("<html")  # killed
    assert recsae_says("report", folder)[0] == 0
    assert not list(folder.rglob(".*.part"))
    assert Run(folder).is_finished(STAGES)


def test_user_ids_are_hidden_on_request_and_stay_hidden(says, folder, recommender, recbole_run):
    """A run that is asked for again does not bring them back."""
    says("report", folder, "--redact-users")
    page = (folder / "report.html").read_text()
    users = users_shown(page)
    assert len(users) > 100
    assert all(re.fullmatch(r"user \d+", user) for user in users)
    assert set(users_shown((recbole_run / "report.html").read_text())) <= set(
        recommender.sequences().users
    )
    again = says("run", checkpoint(), "--out", folder, "--config", settings())
    assert again.startswith("Nothing to do")
    assert (folder / "report.html").read_text() == page


def users_shown(page):
    """Users in the data of a page."""
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(data[1])["users"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install chromium to run this")
def test_the_page_of_a_real_run_in_a_browser(tmp_path, recbole_run):
    log = tmp_path / "net.json"
    page = recbole_run / "report.html"
    dom, logged = browse(page.as_uri(), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in logged, logged
    assert requests(log) == set()
    assert dom.count('class="row"') == 12
    assert "SASRec" in dom


# -- hostile items ---------------------------------------------------------------------------------

SCRIPT = "<script>alert(1)</script>"
HOSTILE = [SCRIPT, '=HYPERLINK("http://x.test")', "+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\tx"]


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory, recommender):
    """A run on items whose titles and categories are code for browsers and spreadsheets."""
    folder = tmp_path_factory.mktemp("hostile")
    with (folder / "items.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "category"])
        for i, item in enumerate(recommender.catalog.external_ids[1:]):
            writer.writerow([item, f"{HOSTILE[i % 6]} {i}", HOSTILE[i % 4].replace(" ", "_")])
    (folder / "settings.toml").write_text(QUICK)
    arguments = ("--items", folder / "items.csv", "--config", folder / "settings.toml")
    done = command("run", checkpoint(), "--trust", "--out", folder / "run", *arguments)
    assert done == 0
    return folder / "run"


def test_hostile_titles_are_text_everywhere(hostile_run):
    report = read_report(hostile_run)
    assert any(SCRIPT in item.title for item in report.items.values())
    assert any(SCRIPT in c.label for c in report.concepts.list)
    page = (hostile_run / "report.html").read_text()
    assert SCRIPT not in page
    assert "alert(1)" in page
    assert SCRIPT not in (hostile_run / "card.md").read_text()
    with (hostile_run / "concepts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == report.sae.n_latents == report.sae.n_core + 64
    names = [row["name"] for row in rows]
    assert any("HYPERLINK" in name or "cmd|" in name or "+1" in name for name in names)
    for name in names:
        assert not name.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install chromium to run this")
def test_hostile_titles_do_nothing_in_a_browser(hostile_run, tmp_path):
    log = tmp_path / "net.json"
    dom, logged = browse((hostile_run / "report.html").as_uri(), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in logged, logged
    assert requests(log) == set()
    assert "&lt;script&gt;alert(1)" in dom
