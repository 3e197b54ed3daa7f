"""Records, run folders, scores and published results: what is written comes back, and nothing
half-done counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from zslkit.errors import DataError, UnknownName, UserError
from zslkit.record import RunRecord, json_summary, parse_record
from zslkit.report import published as published_module
from zslkit.report.published import published
from zslkit.runs.folders import RECORD, SCORES, find_runs, identity, load_run, run_path
from zslkit.runs.run_folder import RunFolder
from zslkit.runs.scores import Scores, read_scores

KEY = "0123456789ab"


def raw_record() -> dict[str, Any]:
    figures = {"T1": 50.0, "U": 30.0, "S": 60.0, "H": 40.0, "AUSUC": 0.25}
    return {
        "schema_version": 1,
        "identity": KEY,
        "model": {"name": "one", "distribution": "d", "version": "1", "class_path": "m:C",
        "protocol": "inductive"},
        "dataset": {
            "name": "toy", "title": "Toy", "classes": 3, "seen": 2, "unseen": 1,
            "n_trainval": 4, "n_test_seen": 2, "n_test_unseen": 1,
        },
        "seed": 3, "config": {"train": {"lr": 0.1}}, "origins": {"train.lr": "--set"},
        "features": {
            "input": "map", "backbone": "net", "weights": "w", "weights_digest": "0", "size": [224,
            160], "dtype": "float16",
            "tuned": False, "fingerprint": "0",
        },
        "fingerprints": {"split": "a", "semantics": "b", "features": "c"},
        "protocol": {"training": "inductive", "selection": "last", "calibration": "none"},
        "metrics": figures, "uncalibrated": figures, "chance": {"T1": 100, "U": 33.3, "S": 33.3,
        "H": 33.3},
        "per_class": {"ant": 60.0, "bee": None, "çédille": 30.0},
        "costs": {"parameters": 5, "trainable_parameters": 5, "train_seconds": 1,
        "extract_seconds": 2, "eval_seconds": 3},
        "environment": {
            "python": "3", "platform": "x", "torch": None, "numpy": None, "timm": None,
            "zslkit": None,
            "device": "cpu", "threads": 1, "cpu": "x",
        },
        "started": "2026-01-01T00:00:00Z", "finished": "2026-01-01T00:00:01Z",
    }  # fmt: skip


def a_record() -> RunRecord:
    return RunRecord.model_validate(raw_record())


def some_scores() -> Scores:
    return Scores(
        test_seen_scores=np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32),
        test_seen_labels=np.array([0, 1]),
        test_unseen_scores=np.array([[7, 8, 9.5]], dtype=np.float32),
        test_unseen_labels=np.array([2]),
        seen=np.array([True, True, False]),
        classes=("ant", "bee", "çédille"),
    )


def finished_run(out: Path, seed: int = 3) -> Path:
    with RunFolder.open(out, "toy", "one", seed, KEY) as folder:
        folder.commit(a_record(), some_scores())
        return folder.path


def test_a_record_comes_back_as_it_was() -> None:
    record = a_record()
    assert parse_record(record.to_json(), Path("r/record.json")) == record
    assert record.classes_without_images == ["bee"]
    summary = json_summary(record, Path("there"))
    assert (
        summary["metrics"]["H"] == 40.0
        and summary["run_folder"] == "there"
        and summary["timings"]["eval_seconds"] == 3
    )


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("surprise",), 1, "surprise"),
        (("metrics", "extra"), 1, "metrics.extra"),
        (("metrics", "H"), 101, "metrics.H"),
        (("metrics", "AUSUC"), 40, "metrics.AUSUC"),
        (("identity",), "../../etc", "identity"),
        (("finished",), "yesterday", "finished"),
        (("schema_version",), 2, "schema"),
    ],
)
def test_a_key_that_does_not_belong_is_refused_by_name(
    place: tuple[str, ...], value: Any, named: str
) -> None:
    raw = raw_record()
    part = raw
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(DataError, match=named) as caught:
        parse_record(json.dumps(raw), Path("r/record.json"))
    assert "record.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", '{"schema_version": 1', "[]", "null", '{"metrics": NaN}'])
def test_what_is_no_record_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(DataError, match=r"record\.json"):
        parse_record(text, Path("r/record.json"))


def test_identity_is_of_the_content_and_not_of_its_order() -> None:
    assert identity({"a": 1, "b": [2]}) == identity({"b": [2], "a": 1})
    assert identity({"a": 1}) != identity({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        identity({"a": float("nan")})


def test_a_name_leads_nowhere_but_below_out(tmp_path: Path) -> None:
    path = run_path(tmp_path, "../../etc", "dist:one", 0, KEY)
    assert path.resolve().is_relative_to(tmp_path.resolve()) and path.parent.name == "dist@one"
    with pytest.raises(UserError):
        run_path(tmp_path, "..", "one", 0, KEY)


def test_a_run_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
        assert not folder.finished and not folder.final.exists() and folder.path.is_dir()
        folder.checkpoint.write_bytes(b"state")
        folder.log(epoch=1, loss=float("nan"))
        folder.commit(a_record(), some_scores())
        assert folder.finished and folder.path == folder.final
    assert sorted(p.name for p in folder.final.iterdir()) == [
        "config.yaml",
        "log.jsonl",
        RECORD,
        SCORES,
    ]
    assert yaml.safe_load((folder.final / "config.yaml").read_text("utf-8")) == {
        "train": {"lr": 0.1}
    }
    assert json.loads((folder.final / "log.jsonl").read_text("utf-8"))["loss"] is None
    assert not list(tmp_path.rglob("*.partial")) and not list(tmp_path.rglob("*.new"))


def test_an_interrupted_run_keeps_what_it_has_and_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
        folder.checkpoint.write_bytes(b"state")
        folder.log(epoch=1)
        raise KeyboardInterrupt
    with (folder.path / "log.jsonl").open("a") as log:
        log.write('{"epoch": 2, "lo')  # what a killed process leaves
    assert not folder.final.exists() and find_runs(tmp_path) == []
    with pytest.raises(UserError, match="not finished"):
        load_run(folder.path)
    with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as again:
        assert not again.finished and again.checkpoint.read_bytes() == b"state"
        assert [
            json.loads(line)["epoch"]
            for line in (again.path / "log.jsonl").read_text().splitlines()
        ] == [1]


def test_a_commit_that_fails_leaves_the_training_and_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Scores, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
        folder.checkpoint.write_bytes(b"state")
        with monkeypatch.context() as patched, pytest.raises(Exception, match="No space is left"):
            patched.setattr(Scores, "write", refuse)
            folder.commit(a_record(), some_scores())
        assert (
            folder.checkpoint.exists()
            and not folder.final.exists()
            and not (folder.path / SCORES).exists()
        )
        folder.commit(a_record(), some_scores())
    assert load_run(folder.final).record == a_record()


def test_what_a_killed_process_could_not_remove_goes_when_the_run_is_opened_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
        folder.checkpoint.write_bytes(b"state")
        (folder.path / "validation.best.pt").write_bytes(b"state")
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", refuse)
            folder.commit(a_record(), some_scores())
    assert len(list(folder.final.glob("*.pt"))) == 2 and load_run(folder.final).record == a_record()
    with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
        assert folder.finished
    assert not list(folder.final.glob("*.pt"))


def test_a_finished_run_is_found_again_and_not_written_twice(tmp_path: Path) -> None:
    path = finished_run(tmp_path)
    with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
        assert folder.finished and folder.path == path
        with pytest.raises(ValueError, match="finished already"):
            folder.commit(a_record(), some_scores())
    (run,) = find_runs(tmp_path)
    assert (
        run.record == a_record()
        and run.folder == path
        and run.record.used == {"train": {"lr": 0.1}}
    )


def test_a_retired_run_stays_until_the_new_one_is_done_and_then_beside_it(tmp_path: Path) -> None:
    path = finished_run(tmp_path)
    with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
        folder.retire()
        assert not folder.finished and folder.path.is_dir() and folder.path != path
        assert load_run(path).record == a_record() and not list(path.parent.glob("*.replaced-*"))
        folder.commit(a_record(), some_scores())
        (old,) = path.parent.glob("*.replaced-*")
        assert load_run(old).record == a_record()
    assert [run.folder for run in find_runs(tmp_path)] == [path]


def test_a_damaged_record_is_told_and_spoils_no_other(tmp_path: Path) -> None:
    whole, cut, missing = (finished_run(tmp_path, seed) for seed in (0, 1, 2))
    (cut / RECORD).write_text(a_record().to_json()[:100])
    (missing / RECORD).unlink()
    told: list[str] = []
    assert [run.folder for run in find_runs(tmp_path, told.append)] == [whole]
    assert len(told) == 2 and str(cut) in told[0] and str(missing) in told[1]
    with pytest.raises(DataError, match="cut off"):
        load_run(cut)
    with pytest.raises(UserError, match="no run folder"):
        load_run(tmp_path / "nowhere")


def test_scores_come_back_as_they_were(tmp_path: Path) -> None:
    scores = load_run(finished_run(tmp_path)).scores()
    for ours, theirs in zip(scores.sets(), some_scores().sets(), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert scores.classes == some_scores().classes


def test_damaged_scores_are_refused(tmp_path: Path) -> None:
    path = finished_run(tmp_path) / SCORES
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match="cut off or damaged"):
        read_scores(path)
    arrays = {name: getattr(some_scores(), name) for name in Scores.__dataclass_fields__}
    np.savez(path, **{**arrays, "classes": np.array(["ant", "bee"])})
    with pytest.raises(DataError, match="shape"):
        read_scores(path)
    np.savez(path, **{**arrays, "classes": np.array(["ant", "bee", "cat"], dtype=object)})
    with pytest.raises(DataError):
        read_scores(path)
    path.unlink()
    with pytest.raises(DataError, match="missing"):
        read_scores(path)


def test_every_published_row_says_where_it_is_from_or_that_it_is_unconfirmed() -> None:
    rows = yaml.safe_load(Path(published_module.__file__).with_suffix(".yaml").read_text("utf-8"))
    everything = [
        entry for name in dict.fromkeys(row["dataset"] for row in rows) for entry in published(name)
    ]
    assert len(everything) == len(rows) > 0
    with pytest.raises(UnknownName, match="cub"):
        published("cubb")
    for entry in everything:
        given = {name for name, value in entry.figures().items() if value is not None}
        doubted = set(entry.unconfirmed) - {"backbone"}
        assert doubted <= given, entry
        assert entry.source or given == doubted, (
            f"{entry.method} on {entry.dataset} has neither source nor mark"
        )
        assert ("unconfirmed" in entry.remarks) == bool(doubted) == (not entry.confirmed)
    assert len({(entry.method, entry.dataset, entry.input) for entry in everything}) == len(
        everything
    )


def test_a_run_that_goes_on_with_another_source_says_which_modules_changed(tmp_path: Path) -> None:
    def start(source: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
            other = folder.begin(source)
            (folder.path / "checkpoint.pt").write_bytes(b"state")
            return other, dict(folder.source)

    first = {"own": "a", "own.net": "b"}
    assert start(first) == ([], first)
    assert start(first) == ([], first)
    assert start({"own": "a", "own.net": "c"}) == (["own.net"], {"own": "a", "own.net": "changed"})
    assert start(first) == (["own.net"], {"own": "a", "own.net": "changed"}), (
        "its first part was b's and its second c's"
    )
    with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
        folder.begin(first)
        folder.commit(a_record(), some_scores())
        assert not (folder.path / "source.json").exists()


def test_a_run_that_left_no_state_starts_with_the_source_of_now(tmp_path: Path) -> None:
    for source in ({"own": "a"}, {"own": "b"}):
        with RunFolder.open(tmp_path, "toy", "one", 3, KEY) as folder:
            assert folder.begin(source) == [] and folder.source == source
