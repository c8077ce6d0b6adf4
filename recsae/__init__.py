"""recsae: understand and correct recommender models through the concepts of a sparse autoencoder.

The verbs, in the order of the data flow: ``load_recommender`` attaches to a trained model,
``capture`` fills an ``ActivationStore``, ``train_sae`` trains an ``SAE``, ``build_concepts`` and
``score_concepts`` make and test the dictionary, ``steer`` turns latents, ``write_report`` writes
what people read; ``load_run`` gives a finished run back as tables. Nothing heavy is imported until
one of them is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.capture.store import ActivationStore as ActivationStore
    from recsae.concepts.dictionary import build_concepts as build_concepts
    from recsae.evaluation.scoring import score_concepts as score_concepts
    from recsae.recommender.plugins import load_recommender as load_recommender
    from recsae.recommender.protocol import Recommender as Recommender
    from recsae.report import write_report as write_report
    from recsae.run.tables import load_run as load_run
    from recsae.sae.config import SAEConfig as SAEConfig
    from recsae.sae.model import SAE as SAE
    from recsae.sae.train import train_sae as train_sae
    from recsae.steering.context import steer as steer

_HOME = {
    "load_recommender": "recommender.plugins",
    "Recommender": "recommender.protocol",
    "ActivationStore": "capture.store",
    "SAE": "sae.model",
    "SAEConfig": "sae.model",
    "train_sae": "sae.train",
    "build_concepts": "concepts.dictionary",
    "score_concepts": "evaluation.scoring",
    "steer": "sae.editing",
    "write_report": "report",
    "load_run": "run.tables",
}
__all__ = list(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"recsae.{_HOME[name]}"), name)
    raise AttributeError(f"module 'recsae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
