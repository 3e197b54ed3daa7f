"""The kinds of input that docs/inputs.md lists: what is read, turned, asked about or refused,
through the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_files import Go, N, csv, h5, held, mat, npz, opened, rows_of
from spoilt import LABELS


@pytest.fixture(scope="session")
def cases(shared: Path) -> Path:
    """The folder of small inputs that once were read wrongly."""
    if not (shared / "cases").is_dir():
        pytest.skip(
            f"needs the inputs in {shared / 'cases'}, which are not there; say where with "
            "ZSLKIT_SHARED"
        )
    return shared / "cases"


SHARED = {
    "transposed-attributes/transposed.h5": (
        "",
        0,
        r"rows are attributes: it was turned to 6 classes x 10 attributes",
    ),
    "transposed-attributes/ok.h5": ("", 0, r"classes:    6, 2 of them unseen"),
    "tokens-as-channels/tokens-NRD-49x256.h5": (
        "",
        2,
        r"say --layout channels-first .* or --layout channels-last \(256 channels on 7 x 7",
    ),
    "half-written/maps.h5": (
        "",
        0,
        r"warning: .*10 of 36 images have features that are all zero \(images 26-35, counted from "
        r"0\)",
    ),
    "row-order/f.h5": (
        "--class-attributes row-order/sorted.csv",
        2,
        r"rows are those of original_att .* in another order \('ape' is row 3 there",
    ),
    "nameless-words/nameless.h5": (
        "--words nameless-words/glove.txt",
        2,
        r"4 of 4 attributes have a number in place of a name",
    ),
    "infinite-labels/inf.h5": (
        "",
        2,
        r"labels should be whole numbers of classes, and 1 of 36 are not finite \(inf at place 3",
    ),
}


@pytest.mark.parametrize("case", SHARED)
def test_a_shared_case(cases: Path, go: Go, case: str) -> None:
    options, code, sentence = SHARED[case]
    more = [cases / word if "/" in word else word for word in options.split()]
    found, text = go("data", "import", cases / case, "--out", "made", *more)
    assert (found, bool(re.search(sentence, text))) == (code, True), text
    assert Path("made").exists() == (code == 0)


def test_the_turned_table_is_the_one_that_lies_right(cases: Path, go: Go) -> None:
    for name in ("ok", "transposed"):
        go("data", "import", cases / "transposed-attributes" / f"{name}.h5", "--out", name)
    a, b = (opened(f"{name}/card.yaml").semantics.attributes for name in ("ok", "transposed"))
    assert a.shape == (6, 10) and np.array_equal(a, b)


def test_half_written_maps_are_found_by_verify(cases: Path, go: Go) -> None:
    go("data", "import", cases / "half-written" / "maps.h5", "--out", "made")
    code, text = go("data", "verify", "made/card.yaml")
    assert code == 1 and re.search(
        r"features +fault +10 of 36 images have features that are all zero", text
    )
    assert "images 27-36, counted from 1" in text


# --- rows of features that a stopped extraction leaves
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6,), (9, 2, 2)], ids=["pooled", "maps"])
@pytest.mark.parametrize(
    ("fill", "said", "verdict"),
    [
        (0, "all zero", "features that are all zero"),
        (7, "one value in all features", "one value throughout"),
        (None, "of another image", "the same in several classes"),
    ],
    ids=["zero", "constant", "repeated"],
)
def test_rows_that_were_not_written_are_told_and_found(
    go: Go, shape: tuple[int, ...], fill: float | None, said: str, verdict: str
) -> None:
    features = np.random.default_rng(0).random((N, *shape), dtype=np.float32)
    features[4:] = features[3] if fill is None else fill
    code, text = go("data", "import", h5(held(feature_map=features)), "--out", "made")
    assert code == 0 and re.search(rf"warning: .*{said}.*images [34]-7, counted from 0", text), text
    code, text = go("data", "verify", "made/card.yaml")
    assert code == 1 and re.search(rf"features +fault .*{verdict}", text), text


def test_all_images_with_numbers_that_are_not_finite_are_listed(go: Go) -> None:
    features = np.ones((N, 6), np.float32)
    features[[1, 4, 5], 2] = [np.nan, np.inf, -np.inf]
    code, text = go("data", "import", h5(held(feature_map=features)), "--out", "made")
    assert (
        code == 2
        and "3 of 8 images hold a number that is not finite (images 1, 4-5, counted from 0)" in text
    )


# --- numbers and names
# --------------------------------------------------------------------------------------------------


ODD = {
    "infinite": (
        np.where(np.arange(N) == 3, np.inf, LABELS),
        "1 of 8 are not finite (inf at place 3",
    ),
    "NaN": (np.where(np.arange(N) == 2, np.nan, LABELS), "1 of 8 are not finite (nan at place 2"),
    "fraction": (LABELS + 0.5, "8 of 8 are not whole (0.5 at place 0"),
    "huge": (
        np.where(np.arange(N) == 7, 1e300, LABELS),
        "labels run from 0 to 1e+300, and there are 3 classes (1 of 8 are outside, the first at "
        "place 7",
    ),
    "too large": (
        np.where(np.arange(N) == 7, 2**63 - 1, LABELS),
        "1 of 8 are outside, the first at place 7",
    ),
    "negative": (LABELS - 1, "3 of 8 are negative (-1 at place 0"),
    "truth": (LABELS > 0, "and these are bool"),
    "one-hot": (np.eye(3)[LABELS], "save its argmax(axis=1)"),
}


@pytest.mark.parametrize("kind", ODD)
def test_labels_that_are_none_are_told_in_a_sentence(go: Go, kind: str) -> None:
    labels, sentence = ODD[kind]
    for write in (h5, npz):
        code, text = go("data", "import", write(held(labels=labels)), "--out", "made")
        assert code == 2 and sentence in text and "Unexpected" not in text, text


def test_infinite_places_of_a_split_are_told(go: Go) -> None:
    code, text = go(
        "data", "import", npz(held(test_seen_loc=np.array([2, np.inf]))), "--out", "made"
    )
    assert (
        code == 2
        and "test_seen_loc should be whole numbers of images, and 1 of 2 are not finite (inf at "
        "place 1"
        in text
    )


@pytest.mark.parametrize(
    "names",
    [
        "attribute 1,attr_2,3,feature-4",
        "a0,a1,a2,a3",
        "0,1,2,3",
        "Unnamed: 1,col 2,dim3,x_4",
        "big,red,wet,attribute 4",
    ],
)
def test_numbers_are_not_looked_up_as_words(go: Go, names: str) -> None:
    words = {
        "big",
        "red",
        "wet",
        "attribute",
        "attr",
        "feature",
        "col",
        "unnamed",
        "dim3",
        "x",
        *"01234",
        "a0",
        "a1",
        "a2",
        "a3",
    }
    Path("glove.txt").write_text("\n".join(f"{word} 1.0 2.0" for word in sorted(words)))
    table = csv(rows_of("auk crow wren"), f"class,{names}")
    code, text = go(
        "data",
        "import",
        h5(held()),
        "--out",
        "no",
        "--class-attributes",
        table,
        "--words",
        "glove.txt",
    )
    assert code == 2 and "attributes have a number in place of a name" in text
    assert go("data", "import", h5(held()), "--out", "made", "--class-attributes", table)[0] == 0
    code, text = go("data", "words", "made/card.yaml", "--vectors", "glove.txt")
    assert code == 2 and "attributes have a number in place of a name" in text


def test_a_number_with_an_underscore_is_none(go: Go) -> None:
    code, text = go(
        "data",
        "import",
        h5(held()),
        "--out",
        "no",
        "--class-attributes",
        csv({"auk": [1, 2, 3, 4], "crow": ["1_0", 2, 3, 4], "wren": [1, 2, 3, 4]}),
    )  # type: ignore[list-item]
    assert code == 2 and "line 3, column 'big': '1_0' is no finite number" in text
    Path("labels.txt").write_text("\n".join(["0_0", *map(str, LABELS[1:])]))
    code, text = go("data", "import", h5(held()), "--out", "no", "--labels", "labels.txt")
    assert code == 2 and "'0_0' is none" in text


@pytest.mark.parametrize(
    "words",
    ["run --model eszsl --seed 1_0", "evaluate x --gamma 1_0", "data clean --older-than 1_0"],
)
def test_an_option_takes_no_underscore_for_a_number(go: Go, words: str) -> None:
    code, text = go(*words.split())
    assert code == 2 and "'1_0' is not a valid number; write it without _" in text


# --- all faults of a file together
# --------------------------------------------------------------------------------------------------


def test_all_faults_of_a_file_are_told_together_with_what_was_not_read(go: Go) -> None:
    file = npz(
        {
            **held(labels=None, test_seen_loc=None, original_att=np.ones(3)),
            "targets": LABELS,
            "arr_0": np.ones(2),
        }
    )
    code, text = go("data", "import", file, "--out", "made")
    assert (
        code == 2
        and text.count("\n") == 1
        and "original_att has the shape (3,) and should be a table" in text
    )
    file = npz(
        {
            **held(labels=None, test_seen_loc=None, original_att=None),
            "targets": LABELS,
            "arr_0": np.ones(2),
        }
    )
    code, text = go("data", "import", file, "--out", "made")
    assert code == 2 and text.count("\n") == 1
    for sentence in (
        "has 3 faults",
        "(1) holds no labels",
        "(2) comes without test_seen_loc",
        "(3) holds no original_att",
        "not read: targets, arr_0",
    ):
        assert sentence in text, text


@pytest.mark.parametrize("write", [h5, npz])
def test_what_was_not_read_is_told_of_a_good_file(go: Go, write: Any) -> None:
    code, text = go("data", "import", write(held(extra=np.ones(3))), "--out", "made")
    assert code == 0 and "note:       not read: extra" in text


def test_features_that_lie_transposed_are_advised_for_their_format(go: Go) -> None:
    values = held()
    turned = {**values, "feature_map": values["feature_map"].T}
    for write, advice in (
        (h5, "save them transposed, an image a row"),
        (npz, "an image a row"),
        (mat, "an image a column"),
    ):
        code, text = go("data", "import", write(turned), "--out", "made")
        assert code == 2 and advice in text and "fetch" not in text, text
    code, text = go("data", "import", h5(held(feature_map=np.zeros((6, 2, 2, N)))), "--out", "made")
    assert code == 2 and "save them with the axis of the 8 images first" in text


def test_own_files_that_cannot_be_read_are_not_to_be_fetched(go: Go) -> None:
    np.savez("o.npz", **held(labels=np.array(list(LABELS), dtype=object)), allow_pickle=True)
    Path("cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    Path("cut.npz").write_bytes(b"PK\x03\x04")
    np.save("objects.npy", np.array([[1, 2], [3]], dtype=object), allow_pickle=True)
    np.savez(
        "sparse.npz",
        data=np.ones(2),
        indices=np.ones(2),
        indptr=np.ones(2),
        shape=np.array([2, 2]),
        format=b"csr",
    )
    for file, sentence in (
        ("o.npz", "Python objects"),
        ("cut.h5", "anew"),
        ("objects.npy", "numpy.asarray(..., dtype=float)"),
        ("cut.npz", "save it anew"),
        ("sparse.npz", "sparse matrix"),
    ):
        code, text = go("data", "import", file, "--out", "made")
        assert code == 2 and sentence in text and "fetch" not in text, text
