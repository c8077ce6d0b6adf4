"""The page of two runs: what it says in words, and what it does in headless Chromium."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from helpers.browser import CHROMIUM, browse, requests
from helpers.report_page import play
from helpers.reports import HOSTILE
from recsae.report.compare_page import (
    ComparedPair,
    ComparisonContent,
    ConceptCard,
    SharedLists,
    UserLists,
    comparison_html,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]
in_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: install chromium or google-chrome to run this"
)

N_MATCHED = 40
LISTS = SharedLists(
    users=(
        UserLists(
            user="user 7",
            history=(HOSTILE[0], "Alien"),
            n_history=5,
            before=("Aliens", HOSTILE[2]),
            after=("Heat", "Aliens"),
            shared=(True, False),
            shared_after=(False, True),
        ),
    ),
    n_compared=12,
    mean_shared=6.25,
    n_listed=10,
)


def card(latent: int, name: str, status: str = "verified", **changes: object) -> ConceptCard:
    right = "Right 9 times of 10 when it speaks, finds 8 of 10"
    return ConceptCard(
        latent, name, f"Active after {name}.", status, right, ("Alien", "Heat"), ("Fargo",)
    )._replace(**changes)


def content() -> ComparisonContent:
    """40 pairs, of which the last is verified nowhere; 2 lost, and one new."""
    names = [f"concept {n}" for n in range(N_MATCHED)]
    status = ["verified"] * (N_MATCHED - 1) + ["unsupported"]
    pairs = [ComparedPair("same name", n, n, 0.97, False) for n in range(N_MATCHED)]
    return ComparisonContent(
        verdict=(
            "less",
            "Less alike than two dictionaries trained on one model",
            f"Of 40 {HOSTILE[1]}",
        ),
        by_name=False,
        n_cases=1234,
        runs=("one: SASRec on ml-1m", f"two: {HOSTILE[2]}"),
        figures=[("latents", 1024, 288), ("NDCG kept", 0.98765, None), ("model", "A", HOSTILE[0])],
        counts={
            "same name": (39, 40),
            "another name": (0, 0),
            "lost": (1, 1),
            "merged": (1, 1),
            "new": (1, 2),
            "split": (0, 0),
        },
        before=[
            *(card(*numbered) for numbered in zip(range(N_MATCHED), names, status, strict=True)),
            card(40, HOSTILE[2], follows=(HOSTILE[0], HOSTILE[1]), promotes=()),
            card(41, "nearly concept 0"),
        ],
        after=[
            *(card(*numbered) for numbered in zip(range(N_MATCHED), names, status, strict=True)),
            card(50, "rare", "untested", right="Too few cases to test"),
            card(51, "sure"),
        ],
        pairs=[
            ComparedPair("merged", 41, 0, 0.91, False),
            ComparedPair("lost", 40, None, 0.53, True),
            ComparedPair("new", None, 50, 0.41, False),
            ComparedPair("new", None, 51, 0.42, False),
            *pairs,
        ],
        lists=LISTS,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text(comparison_html(content()), encoding="utf-8")
    return path


def test_the_verdict_figures_and_lists_are_in_the_text_and_escaped() -> None:
    text = comparison_html(content())
    before = text.split('<script type="application/json"')[0]
    assert '<div class="verdict mixed">' in before
    assert "<h2>Less alike than two dictionaries trained on one model</h2>" in before
    assert "<tr><td>latents</td><td>1,024</td><td>288</td></tr>" in before
    assert "<tr><td>NDCG kept</td><td>0.988</td><td>–</td></tr>" in before
    assert "<tr><td>new: there was none like it</td><td>1</td><td>2</td></tr>" in before
    assert "at the 1,234 held-out positions" in before
    assert "Of the 10 first recommendations 6.2 are the same, on average over 12 held-out" in before
    assert '<li class="both">Aliens</li>' in before
    assert "… 3 earlier" in before
    assert not re.search(r"<script|<img", before.split("</head>")[1])


@pytest.mark.parametrize(
    ("kind", "tone"),
    [("same", "good"), ("alike", "good"), ("less", "mixed"), ("unknown", "unknown")],
)
def test_the_verdict_has_a_colour(kind: str, tone: str) -> None:
    text = comparison_html(replace(content(), verdict=(kind, "title", "detail")))
    assert f'<div class="verdict {tone}">' in text


def test_without_lists_a_sentence_says_why() -> None:
    text = comparison_html(replace(content(), lists="Say --trust <once>."))
    assert "<p>Say --trust &lt;once&gt;.</p>" in text
    assert "first recommendations" not in text


def test_by_name_nothing_is_said_of_latents() -> None:
    text = comparison_html(replace(content(), by_name=True, n_cases=None))
    assert "What became of the names" in text
    assert "nearer to another</td>" not in text
    assert "Latents were not compared." in text
    assert "held-out positions" not in text


@in_chromium
def test_no_console_error_no_request_and_titles_are_text(page: Path, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    _, logged = browse(page.as_uri(), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in logged, logged
    assert requests(log) == set()
    out = play(
        page,
        """
        out.lost = all("#pairs-lost .pair:first-child .side:first-child p, #pairs-lost h3")
          .map((p) => p.textContent);
        out.markup = all("main script, main img, .hero script, .hero img").length;
        out.hacked = String(window.hacked);
        """,
    )
    assert out["hacked"] == "undefined"
    assert out["markup"] == 0
    assert HOSTILE[2] in out["lost"]
    assert f"follows “{HOSTILE[0]}”, “{HOSTILE[1]}”" in out["lost"]


@in_chromium
def test_cards_stand_beside_each_other_and_say_how_right_they_are(page: Path) -> None:
    out = play(
        page,
        """
        const said = (pair) => [...pair.querySelectorAll("p, h3")].map((p) => p.textContent);
        out.matched = said(all("#pairs-matched .pair")[0]);
        out.lost = all("#pairs-lost .pair").map(said);
        document.getElementById("every").click();
        out.fresh = all("#pairs-new .pair").map(said);
        const box = (side) => side.getBoundingClientRect();
        const [one, two] = all("#pairs-matched .side").map(box);
        out.beside = one.top === two.top && one.right < two.left;
        """,
    )
    both = [
        *("concept 0", "verified · Right 9 times of 10 when it speaks, finds 8 of 10"),
        *("follows “Alien”, “Heat”", "promotes “Fargo”"),
    ]
    assert out["matched"] == [
        "same name · similarity 0.97",
        "first run",
        *both,
        "second run",
        *both,
    ]
    assert out["beside"] is True
    lost, merged = out["lost"]  # what has none like it comes first
    assert lost[-2:] == ["second run", "None like it; the most similar is at 0.53."]
    assert merged[0] == "like one of the second run that is nearer to another · similarity 0.91"
    assert merged[-5:-2] == ["second run", *both[:2]]
    rare, _ = out["fresh"]
    assert rare[:2] == [
        "first run",
        "None like it; the most similar is at 0.41. Another concept is verified by its name.",
    ]
    assert "untested · Too few cases to test" in rare


@in_chromium
def test_the_first_30_of_each_kind_are_shown_and_all_when_asked(page: Path) -> None:
    out = play(
        page,
        """
        const said = () => document.getElementById("found-matched").textContent;
        const seen = () => [all("#pairs-matched .pair").length, said()];
        out.first = seen();
        const button = document.querySelector("#more-matched button");
        out.offers = button.textContent;
        button.click();
        out.all = seen();
        out.focus = all("#pairs-matched .pair").indexOf(document.activeElement);
        out.left = all("#more-matched button").length;
        document.getElementById("every").click();
        out.every = seen();
        const box = document.getElementById("search");
        box.value = "AFTER concept 39"; box.dispatchEvent(new Event("input"));
        out.searched = seen();
        out.none = document.getElementById("found-new").textContent;
        """,
        policy=True,  # what people click works under the page's own policy
    )
    assert out["first"] == [30, "The first 30 of 39 pairs with a verified concept"]
    assert out["offers"] == "Show all 39"
    assert out["all"] == [39, "39 pairs with a verified concept"]
    assert (out["focus"], out["left"]) == (30, 0)
    assert out["every"] == [40, "40 pairs"]
    assert out["searched"] == [1, "1 pair"]
    assert out["none"] == "None matches."


@in_chromium
def test_it_fits_a_phone(page: Path) -> None:
    out = play(
        page,
        """
        const phone = document.createElement("iframe");
        phone.style = "width: 390px; height: 800px; border: 0";
        phone.srcdoc = document.documentElement.outerHTML.replace(/<script>\\(async[^]*$/, "");
        await new Promise((done) => { phone.onload = done; document.body.append(phone); });
        const there = phone.contentDocument;
        out.fits = there.documentElement.scrollWidth <= 390;
        const [one, two] = there.querySelectorAll("#pairs-matched .side");
        out.below = one.getBoundingClientRect().bottom <= two.getBoundingClientRect().top;
        """,
    )
    assert out == {"fits": True, "below": True}
