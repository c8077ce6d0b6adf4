"""A RecBole checkpoint on disk: what it is, seen without running it; opening it; its model."""

from __future__ import annotations

import pickletools
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.errors import CannotOpenModel, nearest

if TYPE_CHECKING:
    from .dataset import Data


def pickled_names(path: Path) -> set[str] | None:
    """Names that the checkpoint's pickle refers to, read without unpickling.

    None if the file is not a torch archive (also when it was cut short).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inner = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
            if inner is None:
                return None
            data = archive.read(inner)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError):
        return None
    names: set[str] = set()
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL":
                names.add(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                names.add(".".join(strings[-2:]))
            elif "UNICODE" in opcode.name:
                strings.append(str(argument))
    except ValueError:
        return None
    return names


def is_recbole(path: Path) -> bool:
    """Whether the file is a checkpoint that holds the ``Config`` of RecBole or a sister package."""
    names = pickled_names(path) or set()
    return any(
        name.startswith("recbole.") or (name.endswith(".Config") and "config" in name)
        for name in names
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
        raise CannotOpenModel(
            f"{path} holds pickled Python objects (RecBole's Config), and unpickling can run any "
            "code that the author of the file put there. If you trust where it came from, say so: "
            "--trust on the command line, trust=True in Python."
        )
    try:
        checkpoint = torch.load(path, map_location=device, weights_only=False)
    except ModuleNotFoundError as error:
        raise CannotOpenModel(
            f"{path} needs the module {error.name!r}, which cannot be imported: put the file that "
            "defines the model's class on PYTHONPATH."
        ) from error
    except Exception as error:  # unpickling runs foreign code: anything can come out
        raise CannotOpenModel(
            f"{path} cannot be read ({one_line(error)}): the file is damaged or was written by an "
            "incompatible version. Copy it again or save it again."
        ) from error
    found = checkpoint if isinstance(checkpoint, dict) else {}
    config, weights = found.get("config"), found.get("state_dict")
    if not hasattr(config, "final_config_dict") or not isinstance(weights, Mapping):
        has = sorted(map(str, found)) if found else f"a {type(checkpoint).__name__}"
        raise CannotOpenModel(
            f"{path} is no checkpoint of a RecBole trainer: that has the model's settings as "
            f"'config' and its weights as 'state_dict', this file has {has}."
        )
    return found


def model_class(config: Any, path: Path) -> Any:
    """Class of the checkpoint's model: a sequential one of RecBole's, or the user's own.

    Raises
    ------
    CannotOpenModel
        No such class, or no sequential model.
    """
    from recbole.utils import ModelType, get_model

    name = str(config["model"])
    found = vars(config).get("model_class")
    if getattr(found, "__name__", None) != name:
        try:
            found = get_model(name)
        except (ValueError, AttributeError, ImportError) as error:
            raise CannotOpenModel(
                f"{path} holds a {name!r}, which is no model of RecBole's."
                f"{nearest(name, _sequential_models())} If it is your own class, save the "
                "checkpoint with a Config that was made from the class: Config(model=TheClass)."
            ) from error
    if getattr(found, "type", None) != ModelType.SEQUENTIAL:
        raise CannotOpenModel(
            f"{path} holds a {name}, which is no sequential model: recsae_recbole attaches to "
            "RecBole's sequential recommenders."
        )
    return found


def _sequential_models() -> list[str]:
    """Names as RecBole spells them, from its files of settings."""
    import recbole

    root = Path(recbole.__file__).parent
    modules = {p.stem for p in (root / "model" / "sequential_recommender").glob("*.py")}
    return [p.stem for p in (root / "properties/model").glob("*.yaml") if p.stem.lower() in modules]


def build_model(checkpoint: dict[str, Any], data: Data, path: Path) -> Any:
    """The checkpoint's model with its weights, ready to recommend (inside the boundary).

    Raises
    ------
    CannotOpenModel
        RecBole cannot build it, the data set has other items, or weights are not finite.
    """
    config, weights = checkpoint["config"], checkpoint["state_dict"]
    try:
        with redirect_stdout(StringIO()):  # FEARec prints
            model = model_class(config, path)(config, data.splits["train"])
    except CannotOpenModel:
        raise
    except Exception as error:  # RecBole raises whatever it meets
        raise CannotOpenModel(
            f"RecBole cannot build the model {config['model']!r} of {path} ({one_line(error)})."
        ) from error
    _check_shapes(model, weights, data, path)
    model.load_state_dict(weights)
    model.load_other_parameter(checkpoint.get("other_parameter"))
    broken = [name for name, value in model.named_parameters() if not value.isfinite().all()]
    if broken:
        raise CannotOpenModel(
            f"The weights in {path} are NaN or infinite in {broken[0]!r} ({len(broken)} of "
            f"{len(list(model.parameters()))} tensors): the training has diverged. Use a "
            "checkpoint from before that."
        )
    return model.to(config["device"]).eval()


def _check_shapes(model: Any, weights: Mapping[str, Any], data: Data, path: Path) -> None:
    known = {key: tuple(getattr(value, "shape", ())) for key, value in weights.items()}
    built = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if built == known:
        return
    dataset = data.dataset
    for key, shape in known.items():
        for what, n in (("items", dataset.item_num), ("users", dataset.user_num)):
            wanted = built.get(key, ())
            if wanted[:1] == (n,) and shape[1:] == wanted[1:] and shape[:1] not in ((), (n,)):
                raise CannotOpenModel(
                    f"The data set does not match the checkpoint: {path} was trained with "
                    f"{shape[0] - 1:,} {what}, the files in {data.files[0].parent} give "
                    f"{n - 1:,}. Give the data it was trained on with --data-path."
                )
    odd = min(k for k in built.keys() | known.keys() if built.get(k) != known.get(k))
    raise CannotOpenModel(
        f"The weights in {path} do not fit the model that its settings describe: {odd} is "
        f"{known.get(odd, 'missing')} in the file and {built.get(odd, 'missing')} in the model."
    )


def one_line(error: Exception) -> str:
    """Kind and first line of an error of somebody else's, without a full stop."""
    first = next(iter(str(error).splitlines()), "").strip().rstrip(".:")
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
