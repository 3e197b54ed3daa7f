"""Schema of `record.json`, the typed record of one run. Unknown keys are refused."""

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
"""Version of this schema; a record of another version is refused with an error."""

PICKED: Final = "picked on validation"
"""Origin of a selected value in older records.

Their config holds the selected value instead of the requested one."""
AS_GIVEN: Final = "as given"
"""Name of the backbone for features that came with the dataset."""
NOTED: Final = 1e-3
"""Smallest score difference to remark on, as a share of the spread of the image's scores.

float32 rounding is about a thousand times smaller."""

Percent = Annotated[FiniteFloat, Field(ge=0, le=100)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
UtcTime = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")]


class Part(BaseModel):
    """Base class of the record and its sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class GitState(Part):
    """Git commit of the code; dirty if tracked files had uncommitted changes."""

    commit: str
    dirty: bool


class ModelInfo(Part):
    """The model plugin of the run.

    Protocol, citation and notes are those of `zslkit.model.Model`.

    Attributes:
        class_path: Module and class.
        linear: Whether the model declares that, with the frozen features of this run, it is one
            linear map of pooled features; False in older records.
        remarks: What the model settled by itself from the data; empty in older records.
        source: Module -> digest of its file (`zslkit.runs.source`); empty in older records and for
            code without files.
        git: State of the plugin's folder.
    """

    name: str
    distribution: str
    version: str
    class_path: str
    protocol: Literal["inductive", "class-inductive", "transductive"]
    citation: str = ""
    pretraining_note: str = ""
    linear: bool = False
    remarks: list[str] = []
    source: dict[str, str] = {}
    git: GitState | None = None


class DatasetInfo(Part):
    """The dataset in numbers.

    Attributes:
        title: Display name in tables.
        published_as: Dataset name of comparable published results, or "".
        semantics: "attributes" or "sentences" (Semantics.kind).
        n_skipped: Number of unreadable images, which are in no set.
        encoder: Sentence encoder of descriptions and digest of its weights, or "".
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
    encoder: str = ""


class FeatureInfo(Part):
    """Source of the model's input.

    Attributes:
        backbone: Name of the backbone; "as given" for features that come with the dataset.
        size: Side of the square or (height, width) in pixels; None for images of their own size
            and for features that come with the dataset.
        tuned: Whether the backbone was trained.
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
    """Hex digests that decide whether two results are comparable.

    Attributes:
        split: Of labels and sets.
        semantics: Of the class semantics.
        features: Of the model's input.
        images: Of the image content, or of the features if the dataset has no images; "" in older
            records.
    """

    split: str
    semantics: str
    features: str
    images: str = ""


class ProtocolInfo(Part):
    """How the metrics were produced.

    Attributes:
        class_attributes: "test photos" if those of unseen classes are means over their own test
            photos, so that the result is not inductive; "given" in older records.
        selection: How the epoch was selected.
        calibration: How gamma was selected.
        gamma: Value added to scores of unseen classes; 0 is uncalibrated.
        folds: Number of validation folds; None without validation, as is their seed.
        tuned: Settings selected by a search on the folds.
        picked: Dotted key -> value selected on the folds in place of the config's, including epochs
            and mixes.
        validation: Mean metrics on the folds; empty without validation.
    """

    training: Literal["inductive", "class-inductive", "transductive"]
    class_attributes: Literal["given", "test photos"] = "given"
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
    """GZSL metrics: T1, U, S, H in percent, AUSUC 0..1."""

    T1: Percent
    U: Percent
    S: Percent
    H: Percent
    AUSUC: Annotated[FiniteFloat, Field(ge=0, le=1)]


class Chance(Part):
    """Expected metrics of random answers, in percent."""

    T1: Percent
    U: Percent
    S: Percent
    H: Percent


class Costs(Part):
    """Time and memory of the run.

    Attributes:
        trainable_parameters: Those of `parameters` that are neither frozen nor computed in closed
            form.
        peak_memory_mb: Peak memory of the process on a CPU, else of the device; None if unknown.
    """

    parameters: NonNegativeInt
    trainable_parameters: NonNegativeInt
    train_seconds: Seconds
    extract_seconds: Seconds
    eval_seconds: Seconds
    peak_memory_mb: NonNegativeFloat | None = None


class Scoring(Part):
    """Test images that were scored a second time, alone and in other batches.

    Attributes:
        rescored: Number of these images.
        moved: Number of images whose scores changed clearly.
        drift: Largest change of a score, as a share of the spread of its image's scores.
    """

    rescored: NonNegativeInt
    moved: NonNegativeInt
    drift: Annotated[FiniteFloat, Field(ge=0)]

    @property
    def remark(self) -> str:
        """Remark to show with the metrics; "" if there is none."""
        said = f"scores change by up to {self.drift:.1%} with the batch"
        return said if self.drift > NOTED else ""


class Environment(Part):
    """Machine and library versions; None for a library that is not installed."""

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

    Attributes:
        identity: Hash of everything that determines the result.
        config: Requested settings.
        origins: Dotted key -> source of the value.
        usual: Dotted key -> value of the preset, dataset or default, for each setting that the
            user changed; None in older records and where the others alone are incomplete.
        metrics: Metrics under this protocol.
        uncalibrated: The same with gamma 0.
        optimistic: Metrics if selection used the test sets, as many papers report them
            ("best_epoch", "every", and metrics). Never reported as a result.
        per_class: Class name -> accuracy among all classes in percent; None for classes without
            test images.
        scoring: Result of scoring twice; None in older records.
        git: State of zslkit's own folder, if it is a git working tree.
        elsewhere: Source of the weights if another program trained them, else "".
    """

    schema_version: Literal[1] = SCHEMA
    identity: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    model: ModelInfo
    dataset: DatasetInfo
    seed: int
    config: dict[str, Any]
    origins: dict[str, str]
    usual: dict[str, Any] | None = None
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
        """Settings of the training: `config` with the values selected on validation."""
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
        """Classes without test images, which count in no mean."""
        return [name for name, accuracy in self.per_class.items() if accuracy is None]

    def to_json(self) -> str:
        raw = self.model_dump(mode="json")
        return json.dumps(raw, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_record(text: str, place: Path) -> RunRecord:
    """Parse the record in `text`, read from `place`.

    Raises:
        DataError: Not a valid record; the message names the path, the key and the next step.
    """
    mend = f"move the folder {place.parent} away and run again"
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise DataError(f"{place} is cut off or no JSON ({error}); {mend}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA:
        raise DataError(
            f"{place} is no run record of schema {SCHEMA} (it says {version!r}); read it with the "
            f"zslkit that wrote it, or {mend}"
        )
    try:
        return RunRecord.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(p) for p in first["loc"])
        raise DataError(
            f"{place}: {key} does not belong in a run record as it is ({first['msg'].lower()}); "
            f"{mend}"
        ) from error


def json_summary(record: RunRecord, folder: Path) -> dict[str, Any]:
    """Output of `zslkit run --json`: metrics in percent, AUSUC 0..1, timings in seconds."""
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
