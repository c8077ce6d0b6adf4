"""Files that somebody sends: whatever they hold, commands end in a result or in one sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("recbole")

from helpers.fuzz import check, hostile_folder, tries
from recsae.core.llm.settings import LanguageSettings
from recsae.run.config import RunConfig

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]

STEER = ["steer", "RUN", "--set", "3=0", "--user", "71"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with hostile_folder(tmp_path_factory.mktemp("fuzz")) as folder:
        yield folder


odd_value = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**30, 10**300, 0.5, -1e300, 1e-300]),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    st.sampled_from(["", "x", "../../x", "/etc", "a\x1b[31mb", "\u202e", "x" * 3000, "\0"]),
    st.sampled_from([[], {}, [[]], {"x": 1}, [1, "x", None], {"": {}}]),
)
IN_JSON = {
    "steering/kept.json": [
        ["steer", "RUN", "--with", "kept", "--user", "71"],
        ["steer", "RUN", "--list"],
    ],
    "run.json": [["concepts", "RUN"], STEER, ["compare", "RUN", "RUN"]],
    "report.json": [["report", "RUN"], ["concepts", "RUN", "--latent", "3"]],
    "sae/cfg.json": [STEER, ["compare", "RUN", "RUN"]],
    "figures.json": [["report", "RUN"]],
    "hidden.json": [["report", "RUN", "--max-history", "2"]],
    "activations/manifest.json": [["profile", "RUN", "--item", "50"]],
    "scoring.json": [["compare", "RUN", "RUN"]],
}
"""Files of a run, and commands that read them."""


def places_in(value, path=()):
    """Where something stands in JSON."""
    yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, one in inner:
        if len(path) < 5 and (not isinstance(key, int) or key < 2):
            yield from places_in(one, (*path, key))


def with_value(value, path, new):
    """The JSON with something else in a place, or without it."""
    if not path:
        return new
    changed = value.copy()
    if new is GONE and len(path) == 1:
        changed.pop(path[0])
    else:
        changed[path[0]] = with_value(value[path[0]], path[1:], new)
    return changed


GONE = object()


@tries(50)
@given(st.data())
def test_whatever_a_file_of_a_run_holds(place, data):
    name = data.draw(st.sampled_from(list(IN_JSON)))
    words = data.draw(st.sampled_from(IN_JSON[name]))
    path = place / "run" / name
    before = path.read_bytes() if path.exists() else None
    value = json.loads(before) if before else {"users": True, "max_history": 3, "shared": False}
    where = data.draw(st.sampled_from(list(places_in(value))))
    new = data.draw(st.just(GONE) | odd_value)
    try:
        path.write_text(
            json.dumps({} if new is GONE and not where else with_value(value, where, new))
        )
        check(words, place)
    finally:
        path.write_bytes(before) if before else path.unlink()


@st.composite
def toml(draw):
    def table(fields):
        keys = draw(st.lists(st.sampled_from(fields), max_size=3, unique=True))
        return [f"{key} = {draw(toml_value)}" for key in keys]

    lines = table([*RunConfig.model_fields, "x"])
    if draw(st.booleans()):
        lines += ["[language]", "base_url = 'http://127.0.0.1:9/v1'", "model = 'm'"]
        own = [f for f in LanguageSettings.model_fields if f not in ("base_url", "model")]
        lines += table(own)
        if draw(st.booleans()):
            lines += ["[language.extra]", *table(["model", "temperature", "x"])]
    return "\n".join(lines)


toml_value = st.sampled_from(
    [
        *("0", "-1", "1", "3", "nan", "inf", "-inf", "1e999", "true", "''", "'x'", '"\\u0000"'),
        *(str(10**6), str(10**7), str(2**31), str(2**63), "9" * 4000, "1979-05-27", "07:32:00"),
        *("[]", "{}", "[1, 'x']", "{a = 1}", "[" * 900 + "]" * 900, "0x7f", "'none'", "'topk'"),
        '"\\u001b[31m"',
    ]
)


@tries(50)
@given(text=toml())
def test_whatever_a_settings_file_holds(place, text):
    (place / "x.toml").write_text(text)
    check(["run", "MODEL", "--trust", "--out", "NEW", "--config", "x.toml"], place)


cell = st.sampled_from(
    [
        *(
            "50",
            "181",
            "x",
            "",
            '"',
            "'",
            "[",
            "a,b",
            "['a', 'b']",
            "{'name': 'x'}",
            "a|b",
            "[PAD]",
        ),
        *("=1+1", "\u202e", "\0", "nan", "[" * 3000, "x" * 2000, "1e999", "a_b", "\r", "\x1b[31m"),
    ]
)


@tries(50)
@given(
    rows=st.lists(st.lists(cell, min_size=1, max_size=4), max_size=5), mark=st.sampled_from(",;\t|")
)
def test_whatever_an_item_table_holds(place, rows, mark):
    head = ["id", "title", "genres", "year"]
    lines = [head[: len(rows[0]) if rows else 0], *rows]
    text = "\n".join(mark.join(line) for line in lines)
    (place / "x.csv").write_text(text, newline="")
    check(["inspect", "MODEL", "--trust", "--items", "x.csv"], place)


@tries(50)
@given(
    text=st.lists(
        st.sampled_from(
            [
                *("[rename]", "[merge]", "[reject]", "[x]", "3 = 'a'", "'a' = [3, 4]", "-1 = 'x'"),
                *(
                    "'a' = [3, 99999999999999999999]",
                    "3 = 1",
                    "'' = ''",
                    "3 = '\x1b[31m'",
                    "4 = ''",
                ),
                *("'3' = '" + "x" * 3000 + "'", "'a' = [nan]", "99999 = 'x'", '3 = "\\u202e"'),
            ]
        ),
        max_size=5,
    ).map("\n".join)
)
def test_whatever_the_corrections_hold(place, text):
    path = place / "run" / "corrections.toml"
    try:
        path.write_text(text)
        check(["concepts", "RUN", "--latent", "3"], place)
        check(["report", "RUN"], place)
    finally:
        path.unlink()
