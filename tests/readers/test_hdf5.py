"""HDF5 files are read in a process of its own, and only numbers that lie in the very file come out
of it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from zslkit.errors import DataError
from zslkit.readers import hdf5, hdf5_child, stream
from zslkit.readers.hdf5 import open_hdf5

SMALL, LARGE = ["labels", "att"], ["feature_map"]


def read(path: Path) -> tuple[dict[str, list], np.ndarray | None]:
    with open_hdf5(path, SMALL, LARGE) as found:
        return {
            name: array.tolist() for name, array in found.small.items()
        }, found.large.whole() if found.large else None


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "gzip", "chunks": (4, 2, 2, 1)},
        {"compression": "lzf", "shuffle": True, "chunks": True},
    ],
)
def test_datasets_come_back_in_blocks(
    tmp_path: Path, how: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BLOCK", 100)
    maps = np.random.default_rng(0).random((10, 3, 2, 2)).astype(">f4")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("feature_map", data=maps, **how)
        file["labels"] = np.arange(10)
        file["unrelated"] = "text"
    small, large = read(tmp_path / "x.h5")
    assert small == {"labels": list(range(10))}
    np.testing.assert_array_equal(large, maps)


def soft(folder: Path, file: h5py.File) -> None:
    file["labels"] = h5py.SoftLink("/elsewhere")


def external_link(folder: Path, file: h5py.File) -> None:
    with h5py.File(folder / "secret.h5", "w") as other:
        other["labels"] = [1]
    file["labels"] = h5py.ExternalLink(str(folder / "secret.h5"), "labels")


def external_storage(folder: Path, file: h5py.File) -> None:
    (folder / "secret").write_bytes(bytes(80))
    file.create_dataset("labels", (10,), "i8", external=[(str(folder / "secret"), 0, 80)])


def virtual(folder: Path, file: h5py.File) -> None:
    layout = h5py.VirtualLayout((10,), "i8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "labels", (10,))
    file.create_virtual_dataset("labels", layout)


def texts(folder: Path, file: h5py.File) -> None:
    file.create_dataset("labels", data=["a", "b"], dtype=h5py.string_dtype())


def lists(folder: Path, file: h5py.File) -> None:
    file.create_dataset("labels", (2,), dtype=h5py.vlen_dtype(np.int32))


def group(folder: Path, file: h5py.File) -> None:
    file.create_group("labels")


def records(folder: Path, file: h5py.File) -> None:
    file["labels"] = np.zeros(3, [("a", "i4"), ("b", "f8")])


def huge(folder: Path, file: h5py.File) -> None:
    file.create_dataset("feature_map", (1 << 30, 2048, 14, 14), "f4", chunks=(1, 2048, 1, 1))


def bomb(folder: Path, file: h5py.File) -> None:
    file.create_dataset(
        "feature_map",
        data=np.zeros((40, 2048, 16, 16), np.float32),
        compression="gzip",
        chunks=(8, 2048, 16, 16),
    )


def chunk(folder: Path, file: h5py.File) -> None:
    file.create_dataset("feature_map", (1, 1 << 27), "f4", chunks=(1, 1 << 27))[0, :9] = 1


HOSTILE: dict[Callable[[Path, h5py.File], None], str] = {
    soft: "labels is a link and no dataset",
    external_link: "labels is a link to another file",
    external_storage: "labels is kept in other files",
    virtual: "labels is kept in other files",
    texts: "labels holds objects or texts",
    lists: "labels holds objects or texts",
    group: "labels is a group and no dataset",
    records: "labels holds .*plain numbers are needed",
    huge: "feature_map claims .* no features shrink",
    bomb: "feature_map claims 84 MB .* no features shrink",
    chunk: "feature_map (is kept in chunks over|claims)",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda f: f.__name__)
def test_a_hostile_file_is_refused_in_a_sentence(
    tmp_path: Path, make: Callable[[Path, h5py.File], None]
) -> None:
    with h5py.File(tmp_path / "böse datei.h5", "w") as file:
        make(tmp_path, file)
    with pytest.raises(DataError, match=rf"böse datei\.h5: {HOSTILE[make]}"):
        read(tmp_path / "böse datei.h5")


def test_a_file_cut_off_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset(
            "feature_map",
            data=np.random.default_rng(0).random((50, 8, 3, 3)),
            compression="gzip",
            chunks=(1, 8, 3, 3),
        )
    content = (tmp_path / "x.h5").read_bytes()
    for broken in (b"", b"text", content[:100], content[: len(content) // 2]):
        (tmp_path / "x.h5").write_bytes(broken)
        with pytest.raises(DataError, match=r"x\.h5 is no whole HDF5 file \("):
            read(tmp_path / "x.h5")


def test_damage_that_the_library_meets_in_the_middle_is_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        maps = file.create_dataset(
            "feature_map",
            data=np.random.default_rng(0).random((50, 64)),
            compression="gzip",
            chunks=(1, 64),
        )
        place = maps.id.get_chunk_info(40).byte_offset
    content = bytearray((tmp_path / "x.h5").read_bytes())
    content[place : place + 40] = bytes(40)
    (tmp_path / "x.h5").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"x\.h5 is no whole HDF5 file \("):
        read(tmp_path / "x.h5")


@pytest.mark.parametrize(
    "code",
    ["import os; os.kill(os.getpid(), 11)", "import time; time.sleep(60)", "print('no json')", ""],
)
def test_a_reader_that_dies_hangs_or_babbles_is_a_damaged_file(
    tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Instead(subprocess.Popen):
        def __init__(self, command: list[str], **how: object) -> None:
            super().__init__([sys.executable, "-c", code], **how)

    monkeypatch.setattr(hdf5.subprocess, "Popen", Instead)
    with (
        pytest.raises(DataError, match=r"x\.h5 is no whole HDF5 file \(its reader broke down"),
        open_hdf5(tmp_path / "x.h5", [], [], 0.5),
    ):
        pass


@pytest.mark.skipif(
    not hasattr(signal, "SIGKILL") or shutil.which("sh") is None,
    reason="needs a system with limits on memory",
)
def test_the_reader_has_a_limit_on_its_memory() -> None:
    pytest.importorskip("resource")
    code = (
        f"import runpy; m = runpy.run_path({hdf5_child.__file__!r}); m['_limit'](); "
        f"bytearray({3 * hdf5_child.MEMORY})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr
