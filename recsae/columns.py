"""Names of the columns that recsae's tables share; every table is read and written with them."""

from typing import Final

# items and users
ITEM: Final = "item_id"
TITLE: Final = "title"
USER: Final = "user"

# one row per latent
LATENT: Final = "latent"
NAME: Final = "name"
LABEL: Final = "label"
LABELER: Final = "labeler"
ATTRIBUTE: Final = "attribute"
VALUE: Final = "value"
PREDICATE_SITE: Final = "predicate_site"
THRESHOLD: Final = "threshold"
NEGATED: Final = "negated"
JOINT: Final = "joint"
SECOND_ATTRIBUTE: Final = "second_attribute"
SECOND_VALUE: Final = "second_value"
SECOND_SITE: Final = "second_site"
SECOND_THRESHOLD: Final = "second_threshold"
SECOND_NEGATED: Final = "second_negated"
STATUS: Final = "status"
FIRE_RATE: Final = "fire_rate"
CORRECTION: Final = "correction"
TESTED_AS: Final = "tested_as"

# scores of a concept on held-out users
PRECISION: Final = "precision"
RECALL: Final = "recall"
SPECIFICITY: Final = "specificity"
HARD_SPECIFICITY: Final = "hard_specificity"
F1: Final = "f1"
BALANCED_ACCURACY: Final = "balanced_accuracy"
CI_LOW: Final = "ci_low"
AUC: Final = "auc"
AVERAGE_PRECISION: Final = "average_precision"
N_POS: Final = "n_pos"
N_NEG: Final = "n_neg"
N_USERS_POS: Final = "n_users_pos"
CHANCE_PERCENTILE: Final = "chance_percentile"
EMBEDDING_AUC: Final = "embedding_auc"

# one row per example sequence of a latent
KIND: Final = "kind"
QUANTILE: Final = "quantile"
CASE: Final = "case"
POSITION: Final = "position"
ACTIVATION: Final = "activation"
ITEMS: Final = "items"
TOP_ITEM: Final = "top_item"
