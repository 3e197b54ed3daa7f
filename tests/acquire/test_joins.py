"""Class attributes and labels of one's own are joined by name, or in an order that nothing
contradicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from own_files import NAMES, Go, csv, h5, held, npz, opened, rows_of
from scipy.io import savemat
from spoilt import LABELS, PARTS, cells
from spoilt import mat as full_mat

from zslkit.acquire.class_join import moved_rows


@pytest.mark.parametrize("write", [h5, npz])
@pytest.mark.parametrize("key", ["class_names", "classes", "allclasses_names"])
def test_class_names_of_the_file_join_a_table_in_another_order(
    go: Go, write: Any, key: str
) -> None:
    file = write(
        held(original_att=None, **{key: np.array(NAMES, dtype="S5" if write is h5 else "U5")})
    )
    code, text = go(
        "data", "import", file, "--out", "made", "--class-attributes", csv(rows_of("wren auk crow"))
    )
    data = opened()
    assert code == 0 and "joined by class names" in text
    assert (
        data.classes == NAMES
        and data.semantics.attributes[:, 0].tolist() == [1, 5, 9]
        and data.labels.tolist() == LABELS.tolist()
    )


def test_names_of_the_file_in_variable_length_and_other_spelling(go: Go) -> None:
    with h5py.File("x.h5", "w") as file:
        for key, values in held(original_att=None).items():
            file[key] = values
        file.create_dataset(
            "class_names", data=["001.Auk", "crow ", "Wren"], dtype=h5py.string_dtype()
        )
    code, text = go(
        "data",
        "import",
        "x.h5",
        "--out",
        "made",
        "--class-attributes",
        csv(rows_of("wren crow auk")),
    )
    assert (
        code == 0 and "2 class names of t.csv differ in case, signs or number ('001.Auk')" in text
    )
    assert opened().semantics.attributes[:, 0].tolist() == [1, 5, 9]


def test_without_names_the_order_must_not_contradict_the_file(go: Go) -> None:
    file = h5(held())
    code, text = go(
        "data", "import", file, "--out", "made", "--class-attributes", csv(rows_of("auk crow wren"))
    )
    assert code == 0 and "row k is class k, since x.h5 holds no class names" in text
    scaled = held()["original_att"] / 50  # another scale, rounded, is the same table
    for table in (held()["original_att"], scaled.round(2)):
        code, text = go(
            "data",
            "import",
            file,
            "--out",
            "no",
            "--class-attributes",
            csv(rows_of("wren auk crow", table)),
        )
        assert code == 2 and "in another order" in text and "('auk', 'crow', 'wren')" in text, text


def test_names_that_cannot_be_read_are_not_passed_over(go: Go) -> None:
    npz(held(original_att=None, class_names=np.array(NAMES, dtype=object)))
    with h5py.File(h5(held(original_att=None)), "a") as file:
        names = file.create_dataset("allclasses_names", (3,), dtype=h5py.ref_dtype)
        names[:] = [file["labels"].ref] * 3
    for name in ("x.npz", "x.h5"):
        code, text = go(
            "data",
            "import",
            name,
            "--out",
            "no",
            "--class-attributes",
            csv(rows_of("wren crow auk")),
        )
        assert (
            code == 2
            and "names holds objects that are not read" in text
            and "numpy.array(names, dtype=str)" in text
        ), text


def test_names_that_contradict_the_files_own_table_are_refused(go: Go) -> None:
    file = npz(held(class_names=np.array(["wren", "auk", "crow"])))
    code, text = go(
        "data", "import", file, "--out", "no", "--class-attributes", csv(rows_of("auk crow wren"))
    )
    assert code == 2 and "in another order" in text


def test_a_row_more_or_less_is_refused_by_name(go: Go) -> None:
    table = {**rows_of("auk crow wren"), "unicorn": [1.0, 0.0, 0.0, 7.0]}
    for own in ({}, {"original_att": None}):
        code, text = go(
            "data", "import", h5(held(**own)), "--out", "no", "--class-attributes", csv(table)
        )
        assert code == 2 and "t.csv has 4 classes and" in text and "'unicorn'" in text, text
    code, text = go(
        "data",
        "import",
        h5(held(original_att=None)),
        "--out",
        "no",
        "--class-attributes",
        csv(rows_of("auk crow")),
    )
    assert code == 2 and "t.csv has 2 classes and the labels of x.h5 3" in text
    named = h5(held(original_att=None, class_names=np.array(NAMES, dtype="S5")))
    code, text = go("data", "import", named, "--out", "made", "--class-attributes", csv(table))
    assert code == 0 and "1 rows of t.csv are no class of x.h5 and are left out ('unicorn')" in text
    code, text = go(
        "data", "import", named, "--out", "no", "--class-attributes", csv(rows_of("auk wren"))
    )
    assert code == 2 and "1 classes of x.h5 have no row ('crow'" in text


def test_a_transposed_csv_is_told(go: Go) -> None:
    Path("t.csv").write_text(
        "attribute,auk,crow,wren\n" + "\n".join(f"{a},1,2,3" for a in ("big", "red", "wet", "old"))
    )
    code, text = go(
        "data", "import", h5(held(original_att=None)), "--out", "no", "--class-attributes", "t.csv"
    )
    assert code == 2 and "is the CSV transposed?" in text
    named = h5(held(original_att=None, classes=np.array(NAMES, dtype="S5")))
    code, text = go("data", "import", named, "--out", "no", "--class-attributes", "t.csv")
    assert code == 2 and "its header holds the classes" in text


def test_word_vectors_follow_the_columns_of_the_table(go: Go) -> None:
    words = np.arange(8.0).reshape(4, 2)
    own = held()["original_att"]
    moved = csv(
        {name: own[k][[2, 0, 1, 3]].tolist() for k, name in enumerate(NAMES)},
        "class,wet,big,red,old",
    )
    code, text = go(
        "data", "import", h5(held(w2v_att=words)), "--out", "no", "--class-attributes", moved
    )
    assert code == 2 and "its columns are those of original_att" in text
    named = h5(
        held(w2v_att=words, attribute_names=np.array(["big", "red", "wet", "old"], dtype="S3"))
    )
    assert go("data", "import", named, "--out", "made", "--class-attributes", moved)[0] == 0
    vectors = opened().semantics.word_vectors
    assert vectors is not None and vectors.tolist() == words[[2, 0, 1, 3]].tolist()


def test_labels_may_be_names(go: Go) -> None:
    named = np.array(NAMES)[LABELS]
    for write, values in ((npz, named), (h5, named.astype("S5"))):
        file = write(held(original_att=None, labels=values))
        code, _ = go(
            "data",
            "import",
            file,
            "--out",
            write.__name__,
            "--class-attributes",
            csv(rows_of("wren crow auk")),
        )
        data = opened(f"{write.__name__}/card.yaml")
        assert code == 0 and [data.classes[k] for k in data.labels] == named.tolist()
        assert dict(zip(data.classes, data.semantics.attributes[:, 0].tolist(), strict=True)) == {
            "auk": 1,
            "crow": 5,
            "wren": 9,
        }
    code, text = go(
        "data",
        "import",
        file,
        "--out",
        "no",
        "--class-attributes",
        csv({"auk": [1, 2, 3, 4], "crow": [1, 2, 3, 4], "hen": [1, 1, 1, 1]}),
    )
    assert (
        code == 2
        and "labels are names, and 1 of them are no class of the class attributes ('wren')" in text
    )


def test_labels_that_the_folders_of_images_contradict_are_joined_with_a_note(go: Go) -> None:
    savemat("x.mat", {**full_mat(), "allclasses_names": cells(["crow", "auk", "wren"])})
    code, text = go("data", "import", "x.mat", "--out", "made")
    assert code == 0 and "images go to the class that their folder names" in text
    assert opened().labels.tolist() == [1, 1, 1, 0, 0, 0, 2, 2]


def test_labels_of_a_npy_file_may_be_names_in_a_text_file(go: Go) -> None:
    np.save("features.npy", held()["feature_map"])
    for part, index in PARTS.items():
        np.save(f"{part}.npy", index)
    Path("labels.txt").write_text("\n".join(["auk", "crow", "2 wheels"][k] for k in LABELS))
    table = csv(
        {
            "2 wheels": [9.0, 1, 1, 1],
            "unicorn": [0.0, 0, 0, 1],
            "crow": [5.0, 1, 1, 1],
            "auk": [1.0, 1, 1, 1],
        }
    )
    assert (
        go(
            "data",
            "import",
            "features.npy",
            "--out",
            "made",
            "--labels",
            "labels.txt",
            "--class-attributes",
            table,
        )[0]
        == 0
    )
    data = opened()
    assert [data.semantics.attributes[k, 0] for k in data.labels] == [[1, 5, 9][k] for k in LABELS]
    np.save("labels.npy", LABELS)
    code, text = go("data", "import", npz(held(labels=np.array(NAMES)[LABELS])), "--out", "no")
    assert (
        code == 2
        and "the labels are names, and nothing names the rows of original_att; save class_names"
        in text
    )
    code, text = go("data", "import", "features.npy", "--out", "no", "--class-attributes", table)
    assert (
        code == 2 and "give the labels as class names, one a line, with --labels FILE.txt" in text
    )


BINARY = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1.0]])


@pytest.mark.parametrize(
    "table",
    [BINARY, BINARY[:, :3], np.array([[1.0], [5], [9]]), held()["original_att"]],
    ids=["binary", "one-hot", "lone", "real"],
)
def test_rows_in_another_order_are_seen_in_any_table_and_others_are_let_pass(
    table: np.ndarray,
) -> None:
    order = [2, 0, 1]
    moved = moved_rows(table, table[order])
    assert moved is not None and moved.tolist() == order
    assert moved_rows(table, table) is None
    assert moved_rows(table * 100, (table + 1e-4).round(3)) is None
    unlike = np.random.default_rng(1).random(table.shape)
    assert moved_rows(table, unlike) is None or table.shape[1] == 1
    assert moved_rows(np.ones((3, 4)), np.ones((3, 4))) is None


def test_rows_and_columns_in_another_order_at_once() -> None:
    table = np.random.default_rng(0).random((20, 30))
    order = np.random.default_rng(1).permutation(20)
    moved = moved_rows(table, (table[order][:, ::-1] * 100).round(1))
    assert moved is not None and moved.tolist() == order.tolist()
    assert moved_rows(table, table[:, ::-1]) is None
    seen = np.random.default_rng(2).random((20, 30)) < 0.5
    assert moved_rows(seen, np.random.default_rng(3).random((20, 30)) < 0.5) is None


@pytest.mark.parametrize("form", ["{}", "{:03d}.bird", "{:03d}_bird", "class {}", "c{}"])
def test_classes_numbered_in_another_order_than_their_rows_are_refused(go: Go, form: str) -> None:
    names = [form.format(n) for n in (1, 10, 2)]
    table = held()["original_att"]
    rows = csv({name: row.tolist() for name, row in zip(names, table, strict=True)})
    for write in (npz, h5):
        file = write(held(original_att=None))
        code, text = go("data", "import", file, "--out", "made", "--class-attributes", rows)
        assert code == 2 and f"in another order than its rows ({names[1]!r} is row 2)" in text, text
        assert "save the class names as class_names" in text and not Path("made").exists()
    file = npz(held(original_att=None, class_names=np.array(names)))
    assert go("data", "import", file, "--out", "a", "--class-attributes", rows)[0] == 0
    file = npz(held())  # its own table shows that row k is class k
    assert go("data", "import", file, "--out", "b", "--class-attributes", rows)[0] == 0
    rows = csv({form.format(n): row.tolist() for n, row in zip((3, 7, 12), table, strict=True)})
    file = npz(held(original_att=None))
    assert go("data", "import", file, "--out", "c", "--class-attributes", rows)[0] == 0
    rows = csv({n: row.tolist() for n, row in zip(("b 2", "b 1", "owl"), table, strict=True)})
    assert go("data", "import", file, "--out", "d", "--class-attributes", rows)[0] == 0
