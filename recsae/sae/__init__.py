"""States into few latents and back: the autoencoder, its training, sparse codes and edits.

Also the baseline codes that stand beside it, the matching of two dictionaries, and what an
intervention on latents does to a state. It imports ``core`` and ``capture``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.sae.codes import Codes as Codes
    from recsae.sae.codes import sparse_code as sparse_code
    from recsae.sae.config import SAEConfig as SAEConfig
    from recsae.sae.editing import Intervention as Intervention
    from recsae.sae.editing import make_edit as make_edit
    from recsae.sae.model import SAE as SAE
    from recsae.sae.saelens import read_saelens as read_saelens
    from recsae.sae.saelens import write_saelens as write_saelens
    from recsae.sae.train import train_sae as train_sae

__all__ = [
    "SAE",
    "Codes",
    "Intervention",
    "SAEConfig",
    "make_edit",
    "read_saelens",
    "sparse_code",
    "train_sae",
    "write_saelens",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Codes": "codes",
        "Intervention": "editing",
        "SAE": "model",
        "SAEConfig": "config",
        "make_edit": "editing",
        "read_saelens": "saelens",
        "sparse_code": "codes",
        "train_sae": "train",
        "write_saelens": "saelens",
    },
)
