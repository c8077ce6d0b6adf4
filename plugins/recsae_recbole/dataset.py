"""RecBole's data set with its own filters, id maps, order and split, but without its prefixes.

RecBole turns every prefix of every history into a padded row. Here the data set is built by
RecBole's own classes with that one step replaced: a row keeps the position of its target in the
history, so RecBole's own splitting says which positions are train, valid and test. Models without
sequences have no such step; see :mod:`recsae_recbole.general_data`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.core.errors import CannotOpenModel, NotEnoughData, summary_of
from recsae.core.files import absolute
from recsae.recommender.sequences import Sequences
from recsae_recbole.boundary import seed_generators
from recsae_recbole.general_data import POSITION_FIELD, general_class, general_sequences
from recsae_recbole.split_files import sequences_of_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Data(NamedTuple):
    """A data set opened for one checkpoint (RecBole's objects stay inside the plug-in)."""

    dataset: Any
    splits: dict[str, Any]
    sequences: Sequences
    first_row: NDArray[np.int64]  # (n_users,) row of each internal user id in the sequences
    files: list[Path]
    filters_seen: bool
    """Whether lists leave out the history: for general models, unless ``repeatable`` is on."""


def find_data(name: str, configured: str, checkpoint: Path, given: str | Path | None) -> Path:
    """Folder that holds ``name.inter``.

    Where a folder is given (itself, or the one above), nowhere else is looked. Otherwise, in this
    order: the copy of ml-100k inside RecBole, which RecBole itself always takes; what the
    checkpoint says; then below the working folder, the checkpoint's folder and the two above it:
    the same relative path, ``dataset/name``, ``data/name``, ``name`` and the folder itself.

    Raises
    ------
    CannotOpenModel
        Nowhere; the message says where it was looked for and what lies there instead.
    """
    stated = Path(configured)
    tried = [stated]
    where = f"in {stated}, where the checkpoint says it is"
    if given is not None:
        tried = [Path(given), Path(given) / name]
        where = f"in {tried[0]} or {tried[1]}"
    else:
        if name == "ml-100k":
            import recbole

            tried.insert(0, Path(recbole.__file__).parent / "dataset_example" / name)
        bases = list(dict.fromkeys([Path.cwd(), *absolute(checkpoint).parents[:3]]))
        below = [
            Path(*stated.parts[-2:]),
            *map(Path, (f"dataset/{name}", f"data/{name}", name, ".")),
        ]
        tried += [base / place for base in bases for place in (stated, *below)]
        where += f", nor as dataset/{name}, data/{name} or {name} in {_enumerated(bases)}"
    for folder in tried:
        if any(p == f"{name}.inter" or p.startswith(f"{name}.") for p in _interactions(folder)):
            return absolute(folder)
    others = next((f"{_interactions(f)[0]} in {f}" for f in tried if _interactions(f)), None)
    hint = f" There is {others}, but the checkpoint's data set has another name." if others else ""
    raise CannotOpenModel(
        f"The data set {name!r} of the checkpoint was not found: there is no {name}.inter {where}."
        f"{hint} Say where it lies with --data-path FOLDER."
    )


def _interactions(folder: Path) -> list[str]:
    try:
        return sorted(p.name for p in folder.iterdir() if p.suffix == ".inter")
    except OSError:  # no such folder, or not ours to read
        return []


def _enumerated(folders: list[Path]) -> str:
    return " or ".join(map(str, folders))


def open_data(config: Any, folder: Path, kind: type | None = None) -> Data:
    """Build the data set (inside the boundary), of RecBole's class for the model or of ``kind``.

    Raises
    ------
    CannotOpenModel, NotEnoughData
        RecBole cannot read it; no user has two interactions.
    """
    from recbole.utils import ModelType

    name, general = config["dataset"], config["MODEL_TYPE"] == ModelType.GENERAL
    config["data_path"] = str(folder)
    config.final_config_dict.update(save_dataset=False, save_dataloaders=False, worker=0)
    try:
        seed_generators(config["seed"])
        with _fast_csv():
            dataset = (general_class if general else _light_class)(config, kind)(config)
        splits = dict(zip(("train", "valid", "test"), dataset.build(), strict=True))
    except Exception as error:  # RecBole raises whatever it meets
        raise CannotOpenModel(
            f"RecBole cannot build the data set {name!r} from {folder} ({summary_of(error)}). If "
            "these are not the files that the model was trained on, give those with --data-path."
        ) from error
    if not any(map(len, splits.values())):
        raise NotEnoughData(
            f"No user in {folder / name}.inter has two interactions left after the checkpoint's "
            "filters: there is no sequence in it."
        )
    sequences = _sequences(config, dataset, splits, general)
    first_row = np.full(dataset.user_num, -1, dtype=np.int64)
    first_row[sequences.user_rows] = np.arange(len(sequences))
    filters_seen = general and not config["repeatable"]
    files = _files(config, folder, dataset)
    return Data(dataset, splits, sequences, first_row, files, filters_seen)


def drop_what_only_building_reads(data: Data) -> None:
    """Keep of each interaction user, item and position: a model that is built reads no other field.

    Of a million interactions the rest takes 40 MB.
    """
    from recbole.data.interaction import Interaction

    for part in (data.dataset, *data.splits.values()):
        fields = part.inter_feat.interaction
        read = (part.uid_field, part.iid_field, POSITION_FIELD)
        part.inter_feat = Interaction({name: fields[name] for name in read if name in fields})
        vars(part).pop("recsae_history", None)


def _files(config: Any, folder: Path, dataset: Any) -> list[Path]:
    parts = [f"{part}.inter" for part in config["benchmark_filename"] or ()] or ["inter"]
    knowledge = ("kg", "link") if hasattr(dataset, "kg_feat") else ()
    suffixes = (*parts, "item", "user", *knowledge, *(config["additional_feat_suffix"] or ()))
    files = [folder / f"{config['dataset']}.{suffix}" for suffix in suffixes]
    return [f for f in files if f.is_file()]


@contextmanager
def _fast_csv() -> Iterator[None]:
    """Let RecBole read with pandas' C parser, not the one in Python: six times faster."""
    from recbole.data.dataset import dataset as module

    def read_csv(path: str, **options: Any) -> pd.DataFrame:
        if len(options["delimiter"]) == 1:
            options["engine"] = "c"
        return pd.read_csv(path, **options)

    module.pd = SimpleNamespace(**{**vars(pd), "read_csv": read_csv})
    try:
        yield
    finally:
        module.pd = pd


def _light_class(config: Any, kind: type | None) -> type:
    import recbole.data.dataset as datasets
    from recbole.data.interaction import Interaction

    base: Any = kind or getattr(datasets, f"{config['model']}Dataset", datasets.SequentialDataset)
    if base is datasets.DIENDataset:  # it draws negative items for training
        base = datasets.SequentialDataset

    class Light(base):  # type: ignore[misc]
        inter_feat: Any

        def data_augmentation(self) -> None:
            import torch

            self._aug_presets()
            self._check_field("uid_field", "time_field")
            self.sort(by=[self.uid_field, self.time_field], ascending=True)
            users = self.inter_feat[self.uid_field].numpy()
            starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
            sizes = np.diff(np.r_[starts, len(users)])
            position = np.arange(len(users)) - np.repeat(starts, sizes)
            self.recsae_history = users, self.inter_feat[self.iid_field].numpy().copy(), starts
            rows = torch.from_numpy(np.flatnonzero(position > 0))
            kept = {field: value[rows] for field, value in self.inter_feat.interaction.items()}
            kept[POSITION_FIELD] = torch.from_numpy(position)[rows]
            self.inter_feat = Rows(kept)

        def _grouped_index(self, group_by_list: Any) -> list[list[int]]:
            """The rows of each user, users in the order of their first rows: as RecBole's loop,
            which takes a third of a second for a million rows."""
            rows = np.argsort(group_by_list, kind="stable")
            bounds = np.flatnonzero(np.diff(np.asarray(group_by_list)[rows])) + 1
            groups = np.split(rows, bounds) if len(rows) else []
            return [group.tolist() for group in sorted(groups, key=lambda group: group[0])]

    class Rows(Interaction):  # type: ignore[misc]
        """Rows that are taken by a list of numbers, which RecBole turns into a tensor anew for each
        field: half a second for a million rows."""

        def __getitem__(self, index: Any) -> Any:
            import torch

            if not isinstance(index, list):
                return super().__getitem__(index)
            rows = torch.tensor(index, dtype=torch.int64)
            return Interaction({field: value[rows] for field, value in self.interaction.items()})

    Light.__name__ = base.__name__
    return Light


def _sequences(config: Any, dataset: Any, splits: dict[str, Any], general: bool) -> Sequences:
    if general:
        return general_sequences(dataset, splits)
    if config["benchmark_filename"] is not None:
        return sequences_of_rows(dataset, splits, int(config["MAX_ITEM_LIST_LENGTH"]))
    users, items, starts = dataset.recsae_history
    rows = users[starts].astype(np.int64)
    external = dataset.field2id_token[dataset.uid_field]
    return Sequences(
        flat=items.astype(np.int32),
        offsets=np.r_[starts, len(items)].astype(np.int64),
        users=np.array([str(external[r]) for r in rows], dtype=object),
        user_rows=rows,
    )
