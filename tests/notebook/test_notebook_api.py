"""What a notebook calls: `zslkit.run`, `open_run`, `evaluate`, `predict`, `compare`, `study`,
plots."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from run_folders import make_run, random_scores

import zslkit
from zslkit.config.merge import nested
from zslkit.dataset import Dataset, Split
from zslkit.datasets.catalog import RegisteredDataset
from zslkit.errors import DataError, UnknownName, UserError
from zslkit.evaluation.gzsl import Metrics
from zslkit.runs import api
from zslkit.runs.result import Result
from zslkit.semantics import Semantics

NAMES = (
    "compare", "evaluate", "load_dataset", "open_run", "plots", "predict", "published", "run",
    "study",
)  # fmt: skip
matplotlib.use("agg")


def tiny(name: str | Path, root: str | Path) -> Dataset:
    """Six classes, of which two are unseen, with features of their own."""
    draw = np.random.default_rng(0)
    attributes, labels = draw.random((6, 4), dtype=np.float32), np.repeat(np.arange(6), 6)
    train = np.flatnonzero((np.arange(36) % 6 < 4) & (labels < 4))
    seen, unseen = np.setdiff1d(np.flatnonzero(labels < 4), train), np.flatnonzero(labels >= 4)
    features = attributes[labels] @ draw.random((4, 8), dtype=np.float32)
    return Dataset(
        "digits",
        tuple("uvwxyz"),
        labels,
        Split(train, seen, unseen),
        Semantics(attributes, tuple("abcd")),
        features=features + draw.normal(0, 0.05, (36, 8)).astype(np.float32),
    )


@pytest.fixture(autouse=True)
def dataset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(RegisteredDataset, "load", tiny)
    yield


def run(out: Path, model: str = "eszsl", **more: Any) -> Result:
    return zslkit.run(model, "digits", settings={"protocol.tune": False}, out=out, **more)


def test_the_names_are_shown_and_nothing_heavy_comes_with_the_package() -> None:
    assert set(NAMES) <= set(dir(zslkit)) and set(NAMES) <= set(zslkit.__all__)
    for name in NAMES:
        assert getattr(zslkit, name).__doc__
    program = (
        "import sys, zslkit; dir(zslkit)\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'pandas', 'pydantic', 'yaml'} & "
        "set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="nosuch"):
        zslkit.nosuch  # noqa: B018


def test_settings_take_dictionaries_nested_or_dotted_and_texts_alike(tmp_path: Path) -> None:
    made = [
        zslkit.run(
            "eszsl", Path("digits"), settings=settings, overrides=overrides, out=str(tmp_path)
        )
        for settings, overrides in (
            ({"gamma": 2, "protocol.tune": False}, None),
            ({"gamma": 2, "protocol": {"tune": False}}, None),
            (["gamma=2", "protocol.tune=false"], None),
            ((), {"gamma": 2, "protocol.tune": False}),
            ("gamma=2", {"protocol": {"tune": False}}),
        )
    ]
    assert len({one.folder for one in made}) == 1
    assert [one.reused for one in made] == [False, True, True, True, True]
    assert (
        made[0].record.config["gamma"] == 2 and made[0].record.config["protocol"]["tune"] is False
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train.epochs": 1, "train": {"epochs": 2}}, "train.epochs is given twice"),
        ({"protocol.tun": False}, 'did you mean "tune"'),
        ({3: 4}, "is no text"),
        ([("gamma", 2)], "settings takes a dictionary"),
        ("gamma", "key=value"),
    ],
)
def test_a_wrong_setting_is_told(tmp_path: Path, settings: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        zslkit.run("eszsl", "digits", settings=settings, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_sections_may_be_written_either_way_in_one_dictionary() -> None:
    mixed = {"train.epochs": 1, "train": {"lr.more": 2, "empty": {}}, "a": 3}
    assert nested(mixed) == {"train": {"epochs": 1, "lr": {"more": 2}, "empty": {}}, "a": 3}


def test_a_run_has_figures_scores_and_a_model(tmp_path: Path) -> None:
    made = run(tmp_path)
    assert set(made.metrics) == {"T1", "U", "S", "H", "AUSUC"}
    assert tuple(made.per_class) == tuple("uvwxyz")
    scores = made.scores
    assert scores.test_seen_scores.shape == (8, 6) and scores.classes == tuple("uvwxyz")
    features = tiny("", "").features
    assert features is not None
    again = made.model.scores(features[[4, 5, 10, 11]])
    np.testing.assert_allclose(again.numpy(), scores.test_seen_scores[:4], rtol=1e-5, atol=1e-6)
    opened = zslkit.open_run(str(made.folder))
    assert opened == replace(made, reused=True) and opened.metrics == made.metrics
    assert str(made.folder) in repr(opened) and "eszsl on digits, seed 0: T1 " in repr(opened)


def test_a_tensor_that_is_not_eaten_is_told_what_is(tmp_path: Path) -> None:
    made = run(tmp_path)
    for tensor, words in (
        (
            torch.zeros(2, 3, 224, 224),
            r"eats pooled features.*\(B, 8\).*\(2, 3, 224, 224\).*looks like photos",
        ),
        (torch.zeros(2, 7), r"\(B, 8\), and this tensor is \(2, 7\)"),
        (torch.zeros(8), r"x\[None\]"),
    ):
        with pytest.raises(UserError, match=words):
            made.model.scores(tensor)
        with pytest.raises(UserError, match=words):
            made.model(tensor)
    with pytest.raises(UserError, match="came with digits"):
        made.model.scores(Image.new("RGB", (8, 8)))
    with pytest.raises(UserError, match="came with digits"):
        zslkit.predict(made, Image.new("RGB", (8, 8)))


def test_evaluate_takes_the_runs_own_gamma_and_returns_what_run_returns(tmp_path: Path) -> None:
    scores = random_scores(1.0)
    folder = make_run(tmp_path, "m", scores, protocol={"gamma": 0.4, "calibration": "validation"})
    opened = zslkit.open_run(folder)
    for measured in (
        zslkit.evaluate(folder),
        zslkit.evaluate(str(folder)),
        zslkit.evaluate(opened),
    ):
        assert isinstance(measured, Result)
        assert measured.metrics == opened.metrics and measured.gamma == 0.4
        assert measured.per_class == pytest.approx(opened.per_class)
        assert measured.gamma_source == "from validation"
    bare = zslkit.evaluate(folder, gamma=0)
    assert bare.metrics == opened.record.uncalibrated.model_dump() != opened.metrics
    assert bare.gamma_source == "given by hand"
    arrays = zslkit.evaluate(*scores.sets(), gamma=0.4)
    assert isinstance(arrays, Metrics) and arrays.metrics == opened.metrics


def test_a_pattern_opens_the_one_run_that_it_fits(tmp_path: Path) -> None:
    one = make_run(tmp_path, "m", random_scores(1.0), 0)
    make_run(tmp_path, "m", random_scores(1.0), 1)
    (one.parent / f"{one.name}.partial").mkdir()
    assert zslkit.open_run(tmp_path / "birds" / "m" / "seed0-*").folder == one
    with pytest.raises(UserError, match="2 runs are at"):
        zslkit.open_run(f"{tmp_path}/birds/m/seed*")
    with pytest.raises(UserError, match="No finished run matches"):
        zslkit.open_run(f"{tmp_path}/fish/*")
    with pytest.raises(UserError, match="There is no run folder"):
        zslkit.open_run(tmp_path / "nowhere")


def test_compare_gives_rows_differences_and_every_format(tmp_path: Path) -> None:
    strong = make_run(tmp_path, "strong", random_scores(4.0, images=200))
    weak = make_run(tmp_path, "weak", random_scores(0.1, 7, images=200))
    found = zslkit.compare([strong, zslkit.open_run(weak)])
    rows = {row["model"]: row for row in found.rows}
    assert list(rows) == ["strong", "weak", "chance"]
    assert rows["strong"]["H"] == zslkit.open_run(strong).metrics["H"]
    (pair,) = found.differences
    assert (pair["a"], pair["b"], pair["significant"]) == ("strong", "weak", True)
    assert pair["difference"] == pytest.approx(rows["strong"]["H"] - rows["weak"]["H"])
    assert "strong above weak" in str(found) and "strong" in found.markdown()
    assert r"\toprule" in found.latex() and found.csv().count("\n") == 4
    table = pytest.importorskip("pandas", reason="pandas is not installed") and found.to_pandas()
    assert list(table.columns[:5]) == ["kind", "model", "variant", "runs", "T1"]
    assert table.set_index("model").loc["strong", "H"] == rows["strong"]["H"]


def test_a_table_without_pandas_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    found = zslkit.compare(make_run(tmp_path, "m", random_scores(1.0)))
    assert found.rows
    with pytest.raises(UserError, match="pip install pandas"):
        found.to_pandas()


@pytest.mark.slow
def test_compare_makes_what_is_missing_and_names_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"settings": {"protocol.tune": False}, "out": tmp_path}
    found = zslkit.compare(["eszsl", "ridge"], seeds=[0, 1], **options)
    assert [row["runs"] for row in found.rows[:2]] == [2, 2] and not found.failures
    again = zslkit.compare(["eszsl", "ridge"], seeds=[0, 1], **options)
    assert all(result.reused for result in again.results) and again.rows == found.rows
    ours = api.run

    def failing(model: str, *arguments: Any, **more: Any) -> Result:
        if model == "ridge":
            raise RuntimeError("no spoon")
        return ours(model, *arguments, **more)

    monkeypatch.setattr(api, "run", failing)
    broken = zslkit.compare(["eszsl", "ridge"], **options)
    assert [str(f) for f in broken.failures] == ["ridge (seed 0) failed: no spoon"]
    assert [row["model"] for row in broken.rows] == ["eszsl", "chance"]
    with pytest.raises(RuntimeError, match="no spoon"):
        zslkit.compare("ridge", **options)


def test_compare_takes_settings_of_single_models(tmp_path: Path) -> None:
    settings = {"protocol.tune": False, "eszsl:lam": 3.0, "normalise": "none"}
    found = zslkit.compare(["eszsl", "ridge"], settings=settings, out=tmp_path)
    made = {result.record.model.name: result.record.config for result in found.results}
    assert made["eszsl"]["lam"] == 3.0 and made["eszsl"]["normalise"] == "none"
    texts = ["protocol.tune=false", "eszsl:lam=3.0", "normalise=none"]
    again = zslkit.compare(["eszsl", "ridge"], settings=texts, out=tmp_path)
    assert all(result.reused for result in again.results)
    with pytest.raises(UnknownName, match="ridge"):
        zslkit.compare(["eszsl", "ridge"], settings={"rigde:lam": 1}, out=tmp_path)


def test_a_mistake_in_the_last_model_costs_no_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rigde"):
        zslkit.compare(["eszsl", "rigde"], out=tmp_path)
    with pytest.raises(UserError, match="at least one model"):
        zslkit.compare([], out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_study_gives_a_row_for_each_variant(tmp_path: Path) -> None:
    plan = {
        "title": "Gamma",
        "model": "eszsl",
        "settings": {"protocol.tune": False},
        "grid": {"gamma": [1, 2]},
        "seeds": [0, 1],
    }
    done = zslkit.study(plan, out=tmp_path / "runs")
    assert [(row["gamma"], row["runs"]) for row in done.rows] == [(1, 2), (2, 2)]
    assert len(done.results) == 4 and "gamma=2" in str(done)
    assert done.figure().axes
    assert [path.name for path in done.write(tmp_path / "tables")] == ["study.md", "study.json"]
    (tmp_path / "plan.yaml").write_text(
        "title: Gamma\nmodel: eszsl\nsettings: {protocol.tune: false}\ngrid: {gamma: [1, 2]}\n"
    )
    again = zslkit.study(tmp_path / "plan.yaml", seeds=[0, 1], out=tmp_path / "runs")
    assert again.rows == done.rows and all(result.reused for result in again.results)
    with pytest.raises(UserError, match='did you mean "grid"'):
        zslkit.study({**plan, "gird": {}}, out=tmp_path)


def test_plots_return_axes_with_what_the_run_holds(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "m", random_scores(1.0))
    opened = zslkit.open_run(folder)
    curve = zslkit.plots.curve([opened, str(folder)])
    assert len(curve.lines) == 4  # a curve and a dot for each run
    assert curve.lines[1].get_xydata().tolist() == [[opened.metrics["S"], opened.metrics["U"]]]
    bars = zslkit.plots.per_class(folder)
    assert sorted(patch.get_width() for patch in bars.patches) == pytest.approx(
        sorted(v for v in opened.per_class.values() if v is not None)
    )
    figure = matplotlib.figure.Figure()
    own = figure.subplots()
    assert zslkit.plots.confusion(opened, ax=own) is own
    share = own.images[0].get_array()
    assert np.asarray(share).sum(axis=1) == pytest.approx(np.full(6, 100.0))
    assert np.diag(np.asarray(share)) == pytest.approx(list(opened.per_class.values()))


def test_the_largest_mistakes_are_shown_where_classes_are_many(tmp_path: Path) -> None:
    axes = zslkit.plots.confusion(make_run(tmp_path, "m", random_scores(1.0)), most=3)
    assert np.asarray(axes.images[0].get_array()).shape == (3, 3)


def test_published_results_are_there_by_dataset() -> None:
    assert {entry.dataset for entry in zslkit.published("cub")} == {"cub"}
    assert len(zslkit.published()) > len(zslkit.published("cub"))
    with pytest.raises(UnknownName, match='did you mean "cub"'):
        zslkit.published("cubb")


def test_a_photo_is_a_path_or_an_image(tmp_path: Path) -> None:
    from zslkit.readers.image_file import photo_name, read_photo

    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    grey.save(tmp_path / "grey.png")
    wanted = np.asarray(grey.convert("RGB"))
    for photo in (tmp_path / "grey.png", str(tmp_path / "grey.png"), grey):
        assert np.array_equal(np.asarray(read_photo(photo)), wanted)
    assert grey.mode == "L"  # the caller's image stays as it is
    with Image.open(tmp_path / "grey.png") as opened:
        assert photo_name(opened) == str(tmp_path / "grey.png")
    assert photo_name(grey) == "in memory"
    with pytest.raises(UserError, match="of an array"):
        read_photo(wanted)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="There is no image"):
        read_photo(tmp_path / "nowhere.png")


@pytest.mark.slow
def test_photos_of_the_digits_are_predicted_from_paths_and_images_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    settings = {
        "features.weights": "random",
        "features.backbone": "test_resnet",
        "protocol.tune": False,
    }
    made = zslkit.run("eszsl", "digits", settings=settings, out=tmp_path / "runs", device="cpu")
    data = zslkit.load_dataset("digits")
    assert data.images is not None
    images = [data.images.open(int(i)) for i in data.split.test_seen[:3]]
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    scores = made.scores.test_seen_scores[:3]
    for photos in (images, paths, [str(path) for path in paths]):
        np.testing.assert_allclose(made.model.scores(photos).numpy(), scores, atol=1e-4)
        found = zslkit.predict(made, photos, top=1)
        gamma = made.gamma * ~made.scores.seen
        assert [one.predicted for one in found] == [
            made.scores.classes[k] for k in (scores + gamma).argmax(axis=1)
        ]
    assert len(zslkit.predict(made.folder, [paths[0], paths[0]])) == 2
    assert zslkit.predict(made, images[0])[0].image == "in memory"
