"""Titles in the terminal are as a person says them; JSON has them as the catalog does."""

import click
import pytest

from helpers.reports import make_report
from recsae.cli.shared.explained import HISTORY, titled
from recsae.cli.shared.latent import _active_on, _show_case
from recsae.cli.shared.steered import show_list_change
from recsae.cli.shared.tables import show_rows
from recsae.report.page_data import page_data
from recsae.steering.lists import ListChange, ListedItem, ListPlace, RemovedItem

RAW, SAID = "Shadow, The (1994)", "The Shadow (1994)"
ITEM = ListedItem(RAW, "810")
PLACE = ListPlace(1, ITEM, ITEM, 1, None)
CHANGE = ListChange((RAW,), (), (), None, (RemovedItem(ITEM, None),), (PLACE,), {})


def of_latent():
    _show_case({"activation": 1.0, "user": "7", "items": f"Alien | {RAW}", "then": RAW})
    click.echo(_active_on([{"view": "last", "title": RAW, "n_active": 1, "n_cases": 2}]))


def of_explanation():
    item = {"item": "810", "title": RAW}
    click.echo(titled(item))
    show_rows(HISTORY, [{"back": 1, **item}])


@pytest.mark.parametrize("show", [of_latent, of_explanation, lambda: show_list_change(CHANGE)])
def test_the_terminal_says_what_a_person_says(show, capsys):
    show()
    shown = capsys.readouterr().out
    assert shown.count(SAID) >= 2
    assert RAW not in shown


def test_json_has_the_catalogs_titles():
    record = CHANGE.to_dict()
    assert record["history"] == [RAW]
    assert record["left the list"] == [{"item": RAW}]
    assert record["table"][0]["after"] == f"{RAW} (810)"


def test_the_page_says_the_same():
    report = make_report()
    key = next(iter(report.items))
    items = report.items | {key: report.items[key].model_copy(update={"title": RAW})}
    assert page_data(report.model_copy(update={"items": items}))["items"][0][0] == SAID
