"""Makes untrusted text safe to print: strips terminal control characters, bounds its length."""

from __future__ import annotations

LONGEST = 4000
"""Most characters of a message with a name of any length in it."""


def printable(text: str) -> str:
    r"""The text on one line, without control characters.

    Bytes of file names that are not UTF-8 are shown as \xNN.
    """
    return "".join(_shown(c, " ") for c in text)


def escaped(text: str) -> str:
    """The text with control characters and bytes that are not UTF-8 escaped, as Python does."""
    return "".join(_shown(c, ascii(c)[1:-1]) for c in text)


def _shown(c: str, control: str) -> str:
    if "\udc80" <= c <= "\udcff":
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c if c.isprintable() else control


def reason_of(error: BaseException, most: int | None = None) -> str:
    """Text of an error on one line, of at most `most` characters; its type if it has none."""
    return " ".join(str(error)[: most and 4 * most].split())[:most] or type(error).__name__


def bounded(text: str, most: int = LONGEST) -> str:
    """The text, shortened in the middle; the end of a message contains the next step."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"
