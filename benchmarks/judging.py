"""How many cases must a language model judge to verify a description? Simulated, no model is asked.

``python benchmarks/judging.py`` prints the share of judges of a known precision, all of recall .9,
whose bounds reach .5, by how often the latent is active and how cases are drawn:

- ``40 of its own``: 20 active cases and 20 random inactive ones, for each description;
- ``40, half hard``: 10 of the inactive ones from a stratum of those nearest to the active ones, as
  many as are active, in which four of five false alarms are;
- ``N shared``: the same N random cases for all, and active ones until there are 20.

The cases are of 1,200 users whose lengths differ as those of ml-1m do.
"""

from __future__ import annotations

import click
import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, t

from recsae.concepts.status import THRESHOLD
from recsae.core.intervals import precision_bound, rate_bound

Floats = NDArray[np.float64]
RECALL = 0.9
N_ACTIVE = 20
N_DRAWS = 1000
N_USERS = 1200
SPREAD = 1.0
"""Of the logarithm of a user's number of cases."""
NEAR = 0.8
"""Share of the false alarms that are among the nearest cases."""
RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
PRECISIONS = (0.5, 0.7, 0.9, 0.99)
SHARED = (300, 1000, 3000)


def alarm_rate(rate: float, precision: float) -> float:
    """Share of the inactive cases that match, for a judge of this precision."""
    return rate * RECALL * (1 - precision) / precision / (1 - rate)


def verified(hits: Floats, n_pos: Floats, alarms: Floats, n_neg: Floats, rate: float) -> float:
    """Share of judges that are verified, from counts per user ``(n_users, m)``."""
    sizes = np.full(hits.shape[1], rate), np.full(hits.shape[1], 1 - rate)
    low = precision_bound(hits, n_pos, alarms, n_neg, sizes)[1]
    return float((np.minimum(low, rate_bound(hits, n_pos)[1]) >= THRESHOLD).mean())


def drawn(rng: np.random.Generator, rate: float, precision: float, n: int, own: bool) -> float:
    """``n`` random cases, or as many inactive ones, and active ones until there are 20."""
    is_active = np.zeros((n, N_DRAWS), bool) if own else rng.random((n, N_DRAWS)) < rate
    lacking = np.maximum(N_ACTIVE - is_active.sum(0), 0)
    more = np.arange(N_ACTIVE)[:, None] < lacking
    n_pos, n_neg = np.r_[is_active, more], np.r_[~is_active, np.zeros_like(more)]
    hits = n_pos & (rng.random(n_pos.shape) < RECALL)
    alarms = n_neg & (rng.random(n_pos.shape) < alarm_rate(rate, precision))
    share = rng.lognormal(0, SPREAD, N_USERS)
    user = np.sort(rng.choice(N_USERS, len(n_pos), p=share / share.sum()))
    starts = np.flatnonzero(np.r_[True, np.diff(user) > 0])
    shuffled = rng.permutation(len(n_pos))
    right, active, wrong, inactive = (
        np.add.reduceat(x[shuffled].astype(np.float64), starts)
        for x in (hits, n_pos, alarms, n_neg)
    )
    return verified(right, active, wrong, inactive, rate)


def stratified(rng: np.random.Generator, rate: float, precision: float, n: int = 10) -> float:
    """Ten of the nearest and ten of the other inactive cases."""
    total = alarm_rate(rate, precision) * (1 - rate)
    size = np.array([rate, 1 - 2 * rate])[:, None]
    alarm = np.array([NEAR * total, (1 - NEAR) * total])[:, None] / size
    x = rng.binomial(n, np.minimum(alarm, 1), (2, N_DRAWS))
    most = np.where(x < n, beta.ppf(0.95, x + 1, np.maximum(n - x, 1)), 1.0)
    share = (size * x / n).sum(0)
    high = share + np.sqrt(np.square(size * (most - x / n)).sum(0))
    hits = rng.binomial(N_ACTIVE, RECALL, N_DRAWS) / N_ACTIVE
    z = t.ppf(0.95, N_ACTIVE - 1)
    half = z * np.sqrt(hits * (1 - hits) / N_ACTIVE + z**2 / (4 * N_ACTIVE**2))
    low = (hits + z**2 / (2 * N_ACTIVE) - half) / (1 + z**2 / N_ACTIVE)
    below = low * (2 * hits - low)
    within = np.maximum(np.square(share * hits) - high * (2 * share - high) * below, 0)
    ratio = (share * hits + np.sqrt(within)) / below
    return float(((1 / (1 + ratio / rate) >= THRESHOLD) & (low >= THRESHOLD)).mean())


@click.command()
def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    heads = ["40 of its own", "40, half hard", *(f"{n:,} shared" for n in SHARED)]
    click.echo(
        f"| active on | precision | {' | '.join(heads)} |\n|---:|---:|{'---:|' * len(heads)}"
    )
    for rate in RATES:
        for precision in PRECISIONS:
            shares = [drawn(rng, rate, precision, 20, True), stratified(rng, rate, precision)]
            shares += [drawn(rng, rate, precision, n, False) for n in SHARED]
            row = " | ".join(f"{share:.2f}" for share in shares)
            click.echo(f"| {100 * rate:g} % | {precision} | {row} |")


if __name__ == "__main__":
    main()
