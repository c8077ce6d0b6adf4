"""A large catalogue: time and memory of attaching and of every stage of a run.

    python benchmarks/scale.py --items 100000 --out RUN
    python benchmarks/scale.py --items 1000000 --interactions 10000000 [--parquet]

Without ``--out`` only attaching is measured, from a DataFrame or, with ``--parquet``, from a folder
of ten Parquet files; the rows of both are in no order.

The data are made: users who like two of forty genres, each item of one genre, popularity like
Zipf's. The model is a plain torch GRU whose item table is the genres and noise, trained for some
steps by a softmax over drawn items. Prints a line per stage, and the floor: the products of states
and items at the speed of this machine's sgemm.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.rnn import pad_sequence

import recsae_torch
from recsae.cli.run import stage_line
from recsae.pipeline import run_pipeline
from recsae.recommender.protocol import Recommender
from recsae.run.config import RunConfig

if TYPE_CHECKING:
    from recsae_torch.histories import Histories

Ids = NDArray[np.int64]
WIDTH = 64
N_GENRES = 40
LENGTH = 50
SHORTEST, LONGEST = 5, 30
"""Items of a history."""
N_FILES = 10
STEPS, BATCH, DRAWN = 100, 64, 2_000


class NextItem(nn.Module):
    """Scores of all items after every item of a history; item 0 is padding."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(
            table, freeze=False, padding_idx=0, sparse=True
        )
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def states(self, items: torch.Tensor) -> torch.Tensor:
        """After every item."""
        states: torch.Tensor = self.gru(self.embedding(items))[0]
        return states

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Scores of all items."""
        scores: torch.Tensor = self.states(items) @ self.embedding.weight.T
        return scores


def made(n_items: int, n_users: int, seed: int = 0) -> tuple[Ids, Ids, Ids]:
    """Genres ``(n_items + 1,)``, and users and items ``(n,)`` of interactions, in order of time."""
    rng = np.random.default_rng(seed)
    genre = rng.integers(0, N_GENRES, n_items + 1)
    popularity = 1 / (10 + rng.permutation(n_items + 1))
    popularity[0] = 0
    lengths = rng.integers(SHORTEST, LONGEST + 1, n_users)
    user = np.repeat(np.arange(n_users), lengths)
    liked = rng.integers(0, N_GENRES, (n_users, 2))
    wanted = liked[user, rng.integers(0, 2, len(user))]
    wanted = np.where(rng.random(len(user)) < 0.2, rng.integers(0, N_GENRES, len(user)), wanted)
    item = np.empty(len(user), dtype=np.int64)
    for one in range(N_GENRES):
        of, rows = np.flatnonzero(genre == one), np.flatnonzero(wanted == one)
        item[rows] = rng.choice(of, len(rows), p=popularity[of] / popularity[of].sum())
    return genre, user, item


def trained(genre: Ids, user: Ids, item: Ids, seed: int = 0) -> NextItem:
    """A model of the interactions."""
    torch.manual_seed(seed)
    of_genres = torch.nn.functional.normalize(torch.randn(N_GENRES, WIDTH), dim=1)
    table = of_genres[torch.from_numpy(genre)] + 0.05 * torch.randn(len(genre), WIDTH)
    table[0] = 0
    model = NextItem(table)
    optimizers = [
        torch.optim.SparseAdam(list(model.embedding.parameters()), lr=3e-3),
        torch.optim.Adam(model.gru.parameters(), lr=3e-3),
    ]
    bounds = np.searchsorted(user, np.arange(user[-1] + 2))
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        some = rng.integers(0, len(bounds) - 1, BATCH)
        lists = [torch.from_numpy(item[bounds[u] : bounds[u + 1]]) for u in some]
        items = pad_sequence(lists, batch_first=True)
        states = model.states(items[:, :-1])[items[:, 1:] > 0]
        candidates, target = torch.unique(items[:, 1:][items[:, 1:] > 0], return_inverse=True)
        more = torch.from_numpy(rng.integers(1, len(genre), DRAWN))
        vectors = model.embedding(torch.cat([candidates, more]))
        loss = nn.functional.cross_entropy(4 * states @ vectors.T, target)
        model.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return model.eval()


def speed() -> float:
    """Multiply-adds of this machine's sgemm per second, in all threads, times two."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = 0.0
    for _ in range(10):
        start = time.perf_counter()
        a @ b
        best = max(best, 2 * 1024**3 / (time.perf_counter() - start))
    return best


def now() -> float:
    """Megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def peak() -> float:
    """Megabytes that this process had at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table_of(user: Ids, item: Ids, names: NDArray[np.object_]) -> pd.DataFrame:
    """The interactions with their times, in an order of rows that says nothing."""
    time_of = np.random.default_rng(1).permutation(len(user))
    return pd.DataFrame({"user": user[time_of], "item": names[item[time_of]], "time": time_of})


def written(table: pd.DataFrame, folder: Path) -> Path:
    """The table as Parquet files."""
    for number, start in enumerate(range(0, len(table), -(-len(table) // N_FILES))):
        part = table[start : start + -(-len(table) // N_FILES)]
        part.to_parquet(folder / f"{number:02}.parquet", index=False)
    return folder


def attached(arguments: argparse.Namespace, scratch: Path) -> Recommender:
    """A recommender of made data; says what attaching took."""
    n_users = arguments.users
    if arguments.interactions:
        n_users = round(arguments.interactions / ((SHORTEST + LONGEST) / 2))
    genre, user, item = made(arguments.items, n_users)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # many small products
    model = trained(genre, user, item)
    torch.set_num_threads(threads)
    ids = {f"i{number}": number for number in range(1, len(genre))}
    names = np.array(["", *ids], dtype=object)
    histories: Histories = table_of(user, item, names)
    print(f"{len(ids):,} items, {n_users:,} users, {len(item):,} interactions")
    if arguments.parquet:
        histories = written(histories, scratch)
    del user, item
    table = pd.DataFrame(
        {
            "item": names[1:],
            "title": [f"Item {number}" for number in ids.values()],
            "genre": [f"Genre {one}" for one in genre[1:]],
        }
    )
    print(f"before attaching: {now():,.0f} MB, at most {peak():,.0f} MB", flush=True)
    start, cpu = time.perf_counter(), time.process_time()
    recommender = recsae_torch.attach(
        model,
        site="gru",
        histories=histories,
        item_ids=ids,
        items=table,
        max_length=LENGTH,
        make_batch=lambda lists: pad_sequence([torch.tensor(x) for x in lists], batch_first=True),
    )
    wall, used = time.perf_counter() - start, time.process_time() - cpu
    print(f"attach: {wall:.0f} s, {used:.0f} CPU s, {peak():,.0f} MB", flush=True)
    return recommender


def main() -> None:
    """Make the data, train, attach and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=4_000)
    parser.add_argument("--interactions", type=int, help="about so many, and users")
    parser.add_argument("--parquet", action="store_true", help="attach to files")
    parser.add_argument("--construction", type=int, default=20_000)
    parser.add_argument("--heldout", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="the folder of a run; without it, only attach")
    parser.add_argument("--stability", type=int, default=2)
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        recommender = attached(arguments, Path(scratch))
    if arguments.out is None:
        return
    config = RunConfig(
        construction_positions=arguments.construction,
        heldout_positions=arguments.heldout,
        stability=arguments.stability,
    )
    start, cpu = time.perf_counter(), time.process_time()
    run_pipeline(recommender, arguments.out, config, progress=Stages(), done=say)
    wall, used = time.perf_counter() - start, time.process_time() - cpu
    print(f"run: {wall:.0f} s, {used:.0f} CPU s, {peak():,.0f} MB")
    states, n_items = arguments.construction + arguments.heldout, recommender.catalog.n_items
    floor = 2 * states * n_items * WIDTH / speed()
    print(f"floor of the lists: {states:,} states x {n_items:,} items: {floor:.1f} s")


def say(stage: str, record: Mapping[str, Any]) -> None:
    """What a stage took."""
    print(stage_line(stage, record), flush=True)


class Stages:
    """Says that a run goes on, once in a while."""

    def __init__(self) -> None:
        self.said = time.perf_counter()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Progress of a stage."""
        if time.perf_counter() - self.said > 10:
            self.said = time.perf_counter()
            print(f"  {what}: {done:,} of {total:,}, {peak():,.0f} MB", flush=True)


if __name__ == "__main__":
    main()
