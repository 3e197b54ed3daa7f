"""Every file of benchmarks/ can be imported, and each that is a command explains itself."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_starts_and_explains_itself(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [str(file), "--help"])
    monkeypatch.syspath_prepend(str(file.parent))
    if "__main__" not in file.read_text(encoding="utf-8"):  # a module of other benchmarks
        runpy.run_path(str(file))
        return
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(file), run_name="__main__")
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("usage: ")
