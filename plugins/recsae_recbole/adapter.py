"""A RecBole sequential model as a :class:`recsae.recommender.Recommender`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.catalog import ItemCatalog, build_catalog, read_items_csv
from recsae.errors import CannotOpenModel
from recsae.files import digest_of_file
from recsae.hooks import edited_output, replaced_method
from recsae.recommender import (
    EvaluationCases,
    LinearHead,
    Site,
    find_site,
    is_causal,
    verify_head,
)
from recsae.sequences import Batch, Sequences

from .boundary import recbole_boundary
from .checkpoint import read_checkpoint
from .dataset import Data, find_data, open_data, read_item_file
from .evaluation import evaluation_cases

if TYPE_CHECKING:
    import torch

SITE = "sequence"


class RecBoleRecommender:
    """A RecBole checkpoint, attached. The model itself is never changed."""

    plugin = "recbole"

    def __init__(
        self, model: Any, config: Any, data: Data, catalog: ItemCatalog, path: Path | None = None
    ) -> None:
        self.model = model
        self.config = config
        self.data = data
        self.catalog = catalog
        self.path = path
        self.name = str(config["model"])
        self.dataset = str(config["dataset"])
        self.max_length = int(config["MAX_ITEM_LIST_LENGTH"])
        self.device = next(model.parameters()).device

    # -- data ------------------------------------------------------------------------------------
    def sequences(self) -> Sequences:
        """Every user's whole history."""
        return self.data.sequences

    def evaluation(self, split: str = "test") -> EvaluationCases:
        """The cases of the checkpoint's own evaluation settings."""
        with recbole_boundary():
            return evaluation_cases(self.config, self.data, split)

    # -- model -----------------------------------------------------------------------------------
    def sites(self) -> list[Site]:
        """The sequence representation: what the model multiplies with the item embeddings."""
        return [self._site]

    @cached_property
    def _site(self) -> Site:
        batch = self._probe()
        states = self.represent(batch)
        if states.dim() != 2 or len(states) != len(batch.lengths):
            raise CannotOpenModel(
                f"recsae_recbole does not know {self.name}: its forward returns "
                f"{tuple(states.shape)} for {len(batch.lengths)} sequences, not one vector each."
            )
        meaning = "what the model knows of a sequence: multiplied with the item embeddings"
        return Site(SITE, meaning, int(states.shape[1]), is_causal_site(self, batch))

    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States at the last item, or at every item through what the model gathers from."""
        import torch

        if site is not None and site != SITE:
            find_site(self, site)
        with torch.no_grad():
            if not positions:
                states: torch.Tensor = self._forward(batch)
                return states.cpu()
            gathered: list[torch.Tensor] = []

            def wrap(gather: Callable[..., Any]) -> Callable[..., Any]:
                def listening(output: torch.Tensor, index: torch.Tensor) -> Any:
                    gathered.append(output)
                    return gather(output, index)

                return listening

            with replaced_method(self.model, "gather_indexes", wrap):
                self._forward(batch)
            if not gathered:
                raise CannotOpenModel(f"{self.name} does not give the states of all positions.")
            return gathered[-1].cpu()

    def _forward(self, batch: Batch) -> Any:
        batch = Batch(*(t.to(self.device) for t in batch))
        return self.model.forward(batch.items, batch.lengths)

    def score(self, batch: Batch) -> torch.Tensor:
        """Scores by the model's own ``full_sort_predict``."""
        import torch

        with torch.no_grad():
            scores: torch.Tensor = self.model.full_sort_predict(self.interaction(batch))
            return scores.view(len(batch.lengths), -1).cpu()

    def interaction(self, batch: Batch) -> Any:
        """The batch as RecBole's ``Interaction``."""
        from recbole.data.interaction import Interaction

        model = self.model
        return Interaction(
            {model.ITEM_SEQ: batch.items, model.ITEM_SEQ_LEN: batch.lengths, model.USER_ID: batch.users}
        ).to(self.device)

    @cached_property
    def _head(self) -> LinearHead | None:
        batch = self._probe()
        for _, table in self.model.named_parameters():
            if table.shape == (self.catalog.n_items, self._site.width):
                head = LinearHead(table.detach().cpu(), None)
                if verify_head(self, head, batch):
                    return head
        return None

    def linear_head(self) -> LinearHead | None:
        """The item table whose products with the states are the scores, found by trying."""
        return self._head

    def edit(
        self, edit: Callable[[torch.Tensor], torch.Tensor], site: str | None = None
    ) -> AbstractContextManager[None]:
        """Put ``edit`` behind the model's ``forward``; RecBole's own evaluation sees it too."""
        find_site(self, site)
        return edited_output(self.model, edit)

    # -- identity --------------------------------------------------------------------------------
    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.name}/{self.max_length}".encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        digest.update("\n".join(self.catalog.external_ids).encode())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 over weights, maximum length and item ids."""
        return self._fingerprint

    def sources(self) -> list[str]:
        """The checkpoint and the files of the data set."""
        return [str(p) for p in ([self.path] if self.path else []) + self.data.files]

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``."""
        import recbole

        sequences = self.sequences()
        return {
            "model": self.name,
            "class": f"{type(self.model).__module__}.{type(self.model).__qualname__}",
            "recbole": recbole.__version__,
            "checkpoint_sha256": digest_of_file(self.path) if self.path else None,
            "dataset": self.dataset,
            "data_files": [str(f) for f in self.data.files],
            "users": len(sequences),
            "items": int(self.catalog.recommendable.sum()),
            "interactions": len(sequences.flat),
            "max_length": self.max_length,
            "evaluation": self.config["eval_args"],
            "title_column": self.catalog.title_column,
            "attributes": list(self.catalog.attributes),
            "notes": list(self.catalog.notes),
        }

    def _probe(self, n: int = 64) -> Batch:
        """Some real sequences of different lengths, for numerical checks."""
        import numpy as np

        sequences = self.sequences()
        rows = np.flatnonzero(sequences.lengths >= 2)
        rows = rows[np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(np.int64)]
        room = np.minimum(sequences.lengths[rows], self.max_length)
        ends = np.maximum(2, room - np.arange(len(rows)) % 7).clip(max=room)
        return sequences.batch(rows, np.zeros_like(rows), ends, self.max_length)


def is_causal_site(recommender: RecBoleRecommender, batch: Batch) -> bool:
    """Whether all positions come out of one forward: tried, never assumed."""
    try:
        return is_causal(recommender, None, batch)
    except (CannotOpenModel, IndexError, RuntimeError):
        return False


def open_checkpoint(
    path: Path,
    *,
    trust: bool = False,
    data_path: str | Path | None = None,
    items: str | Path | None = None,
    title_column: str | None = None,
    attribute_columns: list[str] | None = None,
    device: str = "cpu",
) -> RecBoleRecommender:
    """Open a RecBole checkpoint; see :func:`recsae.load_recommender` for the parameters."""
    with recbole_boundary():
        checkpoint = read_checkpoint(path, trust=trust, device=device)
        config = checkpoint["config"]
        config["device"] = device
        folder = find_data(str(config["dataset"]), str(config["data_path"]), path, data_path)
        data = open_data(config, folder)
        model = _model(config, data, checkpoint["state_dict"], path)
        model.load_other_parameter(checkpoint.get("other_parameter"))
    model = model.to(device).eval()
    external = [str(t) for t in data.dataset.field2id_token[data.dataset.iid_field]]
    table, separator = read_item_file(folder, str(config["dataset"])), " "
    if items is not None:
        table, separator = read_items_csv(Path(items))
    catalog = build_catalog(
        external,
        table,
        title_column=title_column,
        attribute_columns=attribute_columns,
        separator=separator,
    )
    return RecBoleRecommender(model, config, data, catalog, path)


def _model(config: Any, data: Data, weights: dict[str, Any], path: Path) -> Any:
    from recbole.utils import ModelType, get_model

    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        raise CannotOpenModel(
            f"{path} holds a {config['model']}, which is no sequential model: recsae_recbole "
            "attaches to RecBole's sequential recommenders."
        )
    known = {key: tuple(value.shape) for key, value in weights.items()}
    try:
        model = get_model(config["model"])(config, data.splits["train"])
    except Exception as error:  # RecBole raises whatever it meets
        raise CannotOpenModel(
            f"RecBole cannot build the model {config['model']!r} of {path} "
            f"({type(error).__name__}: {error})."
        ) from error
    built = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if built != known:
        _explain_mismatch(built, known, data, path)
    model.load_state_dict(weights)
    return model


def _explain_mismatch(built: dict[str, Any], known: dict[str, Any], data: Data, path: Path) -> None:
    for key, shape in known.items():
        if key in built and built[key] != shape and built[key][:1] == (data.dataset.item_num,):
            raise CannotOpenModel(
                f"The data set does not match the checkpoint: {path} was trained with "
                f"{shape[0] - 1:,} items, the files in {data.files[0].parent} give "
                f"{data.dataset.item_num - 1:,}. Give the data it was trained on with --data-path."
            )
    odd = sorted(k for k in built.keys() | known.keys() if built.get(k) != known.get(k))
    raise CannotOpenModel(
        f"The weights in {path} do not fit the model that its settings describe: {odd[0]} is "
        f"{known.get(odd[0], 'missing')} in the file and {built.get(odd[0], 'missing')} in the model."
    )

