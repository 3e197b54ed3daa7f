"""A run that was held against its scores once is not measured again, unless anything changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import make_run, random_scores

from zslkit.acquire.cache import contents, remove
from zslkit.cli import app
from zslkit.runs import checked, figures
from zslkit.runs.figures import Contradiction, check_run
from zslkit.runs.folders import CONFIG, RECORD, SCORES, Run, load_run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose files count as settled, and which was checked once."""
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "_SETTLED", -60.0)
    made = make_run(tmp_path / "runs", "alpha", random_scores(1.5))
    check_run(load_run(made))
    return made


def never(*_: object) -> None:
    raise AssertionError("measured again")


def swapped(file: Path, old: bytes, new: bytes) -> None:
    """Change the bytes of a file in place, and set its time back."""
    times, held = file.stat(), file.read_bytes()
    assert old in held and len(old) == len(new)
    with file.open("r+b") as stream:
        stream.write(held.replace(old, new))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_what_was_checked_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_faults", never)
    check_run(load_run(folder))
    (folder / CONFIG).touch()
    with pytest.raises(AssertionError, match="measured again"):
        check_run(load_run(folder))


def edited_figure(folder: Path) -> None:
    held = str(json.loads((folder / RECORD).read_text())["metrics"]["H"])
    swapped(folder / RECORD, held.encode(), f"{int(held[0]) % 8 + 1}{held[1:]}".encode())


def other_scores(folder: Path) -> None:
    other = make_run(folder.parents[3] / "other", "beta", random_scores(3.0))
    before = (folder / SCORES).stat()
    (folder / SCORES).write_bytes((other / SCORES).read_bytes())
    os.utime(folder / SCORES, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a figure, of the same length and time": edited_figure,
    "a setting beside it": lambda f: swapped(f / CONFIG, b"0.1", b"0.2"),
    "the scores of another run": other_scores,
    "another folder's name": lambda f: f.rename(f.with_name("seed7-0123456789ab")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changed_since_is_refused(folder: Path, change: Callable[[Path], object]) -> None:
    change(folder)
    (now,) = folder.parent.glob("seed*")
    for _ in range(2):
        with pytest.raises(Contradiction):
            check_run(load_run(now))


COMMANDS = (
    ["compare", "RUN", "--no-run"],
    ["compare", "RUN", "--no-run", "--as-papers-do"],
    ["evaluate", "RUN"],
    ["diff", "RUN", "RUN"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_measures_again_what_was_checked(
    folder: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_faults", never)
    assert app.main([str(folder) if word == "RUN" else word for word in command]) == 0


def test_a_run_without_calibration_is_measured_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    measure = figures.measure
    monkeypatch.setattr(figures, "measure", lambda *given: asked.append(given) or measure(*given))
    (folder / CONFIG).touch()
    check_run(load_run(folder))
    assert len(asked) == 1


def test_a_record_that_differs_from_the_file_is_refused(folder: Path) -> None:
    record = load_run(folder).record
    better = record.model_copy(update={"metrics": record.metrics.model_copy(update={"H": 99.0})})
    with pytest.raises(Contradiction):
        check_run(Run(better, folder))


def test_commands_refuse_an_edited_record_that_they_knew(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = str(folder.parents[2])
    commands = (["runs", "--runs", runs], ["compare", runs, "--no-run"])
    assert [app.main(command) for command in commands] == [0, 0]
    edited_figure(folder)
    for command in commands * 2:
        assert app.main(command) == 2 and "its record says H" in capsys.readouterr().err


def test_files_that_have_just_changed_are_not_noted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked, "_SETTLED", 60.0)
    assert checked.state_of(load_run(folder)) == ""
    monkeypatch.setattr(figures, "_faults", never)
    with pytest.raises(AssertionError, match="measured again"):
        check_run(load_run(folder))


def test_a_cache_that_cannot_be_written_or_is_damaged_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (held,) = (folder.parents[3] / "cache" / "checked" / "runs").iterdir()
    for content in (b"", b"\xff" * 64, b"0" * 64):
        held.write_bytes(content)
        check_run(load_run(folder))
    (folder.parents[3] / "file").touch()
    monkeypatch.setenv("ZSLKIT_CACHE", str(folder.parents[3] / "file"))
    check_run(load_run(folder))
    edited_figure(folder)
    with pytest.raises(Contradiction):
        check_run(load_run(folder))


def test_notes_are_one_item_of_the_cache(folder: Path) -> None:
    root = folder.parents[3] / "cache"
    (item,) = contents(root)
    assert (item.kind, item.name) == ("checked runs", "checked/runs")
    (item.path / "mine.txt").touch()
    assert contents(root)[0].kind == "foreign"
    (item.path / "mine.txt").unlink()
    remove(root, item)
    assert not item.path.exists()
    check_run(load_run(folder))
