"""Runs shared by several processes: the same results, and deaths that lose little."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import ranks as kit
from helpers.forked import Forked
from helpers.recbole_kit import tiny
from helpers.runs import command, copy_of, in_brief
from recsae.cli.shared.console import run_command
from recsae.core.distributed import SINGLE_PROCESS, Ranks, ranks_of_torchrun
from recsae.core.errors import NotEnoughData
from recsae.core.files import read_json, write_json
from recsae.sae import codes

pytestmark = pytest.mark.processes


SCRIPT = Path(kit.__file__)
SETTINGS = """latents = 24
samples = 12000
construction_positions = 3000
heldout_positions = 1500
"""
AGAIN = "Run the same command again"
MADE_AGAIN = ("concepts", "scoring", "accuracy", "steering", "goals")
"""Stages of a run of one process that two processes make again."""


# starting processes


def start(n, *arguments):
    """n processes with what torchrun would tell them, but without torchrun to end them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    where = {"WORLD_SIZE": str(n), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    return [
        Forked(kit.act, list(map(str, arguments)), {"RANK": rank, "LOCAL_RANK": rank, **where})
        for rank in map(str, range(n))
    ]


def torchrun(*arguments, **more):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join([str(SCRIPT.parents[1]), *filter(None, sys.path)])
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def one(folder):
    """What one process makes, and its folder."""
    (folder / "one").mkdir()
    kit.alone(folder / "one")
    return results_in(folder / "one")[0]


@pytest.fixture(scope="module")
def shared(folder, small_run):
    """What two and what three processes make, by their number."""
    found = {}
    for n in (2, 3):
        mine = folder / str(n)
        mine.mkdir()
        if n == 2:  # a run of one process without what is made of its SAE
            record = read_json(copy_of(small_run, mine / "run") / "run.json")
            for stage in MADE_AGAIN:
                for output in record["stages"].pop(stage)["outputs"]:
                    (mine / "run" / output).unlink()
            write_json(mine / "run/run.json", record)
        for process in start(n, mine):
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said[-3000:]
        found[n] = results_in(mine)
        assert len(found[n]) == n
    return found


def results_in(folder):
    return [torch.load(p, weights_only=True) for p in sorted(folder.glob("*.pt"))]


def assert_close(found, expected, **tolerance):
    assert set(found) == set(expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], **tolerance, msg=name)


def files_in(folder, pattern="*"):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob(pattern) if p.is_file()}


# one process and several


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("path", kit.PATHS)
@pytest.mark.parametrize("size", kit.SIZES)
def test_gradients_are_those_of_the_whole_batch(size, path, n, one, shared):
    name = f"gradients {size} {path}"
    assert size < 20 or one[name]["W_enc"][kit.DEAD].abs().sum() > 0  # by the auxiliary loss alone
    for found in shared[n]:
        assert_close(found[name], one[name], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_gradients_of_nested_dictionaries_are_those_of_the_whole_batch(n, one, shared):
    for found in shared[n]:
        assert_close(found["matryoshka"], one["matryoshka"], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_parameters_after_twenty_steps(n, one, shared):
    for found in shared[n]:
        assert_close(found["steps"], one["steps"], atol=1e-5, rtol=0)
        assert_close(found["steps"], shared[n][0]["steps"], atol=0, rtol=0)


def test_a_training_whose_steps_are_shared(one, shared):
    before = one["shared"]["fvu"]
    for found in shared[2]:
        assert abs(found["shared"]["fvu"] - before) < 1e-3
        assert found["shared"]["epochs"] == one["shared"]["epochs"]  # it ends early
        for name in ("W_enc", "W_dec"):
            assert torch.equal(found["shared"][name], shared[2][0]["shared"][name])


@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
def test_a_training_that_is_not_worth_sharing_is_the_same_to_the_bit(activation, one, shared):
    for found in shared[2]:
        found, expected = found[activation], one[activation]
        assert_close({**found, "fvu": 0.0}, {**expected, "fvu": 0.0}, atol=0, rtol=0)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("rows", [1, 2047, 5000])
def test_codes_are_the_same_to_the_bit(rows, n, one, shared):
    for found in shared[n]:
        assert_close(found[f"codes {rows}"], one[f"codes {rows}"], atol=0, rtol=0)


@pytest.mark.parametrize("n", [2, 3])
def test_stores_are_the_same_bytes(n, folder, one, shared):
    expected = files_in(folder / "one/captured")
    assert len(expected) == 6  # five shards, so that three processes have different numbers of them
    assert files_in(folder / str(n) / "captured") == expected


@pytest.mark.parametrize("n", [2, 3])
def test_an_error_of_one_is_everybodys(n, shared):
    assert [found["errors"] for found in shared[n]] == [["too few", "too few"]] * n


def test_concepts_scores_and_what_is_measured_are_the_same_bytes(folder, shared, small_run):
    tables = (
        f"{name}.parquet" for name in ("concepts", "examples", "scores", "baselines", "obeyed")
    )
    figures = (f"{name}.json" for name in ("scoring", "accuracy", "steering", "goals"))
    for file in (*tables, *figures, "plain/sae.safetensors"):
        assert (folder / "2/run" / file).read_bytes() == (small_run / file).read_bytes(), file
    assert read_json(small_run / "goals.json")["check"]
    assert read_json(small_run / "steering.json")


# the parts alone


class Threads(Ranks):
    """Ranks that are threads of one process."""

    def gather(self, value):
        barrier, given = self.store
        given[self.rank] = value
        barrier.wait()
        return list(given)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 9), st.integers(0, 99))
def test_codes_of_shares_put_together_are_the_code(n, size, batch, seed):
    rng = np.random.default_rng(seed)
    states = (rng.normal(size=(n, 5)) * (rng.random((n, 5)) < 0.5)).astype(np.float32)

    def encode(part):
        return codes.Code(part, torch.arange(5).expand(len(part), 5))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(codes, "STATES_AT_ONCE", batch)
        meeting = threading.Barrier(size), [None] * size
        with ThreadPoolExecutor(size) as pool:
            everyone = [Threads(rank, size, meeting) for rank in range(size)]
            made = pool.map(lambda ranks: codes.sparse_code(encode, states, 5, ranks), everyone)
    for code in made:
        np.testing.assert_array_equal(code.toarray(), np.maximum(states, 0))


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_are_all_there_is_in_order(n, size):
    shares = [list(range(n))[Ranks(rank, size).share(n)] for rank in range(size)]
    assert [thing for share in shares for thing in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_everything_is_what_it_was():
    tensor = torch.ones(2)
    assert SINGLE_PROCESS.sum(tensor) is tensor
    jobs = {"a": lambda: 1, "b": lambda: 2}
    assert SINGLE_PROCESS.scatter(jobs) == {"a": 1, "b": 2}
    assert list(SINGLE_PROCESS.scatter(jobs, threads=True).items()) == [("a", 1), ("b", 2)]
    assert SINGLE_PROCESS.may_speak()
    assert SINGLE_PROCESS.may_speak()
    with ranks_of_torchrun() as ranks:
        assert ranks is SINGLE_PROCESS


def test_jobs_are_done_once_each_by_whoever_is_free():
    """Process 1 does all the others while process 0 is busy with the first."""
    others, taken = threading.Event(), iter(range(9))
    done_by = {}

    def job(name, rank):
        done_by[name] = rank
        others.wait(10) if name == 0 else name == 5 and others.set()
        return name * name

    class Shared(Threads):
        def _numbers(self):
            return lambda: next(taken)

    meeting = threading.Barrier(2), [None] * 2
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(
            lambda ranks: ranks.scatter({n: lambda n=n: job(n, ranks.rank) for n in range(6)}),
            [Shared(rank, 2, meeting) for rank in range(2)],
        )
        assert list(found) == [{n: n * n for n in range(6)}] * 2
    assert {done_by[n] for n in range(1, 6)} == {1 - done_by[0]}


def test_what_one_does_alone_has_the_threads_of_its_machine(monkeypatch):
    sent = []
    monkeypatch.setattr("torch.distributed.broadcast_object_list", sent.append)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    before = torch.get_num_threads()
    assert Ranks(0, 6).broadcast_from_main(torch.get_num_threads) == 3 * before
    assert (torch.get_num_threads(), len(sent)) == (before, 1)


def test_each_process_of_a_machine_has_its_own_card(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Ranks(7, 8).device("cuda") == "cuda:1"
    assert Ranks(7, 8).device("cpu") == "cpu"
    assert SINGLE_PROCESS.device("cuda") == "cuda"


# the command line, and deaths


@pytest.fixture(scope="module")
def settings(folder):
    (folder / "settings.toml").write_text(SETTINGS)
    return folder / "settings.toml"


@pytest.fixture(scope="module")
def deaths(folder, settings):
    """A run that loses a process while it captures and one while it trains, and then ends."""
    out = folder / "out"
    run = ("run", tiny(), "--trust", "--out", out, "--config", settings)
    capturing = torchrun(SCRIPT, *run, DIE="1")
    found = {"capturing": capturing, "stores": files_in(out, "*.safetensors")}
    found["manifests"] = files_in(out, "manifest.json")
    first, second = start(2, *run)
    deadline = time.monotonic() + 60
    while not (out / "sae/training.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    found["killed"] = first.wait(), first.communicate()[1]
    found["left"] = second.wait(60), second.communicate()[1]
    found["epoch"] = read_json(out / "sae/training.json")["epoch"]
    resumed = start(2, *run)
    found["resumed"] = [
        (*process.communicate(timeout=60), process.returncode) for process in resumed
    ]
    return found


@pytest.fixture(scope="module")
def undisturbed(folder, settings):
    """The same run by one process."""
    out = folder / "undisturbed"
    with in_brief():
        assert command("run", tiny(), "--trust", "--out", out, "--config", settings) == 0
    return out


def test_a_death_while_capturing_is_said_once_and_keeps_whole_shards(deaths, undisturbed):
    said = deaths["capturing"].stderr
    assert deaths["capturing"].returncode != 0
    assert said.count(AGAIN) == 1, said[-3000:]
    kept, whole = deaths["stores"], files_in(undisturbed, "*.safetensors")
    assert kept
    assert set(kept) < set(whole)
    assert all(kept[name] == whole[name] for name in kept)
    assert not deaths["manifests"]


def test_a_death_while_training_ends_the_others_with_one_sentence(deaths):
    code, said = deaths["killed"]
    assert code == -signal.SIGKILL
    assert [line.split(":")[0] for line in said.splitlines()] == ["capture", "core"]
    code, said = deaths["left"]
    assert code == 3
    message = said.strip().splitlines()[-1]
    assert message.startswith("Error: Another process of this run has ended or cannot be reached (")
    assert message.endswith("epochs and stages that are finished are kept.")
    assert "Traceback" not in said


def test_the_same_command_goes_on_and_ends_as_one_process_does(deaths, undisturbed, folder):
    (first, _, _), (second, _, _) = deaths["resumed"]
    assert [code for _, _, code in deaths["resumed"]] == [0, 0], deaths["resumed"]
    assert first.count("Report: ") == 1
    assert not second
    assert deaths["epoch"] >= 1
    out = folder / "out"
    assert not files_in(out, ".*.part")
    for store in ("activations", "heldout"):
        assert files_in(out / store) == files_in(undisturbed / store)
    old, new = (read_json(run / "report.json") for run in (undisturbed, out))
    assert abs(old["sae"]["fvu"] - new["sae"]["fvu"]) < 1e-3
    assert set(old) == set(new)
    assert set(files_in(out)) == set(files_in(undisturbed))
    assert old["model"] == new["model"]
    assert old["accuracy"]["all_users"]["base"] == new["accuracy"]["all_users"]["base"]
    assert len(old["concepts"]["list"]) == len(new["concepts"]["list"])


class Store:
    """What torch's store does with counters."""

    def __init__(self):
        self.count = 0

    def add(self, name, n):
        self.count += n
        return self.count


def test_an_error_that_all_have_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["recsae"])

    @click.command()
    def broken():
        raise NotEnoughData("too few")

    store = Store()
    assert [run_command(broken, False, Ranks(rank, 2, store)) for rank in (1, 0)] == [3, 3]
    assert capsys.readouterr().err == "Error: too few\n"
