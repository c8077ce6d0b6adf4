"""The cases of a checkpoint's own evaluation settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.core.errors import CannotOpenModel
from recsae.recommender.protocol import EvaluationCases
from recsae_recbole.boundary import seed_generators
from recsae_recbole.dataset import Data
from recsae_recbole.general_data import POSITION_FIELD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

RANKING = ("recall", "mrr", "ndcg", "hit", "precision")
"""RecBole's ranking metrics that recsae knows; others of a checkpoint are left out."""


def evaluation_cases(config: Any, data: Data, split: str) -> EvaluationCases:
    """Cases of ``split`` under the checkpoint's settings (inside the boundary).

    A case of a sequential model has one target. Of a general one all items that a user has in the
    part are the targets of one group, whose list leaves out what the user had before, unless the
    settings say that items are had again (``repeatable``).

    Sampled candidates come from RecBole's own loader, seeded with the checkpoint's seed just
    before the loader runs: they are those of RecBole's evaluation if that is seeded there too.
    """
    part = data.splits[split]
    feat = part.inter_feat
    rows = data.first_row[feat[part.uid_field].numpy()]
    ends = feat[POSITION_FIELD].numpy().astype(np.int64)
    targets = feat[part.iid_field].numpy().astype(np.int64)
    mode = config["eval_args"]["mode"][split]
    general = data.sequences.learned is not None
    groups, candidates = np.arange(len(rows)), None
    if mode != "full" and len(rows):
        rows, ends, targets, groups, candidates = _sampled(config, data, split)
    elif general:
        _, groups = np.unique(rows, return_inverse=True)
    metrics = tuple(m.lower() for m in config["metrics"] if m.lower() in RANKING) or ("ndcg",)
    shape = ", ".join(f"{k} {v}" for k, v in config["eval_args"]["split"].items())
    if config["benchmark_filename"] is not None:
        shape = "by files"
    return EvaluationCases(
        rows,
        ends,
        targets,
        groups,
        candidates,
        metrics,
        tuple(sorted({*map(int, config["topk"]), 10})),
        f"split {shape}, {'full ranking' if mode == 'full' else mode + ' candidates'}",
        filters_seen=data.filters_seen,
    )


def _sampled(config: Any, data: Data, split: str) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Rows, ends, targets and groups (users) of the cases, and pairs of case and candidate."""
    users, items, positions, groups = _drawn(config, data, split)
    triples = np.stack([groups, data.first_row[users], positions], axis=1)
    cases, case_of = np.unique(triples, axis=0, return_inverse=True)
    group, row, end = cases.T
    targets = data.sequences.flat[data.sequences.offsets[row] + end].astype(np.int64)
    # an item drawn for two cases of a user is scored by the later row, as RecBole overwrites it
    _, last = np.unique((groups * data.dataset.item_num + items)[::-1], return_index=True)
    pairs = np.stack([case_of.reshape(-1), items], axis=1)[len(items) - 1 - last]
    return row, end, targets, group, pairs


def _drawn(config: Any, data: Data, split: str) -> tuple[Ints, Ints, Ints, Ints]:
    """User, item, position of the target and group of every row that RecBole would score."""
    from recbole.data.utils import create_samplers, get_dataloader

    part = data.splits[split]
    samplers = create_samplers(config, data.dataset, list(data.splits.values()))
    sampler = dict(zip(data.splits, samplers, strict=True))[split]
    loader = get_dataloader(config, split)(config, part, sampler, shuffle=False)
    seed_generators(config["seed"])
    columns: list[list[Ints]] = [[], [], [], []]
    offset = 0
    for interaction, row, positive_u, _ in loader:
        if row is None:
            raise CannotOpenModel(
                f"With the evaluation mode {config['eval_args']['mode'][split]!r} of the "
                "checkpoint RecBole scores single pairs and ranks nothing; with full it ranks, and "
                "with uniN or popN if its other settings say how to draw candidates."
            )
        fields = (part.uid_field, part.iid_field, POSITION_FIELD)
        for column, field in zip(columns, fields, strict=False):
            column.append(interaction[field].numpy().astype(np.int64))
        columns[3].append(row.numpy() + offset)
        offset += int(positive_u[-1]) + 1
    user, item, position, group = (np.concatenate(column) for column in columns)
    return user, item, position, group
