"""How latents are chosen, and what is minimised: one short file for each way.

``SAEConfig(activation=NAME)`` picks one. In all of them ``k`` is the number of active latents per
state, on average where it varies.
"""

from __future__ import annotations

from recsae.sae.variants.base import Variant
from recsae.sae.variants.batch_topk import BatchTopK
from recsae.sae.variants.feature_choice import FeatureChoice
from recsae.sae.variants.jumprelu import JumpReLU
from recsae.sae.variants.matryoshka import Matryoshka
from recsae.sae.variants.relu import ReLU
from recsae.sae.variants.topk import TopK

VARIANTS: dict[str, Variant] = {
    "topk": TopK(),
    "batch_topk": BatchTopK(),
    "feature_choice": FeatureChoice(),
    "jumprelu": JumpReLU(),
    "matryoshka": Matryoshka(),
    "relu": ReLU(),
}
