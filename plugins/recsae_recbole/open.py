"""From a checkpoint on disk, or a model in memory, to an attached recommender."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from recsae.core.errors import CannotOpenModel
from recsae.recommender.plugins import usable_device
from recsae_recbole.adapter import RecBoleRecommender
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.checkpoint import build_model, model_class, read_checkpoint
from recsae_recbole.dataset import Data, drop_what_only_building_reads, find_data, open_data
from recsae_recbole.items import Columns, item_catalog, item_table
from recsae_recbole.origin import IN_MEMORY, check_same_data, own_class, stated_score, with_origin
from recsae_recbole.users import user_table
from recsae_recbole.versions import bring_up_to_date


def open_checkpoint(
    path: Path,
    *,
    trust: bool = False,
    data_path: str | Path | None = None,
    items: str | Path | None = None,
    title_column: str | None = None,
    attribute_columns: list[str] | None = None,
    separator: str | None = None,
    device: str = "cpu",
    dataset: Any = None,
) -> RecBoleRecommender:
    """Open a RecBole checkpoint; see :func:`recsae.load_recommender` for the parameters."""
    with recbole_boundary():
        checkpoint = read_checkpoint(path, trust=trust, device=usable_device(device))
        config = checkpoint["config"]
        config["device"] = device
        written = bring_up_to_date(config, path)
        model_class(config, path)  # a model that cannot be opened is refused before data is read
        folder = find_data(str(config["dataset"]), str(config["data_path"]), path, data_path)
        table = item_table(config, folder, items)
        data = _data(config, folder, dataset)
        try:
            model = build_model(checkpoint, data, path)
        except CannotOpenModel as error:
            if written is None:
                raise
            raise CannotOpenModel(
                f"{error} The checkpoint was written by RecBole {written}, whose models may differ "
                "from those of 1.2.1, which reads it here."
            ) from error
        columns = Columns(title_column, attribute_columns, separator)
        catalog, source = item_catalog(_external_ids(data), table, columns)
        stated = stated_score(config, checkpoint.get("best_valid_score"))
        found = RecBoleRecommender(model, config, data, catalog, path, source, stated)
        return _attached(found, folder)


def open_live(
    config: Any,
    model: Any,
    *,
    data_path: str | Path | None = None,
    items: str | Path | None = None,
    title_column: str | None = None,
    attribute_columns: list[str] | None = None,
    separator: str | None = None,
    trust: bool = False,
    device: str | None = None,
    dataset: Any = None,
) -> RecBoleRecommender:
    """Attach to a model in memory; it is put into evaluation mode and stays on its device.

    The data set is opened anew by a copy of ``config``, so the model's own objects stay as they
    are; with ``dataset``, by its class, and it must turn out the same. See
    :func:`recsae.load_recommender` for the parameters; nothing is unpickled, and no device is
    chosen here.

    Raises
    ------
    CannotOpenModel
        The data set is not found, has other numbers of users or items than the model, or other
        users, items or interactions than ``dataset``.
    """
    with recbole_boundary():
        config = copy.deepcopy(config)
        bring_up_to_date(config, None)
        name, stated = str(config["dataset"]), str(config["data_path"])
        try:
            folder = find_data(name, stated, Path.cwd() / "model", data_path)
        except CannotOpenModel:
            raise CannotOpenModel(
                f"The data set {name!r} of the model is not in {data_path or stated}, nor near the "
                "working folder: give its folder as data_path."
            ) from None
        table = item_table(config, folder, items)
        data = _data(config, folder, dataset)
        _check_numbers(model, data)
        columns = Columns(title_column, attribute_columns, separator)
        catalog, source = item_catalog(_external_ids(data), table, columns)
        known = IN_MEMORY if dataset is None else None
        model = model.eval()
        found = RecBoleRecommender(model, config, data, catalog, None, source, known)
        return _attached(found, folder)


def _data(config: Any, folder: Path, given: Any) -> Data:
    """The data set of the folder; if one is given, of its class and the same as it."""
    if given is None:
        return open_data(config, folder)
    data = open_data(config, folder, own_class(given))
    check_same_data(given, data)
    return data


def _check_numbers(model: Any, data: Data) -> None:
    """Refuse a data set with other numbers of users or items, whose ids are not the model's."""
    masks = any(base.__name__ == "S3Rec" for base in type(model).__mro__)  # it counts its mask
    for what, has, gives in (
        ("items", int(model.n_items) - masks, int(data.dataset.item_num)),
        ("users", getattr(model, "n_users", None), int(data.dataset.user_num)),
    ):
        if has not in (None, gives):
            raise CannotOpenModel(
                f"The data set does not match the model: {type(model).__name__} knows "
                f"{int(has) - 1:,} {what}, the files in {data.files[0].parent} give "
                f"{gives - 1:,}. Give the data it was trained on as data_path."
            )


def _attached(recommender: RecBoleRecommender, folder: Path) -> RecBoleRecommender:
    users = user_table(recommender.config, folder, list(recommender.sequences().users))
    recommender.users = users.table
    if users.note:
        recommender.catalog = recommender.catalog.with_notes(users.note)
    drop_what_only_building_reads(recommender.data)
    recommender.sites()  # finds them inside the boundary, or refuses the model
    return with_origin(recommender)


def _external_ids(data: Data) -> list[str]:
    return [str(token) for token in data.dataset.field2id_token[data.dataset.iid_field]]
