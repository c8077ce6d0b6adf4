"""Design decisions have the same four parts, and their index is as the command writes it."""

import re
import runpy

import pytest

from helpers.pages import ROOT

INDEX = runpy.run_path(str(ROOT / "docs/decisions/index.py"))


def test_index_is_written_anew():
    written = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    assert written == INDEX["index"](), "run `python docs/decisions/index.py`"


@pytest.mark.parametrize("page", INDEX["pages"](), ids=lambda page: page.name)
def test_a_decision_has_its_parts(page):
    text = page.read_text(encoding="utf-8")
    assert tuple(re.findall(r"^## (.+)$", text, flags=re.MULTILINE)) == INDEX["HEADINGS"]
    assert len(re.findall(r"^# ", text, flags=re.MULTILINE)) == 1
    parts = re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]
    assert all(part.strip() for part in parts)


def test_numbers_run_from_one_on():
    numbers = [int(page.name[:4]) for page in INDEX["pages"]()]
    assert numbers == list(range(1, len(numbers) + 1))
