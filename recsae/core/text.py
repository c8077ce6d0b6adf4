"""Text from outside, made fit for a line, and titles and amounts as a person says them."""

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


SMALL_SD, LARGE_SD = 0.5, 2.0
"""Standard deviations below which an activation has a bit more, and from which on much more."""


def as_strong(times: float) -> str:
    """What an activation becomes that is multiplied.

    >>> as_strong(1.6), as_strong(0.757), as_strong(1.001), as_strong(0)
    ('1.6 times as strong', '0.757 times as strong', 'as it is', 'switched off')
    >>> as_strong(-0.5)
    'the other way round, 0.5 times as strong'
    """
    if times == 0:
        return "switched off"
    if f"{times:.2f}" == "1.00":
        return "as it is"
    turned = "the other way round, " if times < 0 else ""
    return f"{turned}{abs(times):.3g} times as strong"


def more_by(sd: float) -> str:
    """What an activation becomes that something is added to, in its standard deviations.

    >>> more_by(0.4), more_by(-1.71), more_by(7), more_by(0.001)
    ('a bit more (+0.4 sd)', 'less (-1.7 sd)', 'much more (+7 sd)', 'as it is')
    """
    if f"{abs(sd):.2f}" == "0.00":
        return "as it is"
    size = "a bit " if abs(sd) < SMALL_SD else "much " if abs(sd) >= LARGE_SD else ""
    return f"{size}{'more' if sd > 0 else 'less'} ({sd:+.2g} sd)"
