"""Labels, counters and copies among features and attributes of other programs, through the command
line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from own_files import Go, N, csv, h5, held, opened
from PIL import Image
from spoilt import LABELS

from zslkit.datasets.attribute_table import refuse_counter, refuse_side
from zslkit.datasets.catalog import load_dataset
from zslkit.errors import DataError


@pytest.mark.parametrize("what", ["labels", "attributes"])
def test_features_that_tell_the_labels_are_refused_and_found_by_verify(go: Go, what: str) -> None:
    plain = np.random.default_rng(0).random((N, 6), dtype=np.float32)
    more = LABELS[:, None] if what == "labels" else held()["original_att"][LABELS]
    told = np.concatenate([plain, more], axis=1).astype(np.float32)
    code, text = go("data", "import", h5(held(feature_map=told)), "--out", "made")
    words = "so they tell the labels of test images too"
    assert code == 2 and words in text and "column 6" in text and not Path("made").exists()
    assert go("data", "import", h5(held(feature_map=plain)), "--out", "made")[0] == 0
    np.save("made/pooled.npy", told[:, -6:])
    code, text = go("data", "verify", "made/card.yaml")
    assert code == 1 and words in " ".join(text.split())


def test_classes_that_no_model_can_tell_apart_are_told(go: Go) -> None:
    table = {"auk": [0, 0, 0, 0], "crow": [1, 0, 2, 3], "wren": [1, 0, 2, 3]}
    names = {"class_names": np.array(["auk", "crow", "wren"], dtype="S4")}
    code, text = go(
        "data", "import", h5(held(original_att=None, **names)), "--out", "made",
        "--class-attributes", csv({name: list(map(float, row)) for name, row in table.items()}),
    )  # fmt: skip
    assert code == 0
    assert "warning:    1 classes have no attribute but zeros ('auk')" in text
    assert "2 classes have the attributes of another class ('crow', 'wren')" in text


@pytest.mark.parametrize(
    ("names", "words"),
    [(["", "b", "c"], "class 1 has no name"), (["b", "b", "c"], "the class 'b' stands twice")],
)
def test_class_names_that_are_none_are_told_of_the_file_and_nothing_is_left(
    go: Go, names: list[str], words: str
) -> None:
    file = h5(held(class_names=np.array(names, dtype="S4")))
    code, text = go("data", "import", file, "--out", "made")
    assert code == 2 and f"x.h5: {words}" in text, text
    assert not Path("made").exists()


def test_word_vectors_of_zeros_are_told(go: Go) -> None:
    code, text = go("data", "import", h5(held(w2v_att=np.diag([1, 0, 1, 1.0]))), "--out", "made")
    assert code == 0 and "warning:    the word vectors of 1 attributes are zero" in text
    assert any("are zero" in note for note in opened().notes)


@pytest.mark.parametrize(
    "numbers", [range(6), range(1, 7), range(100, 106), range(6, 0, -1), (3, 0, 5, 1, 4, 2)]
)
def test_a_column_that_counts_the_classes_is_no_attribute(
    tmp_path: Path, numbers: Sequence[int]
) -> None:
    values = np.random.default_rng(0).random((6, 3)).astype(np.float32)
    refuse_counter(tmp_path, ["a", "b", "c"], values)
    values[:, 1] = numbers
    said = rf"'b' counts the classes \({numbers[0]}, {numbers[1]}, .*leave"
    with pytest.raises(DataError, match=said):
        refuse_counter(tmp_path, ["a", "b", "c"], values)
    refuse_counter(tmp_path, ["a", "b", "c"], values[:4])  # of so few it may be chance
    refuse_counter(tmp_path, ["a", "b", "c"], values / 6)
    values[0, 1] = numbers[1]
    refuse_counter(tmp_path, ["a", "b", "c"], values)
    (tmp_path / "t.csv").write_text(
        "class,index,red\n" + "".join(f"c{k},{n},0.{k}\n" for k, n in enumerate(numbers))
    )
    (tmp_path / "q.yaml").write_text("name: q\nimages: photos\nattributes: t.csv\nunseen: [c5]\n")
    with pytest.raises(DataError, match=r"t\.csv: the column 'index' counts the classes"):
        load_dataset(str(tmp_path / "q.yaml"))


@pytest.mark.parametrize("name", ["seen", "Unseen", "is_seen", "split", "test", "novel"])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_column_that_tells_seen_from_unseen_classes_is_no_attribute(
    tmp_path: Path, name: str, flipped: bool
) -> None:
    values = np.random.default_rng(0).random((4, 2)).astype(np.float32)
    seen, unseen = np.array([0, 1, 1, 3]), np.array([2, 2])
    values[:, 1] = [flipped, flipped, not flipped, flipped]
    with pytest.raises(DataError, match=rf"the column '{name}' tells which classes are unseen"):
        refuse_side(tmp_path, ["a", name], values, seen, unseen)
    refuse_side(tmp_path, ["a", "stripes"], values, seen, unseen)  # as only zebras have
    values[3, 1] = not flipped
    refuse_side(tmp_path, ["a", name], values, seen, unseen)
    (tmp_path / "t.csv").write_text("class,seen,red\na,1,0.1\nb,1,0.7\nc,0,0.3\n")
    for k in "abc":
        (tmp_path / "photos" / k).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (8, 8), (i, ord(k), 0)).save(tmp_path / "photos" / k / f"{i}.png")
    (tmp_path / "q.yaml").write_text("name: q\nimages: photos\nattributes: t.csv\nunseen: [c]\n")
    with pytest.raises(DataError, match=r"t\.csv: the column 'seen' tells which classes"):
        load_dataset(str(tmp_path / "q.yaml"))


@pytest.mark.parametrize(
    "name",
    ["id", "ID", "class_id", "Class ID", "No.", "bird_id", "#", "taxonID", "speciesKey", "code"],
)
def test_a_column_called_id_is_no_attribute_whatever_its_numbers(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).random((6, 2)).astype(np.float32)
    values[:, 1] = 17, 42, 3, 8, 99, 5
    said = rf"the column '{name}' numbers the classes \(17, 42, 3, .*leave"
    with pytest.raises(DataError, match=said):
        refuse_counter(tmp_path, ["a", name], values)
    refuse_counter(tmp_path, ["a", "kidneys"], values)
    refuse_counter(tmp_path, ["a", "arid"], values)
    refuse_counter(tmp_path, ["a", name], values / 7)
    refuse_counter(tmp_path, ["a", name], values // 10)


def test_a_table_in_a_file_that_counts_its_classes_is_refused(go: Go) -> None:
    table = np.random.default_rng(0).random((5, 6))
    table[:, 2] = np.arange(5)
    file = h5(held(original_att=table))
    code, text = go("data", "import", file, "--out", "made", "--table-rows", "classes")
    assert code == 2 and "counts the classes (0, 1, 2, ...)" in text
    assert go("data", "import", h5(held()), "--out", "made")[0] == 0
    assert opened().semantics.attributes.shape == (3, 4)
