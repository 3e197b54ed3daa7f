"""One run in words: its figures beside chance, how they were made, what they cost, where they
are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from zslkit.cli.output import aligned, echo, printable
from zslkit.errors import listed
from zslkit.record import AS_GIVEN, FeatureInfo, ProtocolInfo, RunRecord
from zslkit.report.badges import LINEAR, MEANINGS, NOT_INDUCTIVE, from_test_photos
from zslkit.utils.progress import duration

FIGURES = ("T1", "U", "S", "H", "AUSUC")


def print_run(record: RunRecord, folder: Path, reused: bool, calibrating: str = "") -> None:
    """Print a finished run.

    Args:
        reused: Whether the run was finished before.
        calibrating: Command of this run with calibration, shown if the run has none.
    """
    for line in run_lines(record, folder, reused, calibrating):
        echo(line)


def run_lines(
    record: RunRecord, folder: Path, reused: bool, calibrating: str = ""
) -> Iterator[str]:
    """The lines that print_run prints."""
    model, data = record.model, record.dataset
    yield printable(f"{model.name} on {data.title or data.name}, seed {record.seed}")
    yield ""
    yield from aligned(("", *(f"{name:>5}" for name in FIGURES)), [*_rows(record)])
    asked = record.config.get("protocol", {}).get("calibration") == "validation"
    uncalibrated = record.protocol.calibration == "none" and not asked
    if calibrating and uncalibrated and not record.elsewhere:
        yield printable(
            "H is not calibrated: models favour the classes they are trained on, and a constant "
            f"picked on validation classes, never on test, evens that out: {calibrating}"
        )
    yield ""
    of_test = f"; {MEANINGS[NOT_INDUCTIVE]}" if from_test_photos(record) else ""
    semantics = data.semantics if data.semantics != "attributes" or of_test else ""
    optional = {
        "pretraining": model.pretraining_note,
        "frozen": MEANINGS[LINEAR] if model.linear else "",
        "model": "; ".join(model.remarks),
        "scoring": record.scoring.remark if record.scoring else "",
        "semantics": semantics
        + (f", embedded by {data.encoder}" if semantics and data.encoder else "")
        + of_test,
    }
    said = {
        "protocol": protocol_words(record.protocol, record.elsewhere),
        "features": feature_words(record.features),
        **{word: text for word, text in optional.items() if text},
        "time": _times(record),
        "run folder": f"{folder}{' (was there already; --again repeats it)' if reused else ''}",
    }
    width = max(12, *(len(word) + 2 for word in said))
    yield from (f"{word + ':':<{width}}{printable(text)}" for word, text in said.items())
    if skipped := data.n_skipped:
        lost = "Images that could not be read and are in none of the sets"
        yield f"{lost}: {skipped} (features.skip_bad)"
    if missing := record.classes_without_images:
        without = f"{len(missing)} of {data.classes} classes have no test image"
        yield printable(f"{without} and count in no mean: {listed(missing, 12)}")


def _rows(record: RunRecord) -> Iterator[tuple[str, ...]]:
    yield _row("result", record.metrics.model_dump())
    if record.uncalibrated != record.metrics:
        yield _row("uncalibrated", record.uncalibrated.model_dump())
    yield _row("chance", record.chance.model_dump())
    at = ", gamma 0" if record.protocol.calibration != "none" else ""
    yield from _optimistic(record.optimistic or {}, at)


def _optimistic(figures: Mapping[str, float | int], at: str) -> Iterator[tuple[str, ...]]:
    """What picking on the test sets would give, as many papers print it: never a result.

    at: the gamma of the epochs' figures, where it is not the result's.
    """
    if "best_epoch" in figures:
        yield _row(f"(optimistic: epoch {figures['best_epoch']} picked on test{at})", figures)
    if "H_gamma_on_test" in figures:
        yield _row("(optimistic: gamma picked on test)", {"H": figures["H_gamma_on_test"]})


def _row(name: str, figures: Mapping[str, float | int]) -> tuple[str, ...]:
    percents = (f"{figures[k]:5.1f}" if k in figures else f"{'-':>5}" for k in FIGURES[:-1])
    area = f"{figures['AUSUC']:.3f}" if "AUSUC" in figures else f"{'-':>5}"
    return (name, *percents, area)


TRAINING_WORDS = {
    "inductive": "inductive (nothing of the unseen classes in training)",
    "class-inductive": "class-inductive (semantics of the unseen classes in training)",
    "transductive": "transductive (images of the unseen classes in training)",
}


def protocol_words(protocol: ProtocolInfo, elsewhere: str = "") -> str:
    """The protocol's badges, spelled out. elsewhere: where the weights are from if another program
    trained them."""
    epoch = "" if protocol.epoch is None else f" ({protocol.epoch})"
    number = "" if protocol.fold_seed is None else f" {protocol.fold_seed}"
    fold = f"validation fold{number}"
    if (protocol.folds or 1) > 1:
        fold = f"{protocol.folds} validation folds of seed {protocol.fold_seed}"
    selection = {"last": f"last epoch{epoch}", "validation": f"epoch{epoch} picked on {fold}"}
    calibration = {
        "none": "not calibrated",
        "validation": f"calibrated by {protocol.gamma:.3g}, picked on {fold}",
    }
    trained = f"trained elsewhere ({elsewhere})" if elsewhere else selection[protocol.selection]
    tuned = [f"{', '.join(protocol.tuned)} picked on {fold}"] if protocol.tuned else []
    training = TRAINING_WORDS[protocol.training]
    if protocol.class_attributes != "given":
        training = NOT_INDUCTIVE
    return "; ".join((training, trained, *tuned, calibration[protocol.calibration]))


def feature_words(features: FeatureInfo) -> str:
    """Where the model's input came from."""
    if features.backbone == AS_GIVEN:
        return f"{features.input}, as given: {features.weights}"
    size = features.size
    shape = f"{size[0]}x{size[1]}" if isinstance(size, tuple) else size
    pixels = f", {shape} px" if size is not None else ""
    how = f"{'tuned' if features.tuned else 'frozen'}, weights {features.weights}"
    return f"{features.input} of {features.backbone} ({how}){pixels}"


def _times(record: RunRecord) -> str:
    costs, peak = record.costs, record.costs.peak_memory_mb
    memory = f"; peak memory {peak:.0f} MB" if peak is not None else ""
    parts = {
        "extraction": costs.extract_seconds,
        "training": costs.train_seconds,
        "evaluation": costs.eval_seconds,
    }
    times = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items())
    return f"{times} on {record.environment.device}{memory}"
