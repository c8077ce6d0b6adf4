"""A RecBole checkpoint on disk: recognised without unpickling, read, and made a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from io import StringIO
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.core.errors import CannotOpenModel, nearest, summary_of
from recsae.recommender.plugins import UNTRUSTED, look_into_archive, unpickling_failed
from recsae_recbole.boundary import seed_generators
from recsae_recbole.versions import without_wrappers

if TYPE_CHECKING:
    from recsae_recbole.dataset import Data


_NO_CLASS = re.compile(r"Can't get attribute '([^']+)' on <module '([^']+)'")


def is_recbole(path: Path) -> bool:
    """Whether the file is a checkpoint that holds the ``Config`` of RecBole or a sister package."""
    found = look_into_archive(path)
    return any(
        name.startswith("recbole.") or (name.endswith(".Config") and "config" in name)
        for name in (found.names if found else ())
    )


def read_checkpoint(path: Path, *, trust: bool, device: str) -> dict[str, Any]:
    """Unpickle a checkpoint (inside the boundary) and check that it has what RecBole writes.

    Raises
    ------
    CannotOpenModel
        Not trusted, unreadable, or without a ``config`` and ``state_dict`` to work with.
    """
    import torch

    if not trust:
        raise CannotOpenModel(UNTRUSTED.format(path=path, what="RecBole's Config"))
    try:
        checkpoint = torch.load(path, map_location=device, weights_only=False)
    except AttributeError as error:
        raise _missing_class(path, error) from error
    except Exception as error:
        raise unpickling_failed(path, error) from error
    content = checkpoint if isinstance(checkpoint, dict) else {}
    config, weights = content.get("config"), content.get("state_dict")
    settings = getattr(config, "final_config_dict", None)
    if settings is None or not (isinstance(weights, Mapping) or _is_tree(config)):
        has = sorted(map(str, content)) if content else f"a {type(checkpoint).__name__}"
        raise CannotOpenModel(
            f"{path} is no checkpoint of a RecBole trainer: that has the model's settings as "
            f"'config' and its weights as 'state_dict', this file has {has}."
        )
    return content


def _missing_class(path: Path, error: AttributeError) -> CannotOpenModel:
    """Of a class that the pickle names and its module does not have."""
    found = _NO_CLASS.search(str(error))
    if found is None:
        return CannotOpenModel(
            f"{path} cannot be read ({summary_of(error)}): it was written by an incompatible "
            "version."
        )
    name, module = found.groups()
    if not module.endswith("__main__"):  # also of `python -m`
        return CannotOpenModel(
            f"{path} needs the class {name!r} of the module {module!r}, which has none: put the "
            "version of the file that the model was trained with on PYTHONPATH."
        )
    return CannotOpenModel(
        f"{path} needs the class {name!r}, which was defined in the script that trained the model "
        "(it is pickled as one of '__main__'). In Python, import that class and say "
        f"`import __main__; __main__.{name} = {name}` before load_recommender; for the command "
        "line, move the class into a module on PYTHONPATH and save the checkpoint again with it "
        "imported from there."
    )


def model_class(config: Any, path: Path) -> Any:
    """Class of the checkpoint's model: RecBole's or the user's own, sequential or general.

    Raises
    ------
    CannotOpenModel
        No such class, or a model of another kind.
    """
    from recbole.utils import ModelType, get_model

    name = str(config["model"])
    if _is_tree(config):  # to import the class needs a library of its own
        raise _other_kind(path, name, config["MODEL_TYPE"])
    model_class = vars(config).get("model_class")
    if getattr(model_class, "__name__", None) != name:
        try:
            model_class = get_model(name)
        except (ValueError, AttributeError, ImportError) as error:
            raise CannotOpenModel(
                f"{path} holds a {name!r}, which is no model of RecBole's."
                f"{nearest(name, _model_names())} If it is your own class, save the "
                "checkpoint with a Config that was made from the class: Config(model=TheClass)."
            ) from error
    kind = getattr(model_class, "type", None)
    if kind not in (ModelType.SEQUENTIAL, ModelType.GENERAL):
        raise _other_kind(path, name, kind)
    return model_class


def _is_tree(config: Any) -> bool:
    return getattr(config["MODEL_TYPE"], "name", None) == "DECISIONTREE"


def _other_kind(path: Path, name: str, kind: Any) -> CannotOpenModel:
    called = str(getattr(kind, "name", kind))
    if called == "TRADITIONAL":
        return CannotOpenModel(
            f"{path} holds the model {name}, which has no user representation: its scores come "
            "from item statistics alone, there are no hidden states to read. Give a model that "
            "learns embeddings, sequential or general."
        )
    names = {
        "CONTEXT": "context-aware",
        "KNOWLEDGE": "knowledge-aware",
        "DECISIONTREE": "decision-tree",
    }
    return CannotOpenModel(
        f"{path} holds {name}, a model of the kind {names.get(called, called)!r}: "
        "recsae_recbole attaches to RecBole's sequential and general recommenders."
    )


def _model_names() -> list[str]:
    """Names as RecBole spells them, from its files of settings."""
    import recbole

    root = Path(recbole.__file__).parent
    modules = {
        p.stem
        for folder in ("sequential_recommender", "general_recommender")
        for p in (root / "model" / folder).glob("*.py")
    }
    return [p.stem for p in (root / "properties/model").glob("*.yaml") if p.stem.lower() in modules]


def build_model(checkpoint: dict[str, Any], data: Data, path: Path) -> Any:
    """The checkpoint's model with its weights, ready to recommend (inside the boundary).

    What the constructor draws at random and the checkpoint does not hold (a model's sample of
    neighbours or of the history) is drawn as RecBole draws it when it loads the checkpoint.

    Raises
    ------
    CannotOpenModel
        RecBole cannot build it, the data set has other items, or weights are not finite.
    """
    config = checkpoint["config"]
    found = model_class(config, path)
    try:
        with redirect_stdout(StringIO()):  # some print, such as FEARec
            model = _constructed(found, config, data.splits["train"])
    except Exception as error:  # RecBole raises whatever it meets
        raise CannotOpenModel(
            f"RecBole cannot build the model {config['model']!r} of {path} ({summary_of(error)})."
        ) from error
    weights = without_wrappers(checkpoint["state_dict"], model.state_dict())
    _check_shapes(model, weights, data, path)
    model.load_state_dict(weights)
    _load_other(model, checkpoint.get("other_parameter"), data)
    broken = [name for name, value in model.named_parameters() if not value.isfinite().all()]
    if broken:
        raise CannotOpenModel(
            f"The weights in {path} are NaN or infinite in {broken[0]!r} ({len(broken)} of "
            f"{len(list(model.parameters()))} tensors): the training has diverged. Use a "
            "checkpoint from before that."
        )
    return model.to(config["device"]).eval()


_WITHOUT_EARLIER_STAGE: dict[str, dict[str, Any]] = {
    "S3Rec": {"train_stage": "pretrain"},
    "RaCT": {"train_stage": "actor_pretrain"},
    "ConvNCF": {"train_method": "no_pretrain"},
    "NAIS": {"pretrain_path": None},
    "NeuMF": {"use_pretrain": False},
}
"""Settings that keep a constructor from reading the weights of an earlier stage, whose file is
seldom still there; the checkpoint holds all weights."""


def _constructed(model_class: Any, config: Any, train: Any) -> Any:
    known = (_WITHOUT_EARLIER_STAGE.get(base.__name__) for base in model_class.__mro__)
    instead = next(filter(None, known), {})
    settings = {key: config[key] for key in instead}
    config.final_config_dict.update(instead)
    try:
        seed_generators(config["seed"])
        model = model_class(config, train)
    finally:
        config.final_config_dict.update(settings)
    for key, value in settings.items():
        setattr(model, key, value)
    if hasattr(model, "relation_Matrix"):  # KSR multiplies it with states in single precision
        model.relation_Matrix = model.relation_Matrix.float()
    return model


def _load_other(model: Any, other: Any, data: Data) -> None:
    """What RecBole saves beside the weights; embedding layers come with the data set in them."""
    model.load_other_parameter(other)
    for layer in (other or {}).values():
        if hasattr(layer, "dataset"):
            layer.dataset, layer.device = data.dataset, model.device


def _check_shapes(model: Any, weights: Mapping[str, Any], data: Data, path: Path) -> None:
    known = {key: tuple(getattr(value, "shape", ())) for key, value in weights.items()}
    built = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if built == known:
        return
    for key, shape in known.items():
        pairs = zip(built.get(key, ()), shape, strict=False)
        for what, n, found in _other_counts(data.dataset, [p for p in pairs if p[0] != p[1]]):
            raise CannotOpenModel(
                f"The data set does not match the checkpoint: {path} was trained with {found:,} "
                f"{what}, the files in {data.files[0].parent} give {n:,}. Give the data it was "
                "trained on with --data-path."
            )
    odd = min(k for k in built.keys() | known.keys() if built.get(k) != known.get(k))
    raise CannotOpenModel(
        f"The weights in {path} do not fit the model that its settings describe: {odd} is "
        f"{known.get(odd, 'missing')} in the file and {built.get(odd, 'missing')} in the model."
    )


def _other_counts(dataset: Any, sizes: list[tuple[int, int]]) -> Iterator[tuple[str, int, int]]:
    """Numbers of items or users behind sizes that differ: of the data set, of the checkpoint."""
    for (built, saved), (what, rows) in product(
        sizes, (("items", dataset.item_num), ("users", dataset.user_num))
    ):
        if built - rows in (0, 1):  # one row more: an item that masks others
            yield what, rows - 1, saved - (built - rows) - 1
