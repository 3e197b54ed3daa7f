"""Word vectors in text form: every way they are written, any size, and each damage by file and
line."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zslkit.errors import DataError
from zslkit.readers.vectors_text import look_up
from zslkit.readers.word_vectors import phrases_of

GLOVE = "red 1 0\nbill 0 1\nnew york 4 4\n2 5 6\n"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        GLOVE,  # GloVe: no header
        "4 2\n" + GLOVE,  # word2vec: a header
        "4 2\n" + GLOVE.replace("\n", " \n"),  # fastText: a space at the end of each line
        GLOVE.replace(" ", "\t"),
        GLOVE.replace("\n", "\r\n"),
        GLOVE.replace(" ", "  \t"),  # columns that are aligned
        "\ufeff" + GLOVE,
        "\ufeff4 2\n" + GLOVE,
        "4\t2 \r\n" + GLOVE,
        "4  2   0\n" + GLOVE,  # a third field in the header
        "\n" * 999 + "4 2\n\n" + GLOVE.replace("\n", "\n\n"),
        "new york 4 4\n" + GLOVE,  # a first word of two parts
        "2 5 6\n" + GLOVE,  # a first word that is a number
        "\u00a0 9 9\n" + GLOVE,  # words that only look like spaces or ends of lines
        GLOVE + "a\rb 9 9\na\u2028b 9 9\n\u0085 9 9\n. . . 9 9\n",
    ],
)
def test_every_way_of_writing_gives_the_same_vectors(
    tmp_path: Path, text: str, zipped: bool
) -> None:
    file = tmp_path / "vectors"
    file.write_bytes(gzip.compress(text.encode(), mtime=0) if zipped else text.encode())
    found, digest = look_up(file, {"red", "bill", "2", "york", "absent"})
    assert {word: vector.tolist() for word, vector in found.items()} == {
        "red": [1, 0],
        "bill": [0, 1],
        "2": [5, 6],
    }
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text("abcßé.", min_size=1, max_size=4),
        st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3),
        min_size=1,
    )
)
def test_what_is_written_is_found(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, list[float]]
) -> None:
    file = tmp_path_factory.mktemp("v") / "v.txt"
    file.write_text(
        "".join(f"{w} {' '.join(map(repr, v))}\n" for w, v in table.items()), encoding="utf-8"
    )
    assert {w: v.tolist() for w, v in look_up(file, set(table))[0].items()} == table


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(GLOVE.encode() * 99, mtime=0)[:-20], "no whole gzip file"),
        (gzip.compress(GLOVE.encode(), mtime=0)[:12] + b"zzzzzzzzzz", "no whole gzip file"),
        (b"PK\x03\x04rest", "zip archive; unpack"),
        (b"3 2\nred \x00\x00\x80\x3f\x00\x00\x00\x00", "line 2.*binary form"),
        (b"red 1 0\nbill\n", "line 2"),
        (b"red 1 0\nbill 1 x\n", "line 2.*no number"),
        (b"2 3\nred 1 0\nbill 0 1\n", r"line 2: .* its 3 numbers, as the header \(2 3\) says"),
        (
            b"2 1\nred 1 0\nbill 0 1\n",
            "the header says 1 numbers for each word, and 2 follow; mend that line or remove it",
        ),
        (
            b"2 2 glove\nred 1 0 5 6\nbill 0 1 5 6\n",
            "line 1 has 2 numbers for each word, and 4 follow; mend that line or remove it",
        ),
        (b"3 2\nred 1 0\nbill 0 1\n", "the header says 3 words and 2 follow; is the file cut off"),
        (b"1 2\nred 1 0\nbill 0 1\n", "the header says 1 words and 2 follow"),
        (b"0 2\nred 1 0\n", "the header says 0 words and 1 follow"),
        (b"\n" * 1_000_000, "line 1001: 1,000 lines in a row are empty"),
        (gzip.compress(b"\n" * 1_000_000, mtime=0), "line 1001: 1,000 lines in a row are empty"),
        (gzip.compress(b"a 1\n" * 350_000, mtime=0), "unfolds to more than 50 times its size"),
    ],
)
def test_damage_is_told_by_file_and_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "w.vec").write_bytes(content)
    with pytest.raises(DataError, match=rf"w\.vec.*{reason}"):
        look_up(tmp_path / "w.vec", {"red", "bill"})


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    line = " ".join(["0.125"] * 50)
    for name, count in (("small", 8_000), ("large", 32_000)):
        (tmp_path / name).write_text("".join(f"word{i} {line}\n" for i in range(count)))
    read: list[int] = []
    peaks = []
    for name in ("small", "small", "large"):  # the first warms up
        tracemalloc.start()
        look_up(tmp_path / name, {"word7"}, read.append)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1] < (tmp_path / "large").stat().st_size
    assert sum(read) == sum(
        (tmp_path / name).stat().st_size for name in ("small", "small", "large")
    )


def test_a_name_is_reworded_only_if_it_is_one() -> None:
    (phrase,) = phrases_of(["toughskin"], {"toughskin": "Tough-skin"})
    assert phrase.words == ("tough", "skin")
    assert phrase.missing_words({"tough": np.zeros(2)}) == ("skin",)
    with pytest.raises(DataError, match="'toughskn' to reword; did you mean \"toughskin\""):
        phrases_of(["toughskin"], {"toughskn": "tough skin"})
