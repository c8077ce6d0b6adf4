"""From a file of RecTools', or a model in memory, to an attached recommender."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recsae.core.errors import CannotOpenModel, NotEnoughData
from recsae.recommender.plugins import usable_device
from recsae_rectools.adapter import RecToolsRecommender, refuse_strange
from recsae_rectools.boundary import rectools_boundary
from recsae_rectools.checkpoint import (
    NOT_FITTED,
    SUPPORTED,
    build_model,
    read_saved,
    refuse_broken,
)
from recsae_rectools.dataset import Data, arrange, find_data, read_data
from recsae_rectools.items import item_catalog
from recsae_rectools.origin import check_lists, origin_note
from recsae_rectools.users import user_table


def open_model(
    source: Any,
    *,
    trust: bool = False,
    data_path: str | Path | None = None,
    items: str | Path | None = None,
    title_column: str | None = None,
    attribute_columns: list[str] | None = None,
    separator: str | None = None,
    device: str = "cpu",
    dataset: Any = None,
) -> RecToolsRecommender:
    """Attach to a fitted model in memory, or to one in the file that ``source`` is the path of.

    A model in memory is put into evaluation mode and stays on its device. See
    :func:`recsae.load_recommender` for the parameters: ``dataset`` has everybody's histories, or
    they are in the file ``data_path``.

    Raises
    ------
    CannotOpenModel
        It is no transformer, not fitted, or its data set is missing or another model's.
    InvalidInput, NotEnoughData
        Tables that cannot be read; a data set without sequences.
    """
    columns = {
        "title_column": title_column,
        "attribute_columns": attribute_columns,
        "separator": separator,
    }
    path = source if isinstance(source, Path) else None
    with rectools_boundary():
        if path is not None:
            where = usable_device(device)
            model = build_model(read_saved(path, trust=trust), path)
            model.torch_model.to(where)
        else:
            model = source
            _refuse_others(model)
            if dataset is None and data_path is None:
                raise CannotOpenModel(
                    f"A RecTools model holds no interactions: give {type(model).__name__} its "
                    "Dataset, load_recommender(model, dataset=dataset)."
                )
        data = _data(model, dataset, data_path, path, trust)
        return _attached(model, data, items, columns, path)


def _refuse_others(model: Any) -> None:
    from rectools.models.nn.transformers.base import TransformerModelBase
    from rectools.models.nn.transformers.lightning import TransformerLightningModuleBase
    from rectools.models.nn.transformers.torch_backbone import TransformerBackboneBase

    name = type(model).__name__
    if isinstance(model, TransformerLightningModuleBase | TransformerBackboneBase):
        raise CannotOpenModel(
            f"{name} is a part of a RecTools model and has no ids of items: give the model that "
            "has it, such as the SASRecModel."
        )
    if not isinstance(model, TransformerModelBase):
        raise CannotOpenModel(f"{name} of RecTools is no transformer: {SUPPORTED}.")
    if not model.is_fitted:
        raise CannotOpenModel(f"The {name} is {NOT_FITTED.replace('saving', 'attaching to')}")
    refuse_broken(model, f"The weights of {name}")


def _data(
    model: Any, dataset: Any, data_path: str | Path | None, path: Path | None, trust: bool
) -> Data:
    ids, name = list(model.data_preparator.get_known_item_ids()), type(model).__name__
    if dataset is not None:
        return arrange(dataset, ids, name)
    file = find_data(path, data_path)
    return arrange(read_data(file, ids, trust=trust), ids, name, [file])


def _attached(
    model: Any, data: Data, items: str | Path | None, columns: dict[str, Any], path: Path | None
) -> RecToolsRecommender:
    refuse_strange(model)
    if not bool((data.sequences.lengths >= 2).any()):
        raise NotEnoughData(
            "No user of the data set has two interactions with items of the model: there is no "
            "sequence in it."
        )
    model.torch_model.eval()
    ids = list(model.data_preparator.get_known_item_ids())
    catalog = item_catalog(ids, data, items, columns)
    table = None if items is None else Path(items)
    found = RecToolsRecommender(model, data, catalog, user_table(data), path, table)
    check_lists(found)
    found.sites()  # tries them inside the boundary
    notes = [note for note in (*data.notes, origin_note(found)) if note]
    found.catalog = found.catalog.with_notes(*notes)
    found.data = data._replace(dataset=None)  # of a million interactions it takes 40 MB
    return found
