"""What the progress of a search shows: the best H so far, which the record has in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from zslkit.datasets.catalog import RegisteredDataset
from zslkit.runs import api
from zslkit.testing.tiny import tiny_dataset
from zslkit.utils.progress import Phase, Silent


class Watching(Silent):
    """Keeps the figures of the search."""

    def __init__(self) -> None:
        self.name, self.shown = "", list[dict[str, float]]()

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Phase]:
        before, self.name = self.name, name
        yield self
        self.name = before

    def advance(self, n: int = 1, **figures: float) -> None:
        if self.name == "search on validation":
            self.shown.append(figures)


def test_the_progress_of_a_search_ends_with_the_h_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(tiny_dataset(images=False), name="digits")
    monkeypatch.setattr(RegisteredDataset, "load", lambda named, root: data)
    reporter = Watching()
    made = api.run("eszsl", "digits", out=tmp_path, device="cpu", reporter=reporter)
    shown = [figures["best H"] for figures in reporter.shown]
    assert len(shown) > 10 and shown == sorted(shown)
    assert shown[-1] == pytest.approx(made.record.protocol.validation["H"])
