"""Names of the columns that recsae's tables share; every table is read and written with them."""

from typing import Final

# items and users
ITEM: Final = "item_id"
TITLE: Final = "title"
USER: Final = "user"

# one row per latent
LATENT: Final = "latent"
NAME: Final = "name"
ABOUT: Final = "about"
LABEL: Final = "label"
LABELER: Final = "labeler"
ORIGIN: Final = "origin"
ATTRIBUTE: Final = "attribute"
VALUE: Final = "value"
VIEW: Final = "predicate_site"
THRESHOLD: Final = "threshold"
NEGATED: Final = "negated"
JOINT: Final = "joint"
SECOND_ATTRIBUTE: Final = "second_attribute"
SECOND_VALUE: Final = "second_value"
SECOND_VIEW: Final = "second_site"
SECOND_THRESHOLD: Final = "second_threshold"
SECOND_NEGATED: Final = "second_negated"
THIRD_ATTRIBUTE: Final = "third_attribute"
THIRD_VALUE: Final = "third_value"
THIRD_VIEW: Final = "third_site"
THIRD_THRESHOLD: Final = "third_threshold"
THIRD_NEGATED: Final = "third_negated"
PREDICATE: Final = (ATTRIBUTE, VALUE, VIEW, THRESHOLD, NEGATED)
PARTS: Final = (
    PREDICATE,
    (SECOND_ATTRIBUTE, SECOND_VALUE, SECOND_VIEW, SECOND_THRESHOLD, SECOND_NEGATED),
    (THIRD_ATTRIBUTE, THIRD_VALUE, THIRD_VIEW, THIRD_THRESHOLD, THIRD_NEGATED),
)
"""Columns of the predicates of a label; the third is joined by "and"."""
LABEL_COLUMNS: Final = (
    *(LATENT, NAME, LABEL, LABELER, ORIGIN),
    *(*PARTS[0], JOINT, *PARTS[1], *PARTS[2]),
)
"""What a labeler says of each latent."""
STATUS: Final = "status"
FIRE_RATE: Final = "fire_rate"
CORRECTION: Final = "correction"
SD: Final = "sd"
QUANTILES: Final = "quantiles"
TESTED_AS: Final = "tested_as"

# scores of a concept on held-out users
PRECISION: Final = "precision"
PRECISION_LOW: Final = "precision_low"
RECALL: Final = "recall"
RECALL_LOW: Final = "recall_low"
SPECIFICITY: Final = "specificity"
HARD_SPECIFICITY: Final = "hard_specificity"
F1: Final = "f1"
BALANCED_ACCURACY: Final = "balanced_accuracy"
AUC: Final = "auc"
AVERAGE_PRECISION: Final = "average_precision"
N_POS: Final = "n_pos"
N_NEG: Final = "n_neg"
N_USERS_POS: Final = "n_users_pos"
EMBEDDING_AUC: Final = "embedding_auc"
EXPLAINS: Final = "explains"
BACK: Final = "back"

# one row per example sequence of a latent
KIND: Final = "kind"
QUANTILE: Final = "quantile"
CASE: Final = "case"
POSITION: Final = "position"
ACTIVATION: Final = "activation"
ITEMS: Final = "items"
TOP_ITEM: Final = "top_item"

AGES: Final = ("age", "ages", "user_age")
"""Columns of user tables that hold ages if their cells are numbers, whatever the file says."""
