"""RecBole's data set with its own filters, id maps, order and split, but without its prefixes.

RecBole turns every prefix of every history into a padded row. Here the data set is built by
RecBole's own classes with that one step replaced: a row keeps the position of its target in the
history, so RecBole's own splitting says which positions are train, valid and test.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.errors import CannotOpenModel, InvalidInput
from recsae.sequences import Sequences

if TYPE_CHECKING:
    from numpy.typing import NDArray

POSITION = "recsae_position"


class Data(NamedTuple):
    """A data set opened for one checkpoint (RecBole's objects stay inside the plug-in)."""

    dataset: Any
    splits: dict[str, Any]
    sequences: Sequences
    first_row: NDArray[np.int64]  # (n_users,) row of each internal user id in the sequences
    files: list[Path]


def find_data(name: str, configured: str, checkpoint: Path, given: str | Path | None) -> Path:
    """Folder that holds ``name.inter``.

    Tried in order: what was given (or ``name`` below it), the copy of ml-100k inside RecBole, what
    the checkpoint says (also relative to the checkpoint's folder and its parents).

    Raises
    ------
    CannotOpenModel
        Nowhere; the message lists where it was looked for.
    """
    if given is not None:
        tried = [Path(given), Path(given) / name]
    else:
        import recbole

        told = Path(configured)
        inside = Path(recbole.__file__).parent / "dataset_example" / name
        bases = [Path.cwd(), *checkpoint.resolve().parents[:3]]
        relative = () if told.is_absolute() else (told,)
        places = [base / r for base in bases for r in (*relative, Path("dataset") / name, name)]
        tried = [told, inside, *places] if name != "ml-100k" else [inside, told]
    for folder in tried:
        if any(folder.glob(f"{name}*.inter")):
            return folder.resolve()
    looked = ", ".join(str(t) for t in dict.fromkeys(tried[:4]))
    raise CannotOpenModel(
        f"The data set {name!r} of the checkpoint was not found: there is no {name}.inter in "
        f"{looked}. Say where it lies with --data-path FOLDER."
    )


def open_data(config: Any, folder: Path) -> Data:
    """Build the data set (inside the boundary).

    Raises
    ------
    CannotOpenModel
        RecBole cannot read it.
    """
    name = config["dataset"]
    if config["benchmark_filename"] is not None:
        raise CannotOpenModel(
            "The checkpoint was trained on files that were split beforehand (benchmark_filename="
            f"{config['benchmark_filename']}); only data sets that RecBole splits are supported."
        )
    config["data_path"] = str(folder)
    for key in ("save_dataset", "save_dataloaders"):
        config[key] = False
    try:
        dataset = _light_class(config)(config)
        splits = dict(zip(("train", "valid", "test"), dataset.build(), strict=True))
    except RecursionError:
        raise
    except Exception as error:  # RecBole raises whatever it meets
        raise CannotOpenModel(
            f"RecBole cannot build the data set {name!r} from {folder} "
            f"({type(error).__name__}: {error})."
        ) from error
    sequences, first_row = _sequences(dataset)
    files = sorted(p for p in folder.glob(f"{name}.*") if p.suffix in (".inter", ".item"))
    return Data(dataset, splits, sequences, first_row, files)


def _light_class(config: Any) -> type:
    import recbole.data.dataset as datasets
    from recbole.data.interaction import Interaction

    own = getattr(datasets, f"{config['model']}Dataset", None)
    base: type = own or datasets.SequentialDataset

    class Light(base):  # type: ignore[misc,valid-type]
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
            rows = self.inter_feat[np.flatnonzero(position > 0)]
            rows.update(Interaction({POSITION: torch.from_numpy(position[position > 0])}))
            self.inter_feat = rows

    Light.__name__ = base.__name__
    return Light


def _sequences(dataset: Any) -> tuple[Sequences, NDArray[np.int64]]:
    users, items, starts = dataset.recsae_history
    rows = users[starts].astype(np.int64)
    external = dataset.field2id_token[dataset.uid_field]
    first_row = np.full(dataset.user_num, -1, dtype=np.int64)
    first_row[rows] = np.arange(len(rows))
    sequences = Sequences(
        flat=items.astype(np.int32),
        offsets=np.r_[starts, len(items)].astype(np.int64),
        users=np.array([str(external[r]) for r in rows], dtype=object),
        user_rows=rows,
    )
    return sequences, first_row


def read_item_file(folder: Path, name: str) -> pd.DataFrame | None:
    """The raw ``.item`` file as strings, header types cut off; None if there is none.

    Read past RecBole: it would split titles into words, and most checkpoints' settings do not load
    these columns at all.
    """
    path = folder / f"{name}.item"
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(
            path, sep="\t", dtype=str, keep_default_na=False, quoting=3, encoding="utf-8"
        )
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InvalidInput(
            f"The item file {path} cannot be read ({error}); mend it or give --items FILE.csv."
        ) from error
    table.columns = [str(c).split(":")[0] for c in table.columns]
    return table
