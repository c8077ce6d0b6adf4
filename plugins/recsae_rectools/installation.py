"""Whether RecTools is installed, looked up and not imported; nothing heavy is imported here."""

from importlib.metadata import PackageNotFoundError, version

from recsae.core.errors import CannotOpenModel, NotInstalled

SERIES = "0.19"
"""The versions that this plug-in reads: it uses more of RecTools than RecTools promises to keep."""


def version_of_rectools() -> str:
    """RecTools' version.

    Raises
    ------
    CannotOpenModel
        It is not installed, lacks PyTorch Lightning, or is of another series; the message has the
        cure.
    """
    try:
        found = version("rectools")
    except PackageNotFoundError:
        raise no_rectools("RecTools is not installed", NotInstalled) from None
    if not found.startswith(f"{SERIES}."):
        raise no_rectools(f"RecTools {found} is installed, and recsae reads the models of {SERIES}")
    try:
        version("pytorch-lightning")
    except PackageNotFoundError:
        raise no_rectools("RecTools is installed without PyTorch Lightning") from None
    return found


def no_rectools(why: str, kind: type[CannotOpenModel] = CannotOpenModel) -> CannotOpenModel:
    """The error, with the command that completes the installation."""
    return kind(f'{why}. Try: pip install "recsae[rectools]"')
