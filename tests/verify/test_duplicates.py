"""Images that are the same are found by content and by hash, and what an interrupted look at them
leaves is taken up or told."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photos import photo
from PIL import Image

from zslkit.readers.images import FileImages
from zslkit.utils.progress import PlainReporter, Silent
from zslkit.verify import duplicates
from zslkit.verify.duplicates import BITS, dhash, near


def test_a_difference_hash_by_hand() -> None:
    thumbnail = np.zeros((1, 16, 17), np.uint8)
    thumbnail[0, 0, 3] = 9  # brighter than its left neighbour, and nothing else is
    assert np.flatnonzero(dhash(thumbnail)[0]).tolist() == [2]
    assert dhash(thumbnail).shape == (1, BITS)


def pairs(thumbnails: np.ndarray, without: Sequence[int] = ()) -> list[tuple[int, int, int]]:
    return sorted(
        (int(i), int(j), int(d))
        for block in near(thumbnails, without)
        for i, j, d in zip(*block, strict=True)
    )


def test_flat_images_resemble_none_and_blocks_hide_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_CELLS", 14)
    noise = np.random.default_rng(0).integers(0, 256, (5, 16, 17), dtype=np.uint8)
    stack = np.concatenate([noise, np.full((2, 16, 17), 7, np.uint8), noise[[4, 0]]])
    assert pairs(stack) == [(0, 8, 0), (4, 7, 0)]
    assert pairs(stack, without=[8]) == [(4, 7, 0)]
    assert pairs(np.full((3, 16, 17), 7, np.uint8)) == pairs(stack[:0]) == []


def test_blocks_are_bounded_however_many_pairs_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_CELLS", 1000)
    one = np.random.default_rng(0).integers(0, 256, (1, 16, 17), dtype=np.uint8)
    sizes = [len(i) for i, _, _ in near(np.repeat(one, 100, axis=0))]
    assert sum(sizes) == 100 * 99 // 2 and max(sizes) <= 1000


def test_what_shows_nothing_and_what_is_scaled_is_seen(tmp_path: Path) -> None:
    photo(0).save(tmp_path / "0.png")
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "1.png")
    Image.fromarray(np.arange(200, dtype=np.uint16).reshape(10, 20)).save(tmp_path / "2.png")
    found = duplicates.scan(FileImages(tmp_path, ["0.png", "1.png", "2.png"]), Silent())
    assert found.flat == [1] and list(found.scaled) == [2] and "white 255" in found.scaled[2]


def test_an_interrupted_scan_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_AT_ONCE", 1)
    monkeypatch.setattr(duplicates, "_KEEP_EVERY", 2)
    for i in range(5):
        photo(i).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    opened: list[int] = []

    class Cut(FileImages):
        def open(self, index: int) -> Image.Image:
            if index == 4 and not opened.count(4):
                opened.append(4)
                raise KeyboardInterrupt
            opened.append(index)
            return super().open(index)

    images, keep = Cut(tmp_path, [f"{i}.png" for i in range(5)]), tmp_path / "scans" / "x.npz"
    with pytest.raises(KeyboardInterrupt):
        duplicates.scan(images, Silent(), keep)
    assert keep.is_file()
    again = duplicates.scan(images, Silent(), keep)
    assert opened == [0, 1, 2, 3, 4, 4] and not keep.exists()
    whole = duplicates.scan(images, Silent())
    assert (
        again.digests == whole.digests
        and again.faults == whole.faults
        and list(whole.faults) == [1]
    )
    assert (again.thumbnails == whole.thumbnails).all()


def packed(file: Path, **arrays: Any) -> None:
    with file.open("wb") as stream:
        np.savez(stream, **arrays)


def note(digests: list[Any], faults: Sequence[Any] = ()) -> np.ndarray:
    return np.frombuffer(
        json.dumps({"digests": digests, "faults": [*faults], "scaled": [], "flat": []}).encode(),
        dtype=np.uint8,
    )


def encrypted(file: Path) -> None:
    """The bit that says so is set in both headers, which zipfile tells by a RuntimeError."""
    packed(file, note=note([]), thumbnails=SMALL[:0])
    content = bytearray(file.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(magic, place + 1)) >= 0:
            content[place + at] |= 1
    file.write_bytes(content)


SMALL = np.zeros((2, 16, 17), dtype=np.uint8)
DAMAGED: dict[str, Any] = {
    "empty": lambda file: file.write_bytes(b""),
    "no archive": lambda file: file.write_bytes(b"PK\x03\x04" + bytes(100)),
    "one array": lambda file: np.save(file.open("wb"), SMALL),
    "encrypted": encrypted,
    "no note": lambda file: packed(file, thumbnails=SMALL),
    "no JSON": lambda file: packed(file, note=SMALL, thumbnails=SMALL),
    "nested": lambda file: packed(
        file, note=np.frombuffer(b"[" * 100_000, dtype=np.uint8), thumbnails=SMALL
    ),
    "another shape": lambda file: packed(file, note=note(["a", "b"]), thumbnails=SMALL[:, :3]),
    "another type": lambda file: packed(
        file, note=note(["a", "b"]), thumbnails=SMALL.astype(float)
    ),
    "fewer": lambda file: packed(file, note=note(["a", "b"]), thumbnails=SMALL[:1]),
    "more images": lambda file: packed(
        file, note=note(["a"] * 4), thumbnails=np.concatenate([SMALL, SMALL])
    ),
    "a digest that is none": lambda file: packed(file, note=note([["a"], "b"]), thumbnails=SMALL),
    "a fault of no image": lambda file: packed(
        file, note=note(["a", "b"], [[7, "gone"]]), thumbnails=SMALL
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_note_of_a_scan_is_told_in_a_sentence_and_all_is_opened_anew(
    tmp_path: Path, damage: str
) -> None:
    for i in range(3):
        photo(i).save(tmp_path / f"{i}.png")
    images, keep, told = (
        FileImages(tmp_path, [f"{i}.png" for i in range(3)]),
        tmp_path / "x.npz",
        io.StringIO(),
    )
    DAMAGED[damage](keep)
    found, whole = (
        duplicates.scan(images, PlainReporter(told), keep),
        duplicates.scan(images, Silent()),
    )
    assert (found.digests, found.faults) == (whole.digests, {}) and (
        found.thumbnails == whole.thumbnails
    ).all()
    sentences = [line for line in told.getvalue().splitlines() if "damaged" in line]
    assert len(sentences) == 1 and str(keep) in sentences[0] and "opened anew" in sentences[0]
    assert not keep.exists()
