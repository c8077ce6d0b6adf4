"""Headless Chromium, where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)


AXE = Path(sys.prefix) / "axe-core-4.14.1" / "package" / "axe.min.js"
"""The accessibility checker, where ``make browser`` could fetch it."""
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--v=0",
    "--window-size=1280,900",
    "--virtual-time-budget=4000",
    "--dump-dom",
]


def browse(url: str, folder: Path, *flags: str) -> tuple[str, str]:
    """Open a page; return its final DOM and what was logged."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


def requests(log: Path) -> set[str]:
    """Return the addresses asked for, without the browser's own clock, update and sign-in."""
    own = re.compile(
        r"https?://(clients2\.google\.com/time/|update\.googleapis\.com/service/update2/"
        r"|accounts\.google\.com/ListAccounts)"
    )
    asked = set(re.findall(r'"url":"([a-z-]+://[^"]*)"', log.read_text(errors="replace")))
    return {url for url in asked if not url.startswith("file:") and not own.match(url)}
