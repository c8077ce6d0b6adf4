"""What a terminal would act on is printed by nobody."""

import io
import json
import logging
import sys

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from recsae.cli.shared.console import progress_bar, run_command, show_json
from recsae.cli.shared.output import PlainStream, in_json, plain_output
from recsae.core.errors import InvalidInput

HOSTILE = "a\x1b[31mb\x1b]0;t\x07c\u202ed\u2066e\x9bf\rg\x08h\x00i\u2028j\ud800k"
PLAIN = "a [31mb ]0;t c d e f g h i j k"


def harmless(text):
    return all(c.isprintable() or c == "\n" for c in text)


def test_whoever_prints_prints_lines(capsys):
    with plain_output():
        sys.stdout.write(HOSTILE + "\n")
        click.echo(HOSTILE)
        sys.stderr.writelines([HOSTILE, "\n"])
        record = logging.makeLogRecord({"msg": HOSTILE, "levelno": logging.WARNING})
        logging.lastResort.handle(record)
    out, err = capsys.readouterr()
    assert out.splitlines() == [PLAIN, PLAIN.replace(" [31m", "")]  # click drops colours itself
    assert err.splitlines() == [PLAIN, PLAIN]
    sys.stdout.write(HOSTILE[:3])
    assert capsys.readouterr()[0] == HOSTILE[:3]  # afterwards streams are as they were


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=[])))
def test_every_character_is_printed_or_a_blank(text):
    raw = io.StringIO()
    PlainStream(raw).write(text)
    shown = raw.getvalue()
    assert harmless(shown)
    assert len(shown) == len(text)
    assert all(a in (b, " ") for a, b in zip(shown, text, strict=True))


def test_bytes_do_not_go_past(capsys):
    with plain_output():
        assert not hasattr(sys.stdout, "buffer")
        with pytest.raises(TypeError):
            sys.stdout.write(b"\x1b")
    assert capsys.readouterr() == ("", "")


def test_a_stream_of_few_characters_shows_a_question_mark():
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    PlainStream(raw).write("Amélie\n")
    raw.flush()
    assert raw.buffer.getvalue() == b"Am?lie\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_says_the_same_in_any_encoding(monkeypatch, encoding):
    raw = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", raw)
    value = {"title": f"Amélie {HOSTILE} \U0001f600 \U000e0001"}
    with plain_output():
        show_json(value)
    raw.flush()
    text = raw.buffer.getvalue().decode(encoding)
    assert json.loads(text) == value
    assert harmless(text)


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_with_escapes_is_the_same_json(value):
    text = in_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert harmless(text)


@pytest.fixture
def fails(monkeypatch, capsys):
    """Run a command that fails: its exit code and what it says."""

    def run(error):
        @click.command()
        def fail():
            raise error

        monkeypatch.setattr(sys, "argv", ["recsae"])
        with plain_output():
            code = run_command(fail, debug=False)
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    "error", [InvalidInput(HOSTILE), OSError(2, HOSTILE, HOSTILE), ValueError(HOSTILE)]
)
def test_messages_of_errors_are_one_plain_line(fails, error):
    _, err = fails(error)
    assert PLAIN in " ".join(err.split())
    assert harmless(err)
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", [InvalidInput, click.UsageError])
def test_a_long_message_is_cut(fails, kind):
    code, err = fails(kind("x" * 10**6))
    assert code == 2
    assert len(err) < 3000


def test_too_little_memory_is_one_sentence(fails):
    code, err = fails(MemoryError())
    assert code == 3
    assert err.startswith("Error: There is not enough memory here")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_progress_bar_moves_within_its_line_and_its_words_are_plain(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("tqdm.tqdm", lambda **how: tqdm(**{**how, "delay": 0, "mininterval": 0}))
    with plain_output():
        bar = progress_bar()
        for done in range(3):
            bar(done, 4, "reading \x1b[31mit")
    assert "\rreading  [31mit" in terminal.getvalue()
    assert "\x1b[31m" not in terminal.getvalue()
