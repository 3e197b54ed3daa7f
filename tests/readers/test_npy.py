"""numpy files of strangers: numbers come back, pickles are not run, and claims are held against the
file."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from zslkit.errors import DataError
from zslkit.readers import stream
from zslkit.readers.npy import npz_names, open_npy, open_npz


class Runs:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "f2"])
def test_arrays_come_back_in_blocks(
    tmp_path: Path, dtype: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BLOCK", 50)
    array = np.array(np.arange(60).reshape(10, 3, 2), dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", a=array, b=np.arange(3))
    np.savez_compressed(tmp_path / "y.npz", a=array)
    assert npz_names(tmp_path / "x.npz") == ["a", "b"]
    for found in (
        open_npy(tmp_path / "x.npy"),
        open_npz(tmp_path / "x.npz", "a"),
        open_npz(tmp_path / "y.npz", "a"),
    ):
        np.testing.assert_array_equal(found.whole(), array)
        assert found.shape == array.shape and found.dtype.isnative


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    objects = np.array([Runs(trace)], dtype=object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "x.npz", a=objects)
    with pytest.raises(DataError, match=r"x\.npy is no whole numpy file"):
        open_npy(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"x\.npz: a is no whole numpy file"):
        open_npz(tmp_path / "x.npz", "a")
    assert not trace.exists()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text.encode()


HEADERS = {
    "huge shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 2048)}\n",
    "negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 2)}\n",
    "no number": "{'descr': '<U9', 'fortran_order': False, 'shape': (1,)}\n",
    "records": "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}\n",
    "scalar": "{'descr': '<f4', 'fortran_order': False, 'shape': ()}\n",
    "code": "__import__('os').mkdir('trace')\n",
    "deep": "(" * 5000 + "\n",
    "long": "{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}" + " " * 1_000_000 + "\n",
}


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS.keys())
def test_a_hostile_header_is_refused(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = header(text) + bytes(36)
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", content)
    with pytest.raises(
        DataError, match=r"x\.npy is no whole numpy file of plain numbers \(.+\); save it anew"
    ):
        open_npy(tmp_path / "x.npy")
    with pytest.raises(
        DataError, match=r"x\.npz: a is no whole numpy file of plain numbers \(.+\); save it anew"
    ):
        open_npz(tmp_path / "x.npz", "a")
    assert not (tmp_path / "trace").exists()


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", features=np.zeros((100, 200_000), np.float32))
    with pytest.raises(
        DataError, match=r"bomb\.npz: features claims 80 MB .* no features shrink that much"
    ):
        open_npz(tmp_path / "bomb.npz", "features")


def test_damage_in_a_member_is_found_by_its_checksum(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.arange(1000.0))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[4000] ^= 1
    (tmp_path / "x.npz").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"x\.npz: a is no whole"):
        open_npz(tmp_path / "x.npz", "a").whole()


def test_what_is_no_numpy_file_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(3))
    for content in (b"", b"text", b"\x80\x04\x95", buffer.getvalue()):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"x\.npy is no whole"):
            open_npy(tmp_path / "x.npy")
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 text")
    with pytest.raises(DataError, match=r"x\.npz is no whole"):
        npz_names(tmp_path / "x.npz")
