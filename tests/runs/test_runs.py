"""Run folders: whole or not at all, one process at a time, and damaged ones named."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zslkit.errors import CannotWrite, DataError, UserError
from zslkit.record import RunRecord
from zslkit.runs.folders import find_runs, identity, load_run, run_path
from zslkit.runs.run_folder import RunFolder
from zslkit.runs.scores import Scores

Make = Callable[..., RunRecord]
ID = "0123456789ab"


def finished(out: Path, record: RunRecord, scores: Scores) -> Path:
    with RunFolder.open(
        out, record.dataset.name, record.model.name, record.seed, record.identity
    ) as folder:
        folder.weights.write_bytes(b"weights")
        folder.log(epoch=1, loss=0.5)
        folder.commit(record, scores)
    return folder.path


def test_identity_is_twelve_hex_digits_and_does_not_change_with_time() -> None:
    assert identity({"a": 1, "b": [1.5, None, "x"]}) == "51824779aebd"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda v: st.lists(v, max_size=3),
    max_leaves=4,
)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_identity_does_not_depend_on_the_order_of_keys(payload: dict[str, Any]) -> None:
    assert identity(dict(reversed(payload.items()))) == identity(payload)
    assert identity({**payload, "one more": 1}) != identity(payload)


def test_identity_takes_no_value_whose_text_may_change() -> None:
    with pytest.raises(TypeError):
        identity({"a": object()})
    with pytest.raises(ValueError, match="JSON"):
        identity({"a": float("nan")})


def test_a_second_worker_is_told_and_finds_the_run_finished(
    tmp_path: Path, make: Make, scores: Scores
) -> None:
    told: list[str] = []
    seen: list[bool] = []
    waiting = threading.Event()

    def hear(message: str) -> None:
        told.append(message)
        waiting.set()

    def second() -> None:
        with RunFolder.open(tmp_path, "birds", "alpha", 0, ID, on_wait=hear) as folder:
            seen.append(folder.finished)

    with RunFolder.open(tmp_path, "birds", "alpha", 0, ID) as folder:
        other = threading.Thread(target=second)
        other.start()
        assert waiting.wait(20)
        assert seen == []
        folder.commit(make(), scores)
    other.join(20)
    assert seen == [True]
    assert len(told) == 1
    assert f"seed0-{ID}" in told[0]


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from zslkit.runs.run_folder import RunFolder\n"
        f"with RunFolder.open(Path(sys.argv[1]), 'birds', 'alpha', 0, '{ID}') as f:\n    "
        "f.log(epoch=1)\n    os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    told: list[str] = []
    with RunFolder.open(tmp_path, "birds", "alpha", 0, ID, on_wait=told.append) as folder:
        assert (folder.path / "log.jsonl").exists()
    assert told == []


@pytest.mark.parametrize("broken", ["config.yaml", "scores.npz", "record.json"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_costs_nothing_that_was_there(
    tmp_path: Path,
    make: Make,
    scores: Scores,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
    code: int,
) -> None:
    real = os.fsync

    def full(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.startswith(f"{broken}."):
            raise OSError(code, "disk")
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to know which file is written")
    with RunFolder.open(tmp_path, "birds", "alpha", 0, ID) as folder:
        folder.checkpoint.write_bytes(b"state")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(
                CannotWrite, match=r"No space is left.*seed0-.*free some space"
            ) as error:
                folder.commit(make(), scores)
        assert error.value.exit_code == 1
        assert not folder.finished
        assert folder.checkpoint.read_bytes() == b"state"
        assert not list(folder.path.glob("*.new"))
        assert find_runs(tmp_path) == []
        folder.commit(make(), scores)
    assert len(find_runs(tmp_path)) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with (
        pytest.raises(CannotWrite, match="choose another --out") as error,
        RunFolder.open(tmp_path / "out", "birds", "alpha", 0, ID),
    ):
        pass
    assert str(tmp_path / "out") in str(error.value)


def test_an_error_of_the_run_itself_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), RunFolder.open(tmp_path, "birds", "alpha", 0, ID):
        (tmp_path / "nowhere").read_text()


@pytest.mark.parametrize("name", ["", ".", "..", "../..", "/", "a/../../b", "dist:name", "a b"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    try:
        path = run_path(tmp_path, name, "alpha", 0, ID)
    except UserError as error:
        assert repr(name) in str(error)
        return
    assert path.resolve().parents[2] == tmp_path.resolve()


def test_a_record_that_is_no_text_is_damaged(tmp_path: Path, make: Make, scores: Scores) -> None:
    folder = finished(tmp_path, make(), scores)
    (folder / "record.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        load_run(folder)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[150] ^= 0xFF  # inside the first table
    path.write_bytes(bytes(content))


def smuggle_a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"test_seen_scores": 1}))


def other_arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, something=np.zeros(3))


def a_bare_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def objects(path: Path) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    with path.open("wb") as file:
        np.savez(file, **{**arrays, "classes": np.array(["crow", "gull", 3], dtype=object)})


def another_shape(path: Path) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    with path.open("wb") as file:
        np.savez(file, **{**arrays, "test_seen_scores": np.zeros((4, 2), dtype=np.float32)})


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        cut_in_half,
        flip_a_byte,
        smuggle_a_pickle,
        other_arrays,
        a_bare_array,
        objects,
        another_shape,
    ],
)
def test_damaged_scores_are_refused_by_name(
    tmp_path: Path, make: Make, scores: Scores, damage: Callable[[Path], None]
) -> None:
    run = load_run(finished(tmp_path, make(), scores))
    damage(run.folder / "scores.npz")
    with pytest.raises(DataError, match=r"scores\.npz.*run again"):
        run.scores()


class Bomb:
    """What a pickle may do to whoever opens it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_no_pickle_is_ever_executed(tmp_path: Path, make: Make, scores: Scores) -> None:
    run = load_run(finished(tmp_path, make(), scores))
    path, mark = run.folder / "scores.npz", tmp_path / "exploded"
    with np.load(path) as file:
        arrays = dict(file)
    with path.open("wb") as file:
        np.savez(file, **{**arrays, "classes": np.array([Bomb(mark)], dtype=object)})
    with pytest.raises(DataError):
        run.scores()
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(DataError):
        run.scores()
    assert not mark.exists()


def test_folders_that_hold_no_run_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is missing"):
        load_run(tmp_path)
    with pytest.raises(UserError, match="was not finished"):
        load_run(tmp_path / f"seed0-{ID}.partial")
    assert find_runs(tmp_path / "nowhere") == []
    (tmp_path / "a" / "b" / "seed1-notes").mkdir(parents=True)
    assert find_runs(tmp_path) == []
