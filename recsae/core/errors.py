"""recsae's errors; a message says what happened, what was seen, and what to do."""

import difflib
from collections.abc import Iterable


class RecSAEError(Exception):
    """Base of every error that recsae raises on purpose; ``exit_code`` is the command's."""

    exit_code = 3


class InvalidInput(RecSAEError):
    """What the caller typed cannot be used: an unknown user, latent, concept or option."""

    exit_code = 2


class CannotOpenModel(RecSAEError):
    """The checkpoint or its data set cannot be opened."""


class NotInstalled(CannotOpenModel):
    """The framework of a plug-in is not installed, which is no fault where nobody needs it."""


class SiteNotFound(InvalidInput):
    """The model has no such site."""


class ArtifactMismatch(RecSAEError):
    """Two artefacts do not belong together, or a file of a run was changed or cut short."""


class NotEnoughData(RecSAEError):
    """Too few users, sequences or activations for the question asked."""


class ProcessLost(RecSAEError):
    """Another one of the processes that share a run has ended."""


class LabelerFailed(RecSAEError):
    """A labeler gave no usable answer."""


def summary_of(error: BaseException) -> str:
    """Kind and first line of an error of somebody else's, without a full stop.

    >>> summary_of(ValueError("bad:\\nworse"))
    'ValueError: bad'
    """
    first = next(iter(str(error).splitlines()), "").strip().rstrip(".:")
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__


def nearest(name: str, known: Iterable[str], n: int = 3) -> str:
    """Return ``" Did you mean 'a' or 'b'?"`` for the names closest to ``name``, or ``""``.

    >>> nearest("horor", ["Horror", "Drama"])
    " Did you mean 'Horror'?"
    >>> nearest("zzz", ["Horror"])
    ''
    """
    originals = {k.casefold(): k for k in known}
    close = difflib.get_close_matches(name.casefold(), originals, n=n, cutoff=0.6)
    if not close:
        return ""
    return " Did you mean " + " or ".join(repr(originals[c]) for c in close) + "?"
