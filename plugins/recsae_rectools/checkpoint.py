"""A saved model of RecTools': recognised without unpickling, read, and made a model again.

RecTools saves a model as the pickle of one object whose only content is a checkpoint of PyTorch
Lightning's, which its trainer also writes by itself. The checkpoint holds weights, settings and the
items' external ids, and neither interactions nor the version of RecTools.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.core.errors import CannotOpenModel
from recsae.recommender.plugins import (
    UNTRUSTED,
    look_into_archive,
    look_into_pickle,
    unpickling_failed,
)
from recsae_rectools.installation import SERIES

if TYPE_CHECKING:
    import torch

HEAD = 4096
"""Bytes at the beginning of a pickle in which the class of what was saved stands."""
SETTINGS = {"model_config", "dataset_schema", "item_external_ids", "item_extra_tokens"}
"""What a checkpoint of RecTools' has besides its weights."""
CONTENT = "fitted_checkpoint"
"""What the pickled model has: its checkpoint."""
SUPPORTED = (
    "recsae attaches to RecTools' transformers (SASRecModel, BERT4RecModel, HSTUModel and classes "
    "of your own that inherit from them, with layers of any kind)"
)

SAVE_AGAIN = f"save it with {SERIES}, or train it again there."


class PickledClass(NamedTuple):
    """The class of what a file holds, by the beginning of its pickle."""

    name: str
    """With its module."""
    is_model: bool
    """Whether it is saved as RecTools saves its transformers."""


def pickled_class(path: Path) -> PickledClass | None:
    """The class of the pickled object, read without unpickling; None if the file is no pickle."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    found = look_into_pickle(head) if head.startswith(b"\x80") else None
    if found is None or not found.names:
        return None
    return PickledClass(found.names[0], bool(found.strings & {CONTENT, "model_config"}))


def is_rectools(path: Path) -> bool:
    """Whether RecTools has saved the file: a model of any kind, a data set, or a checkpoint."""
    found = pickled_class(path)
    if found is not None:
        return found.is_model or found.name.startswith("rectools.")
    inside = look_into_archive(path)
    return inside is not None and inside.strings >= SETTINGS


class Saved(NamedTuple):
    """What was read from a file."""

    model_class: type | None
    """Of a pickle; a checkpoint's settings have its name."""
    checkpoint: dict[str, Any]


def read_saved(path: Path, *, trust: bool) -> Saved:
    """Read a model's file (inside the boundary).

    Raises
    ------
    CannotOpenModel
        Not trusted, unreadable, no transformer, or not fitted.
    """
    import torch

    found = pickled_class(path)
    if found is not None and not found.is_model:
        raise _other_kind(path, found.name)
    if not trust:
        raise CannotOpenModel(UNTRUSTED.format(path=path, what="RecTools' settings and ids"))
    try:
        model_class, source = _unwrapped(path) if found is not None else (None, path)
        checkpoint = torch.load(source, map_location="cpu", weights_only=False)
    except CannotOpenModel:
        raise
    except Exception as error:
        raise unpickling_failed(path, error) from error
    content = checkpoint if isinstance(checkpoint, dict) else {}
    settings = content.get("hyper_parameters")
    if not isinstance(settings, Mapping) or not settings.keys() >= SETTINGS:
        raise CannotOpenModel(
            f"{path} is no checkpoint of RecTools {SERIES}: that has {sorted(SETTINGS)} among its "
            f"hyper_parameters, this one has {sorted(settings or {})}. If another "
            f"version of RecTools saved it, {SAVE_AGAIN}"
        )
    return Saved(model_class, content)


def _unwrapped(path: Path) -> tuple[type, io.BytesIO]:
    """The class of a pickled model and its checkpoint; what RecTools does on unpickling, training
    with nothing to restore a trainer, is not done."""
    with path.open("rb") as file:
        model: Any = _OuterUnpickler(file).load()
    state = vars(model)
    if CONTENT not in state:
        raise CannotOpenModel(f"{path} holds a {model.kind.__name__} that is {NOT_FITTED}")
    return model.kind, io.BytesIO(state[CONTENT])


NOT_FITTED = "not fitted: there are no weights to read. Call its fit before saving it."


class _OuterUnpickler(pickle.Unpickler):
    """Reads the one object that stands around a checkpoint, with its class in ``kind``."""

    def find_class(self, module: str, name: str) -> Any:
        return type("Outer", (), {"kind": super().find_class(module, name)})


def _other_kind(path: Path, name: str) -> CannotOpenModel:
    kind = name.rpartition(".")[2]
    if name.startswith("rectools.dataset."):
        return CannotOpenModel(
            f"{path} holds RecTools' {kind}, no model: give the model's file, and this one with "
            "--data-path (data_path in Python)."
        )
    return CannotOpenModel(f"{path} holds a {kind}, which is no transformer: {SUPPORTED}.")


def build_model(saved: Saved, path: Path) -> Any:
    """The model with its weights, ready to recommend (inside the boundary).

    Its settings make it as RecTools' own loading does, but for the trainer.

    Raises
    ------
    CannotOpenModel
        RecTools cannot make it, or its weights do not fit or are not finite.
    """
    settings = saved.checkpoint["hyper_parameters"]
    config = {**settings["model_config"], "get_trainer_func": None, "get_trainer_func_kwargs": None}
    try:
        model = _constructed(saved.model_class, config, settings)
    except Exception as error:  # settings of another version, or a class that is not there
        said = " ".join(str(error).partition(" [type=")[0].split())  # pydantic's, on several lines
        raise CannotOpenModel(
            f"RecTools {SERIES} cannot make the model {config.get('cls')!r} of {path} by its "
            f"settings ({type(error).__name__}: {said[:200]}). If another version of RecTools "
            f"saved it, {SAVE_AGAIN}"
        ) from error
    _load_weights(model, saved.checkpoint.get("state_dict") or {}, path)
    return model


def _constructed(model_class: type | None, config: dict[str, Any], settings: Any) -> Any:
    from rectools.dataset.dataset import DatasetSchema
    from rectools.dataset.identifiers import IdMap
    from rectools.models import serialization

    made = (
        serialization.model_from_config(config)
        if model_class is None
        else model_class.from_config(config)  # type: ignore[attr-defined]
    )
    ids, schema = settings["item_external_ids"], settings["dataset_schema"]
    made.data_preparator.item_id_map = IdMap(ids)
    made.data_preparator._init_extra_token_ids()
    net = made._construct_item_net_from_dataset_schema(DatasetSchema.model_validate(schema))
    made._init_lightning_model(made._init_torch_model(net), schema, ids, config)
    made.is_fitted = made.lightning_model.is_fitted = True
    return made


def _load_weights(model: Any, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    module = model.lightning_model
    built = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    known = {name: tuple(value.shape) for name, value in weights.items()}
    if built != known:
        odd = min(k for k in built.keys() | known.keys() if built.get(k) != known.get(k))
        raise CannotOpenModel(
            f"The weights in {path} do not fit the model that its settings describe: {odd} is "
            f"{known.get(odd, 'missing')} in the file and {built.get(odd, 'missing')} in the model."
        )
    module.load_state_dict(weights)
    refuse_broken(model, f"The weights in {path}")


def refuse_broken(model: Any, whose: str) -> None:
    """Refuse weights that are NaN or infinite."""
    parameters = list(model.torch_model.named_parameters())
    broken = [name for name, value in parameters if not value.isfinite().all()]
    if broken:
        raise CannotOpenModel(
            f"{whose} are NaN or infinite in {broken[0]!r} ({len(broken)} of {len(parameters)} "
            "tensors): the training has diverged. Use a model from before that."
        )
