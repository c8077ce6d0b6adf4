"""How latents are chosen, and what is minimised: one short file for each way.

``SAEConfig(activation=NAME)`` picks one. In all of them ``k`` is the number of active latents per
state, on average where it varies.
"""

from __future__ import annotations

from recsae.variants.base import Variant
from recsae.variants.batch_topk import BatchTopK
from recsae.variants.feature_choice import FeatureChoice
from recsae.variants.jumprelu import JumpReLU
from recsae.variants.matryoshka import Matryoshka
from recsae.variants.relu import ReLU
from recsae.variants.topk import TopK

VARIANTS: dict[str, Variant] = {
    "topk": TopK(),
    "batch_topk": BatchTopK(),
    "feature_choice": FeatureChoice(),
    "jumprelu": JumpReLU(),
    "matryoshka": Matryoshka(),
    "relu": ReLU(),
}
