"""Classes by descriptions and photos by attributes of their own: worked values, and each mistake by
name."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from photo_list import write_photo_list

from zslkit.acquire.cache import contents
from zslkit.cli import app
from zslkit.dataset import Dataset
from zslkit.datasets.catalog import load_dataset
from zslkit.datasets.descriptions import read_descriptions
from zslkit.errors import UserError
from zslkit.runs.folders import load_run
from zslkit.utils.files import cache_root

TABLE = "class,red,legs\nant,3,4\nbee,0,1\ncicada,1,0\n"
CARD = (
    "name: q\nimages: list.csv\nfeatures: {backbone: mobilenetv3_small_050, weights: random, "
    "size: 32}\n"
)
TEXTS = (
    "class,description,more\nant,Six legs. Red all "
    "over!,\nbee,Yellow,\ncicada,Loud,Sings.\nbee,Buzz,\n"
)
"""Sentences: ant 2, bee 2 (on two lines), cicada 2 (in two cells)."""


class Tiny:
    """Stands in for sentence-transformers: a text becomes (number of characters, letters e, 1)."""

    loads = 0

    def __init__(self, model: str, device: str) -> None:
        if model == "none":
            raise OSError("no such model")
        Tiny.loads += 1
        self.wide = model == "broken"

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = np.array([[len(text), text.count("e"), 1] for text in texts], float)
        return rows * np.nan if self.wide else rows

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"w": torch.ones(2)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    library = SimpleNamespace(SentenceTransformer=Tiny, __version__="9")
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    write_photo_list({"ant": "vvss", "bee": "vvvs", "cicada": "uuuu"})
    Path("t.csv").write_text(TABLE)
    Path("d.csv").write_text(TEXTS)
    return tmp_path


def card(*lines: str) -> str:
    Path("q.yaml").write_text(CARD + "".join(f"{line}\n" for line in lines))
    return "q.yaml"


def opened(*lines: str) -> Dataset:
    return load_dataset(card(*lines))


def said(*lines: str) -> str:
    with pytest.raises(UserError) as error:
        opened(*lines)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
    return str(error.value)


MEANS = [
    [(9 + 13) / 2, (1 + 2) / 2, 1],  # "Six legs." and "Red all over!"
    [(6 + 4) / 2, 0.5, 1],  # "Yellow" and "Buzz"
    [(4 + 6) / 2, 0, 1],  # "Loud" and "Sings."
]


def test_descriptions_instead_of_attributes_are_means_over_sentences(home: Path) -> None:
    data = opened("descriptions: d.csv", "encoder: tiny")
    assert data.classes == ("ant", "bee", "cicada")
    assert data.semantics.attributes.tolist() == MEANS
    assert (data.semantics.kind, data.semantics.groups) == ("sentences", {})
    assert data.encoder.startswith("tiny (") and len(data.encoder) == len("tiny ()") + 16
    assert data.notes == (
        f"6 sentences of 3 classes, embedded by {data.encoder}",
        "d.csv: texts are read from the columns description, more",
    )
    loads = Tiny.loads
    assert load_dataset("q.yaml").fingerprints() == data.fingerprints()
    assert Tiny.loads == loads  # kept in the cache
    (kept,) = [item for item in contents(cache_root()) if item.kind == "embeddings"]
    kept.path.write_bytes(kept.path.read_bytes()[:50])
    assert load_dataset("q.yaml").semantics.attributes.tolist() == MEANS
    assert Tiny.loads == loads + 1
    Path("d.csv").write_text(TEXTS.replace("Yellow", "Yellow yellow"))
    assert load_dataset("q.yaml").semantics.attributes.tolist()[1][0] == (13 + 4) / 2


def test_a_text_file_says_the_same_as_a_csv(home: Path) -> None:
    Path("d.txt").write_text(
        "\ufeffant: Six legs. Red all over!\n\n Bee\tYellow\nbee: Buzz\n".replace("bee:", "Bee:")
        + "cicada: Loud\ncicada:Sings.\n"
    )
    data = opened("descriptions: d.txt", "encoder: tiny", "attributes: t.csv")
    alone = opened("descriptions: d.txt", "encoder: tiny")
    assert alone.classes == ("ant", "Bee", "cicada") and data.classes == ("ant", "bee", "cicada")
    assert alone.semantics.attributes.tolist() == MEANS
    Path("x.txt").write_text("tab: x\tIt is 3.5 cm long. St. Ives has it\n")
    assert read_descriptions(Path("x.txt")) == {
        "tab: x": ("It is 3.5 cm long.", "St.", "Ives has it")
    }


def test_descriptions_beside_attributes_weigh_as_much(home: Path) -> None:
    data = opened("attributes: t.csv", "descriptions: d.csv", "encoder: tiny", "groups: {c: [red]}")
    own, text = data.semantics.attributes[:, :2], data.semantics.attributes[:, 2:]
    np.testing.assert_allclose(own, [[0.6, 0.8], [0, 1], [1, 0]], rtol=1e-6)
    means = np.array(MEANS)
    np.testing.assert_allclose(text, means / np.linalg.norm(means, axis=1)[:, None], rtol=1e-6)
    assert data.semantics.kind == "attributes and sentences"
    assert data.semantics.names == (
        "red", "legs", "description 1", "description 2", "description 3"
    )  # fmt: skip
    assert data.semantics.groups == {"c": (0,), "description": (2, 3, 4)}


def test_a_run_tells_the_encoder(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card("descriptions: d.csv", "encoder: tiny")
    assert app.main(["run", "--model", "eszsl", "--dataset", "q.yaml", "--out", "runs"]) == 0
    out, _ = capsys.readouterr()
    assert "semantics:  sentences, embedded by tiny (" in out
    (folder,) = Path("runs").glob("q/eszsl/seed*[0-9a-f]/")
    assert load_run(folder).record.dataset.encoder.startswith("tiny (")
    assert app.main(["data", "info", "q.yaml"]) == 0
    assert "encoder:          tiny (" in capsys.readouterr().out
    assert app.main(["predict", str(folder), "ant-0.png"]) == 0


WRONG: dict[str, tuple[str, str]] = {
    "unknown class": (
        TEXTS + "bea,Buzz,\n",
        "describes 1 classes that the dataset has not ('bea')",
    ),
    "no description": (TEXTS.replace("cicada,Loud,Sings.\n", ""), "write a line for 'cicada'"),
    "empty": (TEXTS.replace("Yellow", ""), "line 3: there is no description"),
    "no class": (TEXTS + ",Buzz,\n", "line 6: there is no class"),
    "two spellings": (TEXTS + "Bee,Buzz,\n", "are the same but for capitals: 'bee' and 'Bee'"),
    "no header": (TEXTS.split("\n", 1)[1], "has the header class,description"),
    "commas": (TEXTS + "bee,a,b,c\n", "line 6: it has 4 cells and the header 3; put a text"),
    "semicolons": (TEXTS.replace(",", ";"), "semicolons"),
    "nothing": ("class,description\n", "holds no description"),
    "numbers": (
        "class,id,description\nant,1,Six legs.\nbee,2,Yellow.\ncicada,3,Loud.\n",
        "the column 'id' holds no texts ('1', ...)",
    ),
    "sets": (
        "class,description,split\nant,Six legs.,seen\nbee,Yellow.,seen\ncicada,Loud.,unseen\n",
        "the column 'split' holds no texts ('seen', ...)",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_each_mistake_in_descriptions_is_told_before_the_encoder_is_asked(
    home: Path, kind: str
) -> None:
    Path("d.csv").write_text(WRONG[kind][0])
    words = said("descriptions: d.csv", "encoder: none", "attributes: t.csv")
    assert WRONG[kind][1] in words and "d.csv" in words, words
    assert not (home / "cache" / "descriptions").exists()


def test_an_encoder_that_is_not_there_leaves_nothing_behind(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ("descriptions: d.csv", "attributes: t.csv")
    assert "The encoder 'none' cannot be loaded (" in said(*lines, "encoder: none")
    assert "not finite" in said(*lines, "encoder: broken")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert "pip install 'zslkit[words]'" in said(*lines, "encoder: tiny")
    assert not (home / "cache" / "descriptions").exists()


def test_the_folder_of_an_encoder_starts_at_the_card(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "enc").mkdir()
    (home / "elsewhere").mkdir()
    file = home / card("descriptions: d.csv", "encoder: ./enc")
    asked: list[str] = []
    monkeypatch.setattr(Tiny, "__init__", lambda self, model, device: asked.append(model))
    monkeypatch.setattr(Tiny, "wide", False, raising=False)
    monkeypatch.chdir(home / "elsewhere")
    data = load_dataset(str(file))
    assert asked == [str(home / "enc")] and data.encoder.startswith("./enc (")
    file.write_text(file.read_text().replace("./enc", "./nowhere"))
    with pytest.raises(UserError, match=f"There is no folder {home / 'nowhere'} of"):
        load_dataset(str(file))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), "lacks 'attributes'; add it, or descriptions or image_attributes"),
        (("attributes: t.csv", "encoder: tiny"), "encoder would change nothing"),
        (("descriptions: d.csv", "groups: {c: [red]}"), "groups would change nothing"),
        (("descriptions: x.csv",), "descriptions: there is no file"),
        (("descriptions: ../d.csv",), "leads out of the card's folder"),
        (("descriptions: d.csv", "unseen: [cicade]"), "'cicade' has no row in d.csv; did you mean"),
        (
            ("attributes: t.csv", "descriptions: d.csv", "word_vectors: w.npy"),
            "leave out one of the two",
        ),
    ],
)
def test_a_card_that_contradicts_itself(home: Path, lines: tuple[str, ...], words: str) -> None:
    np.save("w.npy", np.ones((2, 3)))
    assert words in said(*lines)


# red, legs of the four photos of each class; the last two of ant and the last of bee are test
# photos
OWN = {
    "ant": [(1, 1), (0, 1), (1, 0), (0, 0)],
    "bee": [(0, 0), (0, 1), (0, 1), (1, 1)],
    "cicada": [(1, 0), (1, 0), (0, 1), (None, 0)],
}


def own_file(change: Callable[[str], str] = lambda text: text) -> None:
    rows = [
        f"{label}-{i}.png," + ",".join("" if v is None else str(v) for v in row)
        for label, values in OWN.items()
        for i, row in enumerate(values)
    ]
    Path("own.csv").write_text(change("path,red,legs\n" + "\n".join(rows) + "\n"))


def test_class_attributes_are_means_over_photos_of_trainval_of_seen_classes(home: Path) -> None:
    own_file()
    data = opened("image_attributes: own.csv")
    np.testing.assert_allclose(
        data.semantics.attributes, [[0.5, 1], [0, 2 / 3], [2 / 3, 0.25]], rtol=1e-6
    )
    assert data.semantics.kind == "attributes" and data.semantics.names == ("red", "legs")
    assert "1 unseen classes are means over their own test photos" in data.notes[0]
    own = data.image_attributes
    assert own is not None and own[5].tolist() == [0, 1] and np.isnan(own[11, 0])
    before = data.fingerprints()
    given = opened("image_attributes: own.csv", "attributes: t.csv")
    assert given.semantics.attributes.tolist() == [[3, 4], [0, 1], [1, 0]] and not given.notes
    own_file(lambda text: text.replace("ant-3.png,0,0", "ant-3.png,0,1"))
    assert opened("image_attributes: own.csv").fingerprints()["split"] != before["split"]


@pytest.mark.slow
def test_class_attributes_from_test_photos_are_never_merged_with_given_ones_or_called_inductive(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_file()
    data = opened("image_attributes: own.csv")
    # The same table once more, given: every value is equal, and the result is another one.
    rows = zip(data.classes, data.semantics.attributes.tolist(), strict=True)
    Path("means.csv").write_text(
        "class,red,legs\n" + "".join(f"{name},{a!r},{b!r}\n" for name, (a, b) in rows)
    )
    given = opened("image_attributes: own.csv", "attributes: means.csv")
    assert given.semantics.fingerprint() == data.semantics.fingerprint()
    assert (data.of_test_photos, given.of_test_photos) == (True, False)
    assert given.fingerprints()["semantics"] != data.fingerprints()["semantics"]
    run = ["run", "--model", "eszsl", "--dataset", "q.yaml", "--out", "runs"]
    assert app.main(run) == 0
    card("image_attributes: own.csv")
    assert app.main(run) == 0
    said = capsys.readouterr().out
    assert said.count("not inductive: attributes of test photos") == 1
    assert said.count("inductive (nothing of the unseen classes in training)") == 1
    runs = [load_run(folder) for folder in sorted(Path("runs").glob("q/eszsl/seed*[0-9a-f]/"))]
    assert sorted(run.record.protocol.class_attributes for run in runs) == ["given", "test photos"]
    assert app.main(["compare", "runs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows_of = [[row["badges"]["protocol"] for row in block["rows"]] for block in found["blocks"]]
    assert sorted(rows_of) == [["inductive"], ["not inductive: attributes of test photos"]]
    assert {run["protocol"]["class_attributes"] for run in found["runs"]} == {
        "given",
        "test photos",
    }
    for form in ("table", "markdown", "latex", "csv"):
        assert app.main(["compare", "runs", "--format", form]) == 0
        words = "not inductive" if form == "csv" else "means over test photos"
        assert words in " ".join(capsys.readouterr().out.split()), form
    assert app.main(["runs", "--runs", "runs"]) == 0
    assert capsys.readouterr().out.count("not inductive") == 1


def test_attribute_metrics_are_measured_against_the_photos_own_row(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_file(lambda text: text.replace("cicada-1.png,1,0\n", ""))
    card("image_attributes: own.csv")
    assert app.main(["run", "--model", "eszsl", "--dataset", "q.yaml", "--out", "runs"]) == 0
    (folder,) = Path("runs").glob("q/eszsl/seed*[0-9a-f]/")
    kept = load_run(folder).attributes()
    assert kept is not None and kept.shown_seen is not None and kept.shown_unseen is not None
    # thresholds are the means over classes: red (0.5 + 0 + 0.5) / 3, legs (1 + 2/3 + 1/3) / 3
    assert kept.shown_seen.tolist() == [[1, 0], [0, 0], [1, 1]]
    assert kept.shown_unseen.tolist() == [[1, 0], [-1, -1], [0, 1], [-1, 0]]
    capsys.readouterr()
    metrics = "attribute-AUC-seen,attribute-AUC-unseen"
    assert app.main(["evaluate", str(folder), "--metrics", metrics, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["runs"][0]["more"]

    def auc(scores: Any, shown: Any) -> float:
        values = []
        for column, truth in zip(scores.T, shown.T, strict=True):
            yes, no = column[truth == 1], column[truth == 0]
            pairs = [float(a > b) + 0.5 * float(a == b) for a in yes for b in no]
            values.append(np.mean(pairs))
        return 100 * float(np.mean(values))

    assert found["attribute-AUC-seen"] == pytest.approx(auc(kept.test_seen, kept.shown_seen))
    assert found["attribute-AUC-unseen"] == pytest.approx(auc(kept.test_unseen, kept.shown_unseen))


def test_backslashes_part_folders_as_in_a_list_of_photos(home: Path) -> None:
    own_file()
    plain = opened("image_attributes: own.csv")
    Path("all").mkdir()
    os.rename("ant-0.png", "all/ant-0.png")
    for file in Path("list.csv"), Path("own.csv"):
        file.write_text(file.read_text().replace("ant-0.png", "all\\ant-0.png"))
    moved = opened("image_attributes: own.csv")
    assert moved.fingerprints() == plain.fingerprints()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda text: text.replace("ant-0.png", "ant-9.png"),
            "1 of 12 rows are of no photo of the dataset ('ant-9.png', line 2); did you mean",
        ),
        (lambda text: text.replace("ant-0.png,1", "ant-0.png,x"), "line 2, column 'red': 'x' is"),
        (lambda text: text.replace("ant-0.png,1", "ant-0.png"), "line 2: 'ant-0.png' has 1 values"),
        (lambda text: text + "ANT-0.png,1,1\n", "lines 2 and 14 are of one photo"),
        (lambda text: text + "ant-0.png,1,1\n", "the photo 'ant-0.png' stands twice"),
        (
            lambda text: text.replace("ant-0.png,1,1\nant-1.png,0,1\n", ""),
            "nothing is known of 2 attributes of the class 'ant' (red, ...)",
        ),
    ],
)
def test_each_mistake_in_attributes_of_photos_is_told(
    home: Path, change: Callable[[str], str], words: str
) -> None:
    own_file(change)
    told = said("image_attributes: own.csv")
    assert words in told and "own.csv" in told, told


def test_tables_of_photos_and_classes_have_the_same_attributes(home: Path) -> None:
    own_file(lambda text: text.replace("legs", "leg"))
    assert "its attributes are not those of the classes ('leg'" in said(
        "image_attributes: own.csv", "attributes: t.csv"
    )


@pytest.mark.parametrize(
    ("name", "number", "words"),
    [
        ("photo_id", lambda k, label: 10 + k, "'photo_id' counts the photos (10, 11, 12, ...)"),
        ("photo_id", lambda k, _: 90 - 7 * k, "'photo_id' numbers the photos (90, 83, 76, ...)"),
        ("seen", lambda _, label: label // 4, "'seen' tells which classes are unseen"),
        ("kind", lambda k, label: label, "'kind' counts the classes (0, 1, 2, ...)"),
        ("labelID", lambda k, label: 9 - label**2, "'labelID' numbers the classes (9, 8, 5, ...)"),
    ],
)
def test_a_column_that_numbers_the_photos_or_their_classes_is_no_attribute(
    home: Path, name: str, number: Callable[[int, int], int], words: str
) -> None:
    write_photo_list({"ant": "vs", "bee": "vs", "cicada": "vs", "moth": "vs", "wasp": "uu"})
    lines = enumerate(Path("list.csv").read_text().splitlines()[1:])
    rows = [f"{one.split(',')[0]},{k % 3},{number(k, k // 2)}" for k, one in lines]
    Path("own.csv").write_text(f"path,red,{name}\n" + "\n".join(rows) + "\n")
    assert words in said("image_attributes: own.csv")
