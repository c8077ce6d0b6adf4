"""Links and paths on every page lead somewhere."""

import re

import pytest

from helpers.pages import PAGES, ROOT, files_named, links, text_of


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository(page):
    for path, anchor in links(page):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page):
    for name in files_named(page):
        assert (ROOT / name).exists(), name


def test_pages_are_found():
    assert {"README.md", "CONTRIBUTING.md", "docs/start.md", "docs/api/sae.md"} <= {*PAGES}
    assert links("README.md")
    assert "recsae/core/errors.py" in files_named("CONTRIBUTING.md")


def test_make_targets_are_there():
    makefile = (ROOT / "Makefile").read_text()
    words = re.compile(r"(?:^|`)make (\w+)", flags=re.MULTILINE)
    named = {name for page in PAGES for name in words.findall(text_of(page))}
    assert {"demo", "test", "lint", "docs"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
