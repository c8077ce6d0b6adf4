"""Turning latents: settings, steering files, what lists do then, tuning towards a goal, serving.

``tuning`` finds latents and strengths from a goal beside other methods; ``serving`` writes a
steered model that needs nothing of recsae. It imports everything below it but the report and
attribution.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.steering.context import steer as steer
    from recsae.steering.files import Steering as Steering
    from recsae.steering.parse import parse_intervention as parse_intervention

__all__ = ["Steering", "parse_intervention", "steer"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Steering": "files",
        "parse_intervention": "parse",
        "steer": "context",
    },
)
