"""What a run computed, as one digest for each of its files: ``python benchmarks/digests.py RUN
[RUN]``.

With two folders, the files that differ are named, and the exit code is 1 if there are any. Left out
is what no two runs share: seconds, memory, dates, versions and where things lie.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

VOLATILE = {
    *(
        "seconds",
        "cpu_seconds",
        "peak_mb",
        "memory",
        "timings",
        "created",
        "versions",
        "sources",
        "checkpoint",
    ),
    *("data_path", "made_from", "items_path"),
}
"""Keys of JSON files whose values differ from run to run."""
PAGES = {
    ".html": r'<script type="application/json" id="data">(.*?)</script>',
    ".md": "",
    ".csv": "",
}
"""Of the page the data behind it count: its text holds dates and seconds."""


def stable(value: Any) -> Any:
    """JSON without what differs from run to run; the order of keys counts."""
    if isinstance(value, dict):
        return [[key, stable(v)] for key, v in value.items() if key not in VOLATILE]
    return [stable(v) for v in value] if isinstance(value, list) else value


def digest(path: Path) -> str:
    """SHA-256 of what a file says, in hex, 16 digits."""
    content = path.read_bytes()
    if path.name == "run.json":
        record = json.loads(content)
        kept = {key: record[key] for key in ("version", "config", "model")}
        content = json.dumps([stable(kept), list(record["stages"])]).encode()
    elif path.suffix == ".json":
        content = json.dumps(stable(json.loads(content))).encode()
    elif path.suffix == ".html":
        found = re.search(PAGES[".html"], content.decode(), re.S)
        content = found[1].encode() if found else content
    elif path.suffix == ".md":
        lines = content.decode().splitlines()
        content = "\n".join(x for x in lines if not re.search(r"\d{4}-\d\d-\d\d| s\b", x)).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def digests(run: Path) -> dict[str, str]:
    """The digest of every file of a run, by its path in the folder."""
    files = sorted(path for path in run.rglob("*") if path.is_file())
    return {str(path.relative_to(run)): digest(path) for path in files}


def main() -> int:
    """Print digests of one run, or what differs between two."""
    runs = [digests(Path(folder)) for folder in sys.argv[1:]]
    if len(runs) == 1:
        for name, value in runs[0].items():
            print(value, name)
        return 0
    one, two = runs
    differ = [name for name in sorted({*one, *two}) if one.get(name) != two.get(name)]
    print(f"{len(one)} and {len(two)} files, {len(differ)} differ: {', '.join(differ) or 'none'}")
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())
