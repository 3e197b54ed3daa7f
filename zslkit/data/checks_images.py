"""The checks that open every image: does it open, and is it there twice, to the byte or to the eye?"""

from __future__ import annotations

from collections.abc import Iterator

from zslkit.data.checks import Check
from zslkit.data.duplicates import BITS, NEAR_BITS, NEAR_CORRELATION, Scan, identical, near, scan
from zslkit.data.material import Material
from zslkit.errors import DataError
from zslkit.files import cache_root
from zslkit.progress import Reporter

OPEN, SAME, NEAR = "images open", "identical images", "near-duplicates"


def image_checks(m: Material, reporter: Reporter, wanted: bool) -> Iterator[Check]:
    if m.found_faults.get("photos"):
        yield Check("photos", "fault", m.found_faults["photos"])
    for note in m.notes:
        yield Check("photos", "note", note)
    if m.strays:
        yield Check("photos", "note", f"{len(m.strays)} image files on disk are in no list", m.strays)
    if m.images is None or not wanted:
        why = m.why_no_images if m.images is None else "images were not to be opened"
        yield from (Check(name, "skipped", why) for name in (OPEN, SAME, NEAR))
        return
    signature = getattr(m.images, "stat_signature", None)
    try:
        keep = None if signature is None else cache_root() / "scans" / f"{signature()}.npz"
    except DataError:  # an image is missing: told below, by name
        keep = None
    seen = scan(m.images, reporter, keep)
    if seen.faults:
        yield Check(OPEN, "fault", f"{len(seen.faults)} of {len(m.images)} do not open", tuple(seen.faults.values()))
    else:
        yield Check(OPEN, "ok", f"all {len(m.images)}")
    yield _same(m, seen)
    yield _alike(m, seen, reporter)


def _same(m: Material, seen: Scan) -> Check:
    groups = identical(seen.digests)
    if not groups:
        return Check(SAME, "ok", "no two images have the same bytes (sha256)")
    across: list[list[int]] = []
    torn: list[list[int]] = []
    rest: list[list[int]] = []
    for group in groups:
        sets = {m.parts[i] for i in group} - {""}
        classes = set() if m.image_labels is None else {int(m.image_labels[i]) for i in group}
        (across if len(sets) > 1 else torn if len(classes) > 1 else rest).append(group)
    items = [" = ".join(_where(m, i) for i in group) for group in (*across, *torn, *rest)]
    text = f"{len(groups)} groups of images with the same bytes: {len(across)} across sets, {len(torn)} more under two classes"
    return Check(SAME, "fault" if across else "note", text, tuple(items))


def _alike(m: Material, seen: Scan, reporter: Reporter) -> Check:
    with reporter.phase("compare all pairs"):
        pairs = [p for p in near(seen.thumbnails, list(seen.faults)) if seen.digests[p.first] != seen.digests[p.second]]
    rule = f"dHash distance <= {NEAR_BITS} of {BITS} bits and thumbnails that correlate by {NEAR_CORRELATION:g} or more"
    across = [p for p in pairs if len({m.parts[p.first], m.parts[p.second]} - {""}) > 1]
    within = f"; {len(pairs) - len(across)} more within a set"
    if not across:
        return Check(NEAR, "ok", f"none across sets ({rule}){within}")
    items = tuple(f"{_where(m, p.first)} ~ {_where(m, p.second)}, {p.bits} of {BITS} bits" for p in across)
    torn = sum(m.image_labels is not None and m.image_labels[p.first] != m.image_labels[p.second] for p in across)
    sides = sum("unseen" in m.parts[p.first] + m.parts[p.second] for p in across)
    return Check(
        NEAR, "note", f"{len(across)} pairs across sets, {sides} of them seen/unseen, {torn} under two classes ({rule}){within}", items
    )


def _where(m: Material, i: int) -> str:
    assert m.images is not None
    return f"{m.images.key(i)} ({m.parts[i] or 'no set'})"
