"""Whatever is typed ends in a result or in one sentence."""

from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("recbole")

from helpers.fuzz import N_EXAMPLES, check, hostile_folder, tries
from helpers.runs import recbole_run
from recsae.cli.entry import group

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with hostile_folder(tmp_path_factory.mktemp("fuzz")) as folder:
        yield folder


# -- values ----------------------------------------------------------------------------------------

NUMBERS = (
    *("0", "-1", "1", "3", "-0", "1.5", "1e400", "-1e400", "nan", "inf", "-inf", "NaN", "1_000"),
    *(str(2**31), str(2**63), str(2**64), str(10**30), "9" * 5000, "0x10", "١٢", "½", "1e-400"),
    *("100%", "0%", "-5%", "nan%", "1%", "1e-9"),
)
TEXTS = (
    *("Horror", "Drama", "Star Wars (1977)", "a\x1b[31mb", "\u202eevil", "\u200b", "\udcff", "\n"),
    *("'", '"', '"a', "a,b", ",", ",,,", "--", "-", "=", "@", "%s", "{}", "{0}", "$(id)", "`id`"),
    *("x" * 300, "x" * 100_000, "🙂", "é", "ﬀ", "İ", "[", "(", "*", "\\", "|", "a:b", ":", "None"),
    *("../..", "/", ".", "..", "~", "con", "a/b", "/dev/null/x", "\t", "a\rb", "null", "true"),
)
SETS = (
    *("3=0", "3=off", "3=x2", "3+=2sd", "3>=q50", "3<=q0", "3=q100@active", "Drama=0", "3=xnan"),
    *("3=1e400", "3=x1e400", "3=x1e308", "3=1e39", "3+=1e38sd", "3=q101", "3=-1", "3=x-1", "=0"),
    *("3==0", "3=", "x=y", "99999999999999999999=0", "-1=0", "1.5=0", "3 = 0 @ active", "3=0sd"),
    *("3=9" * 1000, "3=" + "9" * 400, "3+=q5", "3=xq5", "3=offsd", "٣=0", "3=٣", "²=0", "3=²"),
)
RULES = (
    *("concept:3>0.1", "concept:3<0.1", "concept:Drama>0", "concept:3>2", "concept:x>0.1"),
    *("item:50", "item:Star Wars (1977)", "item:", "item:x", "concept:", "concept:>", "concept:3>"),
    *("concept:3>nan", "concept:3>" + "9" * 500, "concept:3>.", "concept:²>0", "x:y", "3>0.1"),
)
NAMED = {
    "settings": SETS,
    "cohort": RULES,
    "users": ("71", "71,61", "71,x", "users.txt", "binary.bin", "FOLDER", "empty", "71,71"),
    "user": ("71", "61", "x"),
    "sequence": ("50", "50,181", "50,,181", '"50', "x", "50," * 3000, "[PAD]", "0"),
    "item": ("50", "[PAD]", "x", "0"),
    "search": ("drama", ".*", "(", "zzz"),
    "status": ("verified", "rejected", "x"),
    "more": ("Drama", "3", "x", "Action"),
    "less": ("Drama", "3", "x"),
    "never": ("Drama", "3", "x"),
    "files": ("kept", "good.json", "deep.json", "nan.json", "nobody.json", "binary.bin", "x"),
    "migrate": ("kept", "good.json", "deep.json", "x"),
    "save": ("name", "x.json", "a/b", "FOLDER", "missing/x.json", "FOLDER/x.json", "empty/x.json"),
    "device": ("cpu", "cuda", "cuda:99", "meta", "xla", "mps", "cpu:7", "x"),
    "site": ("sequence", "x"),
    "activation": ("topk", "relu", "x"),
    "core": ("none", "statements", "x"),
    "separator": ("none", " ", "|", ","),
    "data_path": ("FOLDER", "empty"),
    "title_column": ("movie_title", "x"),
    "attribute_columns": ("class", "class,x", ","),
    "attributes_first": ("class", "x", "class,class"),
    "llm_base_url": ("http://127.0.0.1:9/v1", "x", "http://u:p@x/v1", "file:///etc"),
    "llm_model": ("m", "x" * 1000),
    "config_file": ("good.toml", "deep.toml", "huge.toml", "nan.toml", "llm.toml", "odd.toml"),
    "items": ("items.csv", "odd.csv", "deep.csv", "twice.csv", "binary.bin", "empty", "pipe"),
    "method": ("both", "gradients", "leave-one-out"),
    "baseline": ("zero", "mean-user"),
    "formats": ("torch", "onnx"),
    "popularity": ("-", "+"),
}
"""Values that some options take, or nearly, by the parameter's name."""
PATHS = (
    *(
        "FOLDER",
        "RUN",
        "MODEL",
        "empty",
        "binary.bin",
        "missing",
        "missing/missing",
        "pipe",
        "loop",
    ),
    *("zip.pth", "text.pth", "weights.pth", "half.pth", "norun", "oddrun", "x" * 300, "empty/x"),
    *("a\x1b[31mb", "\udcff", "new", "new2", "/dev/null", "good.json", "half"),
)

any_text = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=30)
any_number = st.sampled_from(NUMBERS) | st.integers().map(str) | st.floats().map(str)


def values_of(parameter):
    """Values for an option or an argument, those that it may take most often."""
    own = NAMED.get(parameter.name, ())
    if isinstance(parameter.type, click.Path):
        own = (*own, *PATHS)
    plenty = [st.sampled_from(own)] * 4 if own else []
    if isinstance(parameter.type, click.Choice):
        plenty = [st.sampled_from(list(parameter.type.choices))] * 4
    return st.one_of(*plenty, any_number, st.sampled_from(TEXTS), st.sampled_from(PATHS), any_text)


STEER = ["steer", "RUN", "--set", "3=0"]
TUNE = ["tune", "RUN", "--quick", "--latents", "2"]
STARTS = {
    "demo": [["demo", "--out", "NEW"]],
    "run": [["run", "MODEL", "--trust", "--out", "NEW"]],
    "inspect": [["inspect", "MODEL", "--trust"]],
    "sites": [["sites", "MODEL", "--trust"]],
    "steer": [
        [*STEER, "--user", "71"],
        [*STEER, "--sequence", "50,181"],
        [*STEER, "--users", "71,61,17"],
        [*STEER, "--cohort", "item:50"],
        ["steer", "RUN", "--with", "kept", "--save", "again"],
        ["steer", "RUN", "--migrate", "kept", "--from", "RUN"],
        ["steer", "RUN", "--list"],
        ["steer", "RUN", "--check"],
    ],
    "tune": [
        [*TUNE, "--popularity", "-"],
        [*TUNE, "--more", "Drama", "--users", "users.txt"],
        [*TUNE, "--less", "Drama", "--cohort", "item:50", "--max-ndcg-loss", "5%"],
        [*TUNE, "--never", "3", "--save", "tuned"],
    ],
    "export": [
        ["export", "RUN", "--set", "3=0", "--out", "NEW"],
        ["export", "RUN", "--with", "kept", "--out", "NEW"],
    ],
    "compare": [["compare", "RUN", "RUN"]],
    "explain": [
        ["explain", "RUN", "--sequence", "50", "--method", "leave-one-out"],
        ["explain", "RUN", "--user", "71", "--item", "50", "--method", "leave-one-out"],
        ["explain", "RUN", "--user", "71", "--latent", "3", "--method", "gradients"],
    ],
    "profile": [
        ["profile", "RUN", "--item", "50"],
        ["profile", "RUN", "--user", "71", "--latents"],
        ["profile", "RUN", "--users", "users.txt"],
        ["profile", "RUN", "--cohort", "item:50", "--top", "3"],
    ],
    "concepts": [
        ["concepts", "RUN", "--search", "a", "--status", "verified"],
        ["concepts", "RUN", "--latent", "3"],
        ["concepts", "RUN", "--item", "50"],
        ["concepts", "RUN", "--edit"],
        ["concepts", "RUN", "--audit", "2", "--seed", "1"],
    ],
    "report": [
        ["report", "RUN", "--redact-users", "--max-history", "3", "--out", "NEW"],
        ["report", "RUN", "--show-users"],
    ],
}
"""Command lines that work; one value in them becomes a hostile one, or hostile options follow."""


@st.composite
def lines(draw):
    name = draw(st.sampled_from(list(group.commands)))
    options = [p for p in group.commands[name].params if isinstance(p, click.Option)]
    words = list(draw(st.sampled_from(STARTS.get(name, [[name]]))))
    flags = {flag: option for option in options for flag in option.opts}
    places = [n for n, word in enumerate(words) if word in flags and not flags[word].is_flag]
    kind = draw(st.sampled_from(["value"] * 5 + ["options"] * 4 + ["path", "word", "bare"]))
    if kind == "value" and places:
        place = draw(st.sampled_from(places))
        words[place + 1] = draw(values_of(flags[words[place]]))
    elif kind == "path" and len(words) > 1:
        words[1] = draw(st.sampled_from(PATHS) | any_text)
    elif kind == "word":
        words.insert(draw(st.integers(0, len(words))), draw(any_text))
    elif kind == "bare":
        words = words[:2]
    elif options:
        for option in draw(st.lists(st.sampled_from(options), min_size=1, max_size=3)):
            flag = draw(st.sampled_from([*option.opts, *option.secondary_opts]))
            words += [flag] if option.is_flag else [flag, draw(values_of(option))]
    return words


@tries(150)
@given(words=lines())
def test_whatever_is_typed_ends_in_a_result_or_a_sentence(place, words):
    check(words, place)


EVERY = [
    (name, option, value)
    for name, started in group.commands.items()
    for option in started.params
    if isinstance(option, click.Option) and not option.is_flag
    for value in NAMED.get(option.name, ())
]
"""Every value that an option is given by its name."""


def test_every_value_that_was_thought_of(place):
    for name, option, value in EVERY[:: 1 if N_EXAMPLES else 7]:
        check([*STARTS.get(name, [[name]])[0], option.opts[0], value], place)


def test_the_run_is_as_it_was(place):
    """What fails leaves nothing behind, and what works writes only where it is told to."""
    made_once = recbole_run()
    may_change = {"corrections.toml", "corrections.safetensors", "steering", "hidden.json"}
    may_change |= {"report.html", "card.md", "concepts.csv", "run.json"}
    for path in made_once.rglob("*"):
        inside = path.relative_to(made_once)
        if path.is_file() and inside.parts[0] not in may_change:
            assert (place / "run" / inside).read_bytes() == path.read_bytes(), inside
    there = {p.name for p in (place / "run").iterdir()} - {p.name for p in made_once.iterdir()}
    assert there <= may_change
    assert Path("FOLDER/x").read_text() == "mine"
