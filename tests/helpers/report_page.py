"""The report's page in headless Chromium, with a script of a test's own in it."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

from helpers.browser import browse

if TYPE_CHECKING:
    from pathlib import Path

WATCH = """
window.problems = [];
addEventListener("error", (e) => problems.push(String(e.message)), true);
addEventListener("securitypolicyviolation", (e) => problems.push(e.violatedDirective));
"""


def play(page: Path, script: str, fragment: str = "", width: int = 1280) -> dict[str, Any]:
    """Run ``script`` in a copy of the page and return the object it fills, ``out``."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    after = (
        "<pre id=out></pre><script>(async () => { const out = {}; const all = (s) =>"
        " [...document.querySelectorAll(s)]; const rows = () => all('tr.row td.name button')"
        ".map((b) => b.textContent);\n"
        f"try {{ {script} }} catch (e) {{ problems.push(String(e)); }}\n"
        "out.problems = problems; document.getElementById('out').textContent ="
        " 'OUT' + JSON.stringify(out) + 'END'; })();</script></body>"
    )
    text = text.replace("<head>", f"<head><script>{WATCH}</script>", 1)
    start, _, end = text.rpartition("</body>")
    copy = page.with_name("copy.html")
    copy.write_text(start + after + end, encoding="utf-8")
    dom, _ = browse(copy.as_uri() + fragment, page.parent, f"--window-size={width},900")
    found = re.search(r"<pre id=\"out\">OUT(.*)END</pre>", dom, flags=re.S)
    assert found, dom[-2000:]
    result: dict[str, Any] = json.loads(unescape(found[1]))
    assert result.pop("problems") == []
    return result
