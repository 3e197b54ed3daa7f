"""When a finished run is given back: made by the same source, on the same data; and what is told
where that is not so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zslkit.cli import app
from zslkit.datasets.catalog import RegisteredDataset
from zslkit.runs import api
from zslkit.runs.api import Result
from zslkit.runs.folders import RECORD, load_run
from zslkit.runs.plan import make_plan
from zslkit.runs.processes import found
from zslkit.utils.progress import Silent

SMALL: dict[str, Any] = {
    "features": {"backbone": "test_resnet", "weights": "random"},
    "protocol": {"tune": False, "calibration": "none"},
}
LINE = [
    "--backbone",
    "test_resnet",
    "--backbone-weights",
    "random",
    "--input",
    "auto",
    "--device",
    "cpu",
]


pytestmark = pytest.mark.usefixtures("digits_cache")


class Source:
    """Stands for what is read of the model's files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = {"own": "0" * 16, "own.model": "a" * 16}
        monkeypatch.setattr("zslkit.runs.job.sources", lambda entry, kind: dict(self.now))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    return Source(monkeypatch)


class Notes(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


def run(out: Path, **more: Any) -> tuple[Result, list[str]]:
    notes = Notes()
    made = api.run(
        "ridge", "digits", overrides=SMALL, out=out, device="cpu", reporter=notes, **more
    )
    return made, [text for text in notes.told if "source" in text]


@pytest.mark.slow
def test_a_run_of_another_source_is_made_anew_and_told_and_taken_only_where_asked(
    tmp_path: Path, source: Source
) -> None:
    first, told = run(tmp_path)
    assert first.record.model.source == source.now and told == []
    assert (
        first.record.protocol.folds,
        first.record.protocol.fold_seed,
        first.record.protocol.picked,
    ) == (None, None, {})
    assert run(tmp_path)[0].reused
    source.now["own.model"] = "b" * 16
    taken, told = run(tmp_path, reuse_changed=True)
    assert taken.reused and told == [
        f"{first.folder} was made by another source of ridge (own.model changed since), and is "
        "taken as it is"
    ]
    again, told = run(tmp_path)
    assert (
        not again.reused
        and again.folder == first.folder
        and again.record.model.source == source.now
    )
    assert told == [
        f"{first.folder} was made by another source of ridge (own.model changed since), so it is "
        "made anew; "
        "--reuse-changed takes it as it is"
    ]
    (old,) = first.folder.parent.glob("*.replaced-*")
    assert load_run(old).record == first.record

    record = json.loads((first.folder / RECORD).read_text())
    del (
        record["model"]["source"],
        record["model"]["git"],
        record["fingerprints"]["images"],
        record["protocol"]["picked"],
    )
    (first.folder / RECORD).write_text(json.dumps(record))
    older, told = run(tmp_path)
    assert older.reused and told == [
        "Older runs of ridge do not say which source of it made them and are taken as they are; "
        "--again makes them anew"
    ]


@pytest.mark.slow
def test_a_comparison_of_what_is_there_opens_the_data_once_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "--out",
        str(tmp_path),
        *LINE,
        "--set",
        "protocol.tune=false",
        "--set",
        "protocol.calibration=none",
        "--format",
        "json",
    ]
    assert app.main(["compare", "ridge", "eszsl", "--seeds", "0,1", *line]) == 0
    made = json.loads(capsys.readouterr().out)
    opened: list[str] = []
    load = RegisteredDataset.load
    monkeypatch.setattr(
        RegisteredDataset, "load", lambda at, root: opened.append(at.word) or load(at, root)
    )
    planned: list[str] = []
    plan_of = api.make_plan
    with monkeypatch.context() as patch:
        patch.setattr(api, "run", lambda *_, **__: pytest.fail("it ran"))
        patch.setattr(
            api, "make_plan", lambda name, *a, **k: planned.append(name) or plan_of(name, *a, **k)
        )
        assert app.main(["compare", "ridge", "eszsl", "--seeds", "0,1", *line]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == made and opened == ["digits"]
    # Once to check the settings before all runs, and once for all seeds to find them.
    assert planned == ["ridge", "eszsl"] * 2
    assert [line for line in err.splitlines() if "was there" in line][-1].endswith(
        "was there (4 of 4)"
    )
    assert app.main(["compare", "eszsl", "ridge", "--seeds", "0,1,2", *line]) == 0
    out, err = capsys.readouterr()
    runs = [(run["model"], run["seed"]) for run in json.loads(out)["runs"]]
    assert runs == [
        ("eszsl", 0),
        ("eszsl", 1),
        ("eszsl", 2),
        ("ridge", 0),
        ("ridge", 1),
        ("ridge", 2),
    ]
    assert err.count("was there") == 4 and "eszsl, seed 0: H " in err


def job(*settings: str, model: str = "dedn") -> dict[str, Any]:
    return dict(
        make_plan(
            model, "digits", settings=settings, preset="digits" if model == "dedn" else None
        ).deciding["protocol"]
    )


@pytest.mark.parametrize("setting", ["patience=3", "trials=4", "fold_seed=7", "folds=2"])
def test_an_idle_setting_makes_no_other_run(setting: str) -> None:
    assert job(f"protocol.{setting}") == job()


@pytest.mark.parametrize(
    ("setting", "by"),
    [
        ("patience=3", "selection=validation"),
        ("fold_seed=7", "calibration=validation"),
        ("folds=2", "calibration=validation"),
    ],
)
def test_a_setting_that_decides_something_makes_another_run(setting: str, by: str) -> None:
    assert job(f"protocol.{by}", f"protocol.{setting}") != job(f"protocol.{by}")


def test_trials_count_where_they_are_fewer_than_the_points_of_a_grid() -> None:
    usual = job("protocol.tune=true", model="ridge")
    assert job("protocol.tune=true", "protocol.trials=2", model="ridge") != usual
    assert job("protocol.tune=true", "protocol.trials=100000", model="ridge") == usual


def test_nothing_is_found_where_every_run_is_to_be_made(tmp_path: Path) -> None:
    class Asked:
        def place(self, out: Path) -> Path:
            return out

    assert found(Asked(), tmp_path, "none") == (None, [])  # type: ignore[arg-type]
