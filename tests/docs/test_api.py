"""Every package has a page of the API, and the page shows the package itself."""

import pytest

from helpers.pages import ROOT, text_of

PACKAGES = sorted(p.parent.name for p in ROOT.glob("recsae/*/__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_page(package):
    assert f".. automodule:: recsae.{package}" in text_of(f"docs/api/{package}.md")


def test_every_page_is_of_a_package():
    pages = {page.stem for page in ROOT.glob("docs/api/*.md")}
    assert pages == {*PACKAGES, "index", "torch", "recbole", "rectools"}
