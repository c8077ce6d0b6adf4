"""Concepts turned in the page: its lists, command and file are those of ``recsae steer``."""

import base64
import itertools
import json
import re
import shlex

import numpy as np
import pytest

from helpers import runs
from helpers.browser import CHROMIUM, browse, requests
from helpers.report_page import play
from helpers.reports import HOSTILE, make_report
from recsae.core.errors import ArtifactMismatch
from recsae.report import read_report, write_report
from recsae.report.page import page as write_page
from recsae.report.page_data import page_data
from recsae.report.schema.rounded import Rounded, encoded
from recsae.report.tables import with_concepts
from recsae.report.write import read_turn
from recsae.sae.editing import Intervention
from recsae.steering.files import Steering, load_steering
from recsae.steering.lists import lists_before_after
from recsae.steering.parse import parse_intervention

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
const pick = (sample) => { it("turn-sample").value = sample; it("turn-sample").dispatchEvent(new Event("change")); };
const slide = (latent, value) => { const s = it("turn-" + latent); s.value = value;
  s.dispatchEvent(new Event("input", { bubbles: true })); return Number(s.value); };
const press = (latent, does) => document.querySelector(`#turn-sliders button[data-latent="${latent}"][data-does="${does}"]`).click();
const search = (text) => { it("turn-add").value = text; it("turn-add").dispatchEvent(new Event("input")); };
"""  # noqa: E501


@pytest.fixture(scope="module")
def folder(tmp_path_factory, planted_run):
    return runs.copy_of(planted_run, tmp_path_factory.mktemp("turn") / "my run")


@pytest.fixture(scope="module")
def page(folder):
    return write_report(None, folder)


@pytest.fixture(scope="module")
def first(folder):
    """Latents that have sliders when the page opens."""
    return page_data(read_report(folder), read_turn(folder))["turn"]["first"]


def steered(user, settings, *, mask=False):
    """The titles of the list that ``recsae steer`` has, before and after."""
    steps = [Intervention((latent,), "set", value) for latent, value in settings]
    work = runs.planted_open()
    made = lists_before_after(work, Steering(steps), user, None, mask_seen=mask)
    return [[p.before.title for p in made.places], [p.after.title for p in made.places]]


def test_lists_are_those_of_steer(page, folder, first):
    samples = read_turn(folder).samples
    one, two = first[:2]
    settings = [[(one, 3)], [(one, 0), (two, -2)], [(two, 6.5), (one, 1.25)], []]
    mixes = list(itertools.product((0, 7, 20, 35), range(len(settings)), (False, True)))
    out = play(
        page,
        TOOLS
        + f"""
        out.made = [];
        for (const [sample, which, mask] of {json.dumps(mixes)}) {{
          it("turn-reset").click(); pick(sample);
          if (it("turn-mask").checked !== mask) it("turn-mask").click();
          const set = {json.dumps(settings)}[which].map(([latent, value]) => [latent, slide(latent, value)]);
          out.made.push([sample, mask, set, cells(2), cells(3)]);
        }}
        """,  # noqa: E501
    )
    changed = 0
    for sample, mask, set_to, before, after in out["made"]:
        assert [before, after] == steered(samples[sample].user, set_to, mask=mask)
        changed += before != after
    assert changed > len(mixes) / 3
    assert {len(m[2]) for m in out["made"]} == {0, 1, 2}


def test_another_history_keeps_what_is_turned_and_as_it_is_undoes_it(page, folder, first):
    samples, latent = read_turn(folder).samples, first[0]
    out = play(
        page,
        TOOLS
        + f"""
        pick(0); const value = slide({latent}, 2); pick(9);
        out.value = value; out.carried = cells(3);
        out.row = it("turn-{latent}").closest("li").className;
        press({latent}, "back"); out.undone = [cells(2), cells(3)];
        out.says = it("turn-says").textContent;
        out.stands = Number(it("turn-{latent}").value); out.step = Number(it("turn-{latent}").step);
        press({latent}, "off"); out.off = cells(3);
        """,
    )
    user = samples[9].user
    assert out["carried"] == steered(user, [(latent, out["value"])])[1]
    assert out["row"] == "turned"
    assert out["undone"] == [steered(user, [])[0]] * 2
    assert out["says"] == "Nothing is turned: the list is the model’s own."
    assert out["stands"] == pytest.approx(dict(samples[9].active).get(latent, 0), abs=out["step"])
    assert out["off"] == steered(user, [(latent, 0.0)])[1]


def test_any_other_concept_is_found_and_added_by_keyboard(page, folder, first):
    turn, report = read_turn(folder), read_report(folder)
    other = next(j for j in turn.latents if j not in first)
    name = next(c.name for c in report.concepts.list if c.latent == other)
    out = play(
        page,
        TOOLS
        + f"""
        search({json.dumps(name.upper())}); out.names = all("#turn-found button").map((b) => b.textContent);
        search("{other}");
        it("turn-add").dispatchEvent(new KeyboardEvent("keydown", {{ key: "Enter", bubbles: true }}));
        out.focus = document.activeElement.id;
        out.empty = [it("turn-add").value, all("#turn-found button").some((b) => b.dataset.latent === "{other}")];
        pick(3); out.value = slide({other}, 4); out.after = cells(3);
        press({other}, "remove"); out.gone = it("turn-{other}"); out.back = cells(3);
        out.still = document.activeElement.id;
        search("no such thing"); out.none = it("turn-found").textContent;
        """,  # noqa: E501
    )
    assert name in out["names"]
    assert out["focus"] == f"turn-{other}"
    assert out["empty"] == ["", False]
    user = turn.samples[3].user
    assert out["after"] == steered(user, [(other, out["value"])])[1]
    assert out["gone"] is None
    assert out["back"] == steered(user, [])[0]
    assert out["still"] == f"turn-{first[-1]}"
    assert out["none"] == "No concept here has these words."


def test_what_is_active_on_the_history_is_offered(page, folder, first):
    turn, concepts = read_turn(folder), read_report(folder).concepts.list
    verified = {c.latent for c in concepts if c.status == "verified"}
    most = dict(zip(turn.latents, turn.most, strict=True))
    out = play(
        page,
        TOOLS
        + """
        const offered = () => all("#turn-found button").map((b) => Number(b.dataset.latent));
        out.offered = [0, 3].map((sample) => { pick(sample); return offered(); });
        const [one] = out.offered[1];
        it("turn-found").querySelector("button").click();
        out.after = [offered().includes(one), document.activeElement.id];
        search("zzzq"); out.typed = offered();
        """,
    )
    for sample, offered in zip((0, 3), out["offered"], strict=True):
        active = {j: z / most[j] for j, z in turn.samples[sample].active if j in verified}
        there = sorted(active.keys() - set(first), key=lambda j: -active[j])
        assert offered == there[:5]
    assert out["after"] == [False, f"turn-{out['offered'][1][0]}"]
    assert out["typed"] == []


def test_concepts_are_found_as_in_the_table(page, folder):
    turn, concepts = read_turn(folder), read_report(folder).concepts.list
    words = [c.name.split()[0].strip("“”,") for c in concepts[:3]] + [turn.items[0], "zzzq"]
    out = play(
        page,
        TOOLS
        + f"""
        const latents = (nodes) => nodes.map((n) => Number(n.dataset.latent));
        out.found = {json.dumps(words)}.map((text) => {{
          search(text); const turned = all("#turn-found button").map((b) => b.textContent);
          const table = it("search"); table.value = text;
          table.dispatchEvent(new Event("input", {{ bubbles: true }}));
          return [turned, rows()]; }});
        """,
    )
    for turned, listed in out["found"]:
        assert turned == [name for name in listed if name in turned]
        assert len(turned) == min(8, len(listed))


@pytest.mark.parametrize("width", [1280, 390])
def test_where_a_setting_lies_among_what_occurs_is_said(page, folder, first, width):
    turn = read_turn(folder)
    place = turn.latents.index(first[0])
    usual, most = turn.usual[place], turn.most[place]
    out = play(
        page,
        TOOLS
        + f"""
        pick(0); const row = it("turn-{first[0]}").closest("li");
        out.scale = row.querySelector(".scale").textContent;
        const at = (node) => node.getBoundingClientRect();
        out.ticks = [...row.querySelectorAll(".ticks i")].map((n) => at(n).left);
        out.bar = [at(it("turn-{first[0]}")).left, at(it("turn-{first[0]}")).width];
        out.end = Number(it("turn-{first[0]}").max);
        const said = (value) => {{ slide({first[0]}, value);
          return [row.querySelector(".beyond").textContent, it("turn-{first[0]}").getAttribute("aria-valuetext")]; }};
        out.said = [{usual}, {1.2 * most}, -1].map(said);
        """,  # noqa: E501
        width=width,
    )
    assert (
        out["scale"] == f"off 0 · usual {float(f'{usual:.3g}'):g} · most {float(f'{most:.3g}'):g}"
    )
    left, width = out["bar"]
    shares = [(x - left - 8) / (width - 16) for x in out["ticks"]]
    assert shares == pytest.approx(
        [0.5, *((v / out["end"] + 1) / 2 for v in (usual, most))], abs=0.02
    )
    (nothing, plain), (above, above_read), (below, _) = out["said"]
    assert nothing == ""
    assert "occurs" not in plain
    assert above == " – more than ever occurs"
    assert above_read.endswith(", more than ever occurs")
    assert below == " – pushed below off: beyond what occurs"


SAVED = """
const saved = []; const make = URL.createObjectURL.bind(URL);
URL.createObjectURL = (blob) => { saved.push(blob); return make(blob); };
const links = []; HTMLAnchorElement.prototype.click = function () { links.push([this.download, this.href.split(":")[0]]); };
"""  # noqa: E501


def test_command_and_steering_file_say_the_same(page, folder, first):
    one, two = first[:2]
    out = play(
        page,
        TOOLS
        + SAVED
        + f"""
        out.shut = [it("turn-copy").disabled, it("turn-save").disabled,
          it("turn-command").textContent];
        pick(5); it("turn-mask").click();
        out.values = [slide({one}, 2.5), slide({two}, -1)];
        out.command = it("turn-command").textContent; out.list = cells(3);
        it("turn-save").click(); out.file = await saved[0].text(); out.links = links;
        """,
        policy=True,  # which has to allow the download
    )
    assert out["shut"] == [True, True, "Nothing is turned yet."]
    program, command, where, *options = shlex.split(out["command"])
    assert (program, command, where) == ("recsae", "steer", str(folder))
    user = read_turn(folder).samples[5].user
    assert [o for o in options if o.startswith("--")] == ["--set", "--set", "--user", "--mask-seen"]
    assert options[options.index("--user") + 1] == user
    typed = [parse_intervention(options[n], None) for n in (1, 3)]
    settings = [(s.latents[0], s.value) for s in typed]
    assert settings == list(zip((one, two), out["values"], strict=True))
    assert out["list"] == steered(user, settings, mask=True)[1]
    (folder / "steering.json").write_text(out["file"])
    kept = load_steering(folder, folder / "steering.json")
    assert [(s.latents[0], s.op, s.value) for s in kept.interventions] == [
        (latent, "set", value) for latent, value in settings
    ]
    assert kept.users is None
    assert out["links"] == [["steering.json", "blob"]]


def test_histories_are_found_by_an_item(page, folder):
    turn = read_turn(folder)
    item = turn.samples[11].items[0]
    fits = [n for n, one in enumerate(turn.samples) if item in one.items]
    title = turn.titles[item]
    out = play(
        page,
        TOOLS
        + f"""
        const find = (text) => {{ it("turn-find").value = text; it("turn-find").dispatchEvent(new Event("input")); }};
        find({json.dumps(title.upper())}); out.found = all("#turn-sample option").map((o) => Number(o.value)).slice(1);
        out.before = cells(2); out.chosen = Number(it("turn-sample").value);
        find("no such item"); out.none = it("turn-none").textContent; out.kept = cells(2);
        find(""); out.all = all("#turn-sample option").length; out.silent = it("turn-none").textContent;
        """,  # noqa: E501
    )
    titled = [n for n, s in enumerate(turn.samples)
              if any(title in turn.titles[i] for i in s.items)]  # fmt: skip
    assert set(fits) <= set(out["found"]) == set(titled)
    assert out["before"] == steered(turn.samples[out["chosen"]].user, [])[0]
    assert out["none"].startswith(
        "No history here has “no such item”. The list is still of the one"
    )
    assert out["kept"] == out["before"]
    assert (out["all"], out["silent"]) == (len(turn.samples) + 1, "")  # one's own is the first


def with_turn(folder, to, **change):
    """The page of the run with something else in ``turn.json``."""
    turn = read_turn(folder).model_copy(update=change)
    (to / "turn.json").write_text(turn.to_json())
    return write_report(read_report(folder), to)


@pytest.mark.parametrize("kind", ["int8", "int16", "int24"])
def test_items_of_any_number_of_bits_and_a_bias(folder, tmp_path, kind):
    turn = read_turn(folder)
    vectors = Rounded.of(turn.vectors.matrix(), kind)
    bias = np.linspace(-1, 1, len(turn.items)).astype(np.float32)
    page = with_turn(folder, tmp_path, vectors=vectors, bias=encoded(bias))
    out = play(page, TOOLS + "out.lists = [0, 9, 21].map((n) => { pick(n); return cells(2); });")
    states = np.frombuffer(base64.b64decode(turn.states), "<f4").reshape(len(turn.samples), -1)
    for n, found in zip((0, 9, 21), out["lists"], strict=True):
        order = np.argsort(-(vectors.matrix() @ states[n] + bias), kind="stable")[:10]
        assert found == [turn.titles[turn.items[i]] for i in order]


def test_what_is_not_in_the_page_is_said(folder, tmp_path):
    turn = read_turn(folder)
    text = with_turn(folder, tmp_path, n_items=54_321).read_text()
    assert f"Of 54,321 items the page holds the {len(turn.items)} that came up" in text
    whole = with_turn(folder, tmp_path).read_text()
    assert "items the page holds" not in whole


def test_a_model_that_leaves_out_the_history_always_does(folder, first, tmp_path):
    turn = read_turn(folder)
    page = with_turn(folder, tmp_path, masks_seen=True)
    out = play(
        page,
        TOOLS
        + f"""pick(4); out.list = cells(2); slide({first[0]}, 3);
        out.command = it("turn-command").textContent;
        out.box = [it("turn-mask").checked, it("turn-mask").disabled];""",
    )
    assert out["list"] == steered(turn.samples[4].user, [], mask=True)[0]
    assert out["box"] == [True, True]
    assert "--user" in out["command"]
    assert "--mask-seen" not in out["command"]


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_every_control_has_a_name(page, width):
    out = play(
        page,
        """
        out.fits = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
        const named = (n) => n.ariaLabel || n.labels?.length || n.textContent.trim();
        const controls = all("#turn input, #turn select, #turn button");
        out.unnamed = controls.filter((n) => !named(n)).length;
        out.now = getComputedStyle(document.getElementById("turn-now")).display;
        out.cut = all("#turn button").filter((b) => b.scrollWidth > b.clientWidth + 1).length;
        """,
        width=width,
    )
    now = "none" if width == 1280 else "block"  # where the list is out of sight
    assert out == {"fits": True, "unnamed": 0, "cut": 0, "now": now}


def test_agreement_is_printed_and_nothing_is_asked_for(page, folder, tmp_path):
    log = tmp_path / "net.json"
    dom, logged = browse(page.as_uri(), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in logged, logged
    assert requests(log) == set()
    a = read_turn(folder).agreement
    assert f"{a.n_lists} lists of these histories" in dom
    assert f"{a.n_same} were the same in every place" in re.sub(r"\s+", " ", dom)


def test_hostile_titles_and_names_are_text(folder, tmp_path):
    turn, report = read_turn(folder), read_report(folder)
    plain = turn.model_dump(mode="json")
    plain["titles"] = dict.fromkeys(plain["titles"], HOSTILE[2])
    plain["samples"][0]["user"] = HOSTILE[0]
    concepts = [c.model_copy(update={"name": HOSTILE[2]}) for c in report.concepts.list]
    listed = report.concepts.model_copy(update={"list": concepts})
    hostile = report.model_copy(update={"concepts": listed, "items": {}})
    (tmp_path / "turn.json").write_text(json.dumps(plain))
    out = play(
        write_report(hostile, tmp_path),
        TOOLS
        + """
        pick(0); out.titles = [...new Set(cells(2))]; out.user = it("turn-sample").textContent;
        slide(Number(document.querySelector("#turn-sliders input").dataset.latent), 1);
        search("img"); out.markup = all("#turn img, #turn script").length;
        out.names = [...new Set(all("#turn-found button").map((b) => b.textContent))];
        out.hacked = String(window.hacked); out.command = it("turn-command").textContent;
        """,
    )
    assert out["titles"] == out["names"] == [HOSTILE[2]]
    assert HOSTILE[0] in out["user"]
    assert (out["markup"], out["hacked"]) == (0, "undefined")
    assert HOSTILE[0] in shlex.split(out["command"])


def test_redacted_pages_name_no_user_and_cut_histories(folder, first, tmp_path):
    share = tmp_path / "share"
    page = write_report(None, folder, redact_users=True, max_history=3, out=share)
    ids = {one.user for one in read_turn(folder).samples}
    kept = read_turn(share)
    assert {one.user for one in kept.samples}.isdisjoint(ids)
    assert len({one.user for one in kept.samples}) == len(ids)
    assert max(len(one.items) for one in kept.samples) == 3
    assert (kept.users_hidden, kept.histories_cut) == (True, True)
    out = play(
        page,
        TOOLS
        + f"""pick(0); out.list = cells(2); out.value = slide({first[0]}, 3);
        out.command = it("turn-command").textContent; out.text = it("turn").textContent;""",
    )
    assert out["command"] == f"recsae steer FOLDER --set '{first[0]}={out['value']}'"
    assert out["list"] == steered(read_turn(folder).samples[0].user, [])[0]
    assert "Histories are cut" in out["text"]


def test_redacted_whole_histories_give_the_command_by_items(folder, first, tmp_path):
    page = write_report(None, folder, redact_users=True, out=tmp_path / "share")
    out = play(
        page,
        TOOLS
        + f"""pick(7); slide({first[0]}, 3); it("turn-mask").click(); out.list = cells(3);
        out.command = it("turn-command").textContent; out.where = it("turn-where").textContent;""",
    )
    _, _, where, *options = shlex.split(out["command"])
    assert (where, out["where"]) == ("FOLDER", "The same in the terminal")
    typed = [b for a, b in itertools.pairwise(options) if a == "--sequence"]
    assert typed == read_turn(folder).samples[7].items[-10:]
    assert "--user" not in options
    assert options[-1] == "--mask-seen"
    value = float(options[1].split("=")[1])
    steps = Steering([Intervention((first[0],), "set", value)])
    made = lists_before_after(runs.planted_open(), steps, None, typed, mask_seen=True)
    assert out["list"] == [p.after.title for p in made.places]


def test_a_user_who_is_more_than_the_items_is_not_given_by_them(folder, first, tmp_path):
    page = with_turn(folder, tmp_path, users_hidden=True, same_typed=False)
    out = play(
        page,
        TOOLS
        + f"""pick(0); slide({first[0]}, 3); out.command = it("turn-command").textContent;
        out.where = it("turn-where").textContent;""",
    )
    assert out["where"] == "In the terminal, for all held-out users"
    assert "--sequence" not in out["command"]
    assert "--user" not in out["command"]


def test_costs_are_a_link_away_and_the_box_is_explained(page, folder, tmp_path):
    section = page.read_text().partition('<section id="turn">')[2].partition("</section>")[0]
    assert '<a href="#steering">Steering</a>' in section
    assert "evaluation keeps them in its lists" in section
    masked = with_turn(folder, tmp_path, masks_seen=True).read_text()
    assert "this model’s lists always do" in masked


def test_somebody_has_one_name_in_the_whole_page(folder, tmp_path):
    report, turn = read_report(folder), read_turn(folder)
    shown = [s.user for c in report.concepts.list for s in (*c.examples, *c.counterexamples)]
    called = {user: f"user {n}" for n, user in enumerate(dict.fromkeys(shown), start=1)}
    both = [one.user for one in turn.samples if one.user in called]
    assert both
    write_report(None, folder, redact_users=True, out=tmp_path / "share")
    names = [one.user for one in read_turn(tmp_path / "share").samples]
    for one, name in zip(turn.samples, names, strict=True):
        assert name == called.get(one.user, name)


def test_without_the_data_the_section_is_absent(tmp_path):
    text = write_report(make_report(), tmp_path).read_text()
    assert 'id="turn"' not in text
    assert 'href="#turn"' not in text
    (tmp_path / "turn.json").write_text("{}\n")
    assert read_turn(tmp_path) is None


@pytest.mark.parametrize("content", ["{", '{"version": 2}', "[]"])
def test_damaged_data_are_refused(tmp_path, content):
    (tmp_path / "turn.json").write_text(content)
    with pytest.raises(ArtifactMismatch, match="Run `recsae run` again"):
        read_turn(tmp_path)


def test_sliders_may_be_asked_for(folder):
    report, turn = read_report(folder), read_turn(folder)
    wanted = [turn.latents[6], 10**6, turn.latents[2]]
    assert page_data(report, turn, wanted)["turn"]["first"] == [wanted[0], wanted[2]]
    assert f'"first":[{wanted[0]},{wanted[2]}]' in write_page(report, turn, wanted)
    assert page_data(report, turn, [10**6])["turn"]["first"] == turn.latents[:5]


def test_a_slider_says_what_is_only_readable(folder, first, tmp_path):
    """Of two verified concepts the one that does not do what its label says."""
    copy = runs.copy_of(folder, tmp_path / "run")
    report = read_report(copy)
    answers = {first[0]: "no", first[1]: "yes"}
    listed = [
        c.model_copy(update={"obeyed": answers.get(c.latent), "status": "verified"})
        for c in report.concepts.list
    ]
    written = write_report(with_concepts(report, listed), copy)
    found = play(written, TOOLS + 'out.said = all("#turn-sliders li").map((li) => li.textContent);')
    only = "Only readable: turning it was not seen to do what its label says."
    assert [only in said for said in found["said"][:3]] == [True, False, False]
