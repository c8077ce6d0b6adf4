"""Steering by goal in the report: it is what the stage left, in the page, the card and a table."""

import json
from itertools import pairwise

import jsonschema
import pytest

from helpers import runs
from helpers.goal_reports import raw, raw_goal, raw_groups, way
from helpers.reports import HOSTILE, make_plain, make_report
from recsae.core.files import read_json, write_json
from recsae.finished.loaded import load_run
from recsae.pipeline.report_goals import goals_block
from recsae.report import read_report, write_report
from recsae.report.figures import apart, charted, figures
from recsae.report.page import page
from recsae.report.schema.goals import Turned
from recsae.report.schema.report import SCHEMA_FILE, Report
from recsae.report.tables import card, concepts_csv
from recsae.report.words.goals import (
    METHODS,
    amount,
    beside_heading,
    check_says,
    from_to,
    steering_line,
    steering_lines,
    visible,
)
from recsae.report.words.values import intervention_words
from recsae.run.record import Run
from recsae.steering import label_results
from recsae.steering.tuning import baselines

pytestmark = pytest.mark.end_to_end


def with_goals(found=None, **changes):
    """A report with goals."""
    return Report.model_validate(make_plain() | {"goals": goals_block(found or raw()), **changes})


def section(report):
    """The section's part of the page."""
    text = page(report, charts=figures(charted(report)))
    return text.split('<div id="goals">')[1].split('<section id="method">')[0]


def test_it_is_what_the_stage_left():
    report, left = read_report(runs.planted_run()), read_json(runs.planted_run() / "goals.json")
    assert report.goals is not None
    assert len(report.goals.rows) == len(left["goals"]) > 1
    for row, goal in zip(report.goals.rows, left["goals"], strict=True):
        assert (row.goal, row.before, row.after) == (goal["goal"], goal["before"], goal["after"])
        assert list(row.ndcg_kept) == goal["NDCG@10 kept"]
        assert [t.latent for t in row.latents] == [t["latent"] for t in goal["latents"]]
        assert [w.way for w in row.ways] == [w["way"] for w in goal["ways"]]
        groups = goal["user groups"]["rows"]
        assert [u.users for u in row.groups.rows] == [u["users"] for u in groups]
        assert [list(u.ndcg_kept) for u in row.groups.rows] == [u["NDCG@10 kept"] for u in groups]
        assert [w.at["1 %"] for w in row.ways] == [w["1 %"] for w in goal["ways"]]
        assert list(row.ways[0].at) == ["0.5 %", "1 %", "2 %", "5 %", "10 %"]
        assert [s.value for s in row.strengths] == [s[goal["quantity"]] for s in goal["strengths"]]
    popular = report.goals.rows[-1]
    assert popular.popularity
    assert all(s.head_share is not None and s.gini is not None for s in popular.strengths)
    assert report.goals.skipped == left["skipped"]
    check = report.goals.check
    assert check is not None
    assert [c.intervention for c in check.rows] == list(label_results.INTERVENTIONS)
    for row in check.rows:
        assert row.right_signs_shuffled == left["check"][row.intervention]["right signs, shuffled"]


def test_it_follows_the_schema_and_round_trips():
    report = with_goals()
    plain = json.loads(report.to_json())
    jsonschema.validate(plain, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    assert Report.model_validate(plain) == report
    first = plain["goals"]["rows"][0]
    assert (first["allowed_loss"], first["n_users"], first["n_positions"]) == (0.01, 1187, 30_000)
    assert first["latents"][0]["plus_sd"] == 0.4
    assert first["side_effects"] == [{"value": "genre: War", "before": 0.3, "after": 0.25}]
    rows = plain["goals"]["check"]["rows"]
    assert [row["intervention"] for row in rows] == ["x10 where active", "-1 sd"]
    assert rows[0]["cannot_be_told"] == 22
    assert rows[1]["rank_correlation"] is None


def test_names_are_those_of_the_stages():
    names = {v for k, v in vars(baselines).items() if k.isupper() and isinstance(v, str)}
    assert set(METHODS) == names
    assert all(intervention_words(said) != said for said in label_results.INTERVENTIONS)


def test_the_page_says_what_is_asked_and_reached():
    text = section(with_goals())
    assert '<h3 class="goal">More Horror <span class="small">genre</span></h3>' in text
    assert "<b>12% → 25% of the top 10</b> at <b>98.6% (97.7 to 99.5)</b> of NDCG@10" in text
    assert "×2.00 (1.90 to 2.10)" in text
    assert "1,187 held-out users, 30,000 positions" in text
    assert "The latents&#39; curve lies above 1 of 3 other ways." in text
    rows = text.split("<caption>Each way, at a loss")[1].split("<tbody>")[1].split("</tbody>")[0]
    shown = [row.split("</td>")[0] for row in rows.split("<td>")[1::6]]
    assert shown == ["re-ranking", "latents", "reconstruction steering", "random direction"]
    assert "<td>latents</td><td>12%</td><td>14%</td><td>20%</td><td>0.100</td><td>0.4%</td>" in rows
    assert "less than 90% is kept from the start: reconstruction steering." in text
    for dial in (
        "<td>Slasher</td><td>1.25 times as strong</td><td>a bit more (+0.4 sd)</td><td>verified",
        "<td>of old</td><td>as it is</td><td>–</td><td>not verified</td><td>of old</td>",
    ):
        assert dial in text
    assert '<a href="#latent-900">900</a>' in text
    assert (
        '<td>War <span class="small">genre</span></td><td>30.0%</td><td>25.0%</td><td>−5.0</td>'
        in text
    )
    assert "<b>More War was not tried.</b> No item that can be recommended" in text
    assert "does not reconstruct is thrown away" in text
    assert "It is the most that re-ranking" not in text  # that way was not tried here


def test_the_page_says_why_the_table_has_another_figure_than_the_heading():
    shown = with_goals(raw() | {"goals": [raw_goal(ways=[way("latents", 0.2)])]})
    (row,) = shown.goals.rows
    said = beside_heading(row)
    assert said.startswith(
        "Why 25% above and 10% for latents in the table: above, 1% may be lost by"
    )
    assert (
        "held-out users lose 1.4%; in the table held-out users themselves lose 1% at most" in said
    )
    assert said in section(shown)
    same = row.model_copy(update={"after": 0.1})
    assert beside_heading(same) == beside_heading(row.model_copy(update={"ways": []})) == ""


def test_the_page_shows_popularity():
    text = section(with_goals())
    assert "<b>average popularity 204 → 61.4</b> at" in text
    assert "<td>Gini coefficient</td><td>0.799</td><td>0.768</td></tr>" in text
    assert "head: share of lists" in text
    assert "<td>61.4</td><td>0.60</td><td>0.712</td><td>65.4%</td>" in text
    assert "<td>latents</td><td>201</td><td>198</td><td>189</td><td>15.0</td>" in text


def test_the_page_shows_groups_of_users_and_warns():
    report = with_goals(raw() | {"goals": [raw_goal(**{"user groups": raw_groups()})]})
    text = section(report)
    warning = "Uneven by gender: women lose 5.0% of NDCG@10, men lose 0.5%."
    before, after = text.split('<details class="part">')[:2]
    assert f"<b>Warning.</b> {warning}</p>" in before
    assert (
        "<td>women</td><td>300</td><td>0.123</td><td>95.0% (93.0 to 97.0)</td><td>10%</td>"
        "<td>20%</td><td>×2.00 (1.90 to 2.10)</td>" in after
    )
    assert "<td>men</td><td>887</td>" in after
    assert "<td>20%</td><td>–</td></tr>" in after  # nothing is a multiple of 0
    assert "Some of 2 groups of users (by gender) lose several times" in after
    assert "Left out: zip_code (976 different values)." in after
    assert f"More Horror: {warning}" in steering_lines(report)
    assert "More Horror: Uneven by gender: women lose 5.0% of" in card(report)


def test_the_page_shows_groups_of_users_without_a_warning():
    groups = raw_groups(warnings=[], **{"left out": {}})
    report = with_goals(raw() | {"goals": [raw_goal(**{"user groups": groups})]})
    text = section(report)
    assert "Uneven" not in text
    assert "up to 2.1 points more than twice as much may be chance." in text
    assert "Left out" not in text
    assert len(steering_lines(report)) == 3


def test_a_run_without_groups_of_users_says_nothing_of_them():
    nobody = raw_groups(rows=[], warnings=[])
    for goal in (raw_goal(), raw_goal(**{"user groups": nobody})):
        text = section(with_goals(raw() | {"goals": [goal]}))
        assert "groups of users" not in text
        assert "Other ways to the same" in text


def test_the_page_says_whether_labels_predict():
    report = with_goals()
    said = check_says(report.goals.check)
    assert said == (
        "What happens has the sign that the label says for 54% to 70% of the latents, depending on "
        "how they are turned; with the labels of other latents for 36% to 50%. Each time the "
        "latent’s own label does better. How much it changes ranks as worked out beforehand: rank "
        "correlation 0.69."
    )
    text = section(report)
    assert said in text
    assert "100 of 458 verified concepts" in text
    assert (
        "<td>×10 where it is active</td><td>46</td><td>32</td><td>22</td><td>54%</td><td>36%</td>"
        "<td>0.69 (0.57 to 0.78)</td>" in text
    )
    worse = raw()
    worse["check"]["-1 sd"]["right signs, shuffled"] = 0.8
    assert "own label does better in 1 of 2 cases." in check_says(with_goals(worse).goals.check)


def test_what_could_not_be_tried_or_checked_says_why():
    found = raw() | {"goals": [], "check": None, "check_skipped": "Scores are not <linear>."}
    report = with_goals(found, steering=[])
    text = section(report)
    assert "<b>This was not checked.</b> Scores are not &lt;linear&gt;." in text
    assert "More War was not tried" in text
    assert "How to read the ways" not in text
    assert '<a href="#steering">' in page(report)
    assert steering_line(report) == ""
    assert steering_lines(report) == []


def test_a_goal_of_unknowns_is_shown():
    unknown = raw_goal(before=None, after=None, times=[None] * 3, strengths=[])
    unknown |= {"NDCG@10 kept": [None] * 3, "side effects": [], "latents": []}
    unknown["ways"] = [way("latents", 0.1) | {"area": None, "others move": None, "curve": []}]
    check = {"n_tried": 2, "n_verified": 2, "+1 sd": dict.fromkeys(
        ("right signs", "right signs, shuffled", "rank correlation"))}  # fmt: skip
    check["+1 sd"] |= {"agree": 0, "disagree": 0, "cannot be told": 2}
    text = section(with_goals(raw() | {"goals": [unknown], "check": check}))
    assert "<b>– → – of the top 10</b> at <b>–</b> of NDCG@10. By <b>latents</b>, for" in text
    assert "None" not in text
    assert "nan" not in text


def test_a_run_without_goals_says_nothing_of_them():
    html = page(make_report())
    assert 'id="goals"' not in html
    assert "<b>Steering.</b>" not in html
    assert "Steering by goal" not in card(make_report())
    assert '<a href="#steering">' in html
    assert "#steering" not in page(Report.model_validate(make_plain() | {"steering": []})).replace(
        "#steering >", ""
    )


def test_the_first_screen_and_the_card_say_it_in_a_line():
    report = with_goals()
    assert steering_line(report) == (
        "More Horror by turning concepts: 12% → 25% of the top 10 at 98.6% (97.7 to 99.5) of "
        "NDCG@10; re-ranking reaches more."
    )
    before, name, after = steering_line(report).partition("NDCG@10")
    text = page(report)
    assert f'<p class="small">{before}<abbr title="How high the item that' in text
    assert f">{name}</abbr>{after}</p>" in text
    starts = ("- Steering by goal. More Horror", "- Re-ranking", "- Do labels say what turning")
    lines = [line for line in card(report).splitlines() if line.startswith(starts)]
    first, second, third = lines
    assert first.count("1,187 held-out users") == 2
    assert second.endswith("for 1 of 2 goals.")
    assert third.startswith("- Do labels say what turning does? What happens has the sign")


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ([way("latents", 2.0)], "; none of 0 other ways reaches more."),
        ([way("latents", 2.0), way("neurons", 2.1)], "; another way (neurons) reaches more."),
        ([way("latents", 2.0), way("neurons", 1.9)], "; none of 1 other ways reaches more."),
        ([way("neurons", 1.9)], " of NDCG@10."),
        ([], " of NDCG@10."),
    ],
)
def test_what_reaches_more(ways, said):
    assert steering_line(with_goals(raw() | {"goals": [raw_goal(ways=ways)]})).endswith(said)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.367, 0.498, "37% → 50% of the top 10"),
        (0.0156, 0.404, "1.6% → 40% of the top 10"),
        (0.00087, 0.0016, "0.087% → 0.16% of the top 10"),
        (0.0, 0.5, "0% → 50% of the top 10"),
    ],
)
def test_small_shares_keep_their_digits(before, after, said):
    block = goals_block(raw() | {"goals": [raw_goal(before=before, after=after)]})
    row = block.rows[0]
    assert from_to(row) == said
    assert amount(None, row) == "–"


def test_hostile_text_stays_text():
    bad = raw_goal(goal=f"more genre: {HOSTILE[2]}", verdict=HOSTILE[0], quantity=HOSTILE[1])
    bad["strengths"] = [row | {HOSTILE[1]: 0.1} for row in bad["strengths"]]
    bad["latents"] = [row | {"name": HOSTILE[1], "promotes": HOSTILE[1]} for row in bad["latents"]]
    bad["side effects"] = [{"value": HOSTILE[3], "before": 0.1, "after": 0.2}]
    bad["ways"] = [*bad["ways"], way(f"$x$ {HOSTILE[2]}", 1.0)]
    bad["popularity"] = [{"measure": HOSTILE[5], "before": 0.1, "after": 0.2}]
    groups = raw_groups(warnings=[HOSTILE[2]], **{"left out": {HOSTILE[1]: HOSTILE[0]}})
    groups["rows"] = [row | {"by": HOSTILE[3], "value": HOSTILE[2]} for row in groups["rows"]]
    bad["user groups"] = groups
    found = raw() | {"goals": [bad], "skipped": {HOSTILE[2]: HOSTILE[0]}}
    report = with_goals(found)
    text = page(report)
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in text
    assert "{{ 7 * 7 }}" in section(report)
    written = "\n".join(steering_lines(report))
    assert "<img" in written
    assert "<img" not in card(report)


def test_redaction_leaves_it_alone(drawn_anew, tmp_path):
    shown = section(with_goals())
    for redact in (False, True):
        write_report(with_goals(), tmp_path, redact_users=redact)
        html = (tmp_path / "report.html").read_text()
        assert shown in html
    assert concepts_csv(with_goals()) == concepts_csv(make_report())


def test_latents_have_the_names_that_people_gave(tmp_path):
    folder = runs.copy_of(runs.planted_run(), tmp_path / "run")
    report, left = read_report(folder), read_json(folder / "report.json")
    concept = report.concepts.list[0]
    mine = Turned(
        latent=concept.latent, name=concept.name, verified=True, times=1.5, plus=0.0, plus_sd=None
    )
    left["goals"]["rows"][0]["latents"] = [mine.model_dump()]  # whatever its method turns
    write_json(folder / "report.json", left)
    shown = f"<td>{mine.name}</td>"
    assert shown in write_report(None, folder).read_text()
    (folder / "corrections.toml").write_text(f'[rename]\n{mine.latent} = "My own name"\n')
    html = write_report(None, folder).read_text()
    assert "<td>My own name</td>" in html
    assert "<td>of old</td>" in section(with_goals())  # no concept of that number


def goal_figures(report):
    """The charts of goals, in their order."""
    drawn = figures(charted(report))
    return [svg for name, svg in drawn.items() if name.startswith("goal")]


def test_curves_are_deterministic_and_ask_for_nothing(drawn_anew):
    drawn = goal_figures(with_goals())
    assert drawn == goal_figures(with_goals())
    assert len(drawn) == 2
    for svg in drawn:
        assert svg.startswith('<svg role="img" aria-label=')
        assert svg.endswith("</svg>")
        assert "http" not in svg
        assert "var(--accent)" in svg
        assert ">re-ranking</text>" in svg
        assert "NDCG@10 kept" in svg
    assert "reconstruction steering" not in drawn[0]
    ids = [part.split('"')[0] for svg in drawn for part in svg.split(' id="')[1:]]
    assert len(ids) == len(set(ids))
    assert goal_figures(make_report()) == []
    assert goal_figures(with_goals(raw() | {"goals": [raw_goal(ways=[])]})) == []


def test_a_curve_is_drawn_as_far_as_90_per_cent():
    row = with_goals().goals.rows[0]
    assert visible(row.ways[0])[-1] == (0.9, pytest.approx(0.3))
    assert visible(row.ways[-1]) == []


def test_a_curve_that_gains_accuracy_is_drawn_whole():
    ways = [way("latents", 0.0), way("neurons", 3.0, start=1.6)]
    (svg,) = goal_figures(with_goals(raw() | {"goals": [raw_goal(ways=ways)]}))
    assert ">160%</text>" in svg


def test_labels_do_not_touch():
    for heights in ([0.0] * 8, [1.0] * 8, [0.1, 0.12, 0.5, 0.9, 0.97, 0.99, 1.0, 1.0]):
        found = apart(heights)
        assert all(b - a > 0.07 for a, b in pairwise(found))
        assert -1e-9 <= found[0] <= found[-1] <= 1 + 1e-9


def test_a_table_of_goals():
    goals = load_run(runs.planted_run()).goals
    report = read_report(runs.planted_run())
    assert goals["goal"].tolist() == [row.goal for row in report.goals.rows]
    assert goals["after"].tolist() == [row.after for row in report.goals.rows]
    assert (goals["low"] <= goals["times"]).all()
    assert (goals["times"] <= goals["high"]).all()
    assert goals["ndcg_kept"].tolist() == [row.ndcg_kept[0] for row in report.goals.rows]
    assert {"ndcg_low", "ndcg_high", "allowed_loss", "strength", "n_users"} < set(goals)


def test_a_run_of_an_earlier_version_has_an_empty_table(tmp_path):
    folder = runs.copy_of(runs.planted_run(), tmp_path / "run")
    plain = read_json(folder / "report.json")
    for changed in (plain | {"goals": None}, {k: v for k, v in plain.items() if k != "goals"}):
        (folder / "report.json").write_text(json.dumps(changed))
        Run(folder).keep("report")
        goals = load_run(folder).goals
        assert len(goals) == 0
        assert "ndcg_kept" in goals
