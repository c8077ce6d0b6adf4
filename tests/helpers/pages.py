"""The pages that people read: their code, the commands they show, and their links."""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
GUIDE = ("README.md", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/*.md")))
"""README and the pages of the guide."""
PAGES = (
    *GUIDE,
    *("CONTRIBUTING.md", "CHANGELOG.md"),
    *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/*/*.md")),
    *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("benchmarks/*.md")),
)


class Block(NamedTuple):
    """A fenced block of a page; ``language`` is empty where none is named."""

    language: str
    text: str


@cache
def text_of(page):
    """The text of a page, by its path in the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page):
    """The fenced blocks of a page, in their order."""
    found = re.findall(r"^```(\S*)\n(.*?)^```$", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return [Block(*one) for one in found]


def python_of(page):
    """Its blocks of Python."""
    return [block.text for block in blocks(page) if block.language == "python"]


def commands(page):
    """Arguments of every ``recsae`` command in its blocks, also after ``$`` and by torchrun."""
    lines = [
        part
        for block in blocks(page)
        if not block.language
        for part in re.split(r"[\n;]\s*", block.text.replace("\\\n", " "))
    ]
    found = [re.match(r"(?:\$ )?(?:recsae|torchrun .*-m recsae) (.+)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in found if match]


def session(page):
    """Each command after a ``$`` with the lines that the page shows of its output."""
    (block,) = (b for b in blocks(page) if re.search(r"^\$ recsae", b.text, flags=re.MULTILINE))
    parts = re.split(r"^\$ recsae ", block.text, flags=re.MULTILINE)[1:]
    split = [part.partition("\n") for part in parts]
    return [(shlex.split(typed, comments=True), shown.split("\n")) for typed, _, shown in split]


def links(page):
    """Targets of its links within the repository, as ``(path, anchor)``."""
    found = re.findall(r"\]\((?!https?:)([^)\s]+)\)", text_of(page))
    return [tuple(link.partition("#")[::2]) for link in found]


def files_named(page):
    """What it names in backticks that looks like a path of this repository."""
    top = r"(?:recsae|plugins|tests|benchmarks|docs)"
    return re.findall(rf"`(?:python )?({top}/[\w./-]+)`", text_of(page))
