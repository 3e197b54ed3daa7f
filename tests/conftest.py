"""Fixtures that all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # several workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def modules_are_made_as_before() -> Iterator[None]:
    """torch's compiler changes how modules are made, for the rest of the process."""
    torch = sys.modules.get("torch")
    names = ("__init__", "__setstate__")
    before = {n: getattr(torch.nn.Module, n) for n in names} if torch is not None else {}
    yield
    for name, method in before.items():
        setattr(torch.nn.Module, name, method)


@pytest.fixture(scope="module")
def digits_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of features that all modules and workers share, so that digits are extracted once.

    For tests that leave its stores as they are.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "digits-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSLKIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real split files, word vectors and photos: $ZSLKIT_SHARED or
    ../shared."""
    folder = Path(os.environ.get("ZSLKIT_SHARED") or Path(__file__).parents[2] / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(
            f"needs the real data files: {folder} is not there; say where with ZSLKIT_SHARED"
        )
    return folder
