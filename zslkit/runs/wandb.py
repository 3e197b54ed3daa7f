"""The tracker `wandb`: sends a run's figures to Weights & Biases while it runs, or keeps them
offline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from zslkit.record import RunRecord
from zslkit.tracker import RunInfo, Tracker

PROJECT = "zslkit"
"""Project of the runs unless $WANDB_PROJECT names another."""


class WandB(Tracker):
    """Curves on Weights & Biases, or offline; needs the extra wandb.

    With WANDB_MODE=offline the run lies in ./wandb.
    """

    needs: ClassVar = ("wandb",)
    install: ClassVar = "pip install 'zslkit[wandb]'"

    def __init__(self) -> None:
        # Imported here, so that a broken installation fails before the training.
        import wandb

        self._wandb: Any = wandb
        self._phases: set[str] = set()

    def start(self, info: RunInfo) -> None:
        about = {
            "model": info.model,
            "origin": info.origin,
            "dataset": info.dataset,
            "seed": info.seed,
            "run_folder": str(info.home),
        }
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            # Said again, since wandb reads its environment only before a process's first run.
            dir=os.environ.get("WANDB_DIR") or None,
            mode=os.environ.get("WANDB_MODE") or None,
            id=info.identity,  # an interrupted run goes on in the same curves
            resume="allow",
            name=f"{info.model} on {info.dataset}, seed {info.seed}",
            group=f"{info.model} on {info.dataset}",
            config={**about, "settings": dict(info.config)},
            # The run's own record holds these facts, and no other program is started for them.
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                save_code=False,
                disable_code=True,
                disable_git=True,
                x_disable_meta=True,
                x_disable_stats=True,
            ),
        )

    def log(self, phase: str, epoch: int, figures: Mapping[str, float]) -> None:
        if phase not in self._phases:
            self._phases.add(phase)
            self._run.define_metric(f"{phase}/*", step_metric=f"{phase}/epoch")
        self._run.log(
            {f"{phase}/epoch": epoch, **{f"{phase}/{name}": v for name, v in figures.items()}}
        )

    def finish(self, record: RunRecord | None) -> None:
        if record is None:
            self._run.finish(exit_code=1)
            return
        protocol = record.protocol.model_dump(mode="json")
        figures = {f"test/{name}": value for name, value in record.metrics.model_dump().items()}
        validation = {f"validation/{k}": v for k, v in record.protocol.validation.items()}
        self._run.summary.update({**figures, **validation, "protocol": protocol})
        self._run.finish()
