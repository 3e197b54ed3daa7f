"""A record and scores to vary: tests of runs change one thing of them."""

from __future__ import annotations

from records import make as make
from records import raw as raw
from records import scores as scores
