"""Servers on this machine that hold the archive of birds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bird_archive import BIRDS
from fileserver import Site, serving

from zslkit.acquire import fetch as fetching


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site({"/birds.zip": BIRDS})) as served:
        yield served


@pytest.fixture
def other() -> Iterator[Site]:
    with serving(Site({"/birds.zip": BIRDS})) as served:
        yield served


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two attempts, and no server of others in between."""
    monkeypatch.setattr(fetching, "PAUSE", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
