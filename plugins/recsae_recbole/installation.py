"""Whether RecBole is installed, looked up and not imported; nothing heavy is imported here."""

import sys
from importlib.metadata import PackageNotFoundError, version

from recsae.core.errors import CannotOpenModel, NotInstalled


def version_of_recbole() -> str:
    """RecBole's version.

    Raises
    ------
    CannotOpenModel
        It is not installed, or pandas is too new for it; the message has the cure.
    """
    try:
        found = version("recbole")
    except PackageNotFoundError:
        raise no_recbole("RecBole is not installed", NotInstalled) from None
    refuse_new_pandas(version("pandas"))
    return found


def refuse_new_pandas(pandas: str) -> None:
    """Refuse a version of pandas under which RecBole misreads its files."""
    if int(pandas.split(".")[0]) >= 3:
        raise no_recbole(f"RecBole misreads data sets under pandas {pandas}")


def no_recbole(why: str, kind: type[CannotOpenModel] = CannotOpenModel) -> CannotOpenModel:
    """The error, with the one command that completes the installation."""
    cure = 'pip install "recsae[recbole]"'  # whichever it is: the extra asks for pandas 2, too
    if sys.version_info >= (3, 12):  # RecBole asks for a ray that has no wheel there
        cure += " && pip install --no-deps recbole==1.2.1"
    return kind(f"{why}. Try: {cure}")
