"""Text from outside, made fit for a line."""


def one_line(text: str) -> str:
    r"""The text without characters that a terminal acts on, each a blank.

    >>> one_line("Alien\n(1979)")
    'Alien (1979)'
    """
    return "".join(c if c.isprintable() else " " for c in text)
