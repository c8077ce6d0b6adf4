"""The page in headless Chromium: no error, no request, search and links work, titles are text."""

import json
import math
import re
from pathlib import Path

import pytest

from helpers.browser import CHROMIUM, browse, requests
from helpers.goal_reports import raw
from helpers.report_kit import HOSTILE_NAME, full_report
from helpers.report_page import play
from helpers.reports import HOSTILE, STATUSES, make_plain, make_report
from helpers.runs import copy_of
from recsae.pipeline.report_goals import goals_block
from recsae.report import Report, write_report
from recsae.report.words.concepts import follows, usefulness
from recsae.report.words.findings import judged_rows

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here: install chromium or google-chrome to run this"
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report with hostile titles among its items."""
    return write_report(make_report(60), tmp_path_factory.mktemp("report"))


def test_no_console_error_and_no_request(page: Path, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    dom, logged = browse(page.as_uri(), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in logged, logged
    assert dom.count('class="row"') == 12
    assert requests(log) == set()


def test_a_request_would_be_noticed(tmp_path: Path) -> None:
    page, log = tmp_path / "page.html", tmp_path / "net.json"
    page.write_text('<img src="http://fonts.googleapis.com/x.png">')
    browse(page.as_uri(), tmp_path, f"--log-net-log={log}")
    assert requests(log) == {"http://fonts.googleapis.com/x.png"}


def test_the_file_names_no_address(page: Path) -> None:
    text = page.read_text(encoding="utf-8").split('<script type="application/json"')[0]
    assert not re.findall(r"""(?:src|href|action|data)\s*=\s*["']?\s*(?:https?:)?//""", text)
    assert not re.findall(r"url\(\s*[\"']?(?!#)", text)
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_the_policy_stops_a_foreign_script(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", "<script>document.title = 'hacked'</script></body>"))
    dom, logged = browse(copy.as_uri(), tmp_path)
    assert "<title>hacked" not in dom
    assert "Content Security Policy" in logged


def test_search_filter_and_sort(page: Path) -> None:
    out = play(
        page,
        """
        const type = (text) => { const box = document.getElementById("search");
          box.value = text; box.dispatchEvent(new Event("input")); };
        out.all = document.getElementById("found").textContent;
        type("film-NOIR last"); out.genre = [...new Set(rows())];
        type("<" + "/script>"); out.title = all("tr.row").length;
        type("latent 7"); out.latent = all("tr.row")[0].id;
        type("no such thing"); out.none = document.getElementById("found").textContent;
        type("");
        all("#filters button").find((b) => b.textContent.startsWith("dead")).click();
        out.dead = [...new Set(all("tr.row .status").map((s) => s.textContent))];
        all("#filters button")[0].click();
        document.getElementById("once").click(); out.once = rows().length;
        document.getElementById("once").click();
        out.trusted = all("tr.row").map((r) => [r.querySelector(".status").textContent,
          r.querySelector("td.minor").textContent]);
        all("th button").find((b) => b.textContent === "precision").click();
        const shown = all("td.precision").map((c) => parseFloat(c.firstChild.textContent));
        out.sorted = shown.every((v, i) => !i || shown[i - 1] >= v);
        out.aria = all("th.precision")[0].getAttribute("aria-sort");
        all("#more button")[0].click(); out.more = rows().length;
        all("#more button")[1].click(); out.shown = rows().length;
        """,
    )
    assert out["all"] == "60 concepts"
    assert out["genre"] == ["Film-Noir"]
    assert 0 < out["title"] <= 12
    assert out["latent"] == "latent-7"
    assert out["none"].startswith("No concept matches")
    assert out["dead"] == ["dead"]
    assert out["once"] == 6
    order = sorted(
        make_report(60).concepts.list,
        key=lambda c: (STATUSES.index(c.status), -c.explains * (c.precision or 0), c.latent),
    )
    assert out["trusted"] == [[c.status, f"{c.f1:.2f}"] for c in order[:12]]
    assert out["sorted"] is True
    assert out["aria"] == "descending"
    assert out["more"] == 25
    assert out["shown"] == 60


def test_a_link_opens_its_concept(page: Path) -> None:
    last = sorted(c.latent for c in make_report(60).concepts.list if c.status == "unsupported")[-1]
    out = play(
        page,
        f"""
        const row = document.getElementById("latent-{last}");
        out.open = row.querySelector("button").getAttribute("aria-expanded");
        out.sentence = row.nextElementSibling.querySelector(".says-tested").textContent;
        out.bars = row.nextElementSibling.querySelectorAll(".histogram rect").length;
        out.examples = row.nextElementSibling.querySelectorAll("li.case").length;
        location.hash = "#latent-0";
        await new Promise((done) => setTimeout(done, 50));
        out.second = document.getElementById("latent-0").className;
        out.first = document.getElementById("latent-{last}").className;
        out.details = all("tr.detail").map((d) => d.id);
        """,
        f"#latent-{last}",
    )
    assert out["open"] == "true"
    assert out["sentence"].startswith("Among held-out users it was active on")
    assert re.search(
        r"it is, [\d.]+% of the time, at least \d+% \(95% sure\)\. The label finds [\d.]+% of the "
        r"active cases, at least \d+% \(95% sure\)\. latent",
        out["sentence"],
    )
    assert out["bars"] > 5
    assert out["examples"] == 6
    assert (out["second"], out["first"]) == ("row open", "row")
    assert out["details"] == ["evidence-0"]


def test_opening_a_row_closes_the_other_where_it_is_and_keeps_the_focus(page: Path) -> None:
    out = play(
        page,
        """
        const buttons = () => all("tr.row td.name button");
        const open = () => all("tr.row.open").map((row) => row.id);
        buttons()[0].focus(); buttons()[0].click(); out.one = open();
        const there = buttons()[3], top = () => there.getBoundingClientRect().top;
        there.scrollIntoView({ block: "center", behavior: "instant" });
        there.focus({ preventScroll: true }); const before = top();
        there.click(); out.two = open(); out.moved = Math.abs(top() - before);
        out.focus = document.activeElement === there;
        out.expanded = buttons().filter((b) => b.getAttribute("aria-expanded") === "true").length;
        out.wanted = [buttons()[0], there].map((b) => b.closest("tr").id);
        there.click(); out.none = open(); out.left = all("tr.detail").length;
        const card = all(".concept h3 a")[0];
        card.click(); await new Promise((done) => setTimeout(done, 50)); out.card = open();
        document.querySelector("tr.row.open button").click();
        card.click(); out.again = open(); // no hashchange this time
        """,
    )
    assert out["one"] == out["wanted"][:1]
    assert out["two"] == out["wanted"][1:]
    assert out["moved"] < 1
    assert out["focus"] is True
    assert out["expanded"] == 1
    assert (out["none"], out["left"]) == ([], 0)
    assert out["again"] == out["card"] != []


PHONE = """
const phone = document.createElement("iframe");
phone.style = "width: 390px; height: 800px; border: 0";
const scripts = new RegExp("<script[^]*?<" + "/script>", "g");
phone.srcdoc = document.documentElement.outerHTML.replace(scripts, "");
document.body.append(phone);
await new Promise((done) => { phone.onload = done; });
const there = phone.contentDocument;
"""


def test_links_lead_to_the_top_of_a_section_on_a_phone_too(page: Path) -> None:
    out = play(
        page,
        PHONE
        + """
        for (const [name, doc] of [["wide", document], ["phone", there]]) {
          doc.documentElement.style.scrollBehavior = "auto";
          const bar = doc.querySelector("nav");
          out[name] = ["map", "steering", "evidence", "method"].flatMap((id) => {
            const section = doc.getElementById(id);
            if (!section) return [];
            for (const d of doc.querySelectorAll("details.fold")) d.open = true;
            section.scrollIntoView();
            const head = section.querySelector("h2").getBoundingClientRect().top;
            return [head - Math.max(0, bar.getBoundingClientRect().bottom)];
          });
        }
        out.nav = there.querySelector("nav").scrollWidth <= there.querySelector("nav").clientWidth;
        """,
    )
    assert len(out["phone"]) == len(out["wide"]) >= 3
    for below in out["wide"] + out["phone"]:
        assert 0 <= below <= 40
    assert out["nav"] is True


def test_precision_and_recall_stand_with_their_bounds_on_a_phone_too(page: Path) -> None:
    best = max(
        (c for c in make_report(60).concepts.list if c.status == "verified"),
        key=usefulness,
    )
    out = play(
        page,
        PHONE
        + """
        for (const [name, doc] of [["wide", document], ["phone", there]]) {
          const cells = ["precision", "recall"].map((c) => doc.querySelector("tr.row td." + c));
          out[name] = cells.map((c) => [c.textContent, c.getBoundingClientRect().width > 40,
            doc.defaultView.getComputedStyle(c).visibility]);
          out[name + " minor"] = doc.defaultView.getComputedStyle(
            doc.querySelector("tr.row td.minor")).visibility;
        }
        out.fits = there.documentElement.scrollWidth <= 390;
        out.tip = document.querySelector("th.precision").title;
        const names = [...there.querySelectorAll("tr.row td.name .clamp")];
        out.cut = names.filter((n) => n.scrollHeight > n.clientHeight + 1).length;
        """,
    )
    said = [
        [f"{value:.0%}at least {math.floor(100 * low)}%", True, "visible"]
        for value, low in ((best.precision, best.precision_low), (best.recall, best.recall_low))
    ]
    assert out["wide"] == out["phone"] == said
    assert (out["wide minor"], out["phone minor"]) == ("visible", "hidden")
    assert out["fits"] is True
    assert out["cut"] == 0
    assert "at least (95% sure); verified asks for 50%." in out["tip"]


def test_a_search_that_finds_nothing_says_where_else_the_words_are(tmp_path: Path) -> None:
    plain = make_plain(12)
    plain["items"]["z"] = {"title": "Zanzibar, The", "attributes": {}}
    told = {"view": "last", "item": "z", "n_active": 5, "n_cases": 9}
    plain["concepts"]["list"][3]["active_on"] = [told]
    page = write_report(Report.model_validate(plain), tmp_path)
    out = play(
        page,
        """
        const type = (text) => { const box = document.getElementById("search");
          box.value = text; box.dispatchEvent(new Event("input")); };
        const said = () => document.getElementById("elsewhere").textContent;
        type("zanzibar"); out.elsewhere = said();
        out.links = all("#elsewhere a").map((a) => a.getAttribute("href"));
        all("#elsewhere a")[0].click();
        await new Promise((done) => setTimeout(done, 50));
        out.opened = all("tr.row.open").map((row) => row.id);
        out.after = said();
        type("War"); out.all = rows().length;
        for (const button of all("#filters button")) { button.click(); if (!rows().length) break; }
        out.dead = rows().length; out.hidden = said();
        all("#elsewhere button")[0].click(); out.cleared = rows().length;
        type("zzzz"); out.nowhere = said();
        """,
    )
    assert out["elsewhere"].startswith("In the titles of 1 item: The Zanzibar.")
    assert out["links"] == ["#latent-3"]
    assert out["opened"] == ["latent-3"]
    assert out["after"] == ""
    assert out["dead"] == 0
    assert out["hidden"].startswith(f"{out['all']} concepts have these words, but not the status")
    assert out["cleared"] == out["all"] > 0
    assert out["nowhere"] == "The words are in no title and no label either."


def test_a_word_with_a_slip_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    plain = make_plain(12)
    plain["items"]["z"] = {"title": "Zanzibar, The", "attributes": {}}
    plain["concepts"]["list"][3]["active_on"] = [
        {"view": "last", "item": "z", "n_active": 5, "n_cases": 9}
    ]
    out = play(
        write_report(Report.model_validate(plain), tmp_path),
        """
        const type = (text) => { const box = document.getElementById("search");
          box.value = text; box.dispatchEvent(new Event("input")); };
        const said = () => document.getElementById("elsewhere").textContent;
        type("horor"); out.horror = said();
        type("comdey"); out.swapped = said();
        type("zanzabar the"); out.title = said();
        type("wxy"); out.short = said();
        type("horor"); all("#elsewhere button")[0].click();
        out.typed = document.getElementById("search").value; out.rows = [...new Set(rows())];
        out.focus = document.activeElement.id;
        """,
    )
    assert out["horror"] == "Did you mean Horror?"
    assert out["swapped"] == "Did you mean Comedy?"
    assert out["title"] == "Did you mean Zanzibar the?"
    assert out["short"] == "The words are in no title and no label either."
    assert (out["typed"], out["rows"], out["focus"]) == ("Horror", ["Horror"], "search")


def test_words_are_looked_for_where_words_begin_and_names_come_first(tmp_path: Path) -> None:
    plain = make_plain(12)
    for n, concept in enumerate(plain["concepts"]["list"]):
        concept |= {"name": f"c{n}", "label": "A label.", "promotes": [{"item": "i7", "weight": 1}]}
    listed = plain["concepts"]["list"]
    listed[3]["name"], listed[4]["label"], listed[5]["name"] = "War", "About war.", "Edward"
    plain["items"]["i7"]["title"] = "Toward Dawn"
    plain["items"]["z"] = {"title": "Star Wars", "attributes": {}}
    listed[6]["promotes"] = [{"item": "z", "weight": 1}]
    out = play(
        write_report(Report.model_validate(plain), tmp_path),
        """
        const box = document.getElementById("search");
        box.value = "war"; box.dispatchEvent(new Event("input"));
        out.found = all("tr.row").map((row) => row.id);
        out.why = all("tr.row").map((row) => row.querySelector(".mark")?.textContent ?? "");
        """,
    )
    assert out["found"] == ["latent-3", "latent-4", "latent-6"]
    assert out["why"] == ["", "", "promotes Star Wars"]


def test_kinds_are_a_filter(tmp_path: Path) -> None:
    plain = make_plain(12)
    for n, concept in enumerate(plain["concepts"]["list"]):
        concept["kind"] = "item" if n % 3 else "theme"
    page = write_report(Report.model_validate(plain), tmp_path)
    out = play(
        page,
        """
        const buttons = () => all("#kinds button");
        out.names = buttons().map((b) => b.textContent);
        buttons()[1].click(); out.items = rows().length;
        out.pressed = buttons().map((b) => b.getAttribute("aria-pressed"));
        buttons()[2].click(); out.themes = rows().length;
        """,
    )
    assert out["names"] == ["all kinds 12", "a few items 8", "a theme 4"]
    assert (out["items"], out["themes"]) == (8, 4)
    assert out["pressed"] == ["false", "true", "false"]


def test_the_first_screen_leads_on(page: Path) -> None:
    """Cards open their concepts, links open what is folded, commands name the run's folder."""
    out = play(
        page,
        """
        const wait = () => new Promise((done) => setTimeout(done, 50));
        const card = all(".concept h3 a")[0];
        card.click(); await wait();
        out.card = document.querySelector(card.getAttribute("href")).className;
        const fold = document.getElementById("audit");
        out.folded = !fold.open;
        all("nav a").find((a) => a.textContent === "Method").click(); await wait();
        out.open = fold.open;
        const bar = document.querySelector("nav").getBoundingClientRect();
        out.below = document.querySelector("#method h2").getBoundingClientRect().top >= bar.bottom;
        fold.open = false; dispatchEvent(new Event("beforeprint"));
        out.printed = all("details.fold, details.part, .evidence details").every((d) => d.open);
        out.command = document.querySelector(".to-copy code").textContent;
        out.buttons = all(".to-copy button").length;
        all(".to-copy button")[0].click(); await wait();
        out.copied = all(".to-copy button")[0].textContent === "Copied" || String(getSelection());
        """,
    )
    assert out["card"] == "row open"
    assert out["folded"] is True
    assert out["open"] is True
    assert out["below"] is True
    assert out["printed"] is True
    assert out["command"].startswith(f"recsae tune {page.parent} --more ")
    assert out["buttons"] == 3
    assert out["copied"] in (True, out["command"])


def test_a_linked_section_is_unfolded(page: Path) -> None:
    out = play(page, "out.open = document.getElementById('audit').open;", "#run")
    assert out["open"] is True


def test_hostile_titles_show_as_text(page: Path) -> None:
    out = play(
        page,
        """
        out.titles = all("#evidence-0 details .moves .title").map((t) => t.textContent);
        out.markup = all("#evidence-0 script, #evidence-0 img, main img").length;
        out.hacked = String(window.hacked);
        """,
        "#latent-0",
    )
    shown = [re.sub(r"\s+", " ", title) for title in HOSTILE]
    assert [re.sub(r"\s+", " ", str(t)) for t in out["titles"]][: len(HOSTILE)] == shown
    assert out["markup"] == 0
    assert out["hacked"] == "undefined"


def test_two_thousand_concepts_are_fast(tmp_path: Path) -> None:
    page = write_report(make_report(2000), tmp_path)
    out = play(
        page,
        """
        const box = document.getElementById("search");
        let start = performance.now();
        box.value = "horror"; box.dispatchEvent(new Event("input"));
        out.search = performance.now() - start;
        box.value = ""; box.dispatchEvent(new Event("input"));
        start = performance.now();
        all("#more button")[1].click();
        out.draw = performance.now() - start;
        out.rows = rows().length;
        """,
    )
    assert out["rows"] == 2000
    assert out["search"] < 500
    assert out["draw"] < 2000


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, full_run: Path) -> Path:
    """Write the page of a run with everything, one concept of it renamed and one rejected."""
    folder = copy_of(full_run, tmp_path_factory.mktemp("full") / "run")
    renamed, rejected = [c.latent for c in full_report().concepts.list if c.language]
    text = f'[rename]\n{renamed} = "My own name"\n[reject]\n{rejected} = "says nothing"\n'
    (folder / "corrections.toml").write_text(text)
    return write_report(None, folder)


WHERE = {
    "last": "With these as the last item",
    "last5": "With these among the last five",
    "top1": "With these as the first recommendation",
}
HEADINGS = """
const card = (latent) => document.getElementById("evidence-" + latent);
const heads = (latent) =>
  [...card(latent).querySelectorAll("h3, summary")].map((h) => h.textContent);
"""


def test_a_card_shows_all_evidence(full: Path) -> None:
    concept = next(c for c in full_report().concepts.list if c.language)
    wrong = {
        k: [e for e in concept.counterexamples if e.kind == k] for k in ("missed", "unexpected")
    }
    assert all(wrong.values())
    out = play(
        full,
        HEADINGS
        + f"""
        const here = card({concept.latent});
        out.heads = heads({concept.latent});
        out.cases = here.querySelectorAll("li.case").length;
        out.meta = [...here.querySelectorAll("li.case .meta")].map((m) => m.textContent);
        out.others = [...here.querySelectorAll(".together a")].map((a) => a.getAttribute("href"));
        out.shown = [...here.querySelectorAll("li.case")].filter((x) => x.checkVisibility()).length;
        out.text = here.textContent;
        out.first = here.querySelector("p").textContent;
        out.markup = here.querySelectorAll("img").length;
        out.hacked = String(window.hacked);
        out.row = document.getElementById("latent-{concept.latent}").textContent;
        out.rejected = all("#filters button").map((b) => b.textContent).pop();
        """,
        f"#latent-{concept.latent}",
    )
    assert out["heads"] == [
        "How right it is",
        *(["Titles it follows"] if follows(concept) else []),
        "Titles it promotes",
        "What a language model says",
        "Where it is most active",
        "3 more such cases",
        "From strong to weak",
        "Should be active by its label, and is not",
        "Active, though its label says no",
        "Titles that tell where it is active",
        *[WHERE[v] for v in WHERE if any(told.view == v for told in concept.active_on)],
        *(["Active together with"] if any(t.kind == "with" for t in concept.together) else []),
        *(["Active instead of it"] if any(t.kind == "instead" for t in concept.together) else []),
        "All items it promotes",
        "Items it demotes",
        "Does it come back?",
        "All scores of the label",
        "How often it is active",
        "How strong it is (activations)",
    ]
    assert out["shown"] == 2
    told = concept.active_on[0]
    title = full_report().title(told.item)
    assert f"{title}{told.n_active:,} of {told.n_cases:,}" in out["text"]
    assert out["first"] == concept.label
    assert f"{concept.precision:.0%} right when it speaks (precision) at least" in out["text"]
    assert out["cases"] == len(concept.examples) + len(concept.counterexamples)
    for missed in wrong["missed"]:
        assert f"user {missed.user}not active; the label: {missed.why}" in out["meta"]
    assert out["others"] == [f"#latent-{t.latent}" for t in concept.together]
    assert HOSTILE_NAME in out["text"]
    assert (out["markup"], out["hacked"]) == (0, "undefined")
    for row in judged_rows(concept.language):
        assert "".join(row) in out["text"]
    assert concept.back is not None
    assert f"its direction{round(3 * concept.back['direction'])} of 3" in out["text"]
    assert "My own name" in out["row"]
    assert f"renamed, tested as “{concept.name}”" in out["row"]
    assert out["rejected"] == "rejected 1"


def test_other_latents_are_a_click_away_and_old_names_are_found(full: Path) -> None:
    first, second = [c for c in full_report().concepts.list if c.language]
    linked = next(c for c in full_report().concepts.list if c.together)
    other = linked.together[0].latent
    out = play(
        full,
        f"""
        const type = (text) => {{ const box = document.getElementById("search");
          box.value = text; box.dispatchEvent(new Event("input")); }};
        type("latent {linked.latent}");
        document.getElementById("latent-{linked.latent}").querySelector("button").click();
        document.querySelector("#evidence-{linked.latent} .together a").click();
        await new Promise((done) => setTimeout(done, 50));
        out.other = document.getElementById("latent-{other}").className;
        type({json.dumps(first.name)}); out.old = all("tr.row").map((r) => r.id);
        type("my own NAME"); out.mine = all("tr.row").map((r) => r.id);
        type("says nothing"); out.reason = all("tr.row").length;
        type("");
        all("#filters button").pop().click();
        out.rejected = all("tr.row").map((r) => [r.id, r.querySelector(".bound").textContent]);
        all("tr.row td.name button")[0].click();
        out.why = document.querySelector(".evidence .corrected").textContent;
        """,
    )
    assert out["other"] == "row open"
    assert f"latent-{first.latent}" in out["old"]
    assert out["mine"] == [f"latent-{first.latent}"]
    assert out["reason"] == 0
    assert out["rejected"] == [[f"latent-{second.latent}", f"tested: {second.status}"]]
    assert out["why"] == (
        f"People rejected it; tested as “{second.name}”. Their reason: says nothing"
    )


def test_the_sections_are_there(full: Path) -> None:
    report = full_report()
    out = play(
        full,
        """
        out.links = all("nav a").map((a) => a.textContent);
        const text = (id) => document.getElementById(id).textContent;
        out.stability = text("stability"); out.language = text("language");
        out.captions = all("#attributes caption, #stability caption").map((c) => c.textContent);
        out.flags = all("#attributes .flags .mark").map((m) => m.textContent);
        out.heads = all("#table th").map((h) => h.textContent);
        """,
    )
    assert {"Stability", "Language model", "Attributes"} <= set(out["links"])
    assert "by chance, in one" in out["stability"]
    assert "judge-7b" in out["language"]
    assert "2 latents explained, 1 failed" in out["language"]
    assert "tokens read" in out["language"]
    assert "Best latent, class mean and probe, on held-out users" in out["captions"]
    assert report.supervised is not None
    assert out["flags"].count("over-split") == sum(r.over_split for r in report.supervised.rows)
    assert out["heads"][-2:] == ["comes back", "obeyed"]


def test_what_a_run_lacks_is_absent(page: Path) -> None:
    last = next(c.latent for c in make_report(60).concepts.list if c.status == "verified")
    out = play(
        page,
        HEADINGS
        + f"""
        out.links = all("nav a").map((a) => a.textContent);
        out.ids = all("main > section").map((s) => s.id);
        out.card = heads({last});
        out.marks = all(".mark").length;
        out.heads = all("#table th").map((h) => h.textContent);
        """,
        f"#latent-{last}",
    )
    assert not {"Stability", "Language model"} & set(out["links"])
    assert not {"stability", "language"} & set(out["ids"])
    absent = ("language model", "come back", "label says no", "and is not", "together", "instead")
    assert not [h for h in out["card"] if any(words in h for words in absent)]
    assert out["marks"] == 0
    assert "comes back" not in out["heads"]


def test_long_names_are_cut_on_screen_and_whole_in_the_page(tmp_path: Path) -> None:
    plain = make_plain()
    name = "fans of " + ", ".join(f"A Rather Long Title, The, Part {n}" for n in range(9))
    plain["concepts"]["list"][0] |= {"name": name, "attribute": None, "value": None}
    out = play(
        write_report(Report.model_validate(plain), tmp_path),
        """
        const box = document.getElementById("search");
        box.value = "title, the, part 8"; box.dispatchEvent(new Event("input"));
        const shown = document.querySelector("tr.row .clamp");
        out.found = rows(); out.title = shown.title;
        out.cut = shown.scrollHeight > shown.clientHeight; out.tall = shown.clientHeight;
        document.querySelector("tr.row button").click();
        out.whole = document.querySelector("tr.row .clamp").scrollHeight
          === document.querySelector("tr.row .clamp").clientHeight;
        out.says = document.querySelector("#evidence-0 .small").textContent;
        """,
    )
    assert out["found"] == [name]
    assert out["title"] == name
    assert out["cut"] is True
    assert out["tall"] < 60
    assert out["whole"] is True
    assert out["says"].startswith("Its label makes no statement about items")


def test_steering_by_goal_is_shown_and_leads_to_its_latents(tmp_path: Path) -> None:
    found = raw()
    goal = found["goals"][0]
    goal["goal"], goal["latents"][0]["name"] = f"more genre: {HOSTILE[2]}", HOSTILE[1]
    goal["ways"].append(goal["ways"][0] | {"way": HOSTILE[0]})
    report = make_report().model_copy(update={"goals": goals_block(found)})
    page = write_report(report, tmp_path)
    log = tmp_path / "net.json"
    _, logged = browse(page.as_uri(), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in logged, logged
    assert requests(log) == set()
    out = play(
        page,
        """
        const here = document.getElementById("goals");
        out.heads = all("#goals h3").map((h) => h.firstChild.textContent.trim());
        out.charts = all("#goals figure svg").map((s) => s.getBoundingClientRect().height > 100);
        out.markup = here.querySelectorAll("img, script").length;
        out.hacked = String(window.hacked);
        out.shut = all("#goals details").every((d) => !d.open);
        out.wide = document.documentElement.scrollWidth <= innerWidth;
        out.captions = all("#goals caption").map((c) => c.textContent);
        here.querySelector('a[href="#latent-3"]').click();
        await new Promise((done) => setTimeout(done, 50));
        out.open = document.getElementById("latent-3").className;
        """,
    )
    assert out["heads"] == [
        "Steering by goal",
        f"More {HOSTILE[2]}",
        "Less popular items",
        "Do labels say what turning does?",
    ]
    assert out["charts"] == [True, True]
    assert (out["markup"], out["hacked"]) == (0, "undefined")
    assert out["shut"] is out["wide"] is True
    assert out["captions"].count("Each way, at a loss of NDCG@10 of at most") == 2
    assert out["open"] == "row open"
