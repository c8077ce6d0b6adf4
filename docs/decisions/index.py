"""Writes the index of the design decisions: ``python docs/decisions/index.py``."""

from pathlib import Path

FOLDER = Path(__file__).parent
HEADINGS = ("Context", "Decision", "Consequences", "Measured by")
INDEX = """# Design decisions

Where the design has a choice that somebody could question, a page says what was chosen, why, and
what measures it. Written by `python docs/decisions/index.py`; CONTRIBUTING says how to add a
decision.

{rows}

```{{toctree}}
:hidden:
:glob:

0*
```
"""


def pages() -> list[Path]:
    """The decisions, in the order of their numbers."""
    return sorted(FOLDER.glob("[0-9]*.md"))


def title_of(page: Path) -> str:
    """What its first line says."""
    return page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def index() -> str:
    """The text of README.md: a line for each decision."""
    rows = [f"- {page.name[:4]} [{title_of(page)}]({page.name})" for page in pages()]
    return INDEX.format(rows="\n".join(rows))


if __name__ == "__main__":
    (FOLDER / "README.md").write_text(index(), encoding="utf-8")
