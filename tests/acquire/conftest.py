"""Servers that hold the archive of birds, and the command line in an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bird_archive import BIRDS
from fileserver import Site, serving
from own_files import Go

from zslkit.acquire import fetch as fetching
from zslkit.cli import app


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


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Go:
    """go(arguments...) runs the command line in an empty folder: exit code, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str]:
        code = app.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out + err

    return call
