"""Item tables as files hold them: commas, tabs, quotes, and what is no table."""

import csv

import pandas as pd
import pytest

from recsae.core.errors import InvalidInput
from recsae.recommender.catalog import build_catalog
from recsae.recommender.item_table import read_cells, read_items_csv


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("id,title,genres\nm1,Alien,Horror|Sci-Fi\nm2,X,Drama\n", "Horror|Sci-Fi"),
        ("id\ttitle\tgenres\nm1\tAlien\tHorror;Sci-Fi\n", "Horror;Sci-Fi"),
        ("id;title;genres\nm1;Alien;Horror Sci-Fi\n", "Horror Sci-Fi"),
        ('id,title,genres\nm1,"Alien, the",NA\n', "NA"),
        ("id|title|genres\nm1|Alien, the|Horror, Sci-Fi\n", "Horror, Sci-Fi"),
        ("id::title::genres\nm1::Alien::Horror|Sci-Fi\n", "Horror|Sci-Fi"),
        ("\ufeffid,title,genres\nm1,Alien,Horror\n", "Horror"),
    ],
)
def test_item_tables_of_several_dialects(tmp_path, text, second):
    path = tmp_path / "items.csv"
    path.write_text(text, encoding="utf-8")
    table = read_items_csv(path)
    assert table["genres"].iloc[0] == second
    assert table.iloc[0, 0] == "m1"
    assert "Alien" in build_catalog(["[PAD]", "m1"], table).titles[1]


@pytest.mark.parametrize(
    "content",
    [b"", b"id\n1\n", b"id,title\n", b"\xff\xfe\x00\x01", b"\n\n\n", b'id,title\n1,"x\n2,3,4\n'],
    ids=["empty", "one column", "no rows", "not text", "blank lines", "open quote"],
)
def test_bad_item_tables_are_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "items.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"item table .*items\.csv"):
        read_items_csv(path)


def test_missing_item_table(tmp_path):
    with pytest.raises(InvalidInput, match=r"none\.csv"):
        read_items_csv(tmp_path / "none.csv")


TITLES = ['The "Great" Film', '"Quoted"', '"Great" Film', "Good, the Bad", 'tab\there, "yes"', ""]


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_quotes_are_those_of_csv(separator, quoting):
    table = pd.DataFrame({"id": list("abcdef"), "title": TITLES, "genres": "Action Drama"})
    text = table.to_csv(sep=separator, index=False, quoting=quoting)
    pd.testing.assert_frame_equal(read_cells(text, separator), table, check_dtype=False)


def test_quotes_of_titles_that_nobody_meant_for_csv():
    text = 'id\ttitle\na\t"Great" Film\nb\t"Unclosed\nc\t5" tall\n'
    assert read_cells(text, "\t")["title"].tolist() == ['"Great" Film', '"Unclosed', '5" tall']


def test_titles_over_two_lines_do_not_become_two_items():
    table = read_cells('id,title\n1,"a\nb,c"\n', ",")
    assert table.to_numpy().tolist() == [["1", "a\nb,c"]]


def test_rows_with_more_cells_than_the_header(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("id,title,genres\n1,Good, the Bad,Drama\n2,X,Drama\n")
    with pytest.raises(InvalidInput, match=r"more cells than its header line.* in double quotes"):
        read_items_csv(path)
    path.write_text("id,title\n1,A,\n2,B,\n")  # separators at the ends of lines are no cells
    assert read_items_csv(path)["title"].tolist() == ["A", "B"]
    path.write_text('id,title,genre\n1,"A, the",X,,\n2,B,Y,,\n\n3,C,Z,,\n')
    assert read_items_csv(path).to_numpy().tolist() == [
        *(["1", "A, the", "X"], ["2", "B", "Y"], ["3", "C", "Z"])
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "id,title\n1,A\n2,B\n3,C,D\n",
            "line 4 has 3 cells and the lines before it 2; titles that",
        ),
        ("id,title\n'1','A'\n'2','B, the'\n", "line 3 has 3 cells.*must stand in double quotes"),
        ('id,title\n1,A\n2,"B\n', "a quote in row 2 is opened and never closed"),
    ],
)
def test_broken_tables_are_said_without_the_words_of_a_parser(tmp_path, text, said):
    path = tmp_path / "items.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=said) as caught:
        read_items_csv(path)
    assert "tokeniz" not in str(caught.value)
