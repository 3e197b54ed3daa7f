"""`zslkit run --again-from`: a run repeated from its folder; and the page about run folders is
true."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zslkit.cli import app
from zslkit.datasets.catalog import RegisteredDataset
from zslkit.runs.folders import CONFIG, LOG, RECORD, SCORES, WEIGHTS, load_run
from zslkit.runs.repeat import compared
from zslkit.testing.tiny import tiny_dataset

PAGE = (Path(__file__).parents[2] / "docs" / "run-folder.md").read_text(encoding="utf-8")
QUICK = ["--set", "train.epochs=2", "--seed", "3", "--set", "protocol.calibration=validation"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = replace(tiny_dataset(images=False), name="digits")
    monkeypatch.setattr(RegisteredDataset, "load", lambda named, root: data)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def first(tiny: None, capsys: pytest.CaptureFixture[str]) -> Path:
    assert app.main(["run", "-m", "ale", "--device", "cpu", *QUICK]) == 0
    capsys.readouterr()
    (folder,) = Path("runs/digits/ale").glob("seed3-*")
    return folder


def again(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = app.main(["run", "--again-from", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_run_is_repeated_to_the_byte_and_stays_as_it_is(
    first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    code, told = again(capsys, str(first))
    assert code == 0 and told["seed"] == 3
    assert told["run_folder"] == str(Path("repeated") / first.relative_to("runs"))
    repeats = told["repeats"]
    assert repeats["equal_to_the_byte"] and repeats["run_folder"] == str(first)
    assert (repeats["largest_difference"], repeats["answers_changed"]) == (0.0, 0)
    assert repeats["metrics"] == {} and repeats["differs"] == {}
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert app.main(["run", "--again-from", str(first)]) == 0  # once more, not taken from there
    assert f"equal to the byte to those of {first}." in capsys.readouterr().out
    assert len(list(Path("repeated/digits/ale").glob("seed3-*.replaced-*"))) == 1


@pytest.mark.slow
def test_other_scores_are_told_with_how_much_they_differ(
    first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = dict(np.load(first / SCORES))
    arrays["test_unseen_scores"][0, 0] += 1e9
    np.savez(first / SCORES, **arrays)
    code, told = again(capsys, str(first))
    assert code == 1 and not told["repeats"]["equal_to_the_byte"]
    assert told["repeats"]["largest_difference"] == pytest.approx(1e9, rel=1e-6)
    assert told["repeats"]["answers_changed"] == 1
    assert app.main(["run", "--again-from", str(first)]) == 1
    assert "by up to 1e+09; 1 test images are answered otherwise" in capsys.readouterr().out


def test_a_difference_of_one_bit_is_a_difference(first: Path) -> None:
    run = load_run(first)
    assert compared(run, run).equal
    other = replace(run.scores())
    table = np.array(other.test_seen_scores)
    table[0, 0] = np.nextafter(table[0, 0], np.float32(np.inf))
    scores = replace(other, test_seen_scores=table)

    class Changed:
        record = run.record

        def scores(self) -> Any:
            return scores

    changed: Any = Changed()
    found = compared(run, changed)
    assert not found.equal and found.largest is not None and 0 < found.largest < 1e-4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "1"], "leave --seed away"),
        (["--model", "eszsl"], "leave --model away"),
        (["--set", "train.epochs=3"], "leave --set away"),
        (["--out", "runs"], "where its repetition would take its place"),
        (["--dataset", "cub"], "was made on digits, and --dataset cub is cub"),
    ],
)
def test_what_the_run_decides_cannot_be_given(
    first: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert app.main(["run", "--again-from", str(first), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"elsewhere": "the authors' program"}, "come from the authors' program"),
        ({"dataset": {"name": "birds"}}, "give its card with --dataset FILE.yaml"),
        ({"config": {"old": 1}}, "no setting 'old'"),
        ({"model": {"name": "gone"}}, "There is no model"),
    ],
)
def test_a_run_that_cannot_be_repeated_says_why_before_it_trains(
    first: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    record = json.loads((first / RECORD).read_text())
    for key, value in change.items():
        record[key] = {**record[key], **value} if isinstance(value, dict) else value
    (first / RECORD).write_text(json.dumps(record))
    assert app.main(["run", "--again-from", str(first)]) == 2
    assert said in capsys.readouterr().err and not Path("repeated").exists()


def test_without_scores_nothing_is_trained(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (first / SCORES).unlink()
    assert app.main(["run", "--again-from", str(first)]) == 2
    assert "has nothing to compare" in capsys.readouterr().err and not Path("repeated").exists()


def test_without_a_model_a_run_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["run"]) == 2
    assert "--model" in capsys.readouterr().err


def rows(head: str) -> list[list[str]]:
    """The first two cells of each row of the page's table with this head."""
    table = PAGE.split(f"\n| {head} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table]


def test_the_page_names_every_file_and_every_array(first: Path) -> None:
    always = {row[0] for row in rows("file") if row[-1] == "always"}
    others = {row[0].rstrip("/") for row in rows("file")} - always
    assert {RECORD, CONFIG, SCORES, WEIGHTS, LOG, "semantics.npz"} == always
    assert always <= {path.name for path in first.iterdir()} <= always | others
    kinds = {"f": "float32", "i": "int64", "b": "bool", "U": "text"}
    for name in ("scores.npz", "attributes.npz", "semantics.npz"):
        arrays = np.load(first / name)
        told = {
            row[0]: re.fullmatch(r"(\w+) \((.*)\)", row[1])
            for row in rows(f"`{name}` | type, shape")
        }
        assert set(told) == set(arrays.files), name
        for key, match in told.items():
            assert match is not None
            assert match[1] == kinds[arrays[key].dtype.kind], key
            assert len([n for n in match[2].split(",") if n.strip()]) == arrays[key].ndim, key


def test_the_page_s_program_gives_the_result_of_the_record(first: Path) -> None:
    program = PAGE.split("```python\n")[1].split("```")[0]
    exec(program.replace("runs/digits/ridge/seed0-826129b95161", first.as_posix()), {})
