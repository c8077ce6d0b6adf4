"""The files of a run's folder, each named once; paths are relative to the folder."""

from typing import Final

RUN: Final = "run.json"

# hidden states
CONSTRUCTION_STORE: Final = "activations"
HELDOUT_STORE: Final = "heldout"
STORES: Final = (CONSTRUCTION_STORE, HELDOUT_STORE)
MANIFEST: Final = "manifest.json"
SHARDS: Final = "*.safetensors"

# of the recommender, what answers without the model
RECOMMENDER: Final = "recommender"
KEPT_FACTS: Final = f"{RECOMMENDER}/facts.json"
KEPT_ARRAYS: Final = f"{RECOMMENDER}/arrays.safetensors"
"""Histories, and the head."""
KEPT_ITEMS: Final = f"{RECOMMENDER}/items.parquet"
KEPT_IDS: Final = f"{RECOMMENDER}/ids.parquet"
"""Of users."""
KEPT_USERS: Final = f"{RECOMMENDER}/users.parquet"
"""What is known of users."""
KEPT: Final = f"{RECOMMENDER}/*"

# the core: gates that tell statements
CORE: Final = "core.json"
CORE_ARRAYS: Final = "core.safetensors"

# the sparse autoencoder
SAE_FOLDER: Final = "sae"
CONFIG_FILE: Final = "cfg.json"
WEIGHTS_FILE: Final = "sae.safetensors"
PLAIN_FOLDER: Final = "plain"
"""Of the SAE without gates that stands beside it."""
STABILITY_FOLDER: Final = "stability/*"
"""Of each dictionary that is made again."""
SAE_CONFIG: Final = f"{SAE_FOLDER}/{CONFIG_FILE}"
SAE_WEIGHTS: Final = f"{SAE_FOLDER}/{WEIGHTS_FILE}"
QUALITY: Final = f"{SAE_FOLDER}/quality.json"
K_TRIED: Final = f"{SAE_FOLDER}/tried.json"

# concepts
CONCEPTS: Final = "concepts.parquet"
EXAMPLES: Final = "examples.parquet"
ATTRIBUTES: Final = "attributes.parquet"
LATENTS: Final = "latents.parquet"
SCORES: Final = "scores.parquet"
BASELINES: Final = "baselines.parquet"
"""Labels of the units of every baseline, and how they stood the test."""
FIRING: Final = "firing.parquet"
TOGETHER: Final = "together.parquet"
COUNTEREXAMPLES: Final = "counterexamples.parquet"
ACTIVE_ITEMS: Final = "active_items.parquet"
ACTIVE_CASES: Final = "active_cases.parquet"
CORRECTIONS: Final = "corrections.toml"
CORRECTED_DIRECTIONS: Final = "corrections.safetensors"

# what people keep with it
STEERING_FILES: Final = "steering"
ANSWERS: Final = "language/cache"
"""What a language model answered."""
OWN_FOLDERS: Final = (
    *(*STORES, RECOMMENDER, SAE_FOLDER, PLAIN_FOLDER, STABILITY_FOLDER, STEERING_FILES),
    f"{ANSWERS}/??",  # by the first two letters of an answer's key
)
"""Folders in a run's that hold nothing but its files; a name may have wildcards."""

# figures
SCORING: Final = "scoring.json"
SUPERVISED: Final = "supervised.json"
STABILITY: Final = "stability.json"
LANGUAGE: Final = "language.json"
ACCURACY: Final = "accuracy.json"
STEERING: Final = "steering.json"
GOALS: Final = "goals.json"
OBEYED: Final = "obeyed.parquet"
"""What turning each labelled unit does to the share of its label's items."""

# what people open
REPORT: Final = "report.json"
PAGE: Final = "report.html"
CARD: Final = "card.md"
CONCEPTS_CSV: Final = "concepts.csv"
TURN: Final = "turn.json"
"""What the page makes lists of when concepts are turned in it."""
FIGURES: Final = "figures.json"
"""The page's charts, drawn."""
HIDDEN: Final = "hidden.json"
SHARED: Final = (REPORT, PAGE, CARD, CONCEPTS_CSV, TURN, FIGURES, HIDDEN)
"""Of a folder to share, without ids of users."""
