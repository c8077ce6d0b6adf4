"""Settings as people type them, and how large the activations are that they speak of."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from recsae.concepts.dictionary import ConceptDictionary
from recsae.core import columns as C
from recsae.core.errors import InvalidInput
from recsae.sae.editing import Intervention
from recsae.sae.statistics import Statistics
from recsae.steering.parse import parse_intervention


def dictionary(*names):
    table = pd.DataFrame({C.LATENT: range(len(names)), C.NAME: names, C.ABOUT: names})
    return ConceptDictionary(table, pd.DataFrame())


DICTIONARY = dictionary("Horror", "title: air", "Horror", "a=b")


STATISTICS = Statistics.of(scipy.sparse.csr_matrix([[2.0, 0, 3], [4, 0, 3], [0, 0, 0]]))
SD = float(STATISTICS.sd[0])


# -- settings typed in -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "latents", "op", "value"),
    [
        ("203=x2", (203,), "scale", 2.0),
        ("203=*.5", (203,), "scale", 0.5),
        ("203=×2", (203,), "scale", 2.0),
        ("203=X2", (203,), "scale", 2.0),
        (" 203 = 1.5 ", (203,), "set", 1.5),
        ("203=-1e-2", (203,), "set", -0.01),
        ("203=off", (203,), "set", 0.0),
        ("203=OFF", (203,), "set", 0.0),
        ("203=+3", (203,), "set", 3.0),
    ],
)
def test_forms(text, latents, op, value):
    assert parse_intervention(text, None) == Intervention(latents, op, value, "203")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0+=1.5", Intervention((0,), "add", 1.5, "0")),
        ("0 -= 1.5", Intervention((0,), "add", -1.5, "0")),
        ("0<=2", Intervention((0,), "at_most", 2.0, "0")),
        ("0>=2@active", Intervention((0,), "at_least", 2.0, "0", "active")),
        ("0=1 @ ACTIVE", Intervention((0,), "set", 1.0, "0", "active")),
        ("0=q50", Intervention((0,), "set", (3.0,), "0")),
        ("0>=q0", Intervention((0,), "at_least", (2.0,), "0")),
        ("0<=Q100", Intervention((0,), "at_most", (4.0,), "0")),
        ("0+=2sd", Intervention((0,), "add", (2 * SD,), "0")),
        ("0-=1 sd", Intervention((0,), "add", (-SD,), "0")),
        ("0=-1sd", Intervention((0,), "set", (-SD,), "0")),
    ],
)
def test_adding_clamping_and_units(text, expected):
    """Latent 0 is 2, 4 and 0: its median where active is 3."""
    assert parse_intervention(text, None, statistics=STATISTICS) == expected


def test_units_are_each_latents_own():
    found = parse_intervention("Horror=1sd", DICTIONARY, statistics=STATISTICS)
    assert found.latents == (0, 2)
    assert found.value == (SD, pytest.approx(np.sqrt(2)))


def test_units_need_statistics_and_quantiles_an_active_latent():
    for text in ("0=q50", "0+=1sd"):
        with pytest.raises(InvalidInput, match="known of a run's latents only"):
            parse_intervention(text, None)
    with pytest.raises(InvalidInput, match="Latent 1 is never active"):
        parse_intervention("1=q50", None, statistics=STATISTICS)
    assert parse_intervention("1=1sd", None, statistics=STATISTICS).value == (0.0,)


def test_statistics_come_back_from_disk(tmp_path):
    STATISTICS.save(tmp_path)
    found = Statistics.load(tmp_path)
    np.testing.assert_array_equal(found.sd, STATISTICS.sd)
    np.testing.assert_array_equal(found.quantiles, STATISTICS.quantiles)


def test_a_name_stands_for_all_its_latents_or_the_verified_ones():
    assert parse_intervention("horror=0", DICTIONARY).latents == (0, 2)
    assert parse_intervention("Horror=0", DICTIONARY, np.array([2, 3])).latents == (2,)
    assert parse_intervention("Horror=0", DICTIONARY, np.array([1])).latents == (0, 2)
    assert parse_intervention("title: air=x0", DICTIONARY).latents == (1,)
    assert parse_intervention("a=b=0", DICTIONARY) == Intervention((3,), "set", 0.0, "a=b")
    assert parse_intervention("2=0", DICTIONARY, np.array([0])).latents == (2,)


@pytest.mark.parametrize(
    "text",
    [
        *("", "=", "Horror", "Horror=", "=1", "3=x", "3=nan", "3=inf", "3=1.2.3", "3=1e999"),
        *(
            "3=1 2",
            "3+=x2",
            "3<=off",
            "3=x2sd",
            "3=q101",
            "3=q-5",
            "3+=q50",
            "3=q50sd",
            "3=@active",
        ),
    ],
)
def test_what_is_no_setting_is_told_so(text):
    with pytest.raises(InvalidInput, match=re.escape(f"Cannot read the setting {text!r}: write")):
        parse_intervention(text, DICTIONARY)


def test_unknown_names_and_latents():
    with pytest.raises(InvalidInput, match=r"No concept is named 'Horor'\. Did you mean 'Horror'"):
        parse_intervention("Horor=0", DICTIONARY)
    with pytest.raises(InvalidInput, match="no latent 4: latents are numbered 0 to 3"):
        parse_intervention("4=0", DICTIONARY)
    with pytest.raises(InvalidInput, match="no concept dictionary"):
        parse_intervention("Horror=0", None)


@given(
    st.one_of(
        st.text(),
        st.from_regex(
            r"[\w ²٣]{0,4} ?[-+<>]?= ?[x*q]?[-+]?[\d.e]{0,6}(sd)?(@active)?", fullmatch=True
        ),
        st.builds("{}={}".format, st.sampled_from(["Horror", "1", "²"]), st.floats()),
    ),
    st.sampled_from([None, DICTIONARY]),
)
def test_whatever_is_typed_is_read_or_refused(text, known):
    try:
        found = parse_intervention(text, known)
    except InvalidInput:
        return
    assert np.isfinite(found.values).all()
    assert len(found.values) == len(found.latents) > 0


@pytest.mark.parametrize(
    ("intervention", "said"),
    [
        (Intervention((3,), "set", 0.0, "Horror"), "Horror: switched off"),
        (Intervention((3,), "scale", 0.0, "Horror"), "Horror: switched off"),
        (Intervention((3, 5), "scale", 2.0), "latents 3, 5: 2 times as strong where active"),
        (
            Intervention((3, 5), "scale", (0.5, 1.25), "Horror"),
            "Horror: 0.5 to 1.25 times as strong where active",
        ),
        (
            Intervention((3,), "scale", -1.5),
            "latent 3: the other way round, 1.5 times as strong where active",
        ),
        (Intervention((3,), "set", 1.5, "3"), "latent 3: set to 1.5 for everybody"),
        (Intervention((3,), "at_most", 1.5), "latent 3: at most 1.5 for everybody"),
        (
            Intervention((3,), "at_least", 1.5, where="active"),
            "latent 3: at least 1.5 where active",
        ),
        (Intervention((3,), "add", -0.5, "War"), "War: 0.5 less for everybody"),
        (
            Intervention((3, 5), "add", (-1.0, 2.5)),
            "latents 3, 5: 1 less to 2.5 more for everybody",
        ),
    ],
)
def test_an_intervention_in_plain_words(intervention, said):
    assert str(intervention) == intervention.said() == said


def test_what_is_added_is_in_standard_deviations_where_these_are_known():
    sd = [0.0, 0.5, 2.0]
    assert Intervention((1,), "add", 0.2).said(sd=sd).endswith("a bit more (+0.4 sd) for everybody")
    assert Intervention((1, 2), "add", (-1.0, 2.0), "War").said(sd=sd) == (
        "War: much less (-2 sd) to more (+1 sd) for everybody"
    )
    never_active = Intervention((0,), "add", 0.2).said(sd=sd)
    assert never_active == "latent 0: 0.2 more for everybody"


def test_a_latent_without_a_name_is_named_by_what_it_promotes():
    known = {1: "War", 2: None, 3: "War", 4: "Drama"}
    for latents, who in (
        ((1,), "latent 1 (promotes War)"),
        ((2,), "latent 2"),
        ((1, 3), "latents 1, 3 (promotes War)"),
        ((1, 4), "latents 1, 4 (promotes War, Drama)"),
    ):
        assert Intervention(latents, "set", 0.0).said(known) == f"{who}: switched off"
    assert Intervention((1,), "set", 0.0, "1").said(known).startswith("latent 1 (promotes War)")
    assert Intervention((1,), "set", 0.0, "Battles").said(known) == "Battles: switched off"
