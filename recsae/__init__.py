"""recsae: understand and correct recommender models through the concepts of a sparse autoencoder.

The verbs, in the order of the data flow: ``load_recommender`` attaches to a trained model,
``recsae.capture.capture`` fills an ``ActivationStore``, ``train_sae`` trains an ``SAE``,
``build_concepts`` and ``score_concepts`` make and test the dictionary, ``steer`` turns latents,
``write_report`` writes what people read. ``recsae.pipeline.run_pipeline`` does all of it. A run
that is finished is opened by ``open_run``: what the command line does with it are methods of what
that gives. ``load_run`` gives those that need no model. Nothing heavy is imported until one of them
is used.

The packages, from the ground up: ``core``, ``recommender``, ``capture``, ``sae`` and ``concepts``,
``evaluation``, ``run``, ``attribution`` and ``report``, ``steering``, ``explore`` and ``pipeline``,
``finished``, ``cli``; ``testing`` stands beside ``sae``. Each says in its docstring what it owns.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.capture.store import ActivationStore as ActivationStore
    from recsae.concepts.dictionary import build_concepts as build_concepts
    from recsae.evaluation.scoring import score_concepts as score_concepts
    from recsae.finished.loaded import load_run as load_run
    from recsae.finished.opened import open_run as open_run
    from recsae.recommender.plugins import load_recommender as load_recommender
    from recsae.recommender.protocol import Recommender as Recommender
    from recsae.report.write import write_report as write_report
    from recsae.sae.config import SAEConfig as SAEConfig
    from recsae.sae.model import SAE as SAE
    from recsae.sae.train import train_sae as train_sae
    from recsae.steering.context import steer as steer

__all__ = [
    "SAE",
    "ActivationStore",
    "Recommender",
    "SAEConfig",
    "build_concepts",
    "load_recommender",
    "load_run",
    "open_run",
    "score_concepts",
    "steer",
    "train_sae",
    "write_report",
]
__version__ = "0.1.0"

__getattr__, __dir__ = lazy(
    __name__,
    {
        "ActivationStore": "capture.store",
        "Recommender": "recommender.protocol",
        "SAE": "sae.model",
        "SAEConfig": "sae.config",
        "build_concepts": "concepts.dictionary",
        "load_recommender": "recommender.plugins",
        "load_run": "finished.loaded",
        "open_run": "finished.opened",
        "score_concepts": "evaluation.scoring",
        "steer": "steering.context",
        "train_sae": "sae.train",
        "write_report": "report.write",
    },
)
