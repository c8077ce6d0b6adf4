"""Turning latents: settings, steering files, what lists do then, tuning towards a goal, serving.

``tuning`` finds latents and strengths from a goal beside other methods; ``serving`` writes a
steered model that needs nothing of recsae. It imports everything below it but the report and
attribution.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.steering.context import steer as steer
    from recsae.steering.effects import SteeringEffect as SteeringEffect
    from recsae.steering.files import Steering as Steering
    from recsae.steering.label_results import LabelCheck as LabelCheck
    from recsae.steering.lists import ListChange as ListChange
    from recsae.steering.obeyed.results import Obeyed as Obeyed
    from recsae.steering.parse import parse_intervention as parse_intervention
    from recsae.steering.serving.write import Exported as Exported
    from recsae.steering.tuning.results import TuningResult as TuningResult

__all__ = [
    "Exported",
    "LabelCheck",
    "ListChange",
    "Obeyed",
    "Steering",
    "SteeringEffect",
    "TuningResult",
    "parse_intervention",
    "steer",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Exported": "serving.write",
        "LabelCheck": "label_results",
        "ListChange": "lists",
        "Obeyed": "obeyed.results",
        "Steering": "files",
        "SteeringEffect": "effects",
        "TuningResult": "tuning.results",
        "parse_intervention": "parse",
        "steer": "context",
    },
)
