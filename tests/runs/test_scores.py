"""Scores on their way to disk and back: batch by batch, mapped, in the format that was there
before."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zslkit.errors import CannotWrite, DataError
from zslkit.evaluation.gzsl import evaluate
from zslkit.record import RunRecord
from zslkit.runs.folders import SCORES, load_run
from zslkit.runs.run_folder import RunFolder
from zslkit.runs.scores import Scores, ScoreStream, Table, read_scores

NAMES = ("test_seen_scores", "test_seen_labels", "test_unseen_scores", "test_unseen_labels", "seen")


def some(images: int = 7, seed: int = 0) -> Scores:
    """Scores of two seen and one unseen class."""
    rng = np.random.default_rng(seed)
    tables = [rng.standard_normal((n, 3)).astype(np.float32) for n in (images, images + 2)]
    return Scores(
        tables[0],
        rng.integers(0, 2, images),
        tables[1],
        np.full(images + 2, 2),
        np.array([True, True, False]),
        ("ä", "b", "c"),
    )


def stream_of(scores: Scores, batch: int) -> ScoreStream:
    def coming(table: Table) -> Iterator[Table]:
        yield from (table[i : i + batch] for i in range(0, len(table), batch))

    a, labels, b, others, seen = scores.sets()
    return ScoreStream(coming(a), labels, coming(b), others, seen, scores.classes)


def arrays_of(scores: Scores) -> dict[str, Any]:
    return dict(zip(NAMES, scores.sets(), strict=True)) | {"classes": np.array(scores.classes)}


def same(a: Scores, b: Scores) -> None:
    assert a.classes == b.classes
    for ours, theirs in zip(a.sets(), b.sets(), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def is_mapped(array: Any) -> bool:
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 50))
def test_scores_that_come_in_batches_make_the_file_that_whole_tables_make(
    images: int, batch: int
) -> None:
    whole, streamed = io.BytesIO(), io.BytesIO()
    some(images).write(whole)
    stream_of(some(images), batch).write(streamed)
    assert streamed.getvalue() == whole.getvalue()
    with np.load(io.BytesIO(streamed.getvalue()), allow_pickle=False) as file:
        for name, array in arrays_of(some(images)).items():
            np.testing.assert_array_equal(file[name], array)


def test_what_is_read_lies_in_the_file_and_cannot_be_changed(tmp_path: Path) -> None:
    kept = stream_of(some(), 3).keep(tmp_path / SCORES)
    same(kept, some())
    for scores in (kept, read_scores(tmp_path / SCORES)):
        assert is_mapped(scores.test_seen_scores) and is_mapped(scores.test_unseen_scores)
        with pytest.raises(ValueError, match="read-only"):
            scores.test_seen_scores[0, 0] = 1


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["plain", "packed"])
def test_files_of_before_are_read(tmp_path: Path, save: Any) -> None:
    save(tmp_path / SCORES, **arrays_of(some()))
    same(read_scores(tmp_path / SCORES), some())


def test_a_table_that_lies_column_by_column_is_read(tmp_path: Path) -> None:
    arrays = arrays_of(some())
    np.savez(
        tmp_path / SCORES,
        **{**arrays, "test_seen_scores": np.asfortranarray(arrays["test_seen_scores"])},
    )
    same(read_scores(tmp_path / SCORES), some())


def test_a_set_without_images_is_read_as_it_is(tmp_path: Path) -> None:
    arrays = arrays_of(some()) | {
        "test_seen_scores": np.zeros((0, 3), np.float32),
        "test_seen_labels": np.zeros(0, np.int64),
    }
    np.savez(tmp_path / SCORES, **arrays)
    assert read_scores(tmp_path / SCORES).test_seen_scores.shape == (0, 3)


def put(path: Path, header: dict[str, Any], content: bytes) -> None:
    """The file with another member test_seen_scores: whatever its header says, and whatever follows
    it."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, header)
    arrays = arrays_of(some())
    del arrays["test_seen_scores"]
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("test_seen_scores.npy", member.getvalue() + content)


@pytest.mark.parametrize(
    ("header", "content"),
    [
        ({"descr": "<f4", "fortran_order": False, "shape": (7, 3)}, b"\0" * 4 * 20),
        ({"descr": "<f4", "fortran_order": False, "shape": (7, 3)}, b"\0" * 4 * 22),
        ({"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 3)}, b"\0" * 84),
        ({"descr": "<f4", "fortran_order": False, "shape": (1 << 62, 1 << 62)}, b""),
        ({"descr": "|O", "fortran_order": False, "shape": (7, 3)}, b"\0" * 8 * 21),
    ],
    ids=["too short", "too long", "huge", "beyond numbers", "objects"],
)
def test_a_header_that_promises_what_is_not_there_is_refused(
    tmp_path: Path, header: dict[str, Any], content: bytes
) -> None:
    path = tmp_path / SCORES
    put(path, header, content)
    with pytest.raises(DataError, match=r"scores\.npz is cut off or damaged .*run again"):
        read_scores(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda a: a | {"classes": np.array(["a", "b", "a"])},
            "the class name 'a' stands more than once in classes",
        ),
        (
            lambda a: a | {"test_seen_labels": a["test_seen_labels"] + 9},
            "test_seen_labels run from .* for 3 classes",
        ),
        (
            lambda a: a | {"test_unseen_labels": a["test_unseen_labels"] - 9},
            "test_unseen_labels run from -.* for 3 classes",
        ),
    ],
)
def test_scores_of_no_such_classes_are_told(tmp_path: Path, change: Any, reason: str) -> None:
    np.savez(tmp_path / SCORES, **change(arrays_of(some())))
    with pytest.raises(DataError, match=rf"scores\.npz: {reason}; move the folder"):
        read_scores(tmp_path / SCORES)


def test_a_changed_score_is_found(tmp_path: Path) -> None:
    path = tmp_path / SCORES
    stream_of(some(), 3).keep(path)
    content = bytearray(path.read_bytes())
    at = content.index(some().test_seen_scores[4].tobytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="CRC"):
        read_scores(path)


@pytest.mark.parametrize("wrong", [-1, 1])
def test_batches_that_are_not_as_many_as_the_labels_are_refused(tmp_path: Path, wrong: int) -> None:
    a, labels, b, others, seen = some().sets()
    stream = ScoreStream(
        [np.resize(a, (len(a) + wrong, 3))], labels, [b], others, seen, some().classes
    )
    with pytest.raises(
        ValueError, match=f"{len(a) + wrong} rows of scores came for {len(a)} images"
    ):
        stream.keep(tmp_path / SCORES)


def test_kept_scores_are_moved_into_the_run_and_not_written_again(
    tmp_path: Path, make: Callable[[], RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunFolder.open(tmp_path, "toy", "one", 3, make().identity) as folder:
        kept = folder.keep(stream_of(some(), 2))
        assert not (folder.path / SCORES).exists()
        monkeypatch.setattr(Scores, "write", None)
        folder.commit(make(), kept)
    same(load_run(folder.final).scores(), some())
    same(kept, some())  # what was mapped stays readable where it is now
    assert not list(folder.final.glob("*.new"))


def test_a_second_scoring_leaves_the_tables_of_the_first_readable(
    tmp_path: Path, make: Callable[[], RunRecord]
) -> None:
    with RunFolder.open(tmp_path, "toy", "one", 3, make().identity) as folder:
        first = folder.keep(stream_of(some(seed=1), 2))
        second = folder.keep(stream_of(some(seed=2), 2))
        same(first, some(seed=1))
        folder.commit(make(), second)
    same(load_run(folder.final).scores(), some(seed=2))


def test_a_model_that_fails_is_not_taken_for_a_full_disk_and_leaves_no_half_file(
    tmp_path: Path, make: Callable[[], RunRecord]
) -> None:
    def lost() -> Iterator[Table]:
        yield some().test_seen_scores[:2]
        raise FileNotFoundError("an image is gone")

    _, labels, b, others, seen = some().sets()
    with RunFolder.open(tmp_path, "toy", "one", 3, make().identity) as folder:
        with pytest.raises(FileNotFoundError, match="an image is gone"):
            folder.keep(ScoreStream(lost(), labels, [b], others, seen, some().classes))
        assert not list(folder.path.glob("scores*"))


def test_a_disk_that_fills_while_scores_come_is_told(
    tmp_path: Path, make: Callable[[], RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with RunFolder.open(tmp_path, "toy", "one", 3, make().identity) as folder:
        with monkeypatch.context() as patch, pytest.raises(CannotWrite, match="No space is left"):
            patch.setattr(os, "fsync", full)
            folder.keep(stream_of(some(), 2))
        assert not list(folder.path.glob("scores*"))
        folder.commit(make(), folder.keep(stream_of(some(), 2)))


IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from zslkit.evaluation.bootstrap import resample
from zslkit.evaluation.catalog import METRICS, Subject
from zslkit.evaluation.outcomes import outcomes
from zslkit.evaluation.sets import checked_sets
from zslkit.runs.folders import SCORES
from zslkit.runs.scores import ScoreStream, read_scores

images, classes, share = 20_000, 1000, float(sys.argv[2])
seen = np.arange(classes) < 800
labels = [np.resize(np.flatnonzero(side), images) for side in (seen, ~seen)]
noise = np.random.default_rng(0).standard_normal((64, classes), dtype=np.float32)

def coming(truth):
    for i in range(0, images, 64):
        batch = noise[: len(truth[i : i + 64])].copy()
        batch[np.arange(len(batch)), truth[i : i + 64]] += 3
        yield batch

np.ones((64, 64)) @ np.ones((64, 64))  # a library of matrix products takes room of its own once
table = 2 * images * classes * 4
# VmData: what the process has for itself (heap, anonymous maps); pages of a mapped file are the
# system's and do not count.
def status(key):
    lines = open("/proc/self/status")
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])

resource.setrlimit(resource.RLIMIT_DATA, (int(status("VmData") + share * table),) * 2)
try:
    np.zeros(table // 4, dtype=np.float32)
except MemoryError:
    pass
else:
    sys.exit("the limit does not hold")
place = Path(sys.argv[1]) / SCORES
Path("/proc/self/clear_refs").write_text("5")
resident = status("VmRSS")
both = coming(labels[0]), labels[0], coming(labels[1]), labels[1]
kept = ScoreStream(*both, seen, tuple(map(str, range(classes)))).keep(place)
for scores in (kept, read_scores(place)):
    sets = checked_sets(*scores.sets())
subject = Subject(sets, 0.5, 0.25, scores.classes)
for metric in METRICS.values():
    metric.compute(subject)
resample(outcomes(sets, 0.5), 20)
assert status("VmHWM") - resident < share * table, "mapped pages were not given back"
print(subject.plain.H)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts private memory on Linux alone"
)
def test_scoring_and_every_metric_take_less_memory_than_half_the_scores(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, str(tmp_path), "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(
        evaluate(*read_scores(tmp_path / SCORES).sets(), 0.5).H
    )
