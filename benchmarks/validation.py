"""Does the score tell truth from chance? On recommenders with planted concepts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from validation_hierarchy import planted_families
from validation_worlds import (
    Pair,
    Truths,
    World,
    code_of,
    make_world,
    moved,
    permuted,
    predicate_truths,
    share_verified,
)

from recsae.concepts.attributes.names import ITEM_ITSELF, SEPARATOR, VIEWS
from recsae.concepts.dictionary import build_concepts
from recsae.concepts.item_sets import MIN_ITEM_CASES
from recsae.concepts.status import UNTESTED, VERIFIED
from recsae.core import columns as C
from recsae.evaluation.scoring import score_concepts
from recsae.evaluation.share import SIZES, named_share
from recsae.sae.baselines import LinearCode, random_directions

K = 8
N_PAIRS = 40
N_SETS = 60
PREVALENT = (0.1, 0.6)
FIRES = (0.08, 0.48)  # what is active on more is general-purpose
RATES = (0.01, 0.4)  # of concepts that are planted with a precision and a recall


def validation_figures(
    seed: int = 0, n_users: int = 1500, n_planted: int = 1000, n_above: int | None = None
) -> dict[str, float]:
    """All figures for one planted recommender; shares are of tested concepts.

    ``n_planted`` concepts are planted at the limit, and ``n_above``, else as many, above it.
    """
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder), seed, n_users)
        rng = np.random.default_rng(seed)
        truths = predicate_truths(world)
        return {
            "heldout_users": world.sides[1].n_users,
            "heldout_cases": len(world.sides[1]),
            **_truth(world),
            **_permuted(world, rng),
            **_planted_pairs(world, truths, rng),
            **_planted_sets(world, rng),
            **_at_the_limit(world, truths, n_planted, n_above or n_planted, rng),
            **planted_families(world, truths, np.random.default_rng((seed, 1))),
            **_named_shares(world, seed),
        }


# -- true concepts --------------------------------------------------------------------------------
def true_directions(world: World) -> LinearCode:
    """The planted directions read out of the states, top-k like every baseline."""
    directions = torch.from_numpy(world.planted.directions.copy())
    mean = torch.from_numpy(world.stores[0].moments().mean).float()
    return LinearCode(directions, mean, K)


def _truth(world: World) -> dict[str, float]:
    code = world.true_code()
    labels = build_concepts(code[0], world.sides[0], world.labeler).table
    return {
        "true_codes_verified": share_verified(world.scores(code)),
        "true_codes_said_by_attribute": float((labels[C.ATTRIBUTE] != ITEM_ITSELF).mean()),
        "true_directions_verified": share_verified(
            world.scores(world.encode(true_directions(world)))
        ),
    }


# -- true pairs -----------------------------------------------------------------------------------
JOINTS: dict[str, Callable[[Any, Any], Any]] = {
    "and": np.logical_and,
    "or": np.logical_or,
    "and_not": lambda one, other: one & ~other,
}


def _planted_pairs(world: World, truths: Truths, rng: np.random.Generator) -> dict[str, float]:
    """Activity that is two predicates about genres joined; one active case in twenty is moved."""
    figures: dict[str, float] = {}
    truth, prevalence = truths
    of_genre = [attribute == "genre" for attribute, _ in world.labeler.attributes.names]
    genres = np.resize(of_genre, len(prevalence))  # predicates repeat the values in order
    usable = np.flatnonzero(genres & (prevalence > PREVALENT[0]) & (prevalence < PREVALENT[1]))
    of_view = np.repeat(list(VIEWS), [len(t) * len(of_genre) for t in VIEWS.values()])
    for name, joint in JOINTS.items():
        active: tuple[list[NDArray[np.bool_]], ...] = ([], [])
        while len(active[0]) < N_PAIRS:
            one, other = rng.choice(usable, 2, replace=False)
            sides = [joint(y[:, one], y[:, other]) for y in truth]
            parts = truth[0][:, [one, other]]
            if not _needs_both(sides[0], parts):
                continue
            if name == "or" and not (of_view[one] == of_view[other] and _common(parts)):
                continue
            for side, both in zip(active, sides, strict=True):
                side.append(moved(both, rng))
        code = code_of(active)
        dictionary = build_concepts(code[0], world.sides[0], world.labeler)
        scores = world.scores(code)
        figures[f"pairs_{name}_verified"] = share_verified(scores)
        figures[f"pairs_{name}_accuracy"] = float(scores[C.BALANCED_ACCURACY].mean())
        said = dictionary.table[C.JOINT].eq("or" if name == "or" else "and")
        figures[f"pairs_{name}_said"] = float(said.mean())
    return figures


def _common(parts: NDArray[np.bool_]) -> bool:
    """Each alternative is alone on a quarter of the active cases: "or" is made of no others."""
    alone = parts & ~parts[:, ::-1]
    return bool(alone.sum(0).min() >= 0.25 * parts.any(1).sum())


def _needs_both(active: NDArray[np.bool_], parts: NDArray[np.bool_]) -> bool:
    """Active often enough, and told by neither part alone (balanced accuracy at most .9)."""
    if not FIRES[0] / 2 < active.mean() < FIRES[1]:
        return False
    hits = (parts[active].mean(0) + (~parts[~active]).mean(0)) / 2
    return bool(np.maximum(hits, 1 - hits).max() <= 0.9)


# -- sets of items --------------------------------------------------------------------------------
def _planted_sets(world: World, rng: np.random.Generator) -> dict[str, float]:
    """Activity after one of one to ten items, popular ones and rare ones; one in twenty is moved.

    Items are drawn by the square root of their frequency, so that how often such a latent is
    active falls off as it does in real dictionaries.
    """
    last = [cases.last_items[:, 0] for cases in world.sides]
    number = np.bincount(last[0], minlength=world.planted.catalog.n_items)
    weight = np.sqrt(number * (number >= 4 * MIN_ITEM_CASES))
    weight[0] = 0
    sets, columns = list[set[str]](), (list[Any](), list[Any]())
    for n in np.resize(np.arange(1, 11), N_SETS):
        items = rng.choice(len(weight), n, replace=False, p=weight / weight.sum())
        sets.append({world.planted.catalog.external_ids[i] for i in items})
        for side, items_of in zip(columns, last, strict=True):
            side.append(moved(np.isin(items_of, items), rng))
    code = code_of(columns)
    labels = build_concepts(code[0], world.sides[0], world.labeler).table
    scores = world.scores(code)
    tested = (scores[C.STATUS] != UNTESTED).to_numpy()
    said = (labels[C.ATTRIBUTE] == ITEM_ITSELF) & (labels[C.VIEW] == "last")
    overlap = [
        len(planted & set(str(value).split(SEPARATOR))) / len(planted)
        for planted, value in zip(sets, labels[C.VALUE], strict=True)
    ]
    return {
        "sets_verified": share_verified(scores),
        "sets_said_as_sets": float(said[tested].mean()),
        "sets_items_named": float(np.array(overlap)[tested & said].mean()),
    }


# -- permuted activations -------------------------------------------------------------------------
def _permuted(world: World, rng: np.random.Generator) -> dict[str, float]:
    code = world.true_code()
    figures: dict[str, float] = {}
    for name, within in (("across", False), ("within_users", True)):
        scores = world.scores(permuted(code, world, rng, within=within))
        figures[f"permuted_{name}_verified"] = int((scores[C.STATUS] == VERIFIED).sum())
        figures[f"permuted_{name}_best_bound"] = float(scores[BOUNDS].min(axis=1).max())
        figures[f"permuted_{name}_concepts"] = len(scores)
    return figures


# -- concepts at and above the limit --------------------------------------------------------------
# name: precision and recall of the predicate, how much the noise of one user correlates
PLANTED = {
    "precision_0.5": (0.5, 0.8, 0.0),
    "precision_0.5_clustered": (0.5, 0.8, 0.5),
    "recall_0.5": (0.8, 0.5, 0.0),
    "recall_0.5_clustered": (0.8, 0.5, 0.5),
    "both_0.8": (0.8, 0.8, 0.0),
    "both_0.8_clustered": (0.8, 0.8, 0.5),
    "absorbed_half": (0.5, 1.0, 0.0),  # on half of its cases something else is active instead
    "absorbed_half_clustered": (0.5, 1.0, 0.5),
}
BOUNDS = [C.PRECISION_LOW, C.RECALL_LOW]


def _at_the_limit(
    world: World, truths: Truths, n_at: int, n_above: int, rng: np.random.Generator
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, (precision, recall, correlation) in PLANTED.items():
        n = n_above if name.startswith("both_0.8") else n_at
        code = planted_at(world, truths, precision, recall, correlation, n, rng)
        scores = world.scores(code)
        figures[f"{name}_concepts"] = int((scores[C.STATUS] != UNTESTED).sum())
        figures[f"{name}_measured_precision"] = float(scores[C.PRECISION].median())
        figures[f"{name}_measured_recall"] = float(scores[C.RECALL].median())
        figures[f"{name}_verified"] = share_verified(scores)
    return figures


def planted_at(
    world: World,
    truths: Truths,
    precision: float,
    recall: float,
    correlation: float,
    n: int,
    rng: np.random.Generator,
) -> Pair:
    """Concepts that a true predicate predicts with exactly this precision and recall.

    With prevalence p of the predicate y over all users, activity a is drawn with
    ``P(a | y) = precision`` and ``P(a | not y) = (1 - recall) r / (1 - p)`` at the rate
    ``r = precision p / recall``; then ``P(y | a) = recall``. Rates are drawn evenly in their
    logarithm, as they fall off in real dictionaries. Draws of one user correlate through a Gaussian
    copula, which leaves every single probability as it is.
    """
    truth, prevalence = truths
    rates = precision * prevalence / recall
    usable = np.flatnonzero((rates > RATES[0]) & (rates < RATES[1]))
    low, high = np.log(RATES)
    wanted = np.exp(rng.uniform(low, high, n))
    by_rate = usable[np.argsort(rates[usable])]
    near = np.searchsorted(rates[by_rate], wanted).clip(max=len(by_rate) - 1)
    chosen = by_rate[near]
    p, rate = prevalence[chosen], rates[chosen]
    if_true, if_false = np.full(n, precision), (1 - recall) * rate / (1 - p)
    codes = []
    for y, cases in zip(truth, world.sides, strict=True):
        shared = rng.normal(size=(cases.n_users, n)).astype(np.float32)[cases.user]
        own = rng.normal(size=(len(cases), n)).astype(np.float32)
        drawn = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
        limit = np.where(y[:, chosen], norm.ppf(if_true), norm.ppf(if_false))
        codes.append(scipy.sparse.csr_matrix((drawn < limit).astype(np.float32)))
    return codes[0], codes[1]


# -- named share ----------------------------------------------------------------------------------
def _named_shares(world: World, seed: int) -> dict[str, float]:
    width = world.stores[0].width
    codes = {
        "true_codes": world.true_code(),
        "true_directions": world.encode(true_directions(world)),
        "random": world.encode(random_directions(world.stores[0], K, 16 * width, seed)),
    }
    figures: dict[str, float] = {}
    for name, code in codes.items():
        shares = _share_of(world, code)
        figures |= {f"named_share_{name}_{size}": value for size, value in shares.items()}
    return figures


def _share_of(world: World, code: Pair) -> dict[int, float]:
    """Verify on one half of the held-out users, measure on the other."""
    known, test = world.sides
    half = test.user % 2 == 0
    verify, measure = np.flatnonzero(half), np.flatnonzero(~half)
    dictionary = build_concepts(code[0], known, world.labeler)
    scores = score_concepts(code[1][verify], dictionary, test.take(verify), world.labeler)
    candidates = scores.loc[scores[C.STATUS] == VERIFIED, C.LATENT].to_numpy(np.int64)
    head = world.planted.linear_head()
    shares = named_share(
        (code[0], known), (code[1][measure], test.take(measure)), candidates, head
    ).shares
    return {size: shares[size].value for size in SIZES}


@click.command()
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), show_default=True)
@click.option("--users", default=1500, show_default=True, help="Users of each recommender.")
def main(seeds: tuple[int, ...], users: int) -> None:
    """Print the figures as a Markdown table, one column per planted recommender."""
    columns = [validation_figures(seed, users) for seed in seeds]
    click.echo(f"| figure | {' | '.join(f'seed {s}' for s in seeds)} |")
    click.echo(f"|---|{'---|' * len(seeds)}")
    for name in columns[0]:
        cells = (
            f"{c[name]:.3f}" if isinstance(c[name], float) else f"{c[name]:,}" for c in columns
        )
        click.echo(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
