"""The map of concepts in headless Chromium: marks, labels, mouse, keyboard, and the table."""

import re

import pytest

from helpers.browser import CHROMIUM, browse, requests
from helpers.report_page import play
from helpers.reports import HOSTILE, make_plain
from recsae.report import Report, write_report
from recsae.report.tables import with_concepts

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here: install chromium or google-chrome to run this"
    ),
]
KINDS = ("theme", "item", "situation", "general")
PHONE = """
const phone = (frame) => { frame.style = "width: 390px; height: 900px; border: 0"; return frame; };
"""


def mapped(n=60):
    """A report whose verified concepts are on the map; the first has a hostile name."""
    plain = make_plain(n)
    verified = [c for c in plain["concepts"]["list"] if c["status"] == "verified"]
    for place, concept in enumerate(verified):
        concept["kind"] = KINDS[place % 4]
        concept["x"], concept["y"] = (place * 0.37 % 2) - 1, (place * 0.83 % 2) - 1
    verified[0]["name"] = HOSTILE[2]
    return Report.model_validate(plain)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(mapped(), tmp_path_factory.mktemp("map"))


@pytest.fixture(scope="module")
def on_map():
    return [c for c in mapped().concepts.list if c.x is not None]


def test_every_concept_has_its_mark_and_a_row(page, on_map):
    out = play(
        page,
        """
        const marks = all("#map-marks a");
        out.marks = Object.fromEntries(marks.map((m) => [m.getAttribute("href").slice(8),
          [m.getAttribute("class"), m.getBBox().width, m.getAttribute("aria-label")]]));
        out.rows = all("#map-table tbody tr").map((r) => [...r.cells].map((c) => c.textContent));
        out.hrefs = all("#map-table tbody tr td:first-child a").map((a) => a.getAttribute("href"));
        out.legend = all("#map-legend li").map((l) => l.textContent);
        out.shapes = new Set(all("#map-legend path").map((p) => p.getAttribute("d"))).size;
        out.colours = new Set(all("#map-legend path").map((p) => getComputedStyle(p).fill)).size;
        out.nav = all("nav a").map((a) => a.textContent);
        out.foreign = [all("#map img, #map script").length, String(window.hacked)];
        """,
    )
    assert set(out["marks"]) == {str(c.latent) for c in on_map}
    for concept in on_map:
        kind, _, says = out["marks"][str(concept.latent)]
        assert kind == f"kind-{concept.kind}"
        assert says.startswith(f"{concept.name} ({concept.kind}): explains ")
    themes = sorted((c for c in on_map if c.kind == "theme"), key=lambda c: c.explains)
    widths = [out["marks"][str(c.latent)][1] for c in themes]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert len(out["rows"]) == len(on_map)
    assert set(out["hrefs"]) == {f"#latent-{c.latent}" for c in on_map}
    assert (out["shapes"], out["colours"]) == (4, 4)
    assert [re.search(r"\((\d+)\)", x)[1] for x in out["legend"]] == [
        str(sum(c.kind == kind for c in on_map)) for kind in KINDS
    ]
    assert "Map" in out["nav"]
    assert out["foreign"] == [0, "undefined"]
    closest = min(
        (c for c in on_map if c.latent != on_map[0].latent),
        key=lambda c: (c.x - on_map[0].x) ** 2 + (c.y - on_map[0].y) ** 2,
    )
    (row,) = [r for r in out["rows"] if r[0] == on_map[0].name]
    assert row[3].startswith(closest.name)


def test_a_click_opens_the_evidence_again_and_again(page, on_map):
    latent = on_map[1].latent
    out = play(
        page,
        f"""
        const mark = document.querySelector('#map-marks a[href="#latent-{latent}"]');
        const row = () => document.getElementById("latent-{latent}");
        const click = async () => {{
          mark.dispatchEvent(new MouseEvent("click", {{ bubbles: true, cancelable: true }}));
          await new Promise((done) => setTimeout(done, 50)); }};
        await click(); out.first = row().className;
        row().querySelector("button").click(); out.shut = row().className;
        await click(); out.second = row().className;
        """,
    )
    assert (out["first"], out["shut"], out["second"]) == ("row open", "row", "row open")


def test_one_tab_stop_and_arrows_between_marks(page, on_map):
    out = play(
        page,
        """
        const stops = () => all('#map-marks a[tabindex="0"]').length;
        const key = (name) => document.activeElement.dispatchEvent(
          new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
        const x = () => document.activeElement.getBoundingClientRect().left;
        out.stops = [stops()]; out.hint = document.getElementById("map-says").textContent;
        document.querySelector('#map-marks a[tabindex="0"]').focus();
        out.visited = []; out.right = true;
        for (let n = 0; n < 200; n += 1) {
          const before = x(), was = document.activeElement; key("ArrowRight");
          if (document.activeElement === was) break;
          out.right = out.right && x() > before - 20;
          out.visited.push(document.activeElement.getAttribute("href"));
        }
        for (const name of ["ArrowUp", "ArrowDown", "ArrowLeft"]) {
          key(name); out.visited.push(document.activeElement.getAttribute("href")); }
        out.stops.push(stops());
        out.says = document.getElementById("map-says").textContent;
        out.focused = document.activeElement.getAttribute("aria-label");
        """,
    )
    assert out["hint"].startswith("Tap or click a mark for its evidence.")
    assert out["stops"] == [1, 1]
    assert out["right"] is True
    assert len(set(out["visited"])) > 3
    assert out["says"] == out["focused"] + "."


LABELS = """
const boxes = (scope) => [...scope.querySelectorAll("#map-marks text")].map((t) => t.getBoundingClientRect());
const apart = (a, b) => a.left >= b.right - 1 || a.right <= b.left + 1 || a.top >= b.bottom - 2 || a.bottom <= b.top + 2;
const readable = (doc) => {
  const labels = boxes(doc), marks = [...doc.querySelectorAll("#map-marks path")].map((p) => p.getBoundingClientRect());
  const frame = doc.getElementById("map-marks").getBoundingClientRect();
  return { n: labels.length, size: getComputedStyle(doc.querySelector("#map-marks text")).fontSize,
    clear: labels.every((a, i) => labels.every((b, j) => i === j || apart(a, b)) && marks.every((m) => apart(a, m))),
    inside: labels.every((a) => a.left >= frame.left && a.right <= frame.right),
    fits: doc.documentElement.scrollWidth <= doc.documentElement.clientWidth,
    scale: doc.querySelector("#map-marks svg").getBoundingClientRect().width / doc.querySelector("#map-marks svg").viewBox.baseVal.width };
};
"""  # noqa: E501


@pytest.mark.parametrize(("width", "most"), [(1280, 16), (390, 7)])
def test_labels_cover_nothing_and_are_of_reading_size(page, width, most):
    out = play(page, LABELS + "Object.assign(out, readable(document));", width=width)
    assert 0 < out["n"] <= most
    assert out["clear"] is out["inside"] is out["fits"] is True
    assert out["size"] == "12px"
    assert 0.97 < out["scale"] < 1.03


def test_no_error_and_no_request(page, tmp_path):
    log = tmp_path / "net.json"
    dom, logged = browse(page.as_uri(), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in logged, logged
    assert 'id="map-marks"><svg' in dom
    assert requests(log) == set()


def test_what_people_rejected_is_not_on_it(tmp_path, on_map):
    rejected, report = on_map[2].latent, mapped()
    said = {"correction": "rejected", "tested_as": "a name"}
    listed = [
        c.model_copy(update=said) if c.latent == rejected else c for c in report.concepts.list
    ]
    out = play(
        write_report(with_concepts(report, listed), tmp_path),
        """
        out.hrefs = all("#map-marks a, #map-table td:first-child a")
          .map((a) => a.getAttribute("href"));
        out.says = document.querySelector("#map p").textContent;
        """,
    )
    left = {f"#latent-{c.latent}" for c in on_map} - {f"#latent-{rejected}"}
    assert set(out["hrefs"]) == left
    assert out["says"].startswith("Every mark is a verified concept. ")


def test_a_map_of_the_most_useful_says_of_how_many(tmp_path):
    plain = mapped().model_dump(mode="json", by_alias=True)
    plain["concepts"]["verified"] = 1234
    text = write_report(Report.model_validate(plain), tmp_path).read_text()
    n = sum(c.x is not None for c in mapped().concepts.list)
    assert f"a verified concept; the {n} most useful of 1,234 are here." in text


def test_without_places_there_is_no_map(tmp_path):
    text = write_report(Report.model_validate(make_plain()), tmp_path).read_text()
    assert 'id="map"' not in text
    assert 'href="#map"' not in text
