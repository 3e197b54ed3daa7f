"""Classes that are added after training: scored as if they had been there, or refused with the
reason."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from calls import Go, caller
from photo_list import write_photo_list
from torch import Tensor, nn

from zslkit.errors import UserError
from zslkit.model import Model, ModelConfig, Task, Trainer, TrainingView
from zslkit.runs.new_classes import add_classes

TABLE = "class,red,legs\nant,0,1\nbee,0.2,1\ncicada,1,0.5\n"
MOTH = "class,legs,red\nmoth,0.25,1\n"


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Go:
    """go(words...) in a folder with photos and the cards q.yaml (three classes), m.yaml (with
    moth)."""
    monkeypatch.chdir(tmp_path)
    write_photo_list({"ant": "vvvs", "bee": "vsvv", "cicada": "uuuu"})
    Path("q.csv").write_text(TABLE)
    Path("m.csv").write_text(TABLE + "moth,1,0.25\n")
    for name in "qm":
        Path(f"{name}.yaml").write_text(
            f"name: {name}\nimages: list.csv\nattributes: {name}.csv\n"
            "features: {backbone: mobilenetv3_small_050, weights: random, size: 32}\n"
        )
    Path("new.csv").write_text(MOTH)
    return caller(capsys)


def trained(go: Go, card: str, *more: str) -> Path:
    code, out, err = go("run", "--dataset", f"{card}.yaml", "--out", "runs", "--json", *more)
    assert code == 0, err
    return Path(json.loads(out)["run_folder"])


def answers(go: Go, run: Path, *more: object) -> list[dict[str, Any]]:
    code, out, err = go("predict", run, "cicada-0.png", "ant-0.png", "--json", *more)
    assert code == 0, err
    return [
        {c["class"]: (c["score"], c["side"]) for c in image["classes"]}
        for image in json.loads(out)["images"]
    ]


@pytest.mark.parametrize(
    ("model", "scale"),
    [
        ("eszsl", "l2"),
        ("ridge", "none"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in product(("eszsl", "ridge", "sae", "conse"), ("l2", "none"))
            if case not in {("eszsl", "l2"), ("ridge", "none")}
        ),
    ],
)
def test_a_new_class_gets_the_score_that_it_had_from_the_start(
    go: Go, model: str, scale: str
) -> None:
    settings = ("--model", model, "--set", f"attributes={scale}", "--seed", "3")
    small, large = (trained(go, card, *settings) for card in "qm")
    for here, there in zip(
        answers(go, small, "--classes", "new.csv"), answers(go, large), strict=True
    ):
        assert here["moth"][1] == "new" and there["moth"][1] == "unseen"
        for name in ("ant", "bee", "cicada", "moth"):
            assert here[name][0] == pytest.approx(there[name][0], rel=1e-5, abs=1e-6)
    (unseen, _) = answers(go, small, "--classes", "unseen", "--classes", "new.csv")
    assert set(unseen) == {"cicada", "moth"}
    assert "moth" not in answers(go, small)[0]


def test_the_table_names_the_side_and_two_files_add_up(go: Go) -> None:
    run = trained(go, "q", "--model", "eszsl")
    Path("more.csv").write_text("\ufeffclass,red,legs\nwasp,0.4,0.9\n")
    code, out, _ = go("predict", run, "ant-0.png", "--classes", "new.csv", "--classes", "more.csv")
    assert code == 0
    for name in ("moth", "wasp"):
        (line,) = [line for line in out.splitlines() if line.startswith(name)]
        assert line.split()[1] == "new"
    code, _, err = go("predict", run, "ant-0.png", "--classes", "new.csv", "--classes", "new.csv")
    assert code == 2 and "'moth' is known to the run already" in err


WRONG = {
    "known": ("class,red,legs\nBee ,1,1\n",
        "the class 'Bee' is known to the run already, as 'bee'"),
    "missing": ("class,red\nmoth,1\n", "lacks 1 of the run's 2 ('legs')"),
    "extra": ("class,red,legs,wet\nmoth,1,1,1\n", "has 1 that the run does not know ('wet')"),
    "misspelt": ("class,red,leg\nmoth,1,1\n", 'lacks 1 of the run\'s 2 (\'legs\') and has 1 that '
                                              'the '
                 'run does not know (\'leg\'); did you mean "legs"?'),
    "no number": ("class,red,legs\nmoth,1,x\n", "column 'legs': 'x' is no finite number"),
    "twice": ("class,red,legs\nmoth,1,1\nMoth,1,1\n", "are the same but for capitals"),
    "semicolons": ("class;red;legs\nmoth;1;1\n", "semicolons"),
    "empty": ("", "a table of class attributes has a header"),
}  # fmt: skip


@pytest.mark.slow
def test_each_mistake_in_the_file_is_told(go: Go) -> None:
    run = trained(go, "q", "--model", "eszsl")
    for kind, (text, words) in WRONG.items():
        Path("bad.csv").write_text(text)
        code, out, err = go("predict", run, "ant-0.png", "--classes", "bad.csv", "--out", "o.txt")
        assert (code, out) == (2, "") and words in err and "bad.csv" in err, (kind, err)
        assert err.count("\n") == 1 and not Path("o.txt").exists()
    for given, words in {
        ("lost.csv",): "there is no file lost.csv",
        ("sen",): 'neither a CSV file nor one of these; did you mean "seen"',
        ("seen", "new.csv"): "leaves out the classes in new.csv",
        ("seen", "unseen"): "takes one of seen, unseen",
    }.items():
        options = [word for value in given for word in ("--classes", value)]
        code, out, err = go("predict", run, "ant-0.png", *options)
        assert (code, out) == (2, "") and words in err, err


def test_attributes_on_another_scale_are_remarked_on(go: Go) -> None:
    run = trained(go, "q", "--model", "eszsl", "--set", "attributes=none")
    Path("new.csv").write_text(MOTH.replace("0.25,1", "25,100"))
    code, _, err = go("predict", run, "ant-0.png", "--classes", "new.csv")
    assert code == 0 and "'moth': the attributes are over 5 times smaller or larger" in err


class Linear(Model):
    """Scores x W a_k; W (D, A) is what it learned."""

    inputs = ("pooled",)

    def __init__(self, config: ModelConfig, task: Task) -> None:
        super().__init__(config, task)
        self.W = nn.Parameter(torch.randn(task.feature_shape[0], task.n_attributes))

    def fit(self, view: TrainingView, trainer: Trainer) -> None: ...

    def scores(self, x: Tensor) -> Tensor:
        return x @ self.W @ self.attributes.T


class Soft(Linear):
    def scores(self, x: Tensor) -> Tensor:
        return super().scores(x).softmax(dim=1)


class LogSoft(Linear):
    def scores(self, x: Tensor) -> Tensor:
        return super().scores(x).log_softmax(dim=1)


class Counted(Linear):
    """Learned a number for each class."""

    def __init__(self, config: ModelConfig, task: Task) -> None:
        super().__init__(config, task)
        self.bias = nn.Parameter(torch.zeros(task.n_classes))


class Named(Linear):
    """Learned a part for each class."""

    def __init__(self, config: ModelConfig, task: Task) -> None:
        super().__init__(config, task)
        self.parts = nn.ModuleDict({f"c{k}": nn.Linear(1, 1) for k in range(task.n_classes)})


class Standardised(Linear):
    """Attributes on a scale that all classes decide."""

    def scores(self, x: Tensor) -> Tensor:
        return x @ self.W @ (self.attributes / self.attributes.std(dim=0)).T


class Stored(Linear):
    """Saves the buffers of the contract, which most models do not."""

    def __init__(self, config: ModelConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("attributes", torch.from_numpy(task.attributes.copy()))


class Short(Linear):
    def scores(self, x: Tensor) -> Tensor:
        return super().scores(x)[:, :3]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Linear, ""),
        (Soft, ""),
        (LogSoft, ""),
        (Stored, ""),
        (Counted, "depends on the number of classes (bias is (3,) and would be (4,))"),
        (Named, "it has other trained parts (parts.c3."),
        (Standardised, "its scores of the known classes depend on which other classes there are"),
        (Short, "for 4 classes its scores have shape (4, 3)"),
    ],
)
def test_a_model_takes_new_classes_only_where_nothing_that_it_learned_depends_on_them(
    tmp_path: Path, kind: type[Linear], why: str
) -> None:
    (tmp_path / "new.csv").write_text(MOTH)
    attributes = np.array([[0, 1], [0.2, 1], [1, 0.5]], dtype=np.float32)
    seen = np.array([True, True, False])
    task = Task("q", ("ant", "bee", "cicada"), seen, attributes, ("red", "legs"), "pooled", (5,))
    torch.manual_seed(1)
    model = kind(ModelConfig(attributes="none"), task).eval()
    record: Any = SimpleNamespace(seed=0, model=SimpleNamespace(name="stub"))
    if why:
        with pytest.raises(UserError) as error:
            add_classes(model, record, tmp_path / "new.csv")
        assert "The model stub cannot take classes after training" in str(error.value)
        assert why in str(error.value)
        return
    grown, added = add_classes(model, record, tmp_path / "new.csv")
    x = torch.rand(6, 5)
    assert added == ("moth",) and grown.task.classes == ("ant", "bee", "cicada", "moth")
    assert grown.task.seen.tolist() == grown.seen.tolist() == [True, True, False, False]
    expected = x @ model.W @ torch.tensor([1, 0.25])
    plain = Linear.scores(grown, x)
    torch.testing.assert_close(plain[:, 3], expected)
    torch.testing.assert_close(plain[:, :3], Linear.scores(model, x))


def test_a_new_class_with_the_attributes_of_another_is_remarked_on(tmp_path: Path) -> None:
    attributes = np.array([[0, 1], [0.2, 1], [1, 0.5]], dtype=np.float32)
    seen = np.array([True, True, False])
    task = Task("q", ("ant", "bee", "cicada"), seen, attributes, ("red", "legs"), "pooled", (5,))
    record: Any = SimpleNamespace(seed=0, model=SimpleNamespace(name="stub"))
    (tmp_path / "new.csv").write_text("class,red,legs\nfly,0.3,1\ngnat,0.2,1\nmoth,1,1\n")
    notes: list[str] = []
    add_classes(
        Linear(ModelConfig(attributes="none"), task), record, tmp_path / "new.csv", notes.append
    )
    (note,) = notes
    assert note.endswith(
        "'gnat': another class has the same attributes, so that no model can tell them apart"
    )
