"""A RecBole checkpoint on disk: what it is, seen without running it; and opening it when trusted."""

import pickletools
import zipfile
from pathlib import Path
from typing import Any

from recsae.errors import CannotOpenModel


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
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError):
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
    """Whether the file is a checkpoint that holds a RecBole ``Config``."""
    names = pickled_names(path) or set()
    return any(name.endswith(".Config") and "config" in name for name in names) or any(
        name.startswith("recbole.") for name in names
    )


def read_checkpoint(path: Path, *, trust: bool, device: str) -> dict[str, Any]:
    """Unpickle a checkpoint (inside the boundary) and check that it has what RecBole writes.

    Raises
    ------
    CannotOpenModel
        Not trusted, unreadable, or without ``config`` and ``state_dict``.
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
            f"{path} cannot be read ({type(error).__name__}: {error}): the file is damaged or was "
            "written by an incompatible version. Copy it again or save it again."
        ) from error
    missing = {"config", "state_dict"} - set(checkpoint if isinstance(checkpoint, dict) else ())
    if missing:
        raise CannotOpenModel(
            f"{path} is no RecBole checkpoint: it has no {' and no '.join(sorted(missing))}."
        )
    return dict(checkpoint)


