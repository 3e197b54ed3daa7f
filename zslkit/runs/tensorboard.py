"""The tracker `tensorboard`: draws a run's figures while it runs (`tensorboard --logdir runs`)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from zslkit.record import RunRecord
from zslkit.tracker import RunInfo, Tracker

FOLDER = "tensorboard"
"""TensorBoard's folder inside the run folder."""


class TensorBoard(Tracker):
    """Curves for TensorBoard in the run's folder; needs the extra tensorboard."""

    needs: ClassVar = ("tensorboard",)
    install: ClassVar = "pip install 'zslkit[tensorboard]'"

    def __init__(self) -> None:
        # Imported here, so that a broken installation fails before the training.
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._tensor = event_pb2.Event, tensor_pb2.TensorProto
        self._summary, self._writer = summary_pb2, RecordWriter

    def start(self, info: RunInfo) -> None:
        self._info = info
        # One file per start: a killed process may have left half an event at the end of its file.
        now = time.time_ns()
        self._name = f"events.out.tfevents.{now // 10**9:010d}.{now % 10**9:09d}"
        self._write(file_version="brain.Event:2")
        if not info.resumed:
            head = (
                f"{info.model} ({info.origin}) on {info.dataset}, "
                f"seed {info.seed}, run {info.identity}"
            )
            settings = yaml.safe_dump(dict(info.config), sort_keys=False, allow_unicode=True)
            self._text("settings", f"{head}\n\n```yaml\n{settings}```")

    def log(self, phase: str, epoch: int, figures: Mapping[str, float]) -> None:
        self._scalars(phase, epoch, figures)

    def finish(self, record: RunRecord | None) -> None:
        if record is None:
            return
        self._scalars("test", record.protocol.epoch or 0, record.metrics.model_dump())
        if record.protocol.validation:
            self._scalars(
                "validation, mean of folds", record.protocol.epoch or 0, record.protocol.validation
            )
        rows = "\n".join(
            f"| {name} | {value} |"
            for name, value in record.protocol.model_dump(mode="json").items()
        )
        self._text("protocol", f"| protocol | |\n|---|---|\n{rows}")

    def _scalars(self, group: str, step: int, figures: Mapping[str, float]) -> None:
        values = [
            self._summary.Summary.Value(tag=f"{group}/{name}", simple_value=value)
            for name, value in figures.items()
        ]
        self._write(step=step, summary=self._summary.Summary(value=values))

    def _text(self, tag: str, text: str) -> None:
        plugin = self._summary.SummaryMetadata(plugin_data={"plugin_name": "text"})
        tensor = self._tensor(dtype="DT_STRING", string_val=[text.encode()])
        self._write(
            summary=self._summary.Summary(
                value=[self._summary.Summary.Value(tag=tag, metadata=plugin, tensor=tensor)]
            )
        )

    def _write(self, **event: Any) -> None:
        # Opened for each event: the folder is renamed at the end, and readers see every epoch.
        folder: Path = self._info.folder / FOLDER
        folder.mkdir(exist_ok=True)
        with (folder / self._name).open("ab") as file:
            self._writer(file).write(
                self._event(wall_time=time.time(), **event).SerializeToString()
            )
