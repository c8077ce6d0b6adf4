"""The pure helpers behind the table of speeds, and that what is compared does the same."""

from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import sae_speed

    return sae_speed


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import sae_steps

    return sae_steps


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import sae_peers

    return sae_peers


@pytest.fixture
def uses(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import sae_uses

    return sae_uses


def times_of(steps: ModuleType) -> object:
    """recsae is best at 256, the other at 320; the second round is twice as slow for both."""
    seconds = {
        ("recsae", 256): [1e-6, 2e-6, 1e-6],
        ("recsae", 320): [2e-6, 4e-6, 2e-6],
        ("autograd", 256): [9e-6, 18e-6, 9e-6],
        ("autograd", 320): [6e-6, 12e-6, 6e-6],
    }
    return steps.Times(seconds, [1e9, 0.5e9, 1e9])


def test_flop_of_a_sparse_step(peers: ModuleType) -> None:
    assert peers.Size(64, 2048, 32).flop() == 2 * 64 * 2048 + 8 * 32 * 64


def test_each_is_compared_at_its_own_best_batch(
    speed: ModuleType, steps: ModuleType, peers: ModuleType
) -> None:
    times, size = times_of(steps), peers.Size(10, 20, 1)  # 480 FLOP: 0.48 us at 1 GFLOP/s
    assert steps.best_batch(times, "recsae") == 256
    assert steps.best_batch(times, "autograd") == 320
    assert steps.share_of_floor(times, size, "recsae", 256) == pytest.approx(0.48)
    lines = speed.speed_table(times, size).splitlines()
    assert lines[2] == "| recsae | 1.0 (1.0) | 2.0 (1.0) | 256 | 1.00 | 48 % |"
    assert lines[3] == "| autograd | 9.0 (9.0) | 6.0 (3.0) | 320 | 6.00 | 8 % |"
    assert speed.targets(times, size, ["autograd"]).splitlines()[2:] == [
        "| fastest library (autograd) at its best batch, times recsae's | 3 | 6.00 |",
        "| autograd at batch 320, times recsae's | 6 | 6.00 |",
        "| share of the floor | 40 % | 48 % |",
    ]


def test_ratios_are_of_one_round(uses: ModuleType) -> None:
    assert uses.median_ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == 3.0


def test_only_the_largest_are_kept(peers: ModuleType) -> None:
    kept = peers.keep_largest(torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]]), 2)
    assert kept.tolist() == [[3.0, 0.0, 2.0], [0.0, 5.0, 4.0]]


@pytest.mark.parametrize("auxiliary", [False, True])
def test_recsae_and_the_reference_take_the_same_steps(
    steps: ModuleType, peers: ModuleType, auxiliary: bool
) -> None:
    size = peers.Size(8, 32, 4)
    states = steps.made_states(size, 2300)
    ours, reference = (
        steps.curve(make(size, 3e-3, 128, auxiliary), states[:2048], 128, (1, 200), states[2048:])
        for make in (peers.Recsae, peers.Autograd)
    )
    assert ours[1] < 0.5 * ours[0]
    assert [round(v, 4) for v in ours] == pytest.approx([round(v, 4) for v in reference], abs=1e-4)


def test_steps_go_over_the_states_again(steps: ModuleType) -> None:
    seen = []

    class Peer:
        def step(self, x: torch.Tensor) -> None:
            seen.append(x.flatten().tolist())

    work = steps.stepping(Peer(), torch.arange(5.0)[:, None], 2)
    for _ in range(3):
        work()
    assert seen == [[0, 1], [2, 3], [0, 1]]


def test_a_store_of_made_states(uses: ModuleType, tmp_path: Path) -> None:
    from recsae.capture.store import ActivationStore

    uses.write_store(tmp_path, 70_000, 2)
    store = ActivationStore(tmp_path)
    assert [shard.shape for shard in store.shards] == [(65_536, 2), (4464, 2)]
