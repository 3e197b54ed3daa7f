"""What lies below a folder of runs, tags on them, and that removing removes runs and nothing
else."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from run_folders import make_run, random_scores

from zslkit.errors import DataError, UserError
from zslkit.runs import tags
from zslkit.runs.folders import RECORD, load_run
from zslkit.runs.inventory import clear_left, contents, item_at, remove
from zslkit.runs.run_folder import RunFolder
from zslkit.runs.tags import TAGS, change_tags, read_tags
from zslkit.utils import files


@pytest.fixture
def out(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs", "alpha", random_scores(1.0), identity="a" * 12)
    return tmp_path / "runs"


@pytest.fixture
def run(out: Path) -> Path:
    return out / "birds" / "alpha" / f"seed0-{'a' * 12}"


def test_finished_and_half_written_and_replaced_and_damaged_runs_are_told_apart(
    out: Path, run: Path
) -> None:
    run.with_name(f"seed1-{'b' * 12}.partial").mkdir()
    run.with_name(f"seed3-{'d' * 12}").mkdir()
    run.with_name(f"seed4-{'e' * 12}.removing").mkdir()
    run.with_name("seeds-of-mine").mkdir()
    (run.with_name(f"seed0-{'a' * 12}.replaced-20250101T000000000000")).mkdir()
    (run.with_name(f"seed0-{'a' * 12}.replaced-20250101T000000000000") / RECORD).write_bytes(
        (run / RECORD).read_bytes()
    )
    with RunFolder.open(out, "birds", "alpha", 2, "c" * 12):
        found = {item.folder.name: item for item in contents(out)}
    states = {name[:5] + name[18:27]: item.state for name, item in found.items()}
    assert states == {
        "seed0": "finished",
        "seed0.replaced": "replaced",
        "seed1.partial": "half-written",
        "seed2.partial": "running",
        "seed3": "damaged",
        "seed4.removing": "half-removed",
    }
    assert "goes on from there" in found[f"seed1-{'b' * 12}.partial"].problem
    assert (
        found[run.name].model,
        found[run.name].dataset,
        found[run.name].seed,
        found[run.name].problem,
    ) == ("alpha", "birds", 0, "")


def test_no_folder_of_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"There is no folder .*; say where the runs are with --runs"
    ):
        contents(tmp_path / "none")


def test_a_removed_run_is_gone_and_its_neighbours_are_not(out: Path, run: Path) -> None:
    other = make_run(out, "alpha", random_scores(1.0), 1)
    remove(item_at(run, out))
    assert not run.exists()
    assert [item.folder for item in contents(out)] == [other]
    assert load_run(other)


def test_a_half_removed_and_a_half_written_run_can_be_removed(out: Path, run: Path) -> None:
    for ending in ("removing", "partial"):
        left = run.with_name(f"seed5-{'b' * 12}.{ending}")
        left.mkdir()
        (left / "x").touch()
        remove(item_at(left, out))
        assert not left.exists()


def test_what_is_no_run_folder_in_its_place_is_refused(
    out: Path, run: Path, tmp_path: Path
) -> None:
    elsewhere = make_run(tmp_path / "other", "alpha", random_scores(1.0))
    link = run.with_name(f"seed7-{'b' * 12}")
    link.symlink_to(elsewhere)
    (out / "linked").symlink_to(tmp_path / "other" / "birds")
    through = out / "linked" / "alpha" / elsewhere.name
    for folder in (
        out,
        out / "birds",
        run / RECORD,
        elsewhere,
        link,
        through,
        run / ".." / ".." / ".." / ".." / "other",
    ):
        with pytest.raises(UserError):
            item_at(folder, out)
    with pytest.raises(UserError, match="There is no run folder"):
        item_at(out / "birds" / "alpha" / f"seed9-{'b' * 12}", out)
    assert elsewhere.is_dir()


def test_a_link_is_said_to_be_one(out: Path, run: Path, tmp_path: Path) -> None:
    link = run.with_name(f"seed1-{'b' * 12}")
    link.symlink_to(run)
    with pytest.raises(
        UserError,
        match=rf"is a link to {run}, and links are left alone; name the folder that it leads to",
    ):
        item_at(link, out)


def test_what_killed_commands_left_beside_runs_and_in_them_is_cleared(out: Path, run: Path) -> None:
    ended, living = f"{files._host()}-{1 << 29}-0", f"{files._host()}-{os.getppid()}-0"
    left = [
        out / f".jobs-{'a' * 12}.{ended}.new" / "alive",
        out / f".page.{ended}.old" / "index.html",
        run / f"{TAGS}.{ended}.new",
        run.parent / f"x.{ended}.new",
    ]
    stay = [
        out / f".jobs-{'c' * 12}.{living}.new" / "alive",
        run / "x.new",
        out / "page" / "a",
    ]
    for file in [*left, *stay]:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    gone = clear_left(out)
    assert all(file.exists() for file in stay) and not any(file.exists() for file in left)
    assert len(gone) == len(left) and clear_left(out) == [] and load_run(run)


def test_a_run_in_progress_and_a_folder_without_a_record_are_not_removed(
    out: Path, run: Path
) -> None:
    with (
        RunFolder.open(out, "birds", "alpha", 0, "a" * 12),
        pytest.raises(UserError, match="worked on by another process"),
    ):
        remove(item_at(run, out))
    (run / RECORD).unlink()
    with pytest.raises(UserError, match=r"holds no record\.json"):
        remove(item_at(run, out))
    assert run.is_dir()


def test_tags_come_and_go_and_the_record_stays(run: Path) -> None:
    before = (run / RECORD).read_bytes()
    assert read_tags(run) == ()
    change_tags(run, add="paper")
    assert change_tags(run, add="best-1") == ("best-1", "paper") == read_tags(run)
    assert change_tags(run, drop="paper") == ("best-1",)
    assert (run / RECORD).read_bytes() == before


def test_many_at_once_undo_nothing_of_each_other(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(folder: Path) -> tuple[str, ...]:
        there = read_tags(folder)
        time.sleep(0.005)  # long enough for another to read the same
        return there

    monkeypatch.setattr(tags, "read_tags", slow)
    names = [f"tag{k}" for k in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda name: change_tags(run, add=name), names))
    assert read_tags(run) == tuple(sorted(names))
    assert sorted(p.name for p in run.iterdir() if TAGS in p.name) == [TAGS]


@pytest.mark.parametrize("word", ["", "a b", "x" * 41, "a,b", "\x1b"])
def test_a_tag_is_a_word(run: Path, word: str) -> None:
    with pytest.raises(UserError, match="is no tag"):
        change_tags(run, add=word)


def test_a_tag_that_is_not_there_cannot_be_taken_away(run: Path) -> None:
    change_tags(run, add="paper")
    with pytest.raises(UserError, match="has no tag 'papers'; it has paper"):
        change_tags(run, drop="papers")


@pytest.mark.parametrize("content", ["[", "{}", "[1]", '["a b"]'])
def test_a_damaged_file_of_tags_is_told_and_hides_no_run(
    out: Path, run: Path, content: str
) -> None:
    (run / TAGS).write_text(content)
    with pytest.raises(DataError, match="tag the run again"):
        read_tags(run)
    (item,) = contents(out)
    assert (item.state, item.tags) == ("finished", ()) and "tag the run again" in item.problem
