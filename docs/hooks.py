"""What mkdocs does to a page before it is built; the pages are written to be read in the repository
too."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to files outside docs/, which the site does not hold, become the files' names."""
    return _OUTSIDE.sub(
        lambda link: link[1] if link[1].startswith("`") else f"`{link[1]}`", markdown
    )
