"""Word vectors are read as data: no pickle runs, and what is missing or wrong is named."""

from __future__ import annotations

import os
import pickle
import pickletools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zslkit.errors import DataError
from zslkit.readers import vectors_pickle
from zslkit.readers.word_vectors import clean_phrase, read_word_vectors

TABLE = np.arange(6, dtype=np.float64).reshape(2, 3) / 4


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("has_bill_shape::curved_(up_or_down)", "bill shape curved up or down"),
        ("wood (not part of a tree)", "wood not part of a tree"),
        ("man-made", "man made"),
        ("has", "has"),
        ("Größe_2", "größe 2"),
        ("  ", ""),
    ],
)
def test_clean_phrase(name: str, phrase: str) -> None:
    assert clean_phrase(name) == phrase


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        TABLE.astype(np.float32),
        np.asfortranarray(TABLE),
        TABLE.astype(">f8"),
        TABLE.astype(np.int16),
    ],
)
def test_a_pickled_array_is_read_without_numpy_unpickling_it(
    tmp_path: Path, table: np.ndarray, protocol: int
) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(table, protocol=protocol))
    vectors = read_word_vectors(tmp_path / "w.pkl", ["a", "b"])
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, table.astype(np.float32))


def test_a_pickled_list_of_arrays_or_numbers_is_a_table(tmp_path: Path) -> None:
    for rows in (list(TABLE), TABLE.tolist(), [[np.float64(v) for v in row] for row in TABLE]):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(rows))
        if isinstance(rows[0], np.ndarray) or isinstance(rows[0][0], float):
            np.testing.assert_array_equal(
                read_word_vectors(tmp_path / "w.pkl"), TABLE.astype(np.float32)
            )


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    # Protocol 0 as Python 2 wrote it: the raw bytes of the array as a text literal.
    raw = "".join(f"\\x{b:02x}" for b in np.array([[1.0, -2.0]], "<f4").tobytes())
    (tmp_path / "w.pkl").write_bytes(
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\nI2\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR"
        b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'" + raw.encode() + b"'\ntb."
    )
    np.testing.assert_array_equal(read_word_vectors(tmp_path / "w.pkl"), [[1, -2]])


class Runs:
    """A pickle of this calls `function` when it is loaded."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call  # type: ignore[return-value]


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    hostile = [
        Runs(os.mkdir, str(trace)),
        Runs(eval, f"__import__('os').mkdir({str(trace)!r})"),
        Runs(np.save, str(trace), TABLE),
        Runs(np.loadtxt, str(trace)),
        Runs(getattr, TABLE, "tofile"),
        [TABLE, Runs(os.mkdir, str(trace))],
    ]
    for k, thing in enumerate(hostile):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(thing))
        with pytest.raises(DataError, match=r"w\.pkl.*asks for"):
            read_word_vectors(tmp_path / "w.pkl")
        assert not list(tmp_path.glob("trace*")), k


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"Pid\n.",
        b"c__main__\n\n.",
        b"cmultiarray\n_reconstruct\n.",
        b"\x80\x02]r\xff\xff\xff\xff.",  # a memo place that would take gigabytes
        b"(lp4294967295\n.",
        b"cnumpy\ndtype\n(S'O'\nI0\nI1\ntR.",
        b"cnumpy\ndtype\n(S'f8,O'\nI0\nI1\ntR.",
        b"c_codecs\nencode\n(Vabc\nS'zlib'\ntR.",
        pickle.dumps({"a": 1}),
        pickle.dumps("text"),
        pickle.dumps(np.array([object()])),
        pickle.dumps(np.zeros(2, dtype=[("a", "f4")])),
        pickle.dumps(np.zeros(3)),
        pickle.dumps(np.zeros((0, 3))),
        pickle.dumps(np.zeros((2, 3), bool)),
        pickle.dumps(np.array([[1, np.nan]])),
        pickle.dumps(np.array([[1, 1e300]])),
        pickle.dumps([[1, 2], [3]]),
    ],
)
def test_a_pickle_of_anything_else_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"w\.pkl"):
        read_word_vectors(tmp_path / "w.pkl")


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 300), value=st.binary(max_size=3), protocol=st.integers(0, 5))
def test_a_spoilt_pickle_is_a_table_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: bytes, protocol: int
) -> None:
    file = tmp_path_factory.mktemp("spoilt") / "w.pkl"
    content = pickle.dumps(TABLE, protocol=protocol)
    place %= len(content)
    file.write_bytes(content[:place] + value + content[place + 1 :])
    try:
        assert read_word_vectors(file).ndim == 2
    except DataError as error:
        assert "w.pkl" in str(error)


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", TABLE)
    np.testing.assert_array_equal(read_word_vectors(tmp_path / "w.npy"), TABLE.astype(np.float32))
    np.save(tmp_path / "w.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(DataError, match=r"w\.npy"):
        read_word_vectors(tmp_path / "w.npy")
    (tmp_path / "w.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(DataError, match=r"w\.npy"):
        read_word_vectors(tmp_path / "w.npy")


def test_the_number_of_vectors_is_that_of_the_names(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", TABLE)
    with pytest.raises(DataError, match="2 word vectors for 3 attributes"):
        read_word_vectors(tmp_path / "w.npy", ["a", "b", "c"])


TEXT = "red 1 0\nbill 0 1\nBill 9 9\nlong 3 3\nnew york 4 4\nÖl 5 6\n"


@pytest.mark.parametrize("head", ["", "6 2\n"])
@pytest.mark.parametrize("ending", ["txt", "vec"])
def test_text_gives_the_mean_of_the_words(tmp_path: Path, head: str, ending: str) -> None:
    (tmp_path / f"w.{ending}").write_text(head + TEXT, encoding="utf-8")
    vectors = read_word_vectors(
        tmp_path / f"w.{ending}", ["has_bill::red", "long bill", "the long", "öl"]
    )
    np.testing.assert_array_equal(vectors, [[0.5, 0.5], [1.5, 2], [3, 3], [5, 6]])


def test_lower_case_wins_over_capitals_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("Bill 9 9\nbill 0 1\nBILL 8 8\n")
    np.testing.assert_array_equal(read_word_vectors(tmp_path / "w.txt", ["bill"]), [[0, 1]])


def test_words_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text(TEXT, encoding="utf-8")
    with pytest.raises(DataError, match=r"2 words.*buckteeth, skimmer"):
        read_word_vectors(tmp_path / "w.txt", ["red", "skimmer", "buckteeth bill"])
    for name in ("...", "the", "of the"):
        with pytest.raises(DataError, match="no vectors"):
            read_word_vectors(tmp_path / "w.txt", ["red", name])


def test_text_needs_names_and_known_endings_only(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "w.bin").write_text(TEXT, encoding="utf-8")
    with pytest.raises(DataError, match="need the attribute names"):
        read_word_vectors(tmp_path / "w.txt")
    with pytest.raises(DataError, match=r"\.bin"):
        read_word_vectors(tmp_path / "w.bin", ["red"])
    with pytest.raises(DataError, match=r"no file of word vectors.*none\.pkl"):
        read_word_vectors(tmp_path / "none.pkl")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("red 1 0\nbill 1\n", "line 2"),
        ("red 1 x\nbill 1 2\n", "line 1.*no number"),
        ("red 1 nan\nbill 1 2\n", "not finite"),
        ("red\nbill\n", "line 1"),
        ("", "no vectors"),
        ("x" * (1 << 20) + "\n", "that long"),
        ("\0" * 100, "line 1"),
    ],
)
def test_spoilt_text_is_a_data_error(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "w.txt").write_text(text)
    with pytest.raises(DataError, match=reason):
        read_word_vectors(tmp_path / "w.txt", ["red", "bill"])


@pytest.mark.parametrize(("name", "count"), [("CUB", 312), ("SUN", 102), ("AWA2", 85)])
def test_the_published_pickles_equal_what_pickle_itself_reads(
    shared: Path, name: str, count: int
) -> None:
    file = shared / "data" / "w2v" / f"{name}_attribute.pkl"
    asked = {arg for op, arg, _ in pickletools.genops(file.read_bytes()) if op.name == "GLOBAL"}
    assert asked == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
    }  # so pickle may read it here
    vectors = read_word_vectors(file)
    assert vectors.shape == (count, 300)
    np.testing.assert_array_equal(
        vectors, np.asarray(pickle.loads(file.read_bytes())).astype(np.float32)
    )


def nested(depth: int) -> bytes:
    """A list in which each level holds the one below ten times: ten to the `depth` numbers in a few
    dozen bytes."""
    return (
        b"\x80\x02]q\x00K\x01a"
        + b"".join(
            b"](" + b"h" + bytes([k]) + (b"h" + bytes([k])) * 9 + b"eq" + bytes([k + 1])
            for k in range(depth)
        )
        + b"."
    )


ROW = b"\x80\x04]\x94(G\x3f\xf0\x00\x00\x00\x00\x00\x00" + b"K\x01" * 999 + b"e0"
ARRAY = pickle.dumps(np.ones(1000, np.int8), protocol=2)[:-1] + b"q\xfe0"
"""Begin a pickle with a row or array of 1000 numbers that is remembered, and off the stack."""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"\x80\x05\x96" + (2**31).to_bytes(8, "little") + b".",
            "2,147,483,648 bytes are claimed and 1 are there",
        ),
        (b"\x80\x04\x8e" + (2**31).to_bytes(8, "little") + b".", ""),
        (b"\x80\x04\x8d" + (2**31).to_bytes(8, "little") + b".", ""),
        (b"\x80\x04\x95" + (2**31).to_bytes(8, "little") + b".", ""),
        (b"\x80\x02T" + (2**31 - 1).to_bytes(4, "little") + b".", ""),
        (nested(3), "a list of something else than rows"),
        (nested(30), "a list of something else than rows"),
        (ROW + b"](" + b"h\x00" * 500 + b"e.", "claims 500,000 numbers and holds 3,0"),
        (ARRAY + b"](" + b"h\xfe" * 500 + b"e.", "claims 500,000 numbers and holds 2,"),
        (b"\x80\x04" + b"\x8f" * 2_000 + b".", "uses EMPTY_SET"),
        (b"\x80\x04" + b"]" * 2_000_000 + b".", "more than 10,000 steps"),
        (b"\x80\x02cnumpy\ndtype\n(" + nested(30)[2:-1] + b"tR.", "a list where a word should be"),
        (
            b"\x80\x02N"
            + b"".join(b"q" + bytes([k]) + b"h" + bytes([k]) + b"\x86" for k in range(60))
            + b"}h\x3bK\x01s.",
            "uses EMPTY_DICT",
        ),
    ],
)
def test_a_pickle_gets_no_more_than_it_brings(
    tmp_path: Path, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_pickle, "MOST_STEPS", 10_000)
    (tmp_path / "w.pkl").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"w\.pkl is no pickle of one numpy array \(.*{reason}"):
        read_word_vectors(tmp_path / "w.pkl")
    assert tracemalloc.get_traced_memory()[1] < 10 * len(content) + 2e6
    tracemalloc.stop()


def test_rows_that_are_shared_are_read_as_long_as_they_are_in_the_file(tmp_path: Path) -> None:
    row = [0.5] * 10
    (tmp_path / "w.pkl").write_bytes(pickle.dumps([row, row, np.arange(10)]))
    assert read_word_vectors(tmp_path / "w.pkl").tolist() == [row, row, list(range(10))]
