"""The schema of `record.json`: everything one run says of itself, typed, with unknown keys refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
)

from zslkit.errors import DataError
from zslkit.utils.files import parse_json

SCHEMA: Final = 1
"""Version of this schema; a record of another version is refused by name."""

PICKED: Final = "picked on validation"
"""The origin of a setting in older records, whose config holds what was picked in the place of what was asked for."""
NOTED: Final = 1e-3
"""Share of an image's spread of scores from which a difference is told; that of float32 is about a thousand times smaller."""

Percent = Annotated[FiniteFloat, Field(ge=0, le=100)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
UtcTime = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")]


class Part(BaseModel):
    """Base of the record and its parts."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class GitState(Part):
    """The commit the code stood at; dirty: tracked files were changed since."""

    commit: str
    dirty: bool


class ModelInfo(Part):
    """The plugin that ran: registry name, the distribution that brought it, and what it says of itself.

    pretraining_note: what a reader must know of data that it was trained on elsewhere, or "".
    source: module -> digest of its file, as `zslkit.runs.source` makes them; empty in an older
    record and where there are no files. git: of the plugin's own folder.
    """

    name: str
    distribution: str
    version: str
    class_path: str
    protocol: Literal["inductive", "class-inductive", "transductive"]
    citation: str = ""
    pretraining_note: str = ""
    source: dict[str, str] = {}
    git: GitState | None = None


class DatasetInfo(Part):
    """The dataset in numbers. published_as: the name under which published results may stand beside it, or ''.

    semantics: what its classes are described by, "attributes" or "sentences" (Semantics.kind).
    n_skipped: images that could not be read and are in none of the sets.
    """

    name: str
    title: str
    classes: NonNegativeInt
    seen: NonNegativeInt
    unseen: NonNegativeInt
    n_trainval: NonNegativeInt
    n_test_seen: NonNegativeInt
    n_test_unseen: NonNegativeInt
    published_as: str = ""
    semantics: str = "attributes"
    n_skipped: NonNegativeInt = 0


class FeatureInfo(Part):
    """Where the model's input came from.

    backbone: "as given" if the dataset brings its own features. size: side of the square or
    (height, width) in pixels, None if images are not resized. tuned: the backbone was trained along.
    """

    input: Literal["pooled", "map", "image"]
    backbone: str
    weights: str
    weights_digest: str
    size: int | tuple[int, int] | None
    dtype: str
    tuned: bool
    fingerprint: str


class Fingerprints(Part):
    """What makes two results comparable, as hex digits.

    split: of labels and sets. images: of the images' content, or of the features of a dataset
    without images; "" in an older record. features: of what the model was fed with.
    """

    split: str
    semantics: str
    features: str
    images: str = ""


class ProtocolInfo(Part):
    """How the figures were made. gamma: what calibration added to unseen scores (0: none).

    validation: mean figures on the folds inside trainval, empty if none was made; fold_seed and folds (how many) are None then.
    tuned: settings that a search on the folds picked. picked: dotted key -> the value that the folds
    picked in the place of the one in the record's config; epochs and mixes are among them.
    """

    training: Literal["inductive", "class-inductive", "transductive"]
    selection: Literal["last", "validation"]
    calibration: Literal["none", "validation"]
    gamma: FiniteFloat = 0.0
    epoch: NonNegativeInt | None = None
    fold_seed: int | None = None
    folds: NonNegativeInt | None = None
    tuned: list[str] = []
    picked: dict[str, Any] = {}
    validation: dict[str, FiniteFloat] = {}


class Figures(Part):
    """T1, U, S, H in percent, AUSUC 0..1."""

    T1: Percent
    U: Percent
    S: Percent
    H: Percent
    AUSUC: Annotated[FiniteFloat, Field(ge=0, le=1)]


class Chance(Part):
    """What answering at random gives, in percent."""

    T1: Percent
    U: Percent
    S: Percent
    H: Percent


class Costs(Part):
    """What the run took. peak_memory_mb: of the process on a CPU, of the device elsewhere; None if unknown.

    trainable_parameters: of `parameters`, without those that the model keeps frozen and without what it computes in closed form.
    """

    parameters: NonNegativeInt
    trainable_parameters: NonNegativeInt
    train_seconds: Seconds
    extract_seconds: Seconds
    eval_seconds: Seconds
    peak_memory_mb: NonNegativeFloat | None = None


class Scoring(Part):
    """Test images that were scored twice, the second time alone and beside others.

    rescored: how many. moved: how many of them got clearly other scores. drift: the largest difference of a score, as a
    share of the spread of its image's scores.
    """

    rescored: NonNegativeInt
    moved: NonNegativeInt
    drift: Annotated[FiniteFloat, Field(ge=0)]

    @property
    def remark(self) -> str:
        """What must stand with the figures; "" if there is nothing to say."""
        return (
            f"scores change by up to {self.drift:.1%} with the batch" if self.drift > NOTED else ""
        )


class Environment(Part):
    """The machine and the libraries. A library that is not installed is None.

    processes: how many shared the training. deterministic: as `--deterministic` asks.
    """

    python: str
    platform: str
    torch: str | None
    numpy: str | None
    timm: str | None
    zslkit: str | None
    device: str
    threads: NonNegativeInt
    cpu: str
    processes: NonNegativeInt = 1
    deterministic: bool = False


class RunRecord(Part):
    """One finished run.

    identity: hash of what decided the outcome. config: the settings that were asked for; origins: dotted
    key -> where its value came from. metrics: under the stated protocol; uncalibrated: the same with
    gamma 0. optimistic: what picking on the test sets would give, as many papers print it ("best_epoch",
    "every", and figures), never a result of ours.
    per_class: class name -> accuracy among all classes in percent, None for a class without test images.
    elsewhere: where the weights are from if another program trained them, else "". scoring: None in a run that is older than it.
    """

    schema_version: Literal[1] = SCHEMA
    identity: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    model: ModelInfo
    dataset: DatasetInfo
    seed: int
    config: dict[str, Any]
    origins: dict[str, str]
    features: FeatureInfo
    fingerprints: Fingerprints
    protocol: ProtocolInfo
    metrics: Figures
    uncalibrated: Figures
    chance: Chance
    optimistic: dict[str, FiniteFloat | int] | None = None
    per_class: dict[str, Percent | None]
    costs: Costs
    scoring: Scoring | None = None
    environment: Environment
    git: GitState | None = None
    elsewhere: str = ""
    started: UtcTime
    finished: UtcTime

    @property
    def used(self) -> dict[str, Any]:
        """The settings that the model was trained with: config with what validation picked."""
        settings = copy.deepcopy(self.config)
        for key, value in self.protocol.picked.items():
            *sections, last = key.split(".")
            section = settings
            for name in sections:
                section = section.setdefault(name, {})
            section[last] = value
        return settings

    @property
    def classes_without_images(self) -> list[str]:
        """Classes that no test image shows, and that therefore count in no mean."""
        return [name for name, accuracy in self.per_class.items() if accuracy is None]

    def to_json(self) -> str:
        return (
            json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
            + "\n"
        )


def parse_record(text: str, place: Path) -> RunRecord:
    """The record in `text`, which was read at `place`.

    Raises DataError that names the place, the key and the next step.
    """
    mend = f"move the folder {place.parent} away and run again"
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise DataError(f"{place} is cut off or no JSON ({error}); {mend}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA:
        raise DataError(
            f"{place} is no run record of schema {SCHEMA} (it says {version!r}); read it with the zslkit that wrote it, or {mend}"
        )
    try:
        return RunRecord.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(p) for p in first["loc"])
        raise DataError(
            f"{place}: {key} does not belong in a run record as it is ({first['msg'].lower()}); {mend}"
        ) from error


def json_summary(record: RunRecord, folder: Path) -> dict[str, Any]:
    """The object that `zslkit run --json` prints; metrics in percent, AUSUC 0..1, timings in seconds."""
    timings = record.costs.model_dump(include={"train_seconds", "extract_seconds", "eval_seconds"})
    return {
        "model": record.model.name,
        "dataset": record.dataset.name,
        "seed": record.seed,
        "metrics": record.metrics.model_dump(),
        "protocol": record.protocol.model_dump(mode="json"),
        "fingerprints": record.fingerprints.model_dump(),
        "timings": timings,
        "run_folder": str(folder),
    }
