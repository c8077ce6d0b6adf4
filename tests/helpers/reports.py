"""Reports made up for the tests, hostile titles among them."""

from __future__ import annotations

import math
import random
from typing import Any

from recsae.report.schema.report import Report

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    '<img src=x onerror="window.hacked = 3">',
    "<!-- <script> \u2028 | `code` **bold** [a](https://evil.example/x)",
    '=HYPERLINK("https://evil.example","click")',
    'Tom & Jerry\'s "Movie" {{ 7 * 7 }} {% raw %}',
]


STATUSES = ["verified", "supported", "unsupported", "untested", "dead"]


GENRES = ["Horror", "Comedy", "Film-Noir", "Children's", "War", "Musical"]


def concept(latent: int, rng: random.Random, status: str, items: list[str]) -> dict[str, Any]:
    """Return one concept's plain fields."""
    genre = GENRES[latent % len(GENRES)]
    good = {"verified": 0.9, "supported": 0.82, "unsupported": 0.65}.get(status)
    wobble = rng.uniform(-0.04, 0.04)
    accuracy = None if good is None else good + wobble
    least = {"verified": 0.56, "supported": 0.51, "unsupported": 0.1}.get(status)
    most = {"verified": 1.0, "supported": 0.54, "unsupported": 0.49}.get(status)
    precision, recall, f1 = None, None, None
    if least is not None and most is not None:
        precision, recall = rng.uniform(least, most), rng.uniform(least, most)
        f1 = 2 * precision * recall / (precision + recall)
    counts = [max(0, int(400 * math.exp(-i / 3) + rng.uniform(-5, 5))) for i in range(16)]
    dead = status == "dead"
    return {
        "latent": latent,
        "name": genre,
        "label": f"Active when most of the last 5 items are {genre}.",
        "labeler": "attributes",
        "origin": "core" if latent < 2 else "found",
        "attribute": "genre",
        "value": genre,
        "predicate_site": "share among the last 5 items",
        "threshold": 0.6,
        "status": status,
        "precision": precision,
        "precision_low": None if precision is None else precision - 0.05,
        "recall": recall,
        "recall_low": None if recall is None else recall - 0.04,
        "specificity": accuracy,
        "hard_specificity": None if accuracy is None else accuracy - 0.2,
        "f1": f1,
        "explains": 0.0 if dead else (37 * latent % 101) / 500,
        "balanced_accuracy": accuracy,
        "auc": accuracy,
        "average_precision": None if accuracy is None else accuracy - 0.1,
        "n_pos": 0 if dead else 12 if status == "untested" else rng.randint(30, 4000),
        "n_neg": 98_000,
        "n_users_pos": 0 if dead else 4 if status == "untested" else rng.randint(12, 300),
        "fire_rate": 0.0 if dead else 10 ** rng.uniform(-4, -0.5),
        "histogram": None if dead else {"edges": [i / 4 for i in range(17)], "counts": counts},
        "promotes": [{"item": i, "weight": 0.9 - 0.1 * n} for n, i in enumerate(items[:5])],
        "demotes": [{"item": i, "weight": -0.9 + 0.1 * n} for n, i in enumerate(items[5:10])],
        "active_on": []
        if dead
        else [
            {"view": view, "item": item, "n_active": 9 - n, "n_cases": 10 + n}
            for view in ("last", "top1")
            for n, item in enumerate(items[:4])
        ],
        "examples": []
        if dead
        else [
            {
                "kind": kind,
                "quantile": quantile,
                "user": str(1000 + rng.randint(0, 9)),
                "items": rng.choices(items, k=9),
                "top_recommendation": rng.choice(items),
                "activation": rng.uniform(0.2, 4.0),
            }
            for kind, quantile in [("top", None)] * 3 + [("quantile", q / 4) for q in (1, 2, 3)]
        ],
    }


def code_counts(verified: int, distinct: int) -> dict[str, Any]:
    """Return what one code came to."""
    return {
        "n_units": 1024,
        "tested": 700,
        "verified": verified,
        "supported": 40,
        "distinct_verified": distinct,
        "distinct_verified_equal_units": min(distinct, 20),
        "mean_balanced_accuracy": 0.74,
    }


def around(value: float | None) -> list[float | None]:
    """Return a figure with an interval of one point to either side."""
    return [value, None, None] if value is None else [value, value - 0.01, value + 0.01]


def named_share(share: float | None, of_sae: float | None) -> dict[str, Any]:
    """Return one code's named share, with one point to either side of each figure."""
    parts = {"8": 0.6, "16": 0.85, "32": 1.0}
    values = {key: None if share is None else share * part for key, part in parts.items()}
    values["ndcg_kept_32"] = share
    ahead = {
        key: None if share is None or of_sae is None else (of_sae - share) * part
        for key, part in parts.items()
    }
    return {
        **values,
        "intervals": {key: around(value)[1:] for key, value in values.items()},
        "n_verified": 100 if share else 0,
        "sae_ahead": {key: around(value) for key, value in ahead.items()},
    }


def make_plain(n_concepts: int = 12, shares: tuple[float | None, ...] = (0.71, 0.52)) -> dict:
    """Return a report as plain data; hostile titles are among the promoted items."""
    rng = random.Random(0)
    titles = HOSTILE + [f"Movie {i} (19{40 + i % 60})" for i in range(60)]
    keys = [f"i{n}" for n in range(len(titles))]
    items = {
        key: {"title": title, "attributes": {"genre": [GENRES[n % 6]], "decade": ["1990s"]}}
        for n, (key, title) in enumerate(zip(keys, titles, strict=True))
    }
    weights = [3, 2, 4, 2, 1]
    statuses = STATUSES + rng.choices(STATUSES, weights, k=max(0, n_concepts - 5))
    listed = [
        concept(j, rng, status, keys[:10] if j == 0 else rng.sample(keys, 20))
        for j, status in enumerate(statuses[:n_concepts])
    ]
    n = {status: sum(c["status"] == status for c in listed) for status in STATUSES}
    sae, baseline = shares
    return {
        "schema_version": "1.1",
        "model": {
            "name": "SASRec",
            "plugin": "recbole",
            "site": "sequence",
            "site_meaning": "the vector that is multiplied with the item embeddings",
            "site_share": 1.0,
            "one_state_per_user": False,
            "hidden_size": 64,
            "n_items": 3416,
            "checkpoint_sha256": "9f2b" * 16,
            "linear_head": True,
            "causal": True,
        },
        "data": {
            "name": "ml-1m",
            "n_users": 6040,
            "n_construction_users": 4832,
            "n_heldout_users": 1208,
            "n_sequences": 6040,
            "n_construction_positions": 790_000,
            "n_heldout_positions": 198_000,
            "attributes": ["genre", "decade"],
            "title_column": "movie_title",
            "notes": [],
        },
        "sae": {
            "n_latents": max(1024, n_concepts),
            "n_core": 2,
            "core": {
                "n_candidates": 7_536,
                "n_learnable": 2_550,
                "n_permuted": 36,
                "n_permuted_candidates": 5_543,
                "n_added": 3,
            },
            "k": 8,
            "tried": {"8": 0.97},
            "activation": "topk",
            "fvu": 0.183,
            "l0": 7.98,
            "dead_fraction": 0.031,
            "dense_fraction": 0.002,
            "n_activations_seen": 6_320_000,
            "seconds": 74.2,
            "epochs": 8,
        },
        "accuracy": {
            "metric_note": "Full ranking over all items, leave-one-out.",
            "all_users": {
                "base": {"recall@10": 0.2289, "ndcg@10": 0.1212, "mrr@10": 0.0882},
                "reconstructed": {"recall@10": 0.2231, "ndcg@10": 0.1177, "mrr@10": 0.0858},
                "n_cases": 6040,
            },
            "heldout": {
                "base": {"recall@10": 0.2311, "ndcg@10": 0.1231, "mrr@10": 0.0903},
                "reconstructed": {"recall@10": 0.2265, "ndcg@10": 0.1198, "mrr@10": 0.0878},
                "ndcg_kept": 0.973,
                "ndcg_kept_ci": [0.966, 0.981],
                "last_item_ndcg_kept": 0.961,
                "last_item_ndcg_kept_ci": [0.914, 1.01],
                "rbo": 0.741,
                "kendall": 0.683,
                "latents_for_99": None,
                "n_users": 1208,
                "n_positions": 198_000,
            },
            "short_states": {
                "share": 0.41, "same_items": 0.87, "same_latents": 0.74,
                "n_compared": 1000,
            },
        },
        "concepts": {
            "tested": n["verified"] + n["supported"] + n["unsupported"],
            "untested": n["untested"],
            "verified": n["verified"],
            "supported": n["supported"],
            "unsupported": n["unsupported"],
            "distinct_verified": min(n["verified"], len(GENRES)),
            "list": listed,
        },
        "items": items,
        "protocol": {
            "name": "held-out precision and recall",
            "min_positives": 20,
            "min_users": 10,
            "supported_excludes_verified": True,
            "threshold": 0.5,
            "one_sided_level": 0.95,
        },
        "named_share": {
            code: named_share(s, sae)
            for code, s in [("sae", sae), ("random", baseline), ("neurons", 0.31), ("pca", 0.25)]
        },
        "label_quality": {
            code: {"value": around(f1), "sae_ahead": around(0.62 - f1)}
            for code, f1 in [("sae", 0.62), ("random", 0.41), ("neurons", 0.38), ("pca", 0.55)]
        },
        "recsae_protocol": {
            "sae": {"n": 1000, "at_0_8": 400, "at_0_9": 180, "mean_recall": 0.7,
                    "mean_specificity": 0.8, "mean_confidence": 0.75},
        },
        "baselines": {
            "sae": code_counts(117, 24),
            "random": code_counts(331, 15),
            "neurons": code_counts(20, 8),
            "pca": code_counts(14, 9),
            "dense": {"neurons": code_counts(10, 5)},
        },
        "attributes": [
            {"attribute": f"genre = {g}", "best_latent": j, "auc_sae": 0.76 + 0.01 * j,
             "auc_neurons": 0.68, "auc_random": 0.64, "auc_pca": 0.69, "auc_supervised": 0.91,
             "prevalence": 0.1, "site": "last item"}
            for j, g in enumerate(GENRES)
        ],
        "skipped_attributes": ["genre = unknown"],
        "steering": [
            {"target": "Horror", "latent": 0, "name": "Horror", "intervention": "set to 3.0",
             "target_share_before": 0.06, "target_share_after": 0.14, "ndcg_before": 0.1231,
             "ndcg_after": 0.1222, "n_users": 1208},
        ],
        "timings": {"capture": 20.1, "train": 74.2, "concepts": 31.0, "scoring": 60.5},
        "cpu_seconds": {"capture": 30.0, "train": 80.0},
        "memory": {"capture": 900.0, "train": 1200.0},
        "versions": {"recsae": "0.1.0", "torch": "2.13.0"},
        "seed": 0,
        "created": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def make_report(n_concepts: int = 12, shares: tuple[float | None, ...] = (0.71, 0.52)) -> Report:
    """Return a valid report of the given size."""
    return Report.model_validate(make_plain(n_concepts, shares))
