"""Tables, facts and sentences: what fits, what is cut, and what is said of what was left out."""

import io
import subprocess
import sys
from contextlib import redirect_stdout

import pytest

from recsae.cli.shared.output import plain_output
from recsae.cli.shared.tables import Column, say, show_facts, show_rows, show_table

LONG = "fans of Horror such as Carrie, The Shining, Poltergeist and An American Werewolf in London"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def lines(capsys):
    def printed():
        out, err = capsys.readouterr()
        assert err == ""
        return out.splitlines()

    return printed


@pytest.fixture
def width(monkeypatch):
    def columns(n):
        monkeypatch.setenv("COLUMNS", str(n))

    columns(80)
    return columns


@pytest.fixture
def terminal(monkeypatch, width):
    """Whatever is printed in the context goes to a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    return lambda: redirect_stdout(Terminal())


# -- tables ----------------------------------------------------------------------------------------


def test_a_table_is_aligned_figures_to_the_right(lines, width):
    show_table(["name", "n", "share"], [["Horror", 5, 0.25], ["Sci-Fi & more", 1200, None]])
    assert lines() == [
        "name              n  share",
        "Horror            5  0.250",
        "Sci-Fi & more  1200      -",
    ]


def test_an_empty_table_has_a_header(lines, width):
    show_table(["name", "n"], [])
    assert lines() == ["name  n"]


def test_a_column_says_its_figures(lines, width):
    show_table(["name", Column("share", lambda x: f"{100 * x:.0f}%")], [["a", 0.5], ["b", None]])
    assert lines() == ["name  share", "a       50%", "b         -"]


@pytest.mark.parametrize("n", [60, 80, 100])
def test_names_are_cut_to_the_width_and_figures_never(n, lines, width):
    width(n)
    show_table(["latent", "name", "activation"], [[7, LONG, 123456.789], [123456, "x", 1.0]])
    found = lines()
    assert max(map(len, found)) == n
    assert "…" in found[1]
    assert found[1].endswith("123456.789")
    assert found[2].split() == ["123456", "x", "1.000"]


def test_names_stay_readable_where_figures_alone_are_too_wide(lines, width):
    width(12)
    show_table(["name", "activation"], [["fans of Horror", 123456.789]])
    assert lines()[1] == "fans of…  123456.789"


def test_what_has_to_be_typed_elsewhere_is_never_cut(lines, width):
    width(40)
    show_table([Column("site", whole=True), "meaning"], [["layer.0.attention.dense", LONG]])
    found = lines()
    assert found[1].startswith("layer.0.attention.dense  fans of")
    assert max(map(len, found)) == 40


def test_two_names_share_the_room(lines, width):
    width(40)
    show_table(["before", "after"], [[LONG, "short"], ["x", LONG]])
    found = lines()
    assert max(map(len, found)) <= 40
    assert [line.count("…") for line in found] == [0, 1, 1]


def test_wide_characters_take_two_places(lines, width):
    show_table(["title", "n"], [["千と千尋の神隠し", 1], ["Alien", 2]])
    assert lines() == ["title             n", "千と千尋の神隠し  1", "Alien             2"]


def test_what_can_be_missed_makes_room_and_is_named(lines, width):
    columns = ["name", "n", Column("label", optional=True)]
    rows = [[LONG, 1, LONG]]
    show_table(columns, rows)
    found = lines()
    assert found[0].split() == ["name", "n"]
    assert found[-1] == "Where there is room, or with --json, also: label."
    width(200)
    show_table(columns, rows)
    assert lines()[0].split() == ["name", "n", "label"]


def test_twenty_rows_unless_all_are_asked_for(lines, width):
    rows = [[i] for i in range(25)]
    show_table(["n"], rows)
    found = lines()
    assert len(found) == 1 + 20 + 1
    assert found[-1] == "5 more: --all shows them."
    show_table(["n"], rows, top=None)
    assert len(lines()) == 1 + 25
    show_table(["n"], rows[:20])
    assert len(lines()) == 1 + 20


def test_records_are_shown_by_key(lines, width):
    show_rows({"b": "second", "a": Column("first", str)}, [{"a": 1, "b": "x", "c": 3}])
    assert lines() == ["second  first", "x           1"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0.12345, "0.123"),
        (7, "7"),
        (True, "yes"),
        ({"a_b": 1, "c": False}, "a b 1, c no"),
        ("Amélie", "Amélie"),
        ("[bold]a[/bold]", "[bold]a[/bold]"),  # no markup
        ("a\x1b[31mb\nc\td\u202ee", "a [31mb c d e"),  # a title cannot steer the terminal
    ],
)
def test_cells(value, shown, lines, width):
    show_facts({"x": value})
    show_table(["x"], [[value]])
    fact, _, row = lines()
    assert (fact, row) == (f"x: {shown}", shown)


def test_the_head_is_bold_in_a_terminal_and_strangers_texts_mark_nothing(terminal):
    with terminal() as shown, plain_output():
        show_table(["name"], [["\x1b[31mred"]])
    assert shown.getvalue() == "\x1b[1mname\n\x1b[0m [31mred\n"


def test_a_terminal_that_can_do_nothing_gets_plain_text(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with terminal() as shown:
        show_table(["name"], [["x"]])
    assert shown.getvalue() == "name\nx\n"


def test_rich_is_imported_where_a_table_is_drawn_alone():
    code = (
        "import sys, recsae.cli.entry; print(sorted({'rich', 'torch', 'pandas'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- facts and sentences ---------------------------------------------------------------------------


def test_facts(lines, width):
    facts = {"a_b": 1, "b": [], "c": ["x", 2.0], "d": [{"e": "f", "g": None}, {"e": 0.5, "g": 1}]}
    show_facts(facts)
    assert lines() == [
        "a b: 1",
        "b: none",
        "c: x, 2.000",
        "d:",
        "  e: f, g: -",
        "  e: 0.500, g: 1",
    ]


def test_a_sentence_is_one_line_in_a_pipe(lines, width):
    width(20)
    say(LONG)
    assert lines() == [LONG]


def test_in_a_terminal_lines_end_between_words(terminal, width):
    width(30)
    with terminal() as shown:
        say(f"  {LONG}\nshort")
    first, *rest, last = shown.getvalue().splitlines()
    assert first.startswith("  fans of")
    assert len(rest) > 2
    assert all(line.startswith(" " * 6) for line in rest)
    assert max(map(len, [first, *rest])) <= 30
    assert last == "short"
    assert " ".join(" ".join([first, *rest]).split()) == LONG
