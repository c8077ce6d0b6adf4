"""Which concepts do what they say, as the terminal has it."""

import pytest

from helpers.obeyed_run import hand_made
from helpers.runs import command
from recsae.cli.shared.obeyed import show_obeyed
from recsae.finished.loaded import load_run
from recsae.steering.obeyed.measure import obeyed


def test_the_answer_then_the_table_then_what_is_only_readable(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    show_obeyed(obeyed(hand_made(tmp_path)), everything=False)
    first, *rest = capsys.readouterr().out.split("\n")
    assert first.startswith("2 of 5 verified concepts do what they say when turned; 3 are only")
    rows = [line.split() for line in rest if line.startswith(("SAE concepts", "random"))]
    assert rows[0][2:] == ["5", "2", "(40%)", "3", "(60%)", "2", "1", "(50%)", "1", "(50%)", "–"]
    assert rows[1][:3] == ["random", "directions", "5"]
    assert any(line.startswith("Not turned: raw neurons and principal") for line in rest)
    below = rest[next(i for i, line in enumerate(rest) if line.startswith("Only readable")) :]
    shown = [line.split()[0] for line in below[2:5]]
    assert shown == ["3", "1", "2"]  # the opposite first
    assert below[2].rstrip().endswith("no")
    assert below[4].rstrip().endswith("cannot be told")


@pytest.mark.end_to_end
@pytest.mark.recbole
def test_one_latent_says_whether_it_is_obeyed(planted_run, capsys):
    turned = load_run(planted_run).concepts
    latent = int(turned.loc[turned["obeyed"] == "yes", "latent"].iloc[0])
    assert command("concepts", planted_run, "--latent", latent) == 0
    assert "does what it says when turned: yes\n" in capsys.readouterr().out
