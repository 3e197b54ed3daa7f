"""Checks that open no image: lists, labels, split, attribute table and features."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from zslkit.dataset import PARTS, Index
from zslkit.features.damaged_rows import FeatureRows, spans
from zslkit.features.told_labels import LabelColumns
from zslkit.verify.leaks import find_leaks, imagenet_names
from zslkit.verify.material import DatasetFiles

Verdict = Literal["ok", "note", "fault", "skipped"]


@dataclass(frozen=True)
class DatasetCheck:
    """Result of one check in one line of text, and all cases found.

    A note is valid, but relevant to readers of results; of a skipped check, `text` says why.
    """

    name: str
    verdict: Verdict
    text: str
    items: tuple[str, ...] = ()


Answer = tuple[Verdict, str] | tuple[Verdict, str, Sequence[str]]


def _read(m: DatasetFiles) -> Answer:
    """Whether the files can be read."""
    missing = f"; {m.why_no_labels}" if m.labels is None else ""
    images = sum(len(m.locs[part]) for part in PARTS)
    text = f"{m.title}: {len(m.attributes)} classes, {images} images in the split{missing}"
    return "ok", text


def _counts(m: DatasetFiles) -> Answer:
    """Whether the counts are the published ones."""
    if not m.known:
        return "skipped", "no counts are known for this dataset"
    found = {part: len(m.locs[part]) for part in PARTS}
    found["attributes"] = m.attributes.shape[1]
    found["images"] = _used(m) if m.labels is None else len(m.labels)
    if (sets := m.class_sets()) is not None:
        found["seen"], found["unseen"] = map(len, sets)
    wrong = [
        f"{fact}: {found[fact]} here, {count} known"
        for fact, count in m.known.items()
        if found.get(fact, count) != count
    ]
    unknown = [fact for fact in m.known if fact not in found]
    if wrong:
        return "fault", f"{len(wrong)} of {len(m.known)} counts are not those of {m.title}", wrong
    less = f"; not counted: {', '.join(unknown)} ({m.why_no_labels})" if unknown else ""
    return "ok", ", ".join(f"{found[fact]} {fact}" for fact in m.known if fact in found) + less


def _locs(m: DatasetFiles) -> Answer:
    """Whether the locs contain valid indices, each once."""
    n = len(m.labels) if m.labels is not None else m.known.get("images")
    wrong = []
    for part in PARTS:
        locs = m.locs[part]
        if not len(locs):
            wrong.append(f"{part} is empty")
            continue
        if doubles := len(locs) - len(np.unique(locs)):
            wrong.append(f"{part} names {doubles} images twice")
        if locs.min() < 0 or (n is not None and locs.max() >= n):
            wrong.append(f"{part} speaks of image {locs.max() + 1}, and there are {n}")
    if wrong:
        return "fault", "the three sets point to images that do not exist, or twice to one", wrong
    last = max(int(m.locs[part].max()) for part in PARTS) + 1
    used = _used(m)
    rest = f"; {n - used} images are in no set" if n is not None and n > used else ""
    return "ok", f"within 1..{n if n is not None else last}, none twice{rest}"


def _used(m: DatasetFiles) -> int:
    """Number of images that are in some set."""
    return len(np.unique(np.concatenate([m.locs[part] for part in PARTS])))


def _overlap(m: DatasetFiles) -> Answer:
    """Whether two parts of the split share images."""
    pairs = [(a, b, len(np.intersect1d(m.locs[a], m.locs[b]))) for a, b in combinations(PARTS, 2)]
    if wrong := [f"{a} and {b} share {n} images" for a, b, n in pairs if n]:
        return "fault", "images stand in two sets", wrong
    return "ok", "trainval, test_seen and test_unseen share no image"


def _tuning(m: DatasetFiles) -> Answer:
    """Whether train_loc and val_loc contain test images."""
    if "train" not in m.locs and "val" not in m.locs:
        return "ok", "there are no train_loc and val_loc to tune on by mistake"
    tuned = np.concatenate([m.locs[part] for part in ("train", "val") if part in m.locs])
    inside = [
        (part, int(np.isin(m.locs[part], tuned).sum())) for part in ("test_seen", "test_unseen")
    ]
    if seen := [f"{n} of {len(m.locs[part])} images of {part}" for part, n in inside if n]:
        held = f"train_loc and val_loc hold {' and '.join(seen)}"
        return "note", f"{held}: who tunes on them sees test images; zslkit reads neither"
    return "ok", "train_loc and val_loc hold no test image"


def _labels(m: DatasetFiles) -> Answer:
    """Whether labels are valid and every class has images."""
    if m.labels is None:
        return "skipped", m.why_no_labels
    c = len(m.attributes)
    if not m.in_range():
        outside = [f"label {k + 1}" for k in np.unique(m.labels).tolist() if not 0 <= k < c]
        text = f"labels or locs point outside {c} classes and {len(m.labels)} images"
        return "fault", text, outside
    unused = np.setdiff1d(np.arange(c), np.concatenate([m.labels[m.locs[p]] for p in PARTS]))
    if lone := [str(m.classes[k]) if m.classes else f"class {k + 1}" for k in unused]:
        return "note", f"{len(lone)} of {c} classes have no image", lone
    return "ok", f"within 1..{c}, every class has images"


def _sides(m: DatasetFiles) -> Answer:
    """Whether a class is both seen and unseen."""
    if m.labels is None and len(m.class_lists) == 2:
        lists = "in trainvalclasses.txt and in testclasses.txt"
        if both := sorted(set(m.class_lists["seen"]) & set(m.class_lists["unseen"])):
            return "fault", f"{len(both)} classes stand {lists}", both
        return "ok", f"no class is {lists}; images: skipped, {m.why_no_labels}"
    if m.labels is None or not m.in_range():
        return "skipped", m.why_no_labels or "labels or locs are out of range"
    train, seen, unseen = (set(np.unique(m.labels[m.locs[part]]).tolist()) for part in PARTS)
    wrong = [
        f"{_name(m, k)} has images in trainval and in test_unseen" for k in sorted(train & unseen)
    ]
    wrong += [
        f"{_name(m, k)} has images in test_seen and none in trainval" for k in sorted(seen - train)
    ]
    if wrong:
        return "fault", "seen and unseen classes are mixed", wrong
    return "ok", f"{len(train)} seen and {len(unseen)} unseen classes, none in both"


def _name(m: DatasetFiles, k: int) -> str:
    known = m.classes is not None and k < len(m.classes)
    return f"class {k + 1} ({m.classes[k] if m.classes and known else 'no name'})"


def _class_names(m: DatasetFiles) -> Answer:
    """Whether class names are unique and agree with the class lists."""
    if m.classes is None:
        text = "the files name no class; they are numbered in the order of the attribute table"
        return "note", text
    if len(m.classes) != len(m.attributes):
        return "fault", f"{len(m.classes)} class names for {len(m.attributes)} rows of attributes"
    doubles = sorted(name for name, times in Counter(m.classes).items() if times > 1)
    unknown = [
        f"{name} ({kind} classes)"
        for kind, names in m.class_lists.items()
        for name in sorted(set(names) - set(m.classes))
    ]
    if doubles or unknown:
        text = "a class name stands twice, or a list names a class that the table has not"
        return "fault", text, [*doubles, *unknown]
    listed = {name for names in m.class_lists.values() for name in names}
    if len(m.class_lists) == 2 and (unlisted := sorted(set(m.classes) - listed)):
        text = "classes stand neither in trainvalclasses.txt nor in testclasses.txt"
        return "fault", text, unlisted
    if (sets := m.class_sets()) is not None and len(m.class_lists) == 2 and m.labels is not None:
        by_list = (set(m.class_lists["seen"]), set(m.class_lists["unseen"]))
        if mismatched := sorted((set(sets[0]) ^ by_list[0]) | (set(sets[1]) ^ by_list[1])):
            text = "the lists of classes and the locs disagree about which classes are unseen"
            return "fault", text, mismatched
    joined = "joined with the labels" if m.labels is not None else "folders: skipped, "
    joined += m.why_no_labels if m.labels is None else ""
    return "ok", f"{len(m.classes)} names, all different; {joined}"


def _scale(m: DatasetFiles) -> Answer:
    """Range and norms of the attribute table, and classes with equal attributes."""
    table = np.asarray(m.attributes, dtype=np.float64)
    norms = np.linalg.norm(table, axis=1)
    low, high, negative = float(table.min()), float(table.max()), int((table < 0).sum())
    text = (
        f"{m.kind} {low:.4g}..{high:.4g}, L2 norm of a class {norms.min():.4g}..{norms.max():.4g}"
    )
    if not np.isfinite(table).all():
        return "fault", "the attribute table holds a number that is not finite"
    if m.unit is not None:
        scaled = table / np.where(norms > 0, norms, 1)[:, None]
        if (difference := float(np.abs(scaled - m.unit).max())) > 1e-4:
            text += "; att is not original_att over its norm: they differ by up to"
            return "fault", f"{text} {difference:.2g}"
        text += "; att is original_att over its norm"
    if m.kind == "attributes":
        text += f"; scale {'0..100' if high > 1.5 else '0..1'}"
    _, first, count = np.unique(table, axis=0, return_index=True, return_counts=True)
    same = [f"{_name(m, k)}: like another" for k in first[count > 1].tolist()]
    same += [f"{_name(m, k)}: all zero" for k in np.flatnonzero(norms == 0).tolist()]
    if same:
        return "note", f"{text}; classes that attributes cannot tell apart", same
    if negative and m.kind == "attributes":
        what = "mean unknown and are read as 0" if m.unknown else "keep their signs"
        return "note", f"{text}; {negative} negative entries {what}"
    return "ok", text


def _version(m: DatasetFiles) -> Answer:
    """Which published version of the split this is."""
    digest = locs_digest(m.locs)
    if known := split_name(digest):
        return "ok", f"fingerprint {digest}: {known}"
    if m.known:
        return "note", f"fingerprint {digest}: a version unknown to us; say it beside every result"
    return "ok", f"fingerprint {digest}"


# Computed from att_splits.mat of the datasets in zslkit.datasets.xlsa17. Versions PS and PS 2.0 of
# the proposed splits have the same counts, so it is unknown to which of the two a file belongs.
_PROPOSED = {
    "50d6600787de5e77": "CUB",
    "4297aad59eaf6408": "SUN",
    "1705d23038f5072d": "AWA2",
    "1d52230e8fc8c6c8": "AWA1",
    "166d6dd848c56c52": "aPY",
    "bae4323c394ac1a0": "FLO",
}
_OTHER = {
    "2199bd666e2e7084": "CUB-200-2010, 20 % of each seen class held out by seed 0",
    "9fea0d27f0e73e7a": "digits, as built in",
}


def locs_digest(locs: Mapping[str, Index]) -> str:
    """Digest of the three parts of a split (0-based indices in any order), 16 hex digits."""
    digest = hashlib.sha256()
    for part in PARTS:
        digest.update(part.encode() + b"|" + np.sort(locs[part]).astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def split_name(digest: str) -> str:
    """Description of the split with this digest, "" if unknown."""
    if digest in _PROPOSED:
        return (
            f"the proposed split of {_PROPOSED[digest]} that this zslkit knows; whether PS or PS "
            "2.0 is not established, their counts agree"
        )
    return _OTHER.get(digest, "")


def _imagenet(m: DatasetFiles) -> Answer:
    """Which unseen classes have the name of a class of ImageNet-1k, the usual training data."""
    sets = m.class_sets()
    if sets is None:
        return "skipped", "which classes are unseen is not told: " + (
            m.why_no_labels or "labels or locs are out of range"
        )
    if m.classes is None:
        return "skipped", "the files name no class"
    try:
        names = imagenet_names()
    except ImportError as error:
        return "skipped", f"timm, which carries ImageNet's class list, cannot be imported ({error})"
    seen, unseen = (find_leaks(side, names) for side in sets)
    backbone = f" (default backbone: {m.backbone})" if m.backbone else ""
    beside = f"; beside them {len(seen)} of {len(sets[0])} seen classes"
    if not unseen:
        none = f"none of {len(sets[1])} unseen classes has a class of that name in ImageNet-1k"
        return "ok", none + beside + backbone
    same = sum(leak.kind == "same" for leak in unseen)
    text = (
        f"{len(unseen)} of {len(sets[1])} unseen classes have a class of that name in "
        f"ImageNet-1k, {same} by the very same name"
    )
    items = [f"{x.name}: {x.imagenet} ({x.synset}, {_KINDS[x.kind]})" for x in unseen]
    return "note", text + beside + backbone, items


_KINDS = {"same": "the same name", "wider": "a wider name", "narrower": "a narrower name"}


def _features(m: DatasetFiles) -> Answer:
    """Whether features show signs of an interrupted extraction."""
    if m.features is None and m.maps is None:
        return "skipped", m.why_no_labels or "the dataset brings none"
    told = LabelColumns(m.labels) if m.labels is not None and m.in_range() else None
    rows, shape = _feature_rows(m, told)
    n, width = shape[0], " x ".join(map(str, shape[1:]))
    kinds = (
        (rows.broken, "hold a number that is not finite"),
        (rows.zero, "are all zero"),
        (rows.constant, "are one value throughout"),
    )
    bad = [(found, what) for found, what in kinds if found]
    twins = rows.groups()
    # Two photos may be equal; a row shared by several classes was written repeatedly.
    for group in twins if m.labels is not None else ():
        if m.labels is not None and len(group) > 2 and len(set(m.labels[group].tolist())) > 1:
            bad.append((group, "are the same in several classes"))
    if bad:
        text = " and ".join(
            f"{len(found)} of {n} images have features that {what}" for found, what in bad[:4]
        )
        return "fault", text, [f"{spans(found, 1)}: {what}" for found, what in bad]
    if told is not None and (fault := told.fault()):
        return "fault", fault
    parts = dict.fromkeys(range(n), "")
    parts.update({int(i): part for part in PARTS for i in m.locs[part]})
    across = [group for group in twins if len({parts[i] for i in group} - {""}) > 1]
    many = [group for group in twins if len(group) > 2 and group not in across]
    if across or many:
        same = "groups of images in different sets have the same features"
        text = f"{n} x {width}; {len(across)} {same}"
        if many:
            text += f", {len(many)} more groups of three or more within a set"
        items = [
            " = ".join(f"image {i + 1} ({parts[i] or 'no set'})" for i in group)
            for group in (*across, *many)
        ]
        return "note", text, items
    return "ok", f"{n} x {width}, all finite, none all zero or one value, none the same in two sets"


def _feature_rows(
    m: DatasetFiles, told: LabelColumns | None
) -> tuple[FeatureRows, tuple[int, ...]]:
    """Examine the features and return their shape; for maps, both the maps and their means."""
    rows = FeatureRows()
    if m.maps is None:
        assert m.features is not None
        n, width = m.features.shape
        for index in _blocks(n, width):
            block = np.array(m.features[index], dtype=np.float32)
            rows.add(torch.from_numpy(block))
            if told is not None:
                told.add(block)
        return rows, (n, width)
    n, shape, means = len(m.maps), m.maps.map_shape, FeatureRows()
    for index in _blocks(n, int(np.prod(shape))):
        maps = m.maps.maps(index)
        rows.add(maps, maps.mean(dim=(2, 3)))
        pooled = m.maps.pooled(index)
        means.add(pooled)
        if told is not None:
            told.add(pooled.numpy())
    rows.zero = sorted({*rows.zero, *means.zero})
    rows.constant = sorted({*rows.constant, *means.constant} - {*rows.zero})
    rows.broken = sorted({*rows.broken, *means.broken})
    return rows, (n, *shape)


def _blocks(n: int, width: int) -> Iterator[NDArray[np.int64]]:
    """Image indices in blocks of at most 32 MiB of float32 features."""
    step = max(1, (32 << 20) // (4 * width))
    return (np.arange(start, min(start + step, n)) for start in range(0, n, step))


CHECKS: dict[str, Callable[[DatasetFiles], Answer]] = {
    "read": _read,
    "counts": _counts,
    "split version": _version,
    "locs": _locs,
    "overlap": _overlap,
    "train_loc and val_loc": _tuning,
    "labels": _labels,
    "seen and unseen": _sides,
    "class names": _class_names,
    "attribute scale": _scale,
    "ImageNet classes": _imagenet,
    "features": _features,
}
"""Checks that open no image, in the order of the report."""
