"""The tracker wandb in offline mode: what it keeps is what the run logged and its record says."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_tracking import dataset as dataset
from test_tracking import register as register
from test_tracking import run, stop_in

from zslkit.runs.api import Result

wandb = pytest.importorskip("wandb", reason="needs the extra wandb: pip install 'zslkit[wandb]'")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)


def records(content: bytes) -> Iterator[bytes]:
    """Records of a .wandb file: a LevelDB log behind 7 bytes, in blocks of 32768 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


def kept(folder: Path, epochs: int = 3) -> dict[str, Any]:
    """What the offline run in `folder`/wandb holds, once its own process has written all epochs."""
    for _ in range(120):
        found = _kept_now(folder)
        told = [row for row in found["history"] if "train/epoch" in row]
        if "project" in found and len(told) >= epochs and "test/H" in found["summary"]:
            break
        time.sleep(0.5)
    return found


def _kept_now(folder: Path) -> dict[str, Any]:
    """Description, history and summary."""
    from wandb.proto import wandb_internal_pb2

    found: dict[str, Any] = {"history": [], "summary": {}, "config": {}}
    for file in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        for data in records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                found["project"], found["id"] = record.run.project, record.run.run_id
                found["name"] = record.run.display_name
                found["config"] |= {
                    i.key: json.loads(i.value_json) for i in record.run.config.update
                }
            elif record.HasField("history"):
                found["history"].append(
                    {
                        i.key or i.nested_key[0]: json.loads(i.value_json)
                        for i in record.history.item
                    }
                )
            elif record.HasField("summary"):
                for item in record.summary.update:
                    found["summary"][item.key or item.nested_key[0]] = json.loads(item.value_json)
    return found


def train_lines(result: Result) -> list[dict[str, Any]]:
    text = (result.folder / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_an_offline_run_holds_the_settings_every_epoch_and_the_record(tmp_path: Path) -> None:
    result = run(tmp_path / "runs", "wandb")
    found = kept(tmp_path)
    assert (found["project"], found["id"]) == ("zslkit", result.record.identity)
    assert found["name"] == f"{result.record.model.name} on tiny, seed 0"
    assert found["config"]["settings"]["train"]["epochs"] == 3
    assert found["config"]["run_folder"] == str(result.folder)
    rows = [row for row in found["history"] if "train/ranking" in row]
    assert [(row["train/epoch"], row["train/ranking"]) for row in rows] == [
        (line["epoch"], pytest.approx(line["ranking"])) for line in train_lines(result)
    ]
    assert found["summary"]["test/H"] == pytest.approx(result.metrics["H"])
    assert found["summary"]["protocol"]["calibration"] == "none"


@pytest.mark.slow
def test_an_interrupted_run_goes_on_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_in(patch, 2)
        run(tmp_path / "runs", "wandb")
    result = run(tmp_path / "runs", "wandb")
    found = kept(tmp_path)
    assert found["id"] == result.record.identity
    epochs = [row["train/epoch"] for row in found["history"] if "train/epoch" in row]
    assert epochs == [1, 2, 3]
