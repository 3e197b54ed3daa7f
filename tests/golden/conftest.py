"""Worked cases in numbers from the authors' programs: $ZSLKIT_GOLDEN, else ../shared/golden. Sizes
are read from the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cases import Case, read


def folder() -> Path:
    return Path(os.environ.get("ZSLKIT_GOLDEN") or Path(__file__).parents[3] / "shared" / "golden")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test module `test_golden_NAME.py` is run once for each file NAME*.npz of the folder."""
    if "path_of_case" in metafunc.fixturenames:
        name = Path(str(metafunc.definition.path)).stem.removeprefix("test_golden_")
        files = sorted(folder().glob(f"{name}*.npz"))
        metafunc.parametrize(
            "path_of_case", files or [None], ids=[f.stem for f in files] or ["none"], scope="module"
        )


@pytest.fixture(scope="module")
def case(path_of_case: Path | None) -> Case:
    if path_of_case is None:
        pytest.skip(f"needs the worked cases: {folder()} holds none; say where with ZSLKIT_GOLDEN")
    return read(path_of_case)
