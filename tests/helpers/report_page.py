"""The report's page in headless Chromium, with a script of a test's own in it."""

from __future__ import annotations

import base64
import hashlib
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


def play(
    page: Path, script: str, fragment: str = "", width: int = 1280, *, policy: bool = False
) -> dict[str, Any]:
    """Run ``script`` in a copy of the page and return the object it fills, ``out``.

    The copy is without the page's Content-Security-Policy, or with ``policy`` allows by it the
    scripts of the test besides.
    """
    text = page.read_text(encoding="utf-8")
    if not policy:
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    after = (
        "<pre id=out></pre><script>(async () => { const out = {}; const all = (s) =>"
        " [...document.querySelectorAll(s)]; const rows = () => all('tr.row td.name button')"
        ".map((b) => b.textContent);\n"
        f"try {{ {script} }} catch (e) {{ problems.push(String(e)); }}\n"
        "out.problems = problems; document.getElementById('out').textContent ="
        " 'OUT' + JSON.stringify(out) + 'END'; })();</script></body>"
    )
    if policy:
        own = after.split("<script>")[1].split("</script>")[0]
        text = text.replace("script-src ", f"script-src {_hash(WATCH)} {_hash(own)} ", 1)
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


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
