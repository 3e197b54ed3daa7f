"""The run record: what is refused, what survives writing and reading, and what --json prints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from zslkit.errors import DataError
from zslkit.record import RunRecord, json_summary, parse_record
from zslkit.runs.provenance import environment, git_state, now

Make = Callable[..., RunRecord]
PLACE = Path("out/birds/alpha/seed0-0123456789ab/record.json")


def test_a_record_survives_json(make: Make) -> None:
    record = make(
        features={"size": [224, 448]},
        optimistic={"best_epoch": 3, "H": 51.5, "every": 1},
        git=None,
        per_class={"crow": None},
    )
    again = parse_record(record.to_json(), PLACE)
    assert again == record
    assert again.features.size == (224, 448)
    assert isinstance(again.optimistic and again.optimistic["best_epoch"], int)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("metrics.H", float("nan")),
        ("metrics.H", 101.0),
        ("metrics.AUSUC", 31.0),
        ("protocol.gamma", float("inf")),
        ("protocol.calibration", "oracle"),
        ("identity", "../../etc"),
        ("started", "yesterday"),
        ("costs.train_seconds", -1.0),
        ("surprise", 1),
        ("metrics.surprise", 1),
    ],
)
def test_a_value_that_cannot_be_is_refused(raw: dict[str, Any], place: str, value: Any) -> None:
    target: Any = raw
    *parents, last = place.split(".")
    for parent in parents:
        target = target[parent]
    target[last] = value
    with pytest.raises(ValidationError):
        RunRecord.model_validate(raw)
    if isinstance(value, float) and value != value:
        return
    with pytest.raises(DataError) as error:
        parse_record(json.dumps({"schema_version": 1, **raw}), PLACE)
    assert place in str(error.value) or place.replace("surprise", "") in str(error.value)
    assert str(PLACE) in str(error.value)


def test_the_json_summary_has_exactly_these_keys(make: Make) -> None:
    summary = json_summary(make(), Path("out/run"))
    assert list(summary) == [
        "model",
        "dataset",
        "seed",
        "metrics",
        "protocol",
        "fingerprints",
        "timings",
        "run_folder",
    ]
    assert summary["model"] == "alpha"
    assert summary["metrics"] == {"T1": 60.0, "U": 50.0, "S": 40.0, "H": 44.4, "AUSUC": 0.31}
    assert summary["timings"] == {
        "train_seconds": 200.0,
        "extract_seconds": 3.0,
        "eval_seconds": 1.0,
    }
    assert summary["fingerprints"]["split"] == "5011" * 4
    json.dumps(summary, allow_nan=False)


def test_the_environment_is_read_without_importing_torch() -> None:
    code = (
        "import sys; from zslkit.runs.provenance import environment; e = environment('cpu', 2); "
        "print(e.torch is not None, e.device, e.threads, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "cpu", "2", "False"]
    assert environment("cpu", 1).python == sys.version.split()[0]


def test_now_is_utc(make: Make) -> None:
    assert make(started=now()).started.endswith("+00:00")


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True
    )


def test_git_state(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    code = tmp_path / "package"
    code.mkdir()
    (code / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "b.py").write_text("1")
    assert git_state(tmp_path / "venv") is None, (
        "what is installed below a repository is not the repository's"
    )
    state = git_state(code)
    assert state is not None
    assert len(state.commit) == 40
    assert not state.dirty
    (code / "a.py").write_text("2")
    state = git_state(code)
    assert state is not None
    assert state.dirty
