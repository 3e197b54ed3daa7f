"""`zslkit new`: the packages that it writes are really installed, pass their own tests, and
train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from installs import OFFLINE, install

import zslkit
from zslkit.cli.app import main
from zslkit.registry import rescan
from zslkit.runs.plan import make_plan
from zslkit.scaffold import Kind, Names

Command = Callable[..., "subprocess.CompletedProcess[str]"]
KINDS: tuple[str, ...] = get_args(Kind)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new package of every kind, all of them installed into its folder `site`."""
    home = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        assert (
            main(
                [
                    "new",
                    "model",
                    f"my-{kind}",
                    "--kind",
                    kind,
                    "--out",
                    str(home / f"my-{kind}"),
                    "--json",
                ]
            )
            == 0
        )
    assert main(["new", "dataset", "my-shapes", "--out", str(home / "my-shapes")]) == 0
    install(home / "site", *sorted(home.iterdir()))
    return home


@pytest.mark.slow
def test_the_new_packages_pass_their_own_tests_as_installed(home: Path) -> None:
    tests = [str(p) for p in sorted(home.glob("my-*/tests"))]
    assert len(tests) == len(KINDS) + 1
    environment = {**os.environ, "PYTHONPATH": str(home / "site")}
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "--rootdir",
        str(home),
    ]
    done = subprocess.run(
        [*command, *tests], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "warning" not in done.stdout


@pytest.fixture
def installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same folder, its packages on the path of this process."""
    monkeypatch.syspath_prepend(str(home / "site"))
    monkeypatch.setenv("ZSLKIT_CACHE", str(home / "cache"))
    rescan()
    yield home
    monkeypatch.undo()
    rescan()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_model_picks_on_validation_where_it_has_no_preset(installed: Path, kind: str) -> None:
    plan = make_plan(f"my-{kind}", "awa1")
    assert plan.protocol.calibration == "validation"
    assert (plan.protocol.selection == "validation") == hasattr(plan.config, "train")
    assert plan.protocol.tune == bool(plan.model_class.search)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_model_trains_on_digits_with_its_preset(
    installed: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {
        "gradient": ["train.epochs=1"],
        "end-to-end": ["train.epochs=1"],
        "generative": ["epochs=1", "classifier_epochs=1"],
    }
    settings = [
        part for s in ["features.weights=random", *short.get(kind, [])] for part in ("--set", s)
    ]
    assert (
        main(
            [
                "run",
                "--model",
                f"my-{kind}",
                "--dataset",
                "digits",
                "--out",
                str(tmp_path),
                "--json",
                *settings,
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["dataset"]) == (f"my-{kind}", "digits")
    (record,) = tmp_path.glob("**/record.json")
    assert "preset digits.yaml" in json.loads(record.read_text())["origins"].values()


@pytest.mark.slow
def test_a_new_dataset_is_drawn_verified_and_learnt(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed / "site")}
    draw = [sys.executable, "-P", "-m", "my_shapes.sample", str(tmp_path / "data")]
    subprocess.run(draw, env=environment, check=True)
    root = ["--data-root", str(tmp_path / "data")]
    assert main(["data", "verify", "my-shapes", *root]) == 0
    small = [
        "--backbone",
        "test_resnet",
        "--backbone-weights",
        "random",
        "--set",
        "features.size=32",
    ]
    capsys.readouterr()
    assert (
        main(
            [
                "run",
                "--model",
                "eszsl",
                "--dataset",
                "my-shapes",
                "--out",
                str(tmp_path),
                "--json",
                *root,
                *small,
            ]
        )
        == 0
    )
    assert (
        json.loads(capsys.readouterr().out)["metrics"]["S"] > 25
    )  # chance: one of four seen classes


@pytest.mark.slow
def test_the_next_steps_work_where_they_are_told_although_folder_and_package_share_a_name(
    tmp_path: Path,
) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True
    )
    python = tmp_path / "venv" / "bin" / "python"
    # the environment of these tests, seen from another one, so that the installation really is
    # editable
    seen = [
        str(Path(zslkit.__file__).parents[1]),
        *(p for p in sys.path if p.endswith("site-packages")),
    ]
    (next((tmp_path / "venv").glob("lib/*/site-packages")) / "seen.pth").write_text("\n".join(seen))
    assert main(["new", "dataset", "shapes", "--out", str(tmp_path / "shapes")]) == 0
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *OFFLINE]
    for command in ([*pip, "-e", "shapes"], [str(python), "-m", "shapes.sample", "data"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert any((tmp_path / "data").rglob("*.png"))


@pytest.mark.slow
def test_new_plugins_are_listed_without_a_fault(home: Path, zslkit: Command) -> None:
    told = {
        m["name"]: m
        for m in json.loads(zslkit("models", "--json", path=[home / "site"]).stdout)["models"]
    }
    for kind in KINDS:
        model = told[f"my-{kind}"]
        assert (model["fault"], model["citation"], model["distribution"]) == (
            None,
            "unpublished",
            f"zslkit-my-{kind}",
        )
    assert told["my-generative"]["protocol"] == "class-inductive"
    assert told["my-end-to-end"]["inputs"] == ["image"]


def test_it_tells_the_files_and_the_next_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "deep" / "er"
    assert main(["new", "model", "new_net", "--out", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["files"]) == {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    }
    assert {
        "pyproject.toml",
        ".gitignore",
        "README.md",
        "src/new_net/presets/default.yaml",
        "src/new_net/presets/digits.yaml",
        "tests/test_model.py",
    } <= set(told["files"])
    assert told["next"] == [
        f"pip install -e {folder}",
        "zslkit check new_net",
        "zslkit run --model new_net --dataset digits",
    ]
    assert "$" not in "".join(p.read_text() for p in folder.rglob("*") if p.is_file())
    assert os.listdir(folder.parent) == ["er"]


def test_what_is_there_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "gone").symlink_to("nowhere")
    for taken in ("mine", "gone"):
        assert main(["new", "model", "my-net", "--out", str(tmp_path / taken)]) == 2
        assert "is there already and stays as it is" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["gone", "mine"]
    assert not any((tmp_path / "mine").iterdir())


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("model", "eszsl", "'eszsl' is there already, by zslkit"),
        ("dataset", "digits", "'digits' is there already, by zslkit"),
        ("model", "My-Net", "take small letters"),
        ("model", "1net", "take small letters"),
        ("model", "my--net", "take small letters"),
        ("model", "../net", "take small letters"),
        ("model", "my net", "take small letters"),
        ("model", "lambda", "a word of Python"),
        ("model", "none", "a word of Python"),
        ("model", "json", "of Python itself"),
        ("model", "torch", "would hide it"),
        ("dataset", "tests", "the folder of the tests"),
        ("model", "task", "gives a class Task"),
        ("dataset", "split", "gives a class Split"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, kind: str, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", kind, name, "--out", str(tmp_path / "new")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert not any(tmp_path.iterdir())


def test_names_follow_from_one() -> None:
    names = Names("my-zsl_net2")
    assert (names.module, names.cls, names.distribution) == (
        "my_zsl_net2",
        "MyZslNet2",
        "zslkit-my-zsl-net2",
    )
