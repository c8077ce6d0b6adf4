"""HTML for notebooks: what it holds, and that text from outside stays text, in a browser too."""

import re

import pytest

from helpers.browser import CHROMIUM, browse
from helpers.reports import HOSTILE
from recsae.core.notebook.cells import LONGEST, Table, card, shortened, words

WATCHED = "<script>window.hacked = 0</script>"
SAID = "<script>document.title = 'hacked ' + window.hacked</script>"


def text_of(html):
    return re.sub(r"<[^>]*>", " ", html)


def test_facts_and_tables_by_hand():
    html = card("SAE", {"width": 64, "k": None}, [Table("Of it", ("a", "b"), [("x", 0.5)])])
    assert text_of(html).split() == ["SAE", "width:", "64", "Of", "it", "a", "b", "x", "0.500"]


def test_a_table_without_rows_is_left_out():
    assert card("SAE", {}, [Table("Of it", ("a",), [])]) == card("SAE", {})


def test_figures_stand_right_and_texts_left():
    html = card("", {}, [Table("", ("a", "b"), [("1", 1), ("2", None)])])
    assert re.findall(r"text-align:(\w+)\">[12]<", html) == ["left", "right", "left"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1234567, "1,234,567"),
        (1234.5, "1,234"),
        (0.00012345, "0.000123"),
        (-0.5, "-0.500"),
        (123.0, "123"),
        (True, "True"),
        ("Toy Story", "Toy Story"),
    ],
)
def test_values_in_words(value, said):
    assert words(value) == said


def test_what_is_long_is_cut_and_lines_are_one():
    assert len(shortened("x" * 500)) == LONGEST
    assert shortened("a\nb\u202ec") == "a b c"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text):
    plain = card("title", {"name": "value"}, [Table("table", ("column",), [("cell",)])])
    html = card(text, {text: text}, [Table(text, (text,), [(text,)])])
    assert re.findall(r"<[^>]*>", html) == re.findall(r"<[^>]*>", plain)


def test_there_is_no_script_request_or_ground():
    html = card("title", {"name": "value"}, [Table("table", ("column",), [("cell",)])])
    assert not re.search(r"<script|<style|<link|url\(|href|src=|\bid=|class=", html)
    assert "background:transparent" in html
    assert not re.search(r"[^-]color:(?!inherit)", html)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_hostile_titles_do_nothing_in_a_browser(tmp_path):
    cells = card(HOSTILE[0], dict.fromkeys(HOSTILE, HOSTILE[1]), [Table("t", HOSTILE, [HOSTILE])])
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{WATCHED}{cells}{SAID}", encoding="utf-8")
    dom, _ = browse(page.as_uri(), tmp_path)
    assert "<title>hacked 0</title>" in dom
    assert "<img" not in dom
    assert dom.count("<td") == len(HOSTILE)
