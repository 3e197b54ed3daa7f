"""The kinds of input that docs/inputs.md lists: what is read, turned, asked about or refused,
through the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat
from spoilt import LABELS, PARTS, arrays, cells
from spoilt import mat as full_mat

from zslkit.acquire.class_join import moved_rows
from zslkit.cli import app
from zslkit.dataset import Dataset
from zslkit.datasets.catalog import load_dataset

N = len(LABELS)
Go = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def cases(shared: Path) -> Path:
    """The folder of small inputs that once were read wrongly."""
    if not (shared / "cases").is_dir():
        pytest.skip(
            f"needs the inputs in {shared / 'cases'}, which are not there; say where with "
            "ZSLKIT_SHARED"
        )
    return shared / "cases"


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Go:
    """go(arguments...) runs the command line in an empty folder: exit code, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str]:
        code = app.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out + err

    return call


def opened(card: str = "made/card.yaml") -> Dataset:
    return load_dataset(card)


def held(**what: Any) -> dict[str, Any]:
    """Pooled features of 8 images of 3 classes with 4 attributes; None takes an array out."""
    made = {**arrays(N, 6), "w2v_att": None, "att": None, **what}
    return {name: values for name, values in made.items() if values is not None}


def h5(values: dict[str, Any], name: str = "x.h5") -> str:
    with h5py.File(name, "w") as file:
        for key, array in values.items():
            file[key] = array
    return name


def npz(values: dict[str, Any], name: str = "x.npz") -> str:
    np.savez(name, **{key: np.asarray(array) for key, array in values.items()})
    return name


def mat(values: dict[str, Any], name: str = "x.mat") -> str:
    """As xlsa17 writes them, without names: images and classes are columns, and numbers count from
    1."""
    made = {
        "features": np.asarray(values["feature_map"], float).T,
        "labels": values["labels"][:, None] + 1.0,
    }
    made |= {part: (values[part][:, None] + 1).astype(np.uint16) for part in PARTS}
    savemat(name, made | {key: values[key].T for key in ("att", "original_att") if key in values})
    return name


WRITERS = (h5, npz, mat)


# --- the shared cases
# --------------------------------------------------------------------------------------------------


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


# --- class attributes that lie the other way round
# -----------------------------------------------------------------------------


@pytest.mark.parametrize("write", WRITERS)
def test_a_transposed_table_is_turned_where_the_labels_allow_one_reading(
    go: Go, write: Any
) -> None:
    table = held()["original_att"]
    code, text = go("data", "import", write(held(original_att=table.T)), "--out", "made")
    assert code == 0 and "it was turned to 3 classes x 4 attributes" in text
    assert opened().semantics.attributes.tolist() == table.tolist()


def test_names_vectors_and_unit_length_tell_the_axes_where_labels_do_not(go: Go) -> None:
    table = np.arange(1.0, 21).reshape(
        4, 5
    )  # a class more than the labels have, so that 4 and 5 are both possible
    evidence: dict[str, Any] = {
        "class_names": np.array(["auk", "crow", "wren", "gull"], dtype="S4"),
        "attribute_names": np.array([b"a", b"b", b"c", b"d", b"e"]),
        "w2v_att": np.ones((5, 2)),
        "att": table / np.linalg.norm(table, axis=1, keepdims=True),
    }
    for k, (name, told) in enumerate(evidence.items()):
        turned = told.T if name == "att" else told
        code, text = go(
            "data", "import", h5(held(original_att=table.T, **{name: turned})), "--out", f"made{k}"
        )
        assert code == 0 and "turned to 4 classes x 5" in text, (name, text)
        assert opened(f"made{k}/card.yaml").semantics.attributes.tolist() == table.tolist()


@pytest.mark.parametrize(
    "table",
    [np.arange(1.0, 21).reshape(4, 5), np.arange(1.0, 10).reshape(3, 3)],
    ids=["a class without image", "square"],
)
def test_a_table_that_may_be_read_in_two_ways_is_asked_about(go: Go, table: np.ndarray) -> None:
    file = h5(held(original_att=table))
    code, text = go("data", "import", file, "--out", "made")
    assert code == 2 and re.search(
        r"shape \(\d, \d\), and nothing shows .* say --table-rows classes or --table-rows "
        r"attributes",
        text,
    )
    for rows, right in (("classes", table), ("attributes", table.T)):
        assert go("data", "import", file, "--out", rows, "--table-rows", rows)[0] == 0
        assert opened(f"{rows}/card.yaml").semantics.attributes.tolist() == right.tolist()
    code, text = go("data", "import", h5(held()), "--out", "no", "--table-rows", "attributes")
    assert code == 0 or "leave --table-rows away" in text


@pytest.mark.parametrize("write", [h5, npz])
def test_labels_that_count_from_1_and_use_all_classes_tell_the_axes(go: Go, write: Any) -> None:
    table = held()[
        "original_att"
    ]  # 4 attributes: labels 1..3 of 4 classes from 0 would leave one without images
    for k, held_table in enumerate((table, table.T)):
        assert (
            go(
                "data",
                "import",
                write(held(original_att=held_table, labels=LABELS + 1)),
                "--out",
                f"made{k}",
            )[0]
            == 0
        )
        assert opened(f"made{k}/card.yaml").semantics.attributes.tolist() == table.tolist()


# --- which axis holds the channels
# ----------------------------------------------------------------------------------------------


def telling(d: int, h: int, w: int) -> np.ndarray:
    """Maps (N, D, H, W) of which every value tells image, channel, row and column."""
    i, c, y, x = np.ogrid[:N, :d, :h, :w]
    return (1000 * i + 100 * c + 10 * y + x).astype(np.float32)


def with_token(maps: np.ndarray) -> np.ndarray:
    """(N, D, 1 + R): a class token of -1 before the positions."""
    return np.concatenate(
        [np.full((*maps.shape[:2], 1), -1, np.float32), maps.reshape(*maps.shape[:2], -1)], axis=2
    )


def flat(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(*maps.shape[:2], -1)


READ = {  # what lies in the file, (D, H, W) that it means, whether the file alone tells
    "channels first": (lambda m: m, (9, 2, 2), True),
    "channels first, unequal sides": (lambda m: m, (12, 2, 3), True),
    "positions flat": (flat, (11, 3, 3), True),
    "channels last": (lambda m: m.transpose(0, 2, 3, 1), (9, 3, 3), False),
    "channels last, square sides": (lambda m: m.transpose(0, 2, 3, 1), (11, 2, 2), True),
    "channels last, unequal sides": (lambda m: m.transpose(0, 2, 3, 1), (12, 2, 3), True),
    "tokens": (lambda m: flat(m).transpose(0, 2, 1), (11, 3, 3), True),
    "tokens, square channels": (lambda m: flat(m).transpose(0, 2, 1), (16, 3, 3), False),
    "tokens, a square and one more channels": (
        lambda m: flat(m).transpose(0, 2, 1),
        (17, 3, 3),
        False,
    ),
    "tokens and a class token": (lambda m: with_token(m).transpose(0, 2, 1), (11, 3, 3), True),
    "a class token, channels first": (with_token, (11, 3, 3), True),
}


@pytest.mark.parametrize("kind", READ)
def test_every_value_of_a_map_comes_to_its_place(go: Go, kind: str) -> None:
    lay, shape, told = READ[kind]
    maps = telling(*shape)
    order = "channels-last" if kind.startswith(("channels last", "tokens")) else "channels-first"
    file = h5(held(feature_map=np.ascontiguousarray(lay(maps))))
    if kind != "channels last":
        code, text = go("data", "import", file, "--out", "made", "--dtype", "float32")
        assert (code == 0) == told, text
        assert told or re.search(
            r"nothing shows which axis holds the channels; say --layout channels-first \(.*\) or",
            text,
        )
        assert order == "channels-first" or not told or f"note:       {order}: " in text
        assert ("class token and is left out" in text) == ("class token" in kind)
    code, text = go(
        "data", "import", file, "--out", "said", "--dtype", "float32", "--layout", order
    )
    assert code == 0, text
    for place in ("made", "said") if Path("made").exists() else ("said",):
        store = opened(f"{place}/card.yaml").maps
        assert store is not None
        assert torch.equal(store.maps(np.arange(N)), torch.from_numpy(maps))
        assert torch.allclose(store.pooled(np.arange(N)), torch.from_numpy(maps.mean((2, 3))))


@pytest.mark.parametrize(
    "shape",
    [
        (49, 256),
        (196, 64),
        (197, 16),
        (256, 49),
        (1024, 49),
        (257, 196),
        (49, 49),
        (84, 256),
        (256, 84),
        (1024, 768),
    ],
)
def test_axis_1_that_may_be_positions_is_asked_about(go: Go, shape: tuple[int, int]) -> None:
    code, text = go(
        "data", "import", h5(held(feature_map=np.zeros((N, *shape), np.float16))), "--out", "made"
    )
    assert code == 2 and "say --layout channels-" in text, text


@pytest.mark.parametrize("shape", [(14, 14, 8), (8, 8, 8), (16, 32, 100), (3, 14, 14)])
def test_four_axes_that_do_not_tell_are_asked_about(go: Go, shape: tuple[int, ...]) -> None:
    code, text = go(
        "data", "import", h5(held(feature_map=np.zeros((N, *shape), np.float16))), "--out", "made"
    )
    assert (
        code == 2 and "say --layout channels-first" in text and "or --layout channels-last" in text
    ), text


@pytest.mark.parametrize(
    "shape",
    [
        (2048, 49),
        (2048, 196),
        (512, 144),
        (2048, 7, 7),
        (64, 7, 7),
        (512, 7, 9),
        (768, 14, 14),
        (2048, 1, 1),
    ],
)
def test_maps_as_networks_give_them_are_read_without_a_question(
    go: Go, shape: tuple[int, ...]
) -> None:
    code, text = go(
        "data",
        "import",
        h5(held(feature_map=np.zeros((N, *shape), np.float16))),
        "--out",
        "made",
        "--json",
    )
    assert (
        code == 0
        and json.loads(text[text.index("{") : text.rindex("}") + 1])["features"][0] == shape[0]
    ), text


def test_two_layouts_of_one_file_have_two_identities(go: Go) -> None:
    file = h5(held(feature_map=telling(4, 4, 4)))
    prints = []
    for order in ("channels-first", "channels-last"):
        assert (
            go("data", "import", file, "--out", order, "--name", "same", "--layout", order)[0] == 0
        )
        prints.append(json.loads(Path(order, "maps", "manifest.json").read_text())["key"])
    assert prints[0] != prints[1]


def test_an_option_that_does_not_fit_is_refused(go: Go) -> None:
    code, text = go("data", "import", h5(held()), "--out", "made", "--layout", "channels-last")
    assert code == 2 and "no positions; leave --layout away" in text
    code, text = go(
        "data",
        "import",
        h5(held(feature_map=np.zeros((N, 11, 9)))),
        "--out",
        "made",
        "--layout",
        "channels-last",
    )
    assert (
        code == 2 and "--layout channels-last needs positions on the axis after the images" in text
    )


# --- joins
# --------------------------------------------------------------------------------------------------


NAMES = ("auk", "crow", "wren")


def csv(rows: dict[str, list[float]], head: str = "class,big,red,wet,old") -> str:
    Path("t.csv").write_text(
        "\n".join([head, *(f"{name}," + ",".join(map(str, row)) for name, row in rows.items())])
    )
    return "t.csv"


def rows_of(order: str, table: Any = None) -> dict[str, list[float]]:
    table = held()["original_att"] if table is None else table
    return {name: table[NAMES.index(name)].tolist() for name in order.split()}


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


# --- rows of features that a stopped extraction leaves
# ---------------------------------------------------------------------------


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
