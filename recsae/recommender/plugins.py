"""Plug-ins, packages that open the models of a framework, found by their entry points."""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from recsae.core.errors import (
    CannotOpenModel,
    InvalidInput,
    NotInstalled,
    nearest,
    summary_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from recsae.recommender.protocol import Recommender

GROUP = "recsae.plugins"
"""The group of entry points that plug-ins are listed in."""
LABELERS = "recsae.labelers"
"""The group that labelers are listed in, see :class:`recsae.concepts.labeler.Labeler`."""
PARTS = ("name", "recognises", "open", "versions")
"""What an entry point must have, see :class:`Plugin`."""
FAILURES = (Exception, SystemExit)
"""A third party's package may fail in any way, and some exit."""

UNTRUSTED = (
    "{path} holds pickled Python objects ({what}), and unpickling can run any code that the author "
    "of the file put there. If you trust where it came from, say so: --trust on the command line, "
    "trust=True in Python."
)
"""What plug-ins say of a file that is unpickled only with ``trust``."""

MISSING = "missing"
"""How the state of a plug-in begins whose framework is not installed."""

logger = logging.getLogger("recsae")


class Plugin(Protocol):
    """What an entry point of the group ``recsae.plugins`` names."""

    name: str

    def recognises(self, source: object) -> bool:
        """Whether the source (a path or a live object) is of this plug-in's kind. Runs no code
        of the source: a checkpoint is looked at, not unpickled."""

    def open(self, source: object, **options: Any) -> Recommender:
        """Attach to it, with the options of ``load_recommender``."""

    def versions(self) -> dict[str, str]:
        """Versions of what the plug-in stands on, looked up and not imported, so that `recsae
        plugins` answers at once; raises :class:`recsae.core.errors.NotInstalled` if that is not
        installed, and anything else if it cannot be used.

        A plug-in may also have ``check()``, which imports it and raises if that fails: `recsae
        doctor` calls it.
        """


class PluginState(NamedTuple):
    """One line of ``recsae plugins``: a plug-in, or a labeler, which has no ``plugin``."""

    name: str
    package: str
    version: str
    state: str
    plugin: Plugin | None


def installed(*, thorough: bool = False) -> list[PluginState]:
    """Every installed plug-in with its version and state; a broken one is listed, not raised.

    ``thorough``: what plug-ins stand on is imported too, see :meth:`Plugin.versions`.
    """
    points = sorted(entry_points(group=GROUP), key=lambda p: p.name)
    return [_state(point, thorough) for point in points]


def installed_labelers() -> list[PluginState]:
    """Every labeler that a package brings, by its name; a broken one is listed, not raised."""
    points = sorted(entry_points(group=LABELERS), key=lambda p: p.name)
    return [_labeler_state(point) for point in points]


def _listed(point: EntryPoint, state: str, plugin: Plugin | None = None) -> PluginState:
    name, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    return PluginState(point.name, str(name or "?"), str(version or "?"), state, plugin)


def _labeler_state(point: EntryPoint) -> PluginState:
    try:
        made = point.load()
    except FAILURES as error:
        return _listed(point, f"broken: {_one_line(error)}")
    if not callable(made):
        return _listed(point, f"broken: {point.value} cannot be called to make a labeler")
    return _listed(point, f"ready (recsae run --labeler {point.name})")


def _state(point: EntryPoint, thorough: bool) -> PluginState:
    try:
        plugin: Plugin = point.load()
        if isinstance(plugin, type):
            plugin = plugin()
        lacking = [part for part in PARTS if not hasattr(plugin, part)]
    except FAILURES as error:
        return _listed(point, f"broken: {_one_line(error)}")
    if lacking:
        return _listed(point, f"broken: {point.value} has no {', '.join(lacking)}")
    try:
        if thorough and hasattr(plugin, "check"):
            plugin.check()
        versions = ", ".join(f"{k} {v}" for k, v in dict(plugin.versions()).items())
    except NotInstalled as error:
        return _listed(point, f"{MISSING}: {error}", plugin)
    except FAILURES as error:
        return _listed(point, f"cannot work here: {_one_line(error)}", plugin)
    try:
        plugin.recognises(object())
    except FAILURES as error:
        return _listed(point, f"broken: {_blame(error)}")
    return _listed(point, f"ready ({versions})", plugin)


def _blame(error: BaseException) -> str:
    return f"recognises() raised {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


@cache
def _warn(state: PluginState) -> None:
    """Warn of a broken plug-in, once each; the others are used."""
    logger.warning(
        "The plug-in %r of the package %s %s is %s. It is left out; `recsae plugins` lists all.",
        *state[:4],
    )


def get_plugin(name: str) -> Plugin:
    """The installed plug-in of that name."""
    states = installed()
    for state in states:
        if state.name == name and state.plugin is not None:
            return state.plugin
    known = [s.name for s in states]
    raise InvalidInput(f"No plug-in named {name!r} can be used.{nearest(name, known)}")


def load_recommender(
    source: str | Path | object,
    *,
    trust: bool = False,
    data_path: str | Path | None = None,
    items: str | Path | None = None,
    title_column: str | None = None,
    attribute_columns: list[str] | None = None,
    separator: str | None = None,
    device: str = "cpu",
    dataset: object | None = None,
) -> Recommender:
    """Attach to a trained recommender.

    Parameters
    ----------
    source
        Path of a checkpoint, a live object that an installed plug-in knows, or a recommender.
    trust
        Allow unpickling, which can run code that the file's author put there.
    data_path
        Folder of the data set, or its file; default is what the checkpoint says, then places
        beside it.
    items
        CSV file of titles and attributes: first column the external item id.
    title_column, attribute_columns
        Columns to use instead of those found by name.
    separator
        What separates the values of a cell of the item table, "none" if nothing does; by default
        the cells of each column decide.
    device
        Where the model runs, "cpu" or "cuda".
    dataset
        The framework's own data set of the model: for RecBole what ``create_dataset(config)``
        gives, of which users, items and histories must be those of the files; for RecTools the
        ``Dataset`` with everybody's histories.

    Raises
    ------
    CannotOpenModel
        Nothing there, not a checkpoint, not trusted, no plug-in knows it, or the data are not those
        that the model was trained on (see :mod:`recsae.recommender.validation`).

    Notes
    -----
    A plug-in that is broken is left out, with a warning of the logger "recsae".
    """
    from pathlib import Path

    from recsae.recommender.protocol import as_recommender, inherits, missing_parts

    if inherits(source) or not missing_parts(source).required:
        recommender = as_recommender(source)
        given = (data_path, items, title_column, attribute_columns, separator)
        if any(given) or dataset is not None:
            raise InvalidInput(
                f"{recommender.name} is open already and brings its own data and items."
            )
        return recommender
    for name, path in (("items", items), ("data_path", data_path)):
        if not isinstance(path, str | Path | None):
            raise InvalidInput(f"{name} is a {type(path).__name__}: give the path of a file.")
    if isinstance(source, str | Path):
        source = Path(source)
        if not source.is_file():
            what = "is a folder" if source.is_dir() else "does not exist"
            raise CannotOpenModel(f"The checkpoint {source} {what}: give the path of a file.")
        _refuse_packed(source)
    states = installed()
    for broken in (state for state in states if state.plugin is None):
        _warn(broken)
    further = {"dataset": dataset, "separator": separator}
    further = {name: value for name, value in further.items() if value is not None}
    for number, state in enumerate(states):
        if state.plugin is None:
            continue
        try:
            known = bool(state.plugin.recognises(source))
        except FAILURES as error:
            states[number] = state._replace(state=f"broken: {_blame(error)}", plugin=None)
            _warn(states[number])
            continue
        if known:
            opened = state.plugin.open(
                source,
                trust=trust,
                data_path=data_path,
                items=items,
                title_column=title_column,
                attribute_columns=attribute_columns,
                device=device,
                **further,
            )
            return as_recommender(opened)
    names = ", ".join(f"{s.name} ({s.state})" for s in states) or "none"
    raise CannotOpenModel(
        f"No installed plug-in recognises {_describe(source)}. Installed plug-ins: {names}. If the "
        "file was cut short, copy it again; `recsae doctor` checks the installation."
    )


def _refuse_packed(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: torch packs nothing."""
    from recsae.core.files import unpacks_to

    unpacked, size = unpacks_to(path), path.stat().st_size
    if unpacked is not None and unpacked > size:
        raise CannotOpenModel(
            f"{path} unpacks from {size:,} to {unpacked:,} bytes. Torch writes its files unpacked, "
            "so this is none of them: give the file that it wrote."
        )


class Pickled(NamedTuple):
    """What a pickle is made of, as far as it could be read."""

    names: list[str]
    """Classes and functions that it refers to, with their modules, in order."""
    strings: set[str]
    whole: bool
    """Whether it could be read to its end."""


def look_into_pickle(data: bytes) -> Pickled:
    """What a pickle, or the beginning of one, refers to: for :meth:`Plugin.recognises`.

    >>> import pickle
    >>> look_into_pickle(pickle.dumps(print, protocol=4)).names
    ['builtins.print']
    """
    import pickletools

    names: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL":
                names.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                names.append(".".join(strings[-2:]))
            elif "UNICODE" in opcode.name:
                strings.append(str(argument))
    except (ValueError, IndexError):  # it ends too early, or is no pickle
        return Pickled(names, set(strings), whole=False)
    return Pickled(names, set(strings), whole=True)


def look_into_archive(path: Path) -> Pickled | None:
    """The pickle in a file that ``torch.save`` wrote; None if it is another, or was cut short."""
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(path) as archive:
            inner = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
            found = None if inner is None else look_into_pickle(archive.read(inner))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError):
        return None
    return found if found is not None and found.whole else None


def unpickling_failed(path: Path, error: Exception) -> CannotOpenModel:
    """The error of a file that could not be unpickled: foreign code runs, so anything comes out."""
    if isinstance(error, ModuleNotFoundError):
        return CannotOpenModel(
            f"{path} needs the module {error.name!r}, which cannot be imported: put the file that "
            "defines the model's class on PYTHONPATH."
        )
    return CannotOpenModel(
        f"{path} cannot be read ({summary_of(error)}): the file is damaged or was written by an "
        "incompatible version. Copy it again or save it again."
    )


def usable_device(device: str) -> str:
    """The device as ``torch.load`` takes it, which refuses the CPU with a number.

    Raises
    ------
    InvalidInput
        It cannot be used here.
    """
    import torch

    try:
        torch.zeros(1, device=device).item()  # the device "meta" holds no values
        kind = torch.device(device).type
    except Exception as error:  # builds of torch fail in their own ways for what they lack
        raise InvalidInput(
            f"The device {device!r} cannot be used here; give cpu or, with a GPU, cuda."
        ) from error
    return "cpu" if kind == "cpu" else device


def _describe(source: object) -> str:
    from pathlib import Path

    if not isinstance(source, Path):
        return f"an object of type {type(source).__name__}"
    size = source.stat().st_size
    with source.open("rb") as file:
        head = file.read(4)
    kind = (
        "a zip archive" if head[:2] == b"PK" else "an empty file" if not size else "no torch file"
    )
    return f"{source} ({kind}, {size:,} bytes)"


__all__ = [
    *("Plugin", "PluginState", "RecSAEError", "get_plugin", "installed", "installed_labelers"),
    "load_recommender",
]
