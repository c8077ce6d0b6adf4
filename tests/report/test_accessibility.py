"""The page read by axe-core, on a wide screen and a phone, light and dark."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from helpers import runs
from helpers.browser import AXE, CHROMIUM, browse
from helpers.goal_reports import raw
from helpers.report_kit import full_report
from helpers.reports import make_report
from recsae.pipeline.report_goals import goals_block
from recsae.report import write_report

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: `make browser` installs it"),
    pytest.mark.skipif(not AXE.is_file(), reason="no axe-core here: `make browser` fetches it"),
]
RUN = """
document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
document.querySelector("tr.row td.name button").click();
axe.run(document).then((found) => {
  const out = document.body.appendChild(document.createElement("pre"));
  out.id = "found";
  out.textContent = JSON.stringify(found.violations.map((one) => [one.id, one.nodes[0].html]));
});
"""


OWN_HISTORY = """
const changed = (node, value, what) => { node.value = value; node.dispatchEvent(new Event(what, { bubbles: true })); };
const found = (id) => document.getElementById(id);
changed(found("turn-sample"), -1, "change");
for (const title of ["a", "s", "the"]) {
  changed(found("own-add"), title, "input");
  const first = found("own-found").querySelector("button"); if (first) first.click();
}
changed(found("own-add"), "s", "input");
changed(document.querySelector("#turn-sliders input"), 1, "input");
"""  # noqa: E501


def violations(page: Path, width: int, dark: bool, before: str = "") -> list[list[str]]:
    """Rules that the page breaks after a script, each with the first element that does."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    if dark:
        assert "@media (prefers-color-scheme: dark)" in text
        text = text.replace("@media (prefers-color-scheme: dark)", "@media all")
    checker = AXE.read_text(encoding="utf-8").replace("</script>", r"<\/script>")
    start, _, end = text.rpartition("</body>")
    copy = page.with_name("checked.html")
    added = f"<script>{checker}</script><script>{before}{RUN}</script></body>"
    copy.write_text(start + added + end, encoding="utf-8")
    sized = f"--window-size={width},900"
    dom, _ = browse(copy.as_uri(), page.parent, sized, "--virtual-time-budget=60000")
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, flags=re.S)
    assert found, dom[-2000:]
    broken: list[list[str]] = json.loads(unescape(found[1]))
    return broken


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_rule_is_broken(tmp_path: Path, width: int, dark: bool) -> None:
    assert violations(write_report(full_report(), tmp_path), width, dark) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_no_rule_is_broken_by_a_history_of_ones_own(
    tmp_path: Path, planted_run: Path, width: int
) -> None:
    page = write_report(None, runs.copy_of(planted_run, tmp_path / "run"))
    assert violations(page, width, width == 390, OWN_HISTORY) == []


def test_no_rule_is_broken_by_goals(tmp_path: Path) -> None:
    report = make_report().model_copy(update={"goals": goals_block(raw())})
    assert violations(write_report(report, tmp_path), 1280, False) == []


def test_figures_say_what_they_show(tmp_path: Path) -> None:
    text = write_report(full_report(), tmp_path).read_text(encoding="utf-8")
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)" viewBox', text)
    assert len(labels) == text.count("<svg ") >= 4
    assert [label for label in labels if label.startswith("Share explained by so many")]


def test_a_broken_rule_is_noticed(tmp_path: Path) -> None:
    page = write_report(full_report(), tmp_path)
    page.write_text(page.read_text().replace("<main>", "<main><img src=data:,>", 1))
    assert [rule for rule, _ in violations(page, 1280, False)] == ["image-alt"]
