"""MATLAB files by a walk over their tags: what scipy writes comes back, and no damage leads out of
the file."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.io import loadmat, savemat
from spoilt import cells

from zslkit.errors import DataError
from zslkit.readers.mat5 import MatFile

KINDS = st.sampled_from(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=KINDS.flatmap(
        lambda k: npst.arrays(k, npst.array_shapes(min_dims=2, max_dims=2, max_side=5))
    ),
    compressed=st.booleans(),
)
def test_every_table_that_scipy_writes_comes_back(
    tmp_path: Path, table: np.ndarray, compressed: bool
) -> None:
    savemat(tmp_path / "x.mat", {"first": [[1]], "x": table}, do_compression=compressed)
    mat = MatFile(tmp_path / "x.mat")
    np.testing.assert_array_equal(mat.table("x"), table)
    np.testing.assert_array_equal(mat.columns("x").whole(), table.T)
    assert mat.table("first").tolist() == [[1]]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9
        ),
        min_size=1,
        max_size=4,
    ),
    compressed=st.booleans(),
)
def test_every_list_of_texts_comes_back(tmp_path: Path, texts: list[str], compressed: bool) -> None:
    texts = [t for t in texts if all(ord(c) < 0x10000 for c in t)] or [
        "é"
    ]  # scipy counts others as two
    savemat(tmp_path / "x.mat", {"x": cells(texts)}, do_compression=compressed)
    assert MatFile(tmp_path / "x.mat").texts("x") == texts


def test_whole_numbers_in_few_bytes_and_files_of_the_other_byte_order(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    body = (
        element(6, struct.pack(">II", 6, 0))
        + element(5, struct.pack(">ii", 2, 3))
        + element(1, b"x")
        + element(2, bytes(range(6)))
    )
    (tmp_path / "big.mat").write_bytes(b" " * 124 + b"\x01\x00MI" + element(14, body))
    assert MatFile(tmp_path / "big.mat").table("x").tolist() == [[0, 2, 4], [1, 3, 5]]
    assert loadmat(tmp_path / "big.mat")["x"].tolist() == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, compressed: bool) -> None:
    savemat(tmp_path / "x.mat", {"x": np.arange(40.0).reshape(5, 8)}, do_compression=compressed)
    content = (tmp_path / "x.mat").read_bytes()
    for length in range(129, len(content)):
        (tmp_path / "x.mat").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"x\.mat is no whole MATLAB file \(.*cut off"):
            MatFile(tmp_path / "x.mat").table("x")


def test_a_flipped_bit_in_a_compressed_table_is_found(tmp_path: Path) -> None:
    savemat(
        tmp_path / "x.mat", {"x": np.random.default_rng(0).random((5, 80))}, do_compression=True
    )
    content = bytearray((tmp_path / "x.mat").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "x.mat").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"x\.mat is no whole MATLAB file"):
        MatFile(tmp_path / "x.mat").table("x")


@pytest.mark.parametrize(
    ("place", "word"),
    [(128, 99), (132, 2**31), (136, 7), (140, 2**32 - 1), (168, 5 << 16), (176, 99), (180, 8)],
)
def test_a_damaged_tag_is_refused_and_the_process_lives(
    tmp_path: Path, place: int, word: int
) -> None:
    savemat(tmp_path / "x.mat", {"x": np.arange(40.0).reshape(5, 8)})
    content = bytearray((tmp_path / "x.mat").read_bytes())
    content[place : place + 4] = struct.pack("<I", word)
    (tmp_path / "x.mat").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"x\.mat"):
        MatFile(tmp_path / "x.mat").table("x")


def test_a_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    side = 1 << 14
    head = (
        element(6, struct.pack("<II", 6, 0))
        + element(5, struct.pack("<ii", side, side))
        + element(1, b"x")
    )
    packed = zlib.compressobj(9)
    body = packed.compress(
        struct.pack("<II", 14, len(head) + 8 + side * side)
        + head
        + struct.pack("<II", 2, side * side)
    )
    body += packed.compress(bytes(side * side)) + packed.flush()
    (tmp_path / "bomb.mat").write_bytes(
        b" " * 124 + b"\x00\x01IM" + struct.pack("<II", 15, len(body)) + body
    )
    tracemalloc.start()
    with pytest.raises(
        DataError, match=r"bomb\.mat: x claims 268 MB and the file holds 0\.26\d MB"
    ):
        MatFile(tmp_path / "bomb.mat").columns("x")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_what_is_no_such_file_is_told_by_kind(tmp_path: Path) -> None:
    (tmp_path / "new.mat").write_bytes(
        b"MATLAB 7.3".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n"
    )
    with pytest.raises(
        DataError, match=r"new\.mat is a MATLAB file of version 7\.3; save it with -v7"
    ):
        MatFile(tmp_path / "new.mat")
    for content in (b"", b"text", bytes(300)):
        (tmp_path / "x.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"x\.mat is no whole MATLAB file \(its header"):
            MatFile(tmp_path / "x.mat")
    savemat(tmp_path / "x.mat", {"c": np.array([[1 + 2j]]), "t": "text", "e": cells(["a", ""])})
    odd = MatFile(tmp_path / "x.mat")
    for name in ("c", "t"):
        with pytest.raises(DataError, match=rf"x\.mat: {name} is (complex|text) and no table"):
            odd.table(name)
    with pytest.raises(DataError, match=r"x\.mat: e holds something that is no text at place 2"):
        odd.texts("e")


def test_the_real_split_files_read_as_scipy_reads_them(shared: Path) -> None:
    files = sorted((shared / "data" / "xlsa17" / "data").glob("*/att_splits.mat"))
    assert files
    for file in files:
        ours, theirs = MatFile(file), loadmat(file)
        for name in ours.variables:
            if ours.is_numeric(name):
                np.testing.assert_array_equal(ours.table(name), theirs[name])
            else:
                assert ours.texts(name) == [str(cell[0]).strip() for cell in theirs[name].ravel()]
