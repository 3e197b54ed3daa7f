"""The source of a model as digests of its files: its own and what it imports of its own, and
nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from zslkit.registry import Entry
from zslkit.runs import source
from zslkit.runs.source import changed, combined, sources

FILES = {
    "own/__init__.py": "",
    "own/model.py": "import numpy\nfrom . import layers\nfrom own.deep.net import Net\nclass "
    "Mine(Net): pass\n",
    "own/layers.py": "WIDTH = 3\n",
    "own/deep/__init__.py": "",
    "own/deep/net.py": "import sidecar\nclass Net:\n    def go(self):\n        from ..late import "
    "late\n        return late\n",
    "own/late.py": "import importlib\nlate = lambda: importlib.import_module('own.later')\n",
    "own/later.py": "",
    "own/other.py": "class Other: pass\n",
    "sidecar.py": "",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("own", "sidecar")]:
        del sys.modules[name]


def of(target: str = "own.model:Mine") -> dict[str, str]:
    """As a process that has just started finds it."""
    source._READ.clear()
    source._spec.cache_clear()
    importlib.invalidate_caches()
    point = EntryPoint("mine", target, "zslkit.models")
    return sources(Entry("mine", target, "own", "1", point), point.load())


def test_the_module_and_all_that_it_imports_of_its_own_at_once_or_later(home: Path) -> None:
    found = of()
    assert list(found) == [
        "own",
        "own.deep",
        "own.deep.net",
        "own.late",
        "own.later",
        "own.layers",
        "own.model",
        "sidecar",
    ]
    assert "own.later" not in sys.modules and "own.late" not in sys.modules, (
        "nothing is imported for it"
    )
    assert list(of("own.other:Other")) == ["own", "own.other"]


@pytest.mark.parametrize(
    "name",
    [
        "own/model.py",
        "own/layers.py",
        "own/deep/net.py",
        "own/late.py",
        "own/later.py",
        "sidecar.py",
    ],
)
def test_a_changed_file_is_named(home: Path, name: str) -> None:
    before = of()
    (home / name).write_text(FILES[name] + "# changed\n")
    after = of()
    assert changed(before, after) == [name.removesuffix(".py").replace("/", ".")]
    assert combined(before) != combined(after)


def test_strangers_line_endings_and_compiled_files_change_nothing(home: Path) -> None:
    before = of()
    (home / "own/other.py").write_text("Other = 1\n")
    (home / "own/model.py").write_bytes(FILES["own/model.py"].replace("\n", "\r\n").encode())
    (home / "own/__pycache__").mkdir(exist_ok=True)
    (home / "own/__pycache__/model.cpython-399.pyc").write_bytes(b"junk")
    assert of() == before


def test_a_compiled_extension_counts_by_its_file(home: Path) -> None:
    suffix = source.EXTENSION_SUFFIXES[0]
    (home / f"own/fast{suffix}").write_bytes(b"\x7fELF one")
    (home / "own/layers.py").write_text("def slow():\n    from own import fast\n")
    before = of()
    assert "own.fast" in before
    (home / f"own/fast{suffix}").write_bytes(b"\x7fELF two")
    assert changed(before, of()) == ["own.fast"]


def test_the_harness_and_libraries_are_no_source_of_a_model(home: Path) -> None:
    (home / "own/layers.py").write_text(
        "import torch, zslkit.model, json\nfrom zslkit import functional\n"
    )
    assert not any(name.startswith(("zslkit", "torch", "json", "numpy")) for name in of())


def test_a_module_that_cannot_be_read_as_python_still_counts(home: Path) -> None:
    (home / "own/layers.py").write_text("def broken(:\n")
    (home / "own/model.py").write_text(
        "class Mine:\n    def late(self):\n        from own import layers\n"
    )
    assert "own.layers" in of()


def test_of_nothing_there_is_no_digest() -> None:
    assert combined({}) == "" and changed({"a": "1", "b": "2"}, {"a": "1", "c": "3"}) == ["b", "c"]
