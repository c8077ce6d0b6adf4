"""A history that a reader puts together in the page: its lists are those of ``recsae steer``."""

import itertools
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from helpers import runs
from helpers.browser import CHROMIUM
from helpers.report_page import play
from helpers.reports import HOSTILE
from recsae.recommender.recorded.graph import OPERATIONS
from recsae.report import offline, read_report, write_report
from recsae.report.page_data import page_data
from recsae.report.write import read_turn
from recsae.sae.editing import Intervention
from recsae.steering.files import Steering
from recsae.steering.lists import lists_before_after

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here: install chromium or google-chrome to run this"
    ),
]
TOOLS = """
const it = (id) => document.getElementById(id);
const cells = (n) => all(`#turn-list td:nth-child(${n})`).map((c) => c.firstChild.textContent);
const choose = (sample) => { it("turn-sample").value = sample; it("turn-sample").dispatchEvent(new Event("change")); };
const slide = (latent, value) => { const s = it("turn-" + latent); s.value = value;
  s.dispatchEvent(new Event("input", { bubbles: true })); return Number(s.value); };
const search = (text) => { it("own-add").value = text; it("own-add").dispatchEvent(new Event("input")); };
const put = (text) => { search(text); all("#own-found button").find((b) => b.textContent === text).click(); };
const own = () => all("#own-items li > span:first-child").map((n) => n.textContent);
const press = (at, does) => all("#own-items li")[at].querySelector(`[data-does=${does}]`).click();
const key = (id, name) => it(id).dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
"""  # noqa: E501


@pytest.fixture(scope="module")
def folder(tmp_path_factory, planted_run):
    return runs.copy_of(planted_run, tmp_path_factory.mktemp("typed") / "run")


@pytest.fixture(scope="module")
def page(folder):
    return write_report(None, folder)


@pytest.fixture(scope="module")
def first(folder):
    return page_data(read_report(folder), read_turn(folder))["turn"]["first"]


def steered(items, settings, *, mask=False):
    """The titles of the lists that ``recsae steer --sequence`` has, before and after."""
    steps = [Intervention((latent,), "set", value) for latent, value in settings]
    work = runs.planted_open()
    made = lists_before_after(work, Steering(steps), None, items, mask_seen=mask)
    return [[p.before.title for p in made.places], [p.after.title for p in made.places]]


def asked(command):
    """What a command asks for: the items, the settings, and whether the history is left out."""
    program, name, _, *options = shlex.split(command)
    assert (program, name) == ("recsae", "steer")
    pairs = list(itertools.pairwise(options))
    settings = [value.split("=") for option, value in pairs if option == "--set"]
    return (
        [value for option, value in pairs if option == "--sequence"],
        [(int(latent), float(value)) for latent, value in settings],
        "--mask-seen" in options,
    )


def test_lists_are_those_of_steer_for_the_command_that_is_shown(page, folder, first):
    turn, drawn = read_turn(folder), np.random.default_rng(2)
    histories = [
        [turn.titles[i] for i in drawn.choice(turn.items, n)] for n in (1, 2, 3, 9, 10, 11, 14)
    ]
    out = play(
        page,
        TOOLS
        + f"""
        choose(-1); out.made = [];
        for (const titles of {json.dumps(histories)}) {{
          it("own-clear").click(); it("turn-reset").click();
          for (const title of titles) put(title);
          if (titles.length === 3) it("turn-mask").click();
          const before = cells(2);
          slide({first[0]}, 2.5); slide({first[1]}, -1);
          out.made.push([own(), before, cells(3), it("turn-command").textContent]);
        }}
        """,
    )
    changed = 0
    for titles, (shown, before, after, command) in zip(histories, out["made"], strict=True):
        items, settings, mask = asked(command)
        assert shown == titles
        assert [turn.titles[i] for i in items] == titles[-10:]
        assert [before, after] == steered(items, settings, mask=mask)
        changed += before != after
        assert mask == (len(titles) >= 3)
    assert changed > len(histories) / 2


def test_items_are_moved_and_taken_out_and_the_list_follows(page, folder):
    turn = read_turn(folder)
    one, two, three = (turn.titles[i] for i in turn.items[:3])
    out = play(
        page,
        TOOLS
        + f"""
        choose(-1);
        out.empty = [cells(2), it("turn-says").textContent, it("own-says").textContent,
          it("own-clear").disabled, it("turn-copy").disabled];
        for (const title of {json.dumps([one, two, three])}) put(title);
        out.focus = document.activeElement.id;
        out.full = own(); out.list = cells(2);
        out.ends = all("#own-items button:disabled").map((b) => b.getAttribute("aria-label"));
        press(2, "earlier"); out.moved = own();
        out.still = document.activeElement.getAttribute("aria-label");
        press(0, "later"); out.later = own(); out.second = cells(2);
        press(1, "remove"); out.removed = own(); out.says = it("own-says").textContent;
        press(0, "remove"); press(0, "remove"); out.none = [own(), cells(2), document.activeElement.id];
        """,  # noqa: E501
    )
    assert out["empty"] == [
        [],
        "There is no list before the first item.",
        "Add at least one item; the oldest comes first.",
        True,
        True,
    ]
    assert (out["focus"], out["full"]) == ("own-add", [one, two, three])
    assert out["ends"] == [f"Move earlier: {one}", f"Move later: {three}"]
    assert out["moved"] == [one, three, two]
    assert out["still"] == f"Move earlier: {three}"
    assert out["later"] == [three, one, two]
    assert out["list"] == steered(turn.items[:3], [])[0]
    assert out["second"] == steered([turn.items[i] for i in (2, 0, 1)], [])[0]
    assert out["removed"] == [three, two]
    assert out["says"].startswith(f"Taken out: {one}.")
    assert out["none"] == [[], [], "own-add"]


def test_items_are_found_where_words_begin_and_added_by_keyboard(folder, tmp_path):
    turn = read_turn(folder)
    titles = turn.titles | dict(
        zip(turn.items, ["Étoile, Wars", "Stars at War", "Edward", "Twin", "Twin"], strict=False)
    )
    (tmp_path / "turn.json").write_text(turn.model_copy(update={"titles": titles}).to_json())
    report = read_report(folder).model_copy(update={"items": {}})
    out = play(
        write_report(report, tmp_path),
        TOOLS
        + """
        choose(-1);
        const found = (text) => { search(text); return all("#own-found li").map((n) => n.textContent); };
        out.found = ["ETOILE", "war", "twin", "zzzq", "  "].map(found);
        search("wars e"); key("own-add", "Enter"); out.own = own(); out.empty = it("own-add").value;
        search("zzzq"); key("own-add", "Enter"); out.same = own();
        """,  # noqa: E501
    )
    etoile, war, twin, none, blank = out["found"]
    assert etoile == ["Étoile, Wars"]
    assert war == ["Étoile, Wars", "Stars at War"]
    assert twin == [f"Twin (item {i})" for i in turn.items[3:5]]
    assert none == ["No item here is called that."]
    assert blank == []
    assert (out["own"], out["empty"], out["same"]) == (["Étoile, Wars"], "", ["Étoile, Wars"])


def test_a_sample_is_taken_over_and_changed(page, folder):
    turn = read_turn(folder)
    out = play(
        page,
        TOOLS
        + """
        choose(3); const before = cells(2); out.shown = !it("turn-change").hidden;
        it("turn-change").querySelector("button").click();
        out.chosen = it("turn-sample").value; out.own = own().length; out.same = [before, cells(2)];
        out.says = it("own-says").textContent; out.hidden = it("turn-change").hidden;
        press(0, "remove"); out.fewer = own().length; choose(5); out.back = cells(2);
        out.away = it("turn-own").hidden;
        """,
    )
    sample = turn.samples[3]
    assert (out["chosen"], out["shown"], out["hidden"], out["away"]) == ("-1", True, True, True)
    assert out["own"] == len(sample.items) == out["fewer"] + 1
    assert out["same"][0] == out["same"][1]
    assert f"The model reads the last 10 items: the first {len(sample.items) - 10}" in out["says"]
    work = runs.planted_open()
    steps = Steering([Intervention((0,), "set", 0.0)])
    made = lists_before_after(work, steps, turn.samples[5].user, None, mask_seen=False)
    assert out["back"] == [p.before.title for p in made.places]


def without(folder, to, **change):
    turn = read_turn(folder).model_copy(update=change)
    (to / "turn.json").write_text(turn.to_json())
    return write_report(read_report(folder), to)


def test_why_there_is_none_is_said_with_the_command(folder, tmp_path):
    why = "reads a history number by number"
    page = without(folder, tmp_path, forward=None, no_forward=why)
    out = play(
        page,
        TOOLS
        + """
        out.values = all("#turn-sample option").map((o) => o.value);
        out.text = it("turn").textContent;
        out.change = it("turn-change").hidden; out.list = cells(2).length;
        """,
    )
    assert "-1" not in out["values"]
    assert f"cannot be put together here: {read_report(folder).model.name} {why}." in out["text"]
    assert "recsae steer FOLDER --set … --sequence" in out["text"]
    assert (out["change"], out["list"]) == (True, 10)
    kept = without(folder, tmp_path, forward=None, no_forward="x", reads_histories=False)
    assert (
        "--sequence"
        not in kept.read_text().partition('<section id="turn">')[2].partition("</section>")[0]
    )


def test_how_well_it_was_tried_is_printed(page, folder):
    agreement = read_turn(folder).forward.agreement
    text = " ".join(page.read_text().split())
    assert f"{agreement.n_same} of {agreement.n_lists} lists were the model’s" in text


def test_hostile_titles_are_text(folder, tmp_path):
    turn, report = read_turn(folder), read_report(folder)
    hostile = turn.model_copy(update={"titles": {turn.items[0]: HOSTILE[2]}})
    (tmp_path / "turn.json").write_text(hostile.to_json())
    out = play(
        write_report(report.model_copy(update={"items": {}}), tmp_path),
        TOOLS
        + """
        choose(-1); search("img"); out.found = all("#own-found button").map((b) => b.textContent);
        key("own-add", "Enter"); out.own = own();
        out.markup = all("#turn img, #turn script").length;
        out.hacked = String(window.hacked);
        """,
    )
    assert out["found"] == out["own"] == [HOSTILE[2]]
    assert (out["markup"], out["hacked"]) == (0, "undefined")


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_under_the_pages_own_policy(page, folder, width):
    turn = read_turn(folder)
    out = play(
        page,
        TOOLS
        + f"""
        choose(-1); for (const title of {json.dumps([turn.titles[i] for i in turn.items[:4]])}) put(title);
        search("the");
        out.list = cells(2).length;
        out.fits = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
        const named = (n) => n.ariaLabel || n.labels?.length || n.textContent.trim();
        out.unnamed = all("#turn input, #turn select, #turn button").filter((n) => !named(n)).length;
        """,  # noqa: E501
        width=width,
        policy=True,
    )
    assert out == {"list": 10, "fits": True, "unnamed": 0}


ROWS = [[0.5, -1.25, 3.0, 0.0, -0.0, 2.5], [1.0, 1.0, -2.0, 4.0, 0.25, -3.5]]
LINE = ROWS[0]
SETTINGS = {
    "number": [2.5],
    "view": [1, 2, 2, 3, 1],
    "write": [0, 2, 3, 3, 1],
    "rows": [3],
    "matmul": [1, 2, 3, 2],
    "largest": [3, 2],
    "normalise": [3, 1e-5],
    **{name: [3] for name in ("sum", "prod", "max", "cumsum", "softmax")},
}
TAKES = {
    "number": [],
    "write": ROWS,
    "rows": [LINE, [1, 0, 1]],
    "take": [LINE, [5, 0, 2, 2]],
    "put": [LINE, [4, 1], [9, 8]],
    "add_at": [LINE, [4, 1, 4], [9, 8, 1]],
    "where": [[1, 0, 0, 1, 1, 0], *ROWS],
    "erf": [[*np.linspace(-7, 7, 57).tolist(), 1e-9]],
    **{name: [[0.5, 2.0, 0.25, 9.0]] for name in ("log", "sqrt")},
    **{name: [[0.5, 2.0, 9.0], [2.0, -1.0, 0.5]] for name in ("pow", "div")},
}
BINARY = ("add", "sub", "mul", "maximum", "minimum", "eq", "lt", "le", "matmul")


def test_both_interpreters_do_the_same(tmp_path):
    """Every operation that is known to one is known to the other."""
    script = (Path(offline.__file__).parent / "templates" / "forward.js").read_text()
    cases = {
        name: [SETTINGS.get(name, []), TAKES.get(name, ROWS if name in BINARY else [ROWS[0]])]
        for name in OPERATIONS
    }
    bare = tmp_path / "bare.html"
    bare.write_text(f"<html><head></head><body><script>{script}</script></body></html>")
    out = play(
        bare,
        f"""
        out.names = Object.keys(OPERATIONS);
        out.made = Object.entries({json.dumps(cases)}).map(([name, [settings, takes]]) =>
          [name, [...OPERATIONS[name](settings, ...takes.map((x) => Float64Array.from(x)))]]);
        """,
    )
    assert set(out["names"]) == set(OPERATIONS)
    for name, found in out["made"]:
        settings, takes = cases[name]
        expected = OPERATIONS[name](settings, *map(np.array, takes))
        np.testing.assert_allclose(found, expected.ravel(), rtol=1e-12, atol=1e-15, err_msg=name)
    alone = OPERATIONS["add"]([], np.array([2.0]), np.array(ROWS[0]))
    assert alone.tolist() == [2.5, 0.75, 5, 2, 2, 4.5]
