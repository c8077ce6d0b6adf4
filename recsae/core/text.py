"""Text from outside, made fit for a line, and titles as a person says them."""

import re

_ARTICLE = re.compile(
    r"^(?P<title>.+), (?P<article>The|An?|Le|La|Les|L'|Il|El|Los|Las|Der|Die|Das)"
    r"(?P<rest> \(.*\))?$"
)


def one_line(text: str) -> str:
    r"""The text without characters that a terminal acts on, each a blank.

    >>> one_line("Alien\n(1979)")
    'Alien (1979)'
    """
    return "".join(c if c.isprintable() else " " for c in text)


def readable(title: str) -> str:
    """A title as a person says it: catalogues sort by the word after the article.

    >>> readable("Matrix, The"), readable("Bicycle Thief, The (Ladri di biciclette)")
    ('The Matrix', 'The Bicycle Thief (Ladri di biciclette)')
    >>> readable("Good, The Bad and The Ugly, The"), readable("Me, Myself and I")
    ('The Good, The Bad and The Ugly', 'Me, Myself and I')
    """
    match = _ARTICLE.match(title)
    if match is None:
        return title
    space = "" if match["article"].endswith("'") else " "
    return f"{match['article']}{space}{match['title']}{match['rest'] or ''}"
