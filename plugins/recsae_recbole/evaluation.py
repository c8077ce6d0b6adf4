"""The cases of RecBole's own evaluation: which positions, against which candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsae.errors import CannotOpenModel
from recsae.recommender import EvaluationCases

from .dataset import POSITION, Data

RANKING = ("recall", "mrr", "ndcg", "hit", "precision")


def evaluation_cases(config: Any, data: Data, split: str) -> EvaluationCases:
    """Cases of ``split`` under the checkpoint's settings (inside the boundary).

    Sampled candidates come from RecBole's own loader, seeded with the checkpoint's seed just
    before the loader runs.
    """
    part = data.splits[split]
    feat = part.inter_feat
    rows = data.first_row[feat[part.uid_field].numpy()]
    ends = feat[POSITION].numpy().astype(np.int64)
    targets = feat[part.iid_field].numpy().astype(np.int64)
    mode = config["eval_args"]["mode"][split]
    groups, candidates = np.arange(len(rows)), None
    if mode != "full":
        rows, ends, targets, groups, candidates = _sampled(config, data, split)
    metrics = tuple(m.lower() for m in config["metrics"] if m.lower() in RANKING) or ("ndcg",)
    shape = ", ".join(f"{k} {v}" for k, v in config["eval_args"]["split"].items())
    return EvaluationCases(
        rows,
        ends,
        targets,
        groups,
        candidates,
        metrics,
        tuple(sorted({*map(int, config["topk"]), 10})),
        f"split {shape}, {'full ranking' if mode == 'full' else mode + ' candidates'}",
    )


def _sampled(config: Any, data: Data, split: str) -> tuple[Any, ...]:
    from recbole.data.utils import create_samplers, get_dataloader
    from recbole.utils import init_seed

    part = data.splits[split]
    samplers = dict(
        zip(
            ("train", "valid", "test"),
            create_samplers(config, data.dataset, list(data.splits.values())),
            strict=True,
        )
    )
    loader = get_dataloader(config, split)(config, part, samplers[split], shuffle=False)
    init_seed(config["seed"], config["reproducibility"])
    user, item, position = [], [], []
    groups, positives, offset = [], [], 0
    for interaction, row, positive_u, positive_i in loader:
        if row is None:
            raise CannotOpenModel(
                f"The evaluation mode {config['eval_args']['mode'][split]!r} is not a ranking."
            )
        user.append(interaction[part.uid_field].numpy())
        item.append(interaction[part.iid_field].numpy())
        position.append(interaction[POSITION].numpy())
        groups.append(row.numpy() + offset)
        positives.append(np.stack([positive_u.numpy() + offset, positive_i.numpy()], axis=1))
        offset += int(positive_u[-1]) + 1
    pair_row = data.first_row[np.concatenate(user)]
    pair_end, pair_group = np.concatenate(position), np.concatenate(groups)
    cases, case_of = np.unique(np.stack([pair_group, pair_row, pair_end], 1), axis=0, return_inverse=True)
    group, row, end = cases.T
    target = data.sequences.flat[data.sequences.offsets[row] + end].astype(np.int64)
    pairs = np.stack([case_of.reshape(-1), np.concatenate(item)], axis=1).astype(np.int64)
    return row, end, target, group, pairs
