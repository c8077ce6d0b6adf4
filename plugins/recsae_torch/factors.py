"""Attachment to vectors of users and items, as matrix factorisation leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import torch

from recsae.core.errors import InvalidInput, NotEnoughData, nearest
from recsae.recommender.sequences import Sequences
from recsae_torch.dataset import make_catalog, make_user_table
from recsae_torch.factor_model import FactorModel, FactorRecommender
from recsae_torch.grouping import spans
from recsae_torch.histories import make_sequences

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from recsae.recommender.catalog import ItemCatalog
    from recsae_torch.dataset import ItemTable
    from recsae_torch.histories import Histories

    Floats: TypeAlias = NDArray[np.float32]
    Ids: TypeAlias = Iterable[Any] | Mapping[Any, int]
    Listed: TypeAlias = list[Any] | Mapping[Any, int]

N_TRIED = 500
"""Users on whom it is tried whether vectors and histories belong together."""
FEWEST_TRIED = 20
"""With fewer users chance alone may decide that."""
SCORES_AT_ONCE = 2**25
"""Scores that are made for it at most: 128 MB."""
LARGEST_SCORE = 1e30
"""Above it sums of products in single precision may not be finite."""
NO_NUMBERS = {
    "c": "complex numbers",
    "M": "dates",
    "m": "spans of time",
    "U": "text",
    "S": "text",
    "V": "records",
}
"""Kinds of arrays that NumPy would make real numbers of, and what they hold."""
IN_TRAINING = (
    "No test was given, so the evaluation asks for every user's last item, which the vectors were "
    "trained on: NDCG says how well they remember, not how well they recommend."
)


def attach_factors(
    user_vectors: ArrayLike,
    item_vectors: ArrayLike,
    *,
    user_ids: Ids,
    item_ids: Ids,
    histories: Histories,
    test: Histories | None,
    item_biases: ArrayLike | None = None,
    filters_seen: bool = True,
    items: ItemTable = None,
    title_column: str | None = None,
    attribute_columns: Sequence[str] | None = None,
    separator: str | None = None,
    users: pd.DataFrame | None = None,
    name: str = "Factors",
) -> FactorRecommender:
    """Attach to a matrix factorisation: a vector for each user, a vector for each item.

    An item's score is the product of the two vectors and the item's bias. A bias of the user would
    move all items alike and changes no list: leave it out. Columns in which all users have the same
    number, such as the last of implicit's BPR, are made biases of the items.

    Parameters
    ----------
    user_vectors, item_vectors
        ``(n_users, d)`` and ``(n_items, d)``.
    user_ids, item_ids
        Your own ids of users and of items, in the order of the rows; or dicts with the row of each.
    histories
        What the vectors were trained on: a DataFrame with columns ``user``, ``item`` and, unless
        rows are in order, ``time``; or a dict, or Parquet files, as :func:`recsae_torch.attach`
        takes them. A user with a vector and without a history is not looked at.
    test
        Interactions that were kept out of the training, in the same form: what lists are evaluated
        by. A user without any is not looked at. None says that nothing was kept out. Then the last
        item of each history is asked for, although the vectors know it, and the report says so.
    item_biases
        ``(n_items,)``.
    filters_seen
        Whether the items of a history are left out of the list.
    items, title_column, attribute_columns, separator, users
        As for :func:`recsae_torch.attach`.
    name
        What to call the model.

    Raises
    ------
    InvalidInput
        Vectors, ids and interactions that do not fit together.

    Examples
    --------
    >>> import numpy as np, recsae_torch
    >>> recommender = recsae_torch.attach_factors(
    ...     np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 1.0], [3.0, 0.0], [0.0, 2.0]]),
    ...     user_ids=["ann", "bob"], item_ids=["a", "b", "c"],
    ...     histories={"ann": ["a"], "bob": ["c"]}, test={"ann": ["b"], "bob": ["a"]})
    >>> recommender.score(recommender.sequences().batch(
    ...     np.array([0]), np.array([0]), np.array([1]), length=1))
    tensor([[0., 2., 3., 0.]])
    """
    if not isinstance(filters_seen, bool):
        raise InvalidInput(f"filters_seen is {filters_seen!r}: say True or False.")
    of_users, of_items = _vectors(user_vectors, "user"), _vectors(item_vectors, "item")
    named_users, named_items = _listed(user_ids, "user_ids"), _listed(item_ids, "item_ids")
    _check_shapes(of_users, of_items, len(named_users), len(named_items))
    user_rows, item_rows = _row_of(named_users, "user_ids"), _row_of(named_items, "item_ids")
    catalog, _ = make_catalog(item_rows, items, title_column, attribute_columns, separator)
    trained, notes = make_sequences(histories, catalog)
    data = replace(trained, user_rows=1 + _rows_of_users(trained.users, user_rows))
    if test is None:
        data = replace(data, learned=np.where(data.lengths > 1, data.lengths - 1, data.lengths))
        notes = (*notes, IN_TRAINING)
    else:
        data = _with_test(data, test, catalog, filters_seen=filters_seen)
    if not (data.lengths > data.known).any():
        raise NotEnoughData(
            "No history has two items or more, so none has a last item to ask for."
            if test is None
            else "test has no interactions of users with histories: there is nothing to ask for."
        )
    _check_not_zero(of_users, of_items, data)
    recommender = FactorRecommender(
        model=_model(of_users, of_items, _biases(item_biases, len(of_items)), data),
        catalog=replace(catalog, notes=(*catalog.notes, *notes, *_notes(data, len(of_users)))),
        data=data,
        tested="last item, known to the vectors" if test is None else "test interactions",
        filters_seen=filters_seen,
        files=[] if items is None or isinstance(items, pd.DataFrame) else [str(items)],
        users=make_user_table(users, data),
        name=name,
    )
    _check_belonging(recommender)
    return recommender


def _vectors(given: ArrayLike, whose: str) -> Floats:
    """The vectors as ``(n, d)`` finite numbers."""
    name = f"{whose}_vectors"
    vectors = _numbers(given, name)
    if vectors.ndim != 2 or not vectors.size:
        raise InvalidInput(f"{name} has the shape {vectors.shape}: it is a row for each {whose}.")
    bad = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(bad):
        raise InvalidInput(
            f"{len(bad):,} of {len(vectors):,} rows of {name} hold NaN or infinite numbers, row "
            f"{bad[0]} the first: train the model again, or leave these {whose}s out."
        )
    return vectors


def _numbers(given: ArrayLike, name: str) -> Floats:
    try:
        array = np.asarray(given)
        if array.dtype.kind in NO_NUMBERS:
            raise InvalidInput(
                f"{name} holds {NO_NUMBERS[array.dtype.kind]}, of the type {array.dtype}: give "
                "real numbers."
            )
        if isinstance(given, np.ma.MaskedArray) and np.any(given.mask):
            raise InvalidInput(f"{name} has masked entries: give a number for each.")
        with np.errstate(over="ignore"):  # too large for 32 bits is infinite, and refused
            return np.asarray(array, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(
            f"{name} is no array of numbers ({type(given).__name__}): {error}"
        ) from error


def _biases(given: ArrayLike | None, n_items: int) -> Floats | None:
    if given is None:
        return None
    biases = _numbers(given, "item_biases")
    if biases.shape != (n_items,) or not np.isfinite(biases).all():
        seen = "NaN or infinite" if biases.shape == (n_items,) else f"of the shape {biases.shape}"
        raise InvalidInput(f"item_biases is {seen}: it is a number for each of {n_items:,} items.")
    return biases


def _check_shapes(users: Floats, items: Floats, n_user_ids: int, n_item_ids: int) -> None:
    """Refuse matrices that do not fit each other, or the ids."""
    if (len(users), len(items)) == (n_item_ids, n_user_ids) and n_item_ids != n_user_ids:
        raise InvalidInput(
            f"user_vectors has {len(users):,} rows, as many as item_ids, and item_vectors has "
            f"{len(items):,}, as many as user_ids: the two matrices are swapped."
        )
    for name, n_rows, n_ids in (("user", len(users), n_user_ids), ("item", len(items), n_item_ids)):
        if n_rows != n_ids:
            raise InvalidInput(
                f"{name}_vectors has {n_rows:,} rows and {name}_ids has {n_ids:,} ids: give the id "
                "of each row, in the order of the rows."
            )
    if users.shape[1] != items.shape[1]:
        raise InvalidInput(
            f"The vectors of users have {users.shape[1]} numbers and those of items "
            f"{items.shape[1]}: scores are their products, so both have the same number."
        )
    largest = float(np.abs(users).max()), float(np.abs(items).max())
    if not largest[0] * largest[1] * users.shape[1] < LARGEST_SCORE:
        raise InvalidInput(
            f"Vectors with numbers as large as {largest[0]:g} (users) and {largest[1]:g} (items) "
            "make scores that are not finite: the training has diverged, or give both in smaller "
            "units."
        )


def _listed(ids: Ids, name: str) -> Listed:
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise InvalidInput(
            f"{name} is a {type(ids).__name__}: it holds your own ids, in the order of the rows."
        )
    return ids if isinstance(ids, Mapping) else list(ids)


def _row_of(ids: Listed, name: str) -> dict[str, int]:
    """The row of each id, as text."""
    names = [str(x) for x in ids]
    rows = list(ids.values()) if isinstance(ids, Mapping) else list(range(len(names)))
    whole = all(isinstance(row, int | np.integer) for row in rows)
    if not whole or set(rows) != set(range(len(names))):
        raise InvalidInput(f"{name} is a dict whose values are not the rows 0 to {len(names) - 1}.")
    row_of = dict(zip(names, rows, strict=True))
    if len(row_of) < len(names):
        twice = pd.Series(names)
        first = twice[twice.duplicated()].iloc[0]
        raise InvalidInput(f"{name} has {first!r} more than once: each row has an id of its own.")
    return row_of


def _rows_of_users(users: NDArray[np.object_], row_of: Mapping[str, int]) -> NDArray[np.int64]:
    """``(n,)`` the row of the vector of each user."""
    unknown = [user for user in users if user not in row_of]
    if unknown:
        raise InvalidInput(
            f"{len(unknown):,} of {len(users):,} users of histories are not in user_ids, "
            f"{unknown[0]!r} among them.{nearest(unknown[0], row_of)} Give their vectors, or leave "
            "them out."
        )
    return np.array([row_of[user] for user in users], dtype=np.int64)


def _with_test(
    trained: Sequences, test: Histories, catalog: ItemCatalog, *, filters_seen: bool
) -> Sequences:
    """Each user's items of the training, then those of the test."""
    try:
        kept, _ = make_sequences(test, catalog)
    except InvalidInput as error:
        raise InvalidInput(f"test cannot be read as histories are: {error}") from error
    row_of = {user: row for row, user in enumerate(trained.users) if trained.lengths[row]}
    unknown = [user for user in kept.users if user not in row_of]
    if unknown:
        raise InvalidInput(
            f"{len(unknown):,} of {len(kept):,} users of test have no history, {unknown[0]!r} "
            "among them, so nothing was learned of them: leave them out."
        )
    rows = np.array([row_of[user] for user in kept.users], dtype=np.int64)
    if filters_seen:
        _check_unseen(trained, rows, kept, catalog)
    n_tested = np.zeros(len(trained), dtype=np.int64)
    n_tested[rows] = kept.lengths
    offsets = np.r_[0, np.cumsum(trained.lengths + n_tested)]
    flat = np.empty(int(offsets[-1]), dtype=np.int32)
    flat[spans(offsets[:-1], trained.lengths)] = trained.flat
    flat[spans((offsets[:-1] + trained.lengths)[rows], kept.lengths)] = kept.flat
    return replace(trained, flat=flat, offsets=offsets, learned=trained.lengths)


def _check_unseen(
    trained: Sequences, rows: NDArray[np.int64], kept: Sequences, catalog: ItemCatalog
) -> None:
    """Refuse items of the test that their user has in the history."""
    user, tested = np.repeat(rows, kept.lengths), kept.flat.astype(np.int64)
    of_history = np.repeat(np.arange(len(trained)), trained.lengths)
    pairs = of_history * catalog.n_items + trained.flat
    seen = np.flatnonzero(np.isin(user * catalog.n_items + tested, pairs))
    if len(seen):
        who, what = trained.users[user[seen[0]]], catalog.external_ids[tested[seen[0]]]
        raise InvalidInput(
            f"{len(seen):,} of {len(tested):,} interactions of test are with items that the user "
            f"has in histories too, such as user {who!r} and item {what!r}: leave in histories "
            "what the vectors were trained on and nothing else. If people have items again and "
            "the model recommends them again, say filters_seen=False."
        )


def _notes(data: Sequences, n_vectors: int) -> list[str]:
    """How many users are not looked at."""
    without, untested = n_vectors - len(data), int((data.lengths == data.known).sum())
    notes = []
    if without:
        notes.append(f"{without:,} of {n_vectors:,} users have a vector and no history.")
    if untested:
        notes.append(
            f"{untested:,} of {len(data):,} users with histories have no item that the evaluation "
            "could ask for, and are not looked at."
        )
    return notes


def _check_not_zero(users: Floats, items: Floats, data: Sequences) -> None:
    """Refuse users of whom nothing was learned."""
    zero = ~users[data.user_rows - 1].any(1)
    if not items.any():
        raise InvalidInput("All vectors of items are 0: the model was not trained.")
    if zero.any():
        first = data.users[np.flatnonzero(zero)[0]]
        raise InvalidInput(
            f"The vectors of {int(zero.sum()):,} of {len(data):,} users of histories are all 0, "
            f"{first!r} among them: nothing was learned of them. Give the histories that the model "
            "was trained on, or leave these users out."
        )


def _model(users: Floats, items: Floats, biases: Floats | None, data: Sequences) -> FactorModel:
    """The model, with what is the same for all users in the biases of the items."""
    mine = users[data.user_rows - 1]
    constant = (mine == mine[0]).all(0) if len(mine) > 1 else np.zeros(users.shape[1], dtype=bool)
    if constant.all():
        raise InvalidInput(
            f"All {len(mine):,} users of histories have the same vector: there is nothing in it "
            "about any of them."
        )
    if constant.any():
        shared = items[:, constant] @ mine[0, constant]
        biases = shared if biases is None else biases + shared
    padded = None if biases is None else torch.from_numpy(np.r_[np.float32(0), biases])
    return FactorModel(_padded(users[:, ~constant]), _padded(items[:, ~constant]), padded)


def _padded(vectors: Floats) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([np.zeros_like(vectors[:1]), vectors]))


def _check_belonging(recommender: FactorRecommender) -> None:
    """Refuse vectors that fit their users' histories no better than other users' vectors do.

    That is so if ids are in another order than rows. Of some users' items it is measured which
    share of all items has a lower score, with the vector of the user and with that of the next one.
    """
    data, n_items = recommender.data, recommender.catalog.n_items - 1
    rows = np.flatnonzero(data.known > 0)
    n = min(N_TRIED, SCORES_AT_ONCE // n_items, len(rows))
    if n < FEWEST_TRIED:
        return
    rows = rows[np.linspace(0, len(rows) - 1, n).astype(np.int64)]
    scores = recommender.linear_head().score(
        recommender.model(torch.from_numpy(data.user_rows)[rows])
    )
    place = scores[:, 1:].argsort(1).argsort(1).numpy() / max(n_items - 1, 1)
    which, _, item = data.first_items(rows, data.known[rows])
    size = np.bincount(which, minlength=n)
    own, others = (
        np.bincount(which, place[(which + step) % n, item - 1], minlength=n) / size
        for step in (0, 1)
    )
    better = own - others
    if better.mean() <= 2 * better.std() / np.sqrt(n):
        raise InvalidInput(
            "The vectors of users fit their own histories no better than those of other users do: "
            f"{own.mean():.0%} of all items have a lower score than an item of the history, and "
            f"{others.mean():.0%} with another user's vector. Give ids in the order of the rows, "
            "users' vectors before those of items, and the histories that they were trained on."
        )
