"""What the pages tell people to type works, and a session shows what is really printed."""

import re

import click
import pytest

pytest.importorskip("recbole")

from helpers.pages import GUIDE, PAGES, commands, session, text_of
from helpers.runs import checkpoint, command, recbole_run
from recsae.cli.entry import group
from recsae.recommender.plugins import load_recommender

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


COMMANDS = {" ".join(c): c for page in PAGES for c in commands(page)}
SESSION = session("README.md")
NOT_RUN = {"--user", "--edit", "--migrate", "--save", "--with"}
"""They speak of users and files that the tests' run does not have, or change the run."""


@pytest.fixture(scope="module")
def known():
    """A concept, a user and two items of the tests' own run, which is of another model."""
    recommender = load_recommender(checkpoint(), trust=True)
    sequences, titles = recommender.sequences(), recommender.catalog.titles
    return {"user": str(sequences.users[5]), "item": titles[sequences[5][-1]]}


@pytest.fixture
def says(capsys, known, recbole_run):
    """Run a command of a page on the tests' run: what it prints."""

    def run(arguments):
        capsys.readouterr()
        assert command("concepts", recbole_run, "--status", "verified") == 0
        concept = capsys.readouterr().out.splitlines()[1].split()[0]
        assert command(*typed(arguments, {**known, "concept": concept})) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def typed(arguments, known):
    """With the run, the concepts, the users and the items of the tests in place of the page's."""
    items = {"Alien": "Star Wars", "Alien, Aliens, Toy Story": "Star Wars, Scream"}
    found = []
    for before, text in zip(["", *arguments], arguments, strict=False):
        text = items.get(text, text).replace("saved/SASRec.pth", str(checkpoint()))
        text = re.sub(r"^(recsae-demo/run|my-run)$", str(recbole_run()), text)
        text = re.sub(r"^(Horror|Sci-Fi|Action|203)(?=[-+<>=])", known["concept"], text)
        text = re.sub(r"^(452|11)(?==|$)", "45", text)
        if before == "--search":
            text = "the"  # in every label
        if before in ("--user", "--item") and text not in items.values():
            text = known[before[2:]]
        found.append(re.sub(r"^concept:\w+", "concept:Comedy", text))
    return found


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_commands_can_be_typed(arguments):
    name, *options = arguments
    called = group.get_command(click.Context(group), name)
    assert called is not None, name
    assert isinstance(called.make_context(name, list(options)).params, dict)


def test_every_command_is_shown():
    shown = {c[0] for c in commands("docs/start.md")}
    assert shown == set(group.list_commands(click.Context(group))) - {"demo"}
    assert "make demo" in text_of("README.md")


RUN = {
    " ".join(c): c
    for page in GUIDE
    for c in commands(page)
    if c[0] in ("concepts", "steer") and not NOT_RUN & {*c} and "recsae-demo/run" not in c
}


@pytest.mark.parametrize("arguments", RUN.values(), ids=RUN)
def test_commands_on_a_run_run(arguments, says):
    """Names of concepts are those of the page's data set; here any verified one stands in."""
    says(arguments)


def test_the_session_has_five_commands():
    names = [arguments[0] for arguments, _ in SESSION]
    assert names == ["concepts", "concepts", "explain", "steer", "tune"]


@pytest.mark.parametrize(("arguments", "shown"), SESSION, ids=[" ".join(a) for a, _ in SESSION])
def test_the_session_shows_what_is_printed(arguments, shown, says):
    """Figures and names are the demo's; headers and the names of facts are the command's own."""
    printed = says(arguments).splitlines()
    facts = {line.split(":")[0] for line in printed if ": " in line}
    headers = [line.split() for line in printed]
    for number, line in enumerate(shown):
        fact = re.match(r"[a-z][\w@ ]+(?=: )|NDCG@10 kept(?=: )", line)
        if fact:
            assert fact[0] in facts, line
        if line.startswith(("latent ", "place ")):
            words = line.removesuffix("...").split()
            assert any(words == header[: len(words)] for header in headers), line
            assert re.match(r" +(\d|-)", shown[number + 1])
