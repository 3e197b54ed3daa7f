"""Text of strangers on a terminal: names come out of files, and what is in a name commands nothing."""

from __future__ import annotations

LONGEST = 4000
"""Characters of a sentence, so that a name of any length leaves it one that can be read."""


def printable(text: str) -> str:
    """The text on one line, without the control codes that would command the terminal or turn the reading order.

    A byte of a file name that is no UTF-8 is shown by its number.
    """
    return "".join(
        c if c.isprintable() else f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else " "
        for c in text
    )


def escaped(text: str) -> str:
    """The text with its control codes and the bytes of a name that are no UTF-8 by their numbers, as Python writes them."""
    return "".join(
        c
        if c.isprintable()
        else f"\\x{ord(c) - 0xDC00:02x}"
        if "\udc80" <= c <= "\udcff"
        else ascii(c)[1:-1]
        for c in text
    )


def bounded(text: str, most: int = LONGEST) -> str:
    """The text itself, or its beginning and its end, where the next step stands."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"
