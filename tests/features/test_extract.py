"""Features are extracted once: equal to the network's own, kept through interruptions and full
disks, made anew for other inputs."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from made_stores import Watched, backbone, photos, store_of
from PIL import Image

from zslkit.cli.failure import is_disk_full
from zslkit.dataset import Images
from zslkit.errors import CannotWrite, DataError
from zslkit.features import extract
from zslkit.features.extract import open_store, store_key
from zslkit.features.forward import ImageInputs, decoded
from zslkit.features.store import images_digest
from zslkit.utils.progress import Silent


def inputs_of(images: Images, index: Iterable[int]) -> torch.Tensor:
    """(B, 3, 64, 64), one image after the other."""
    transform = backbone().transform
    return transform.normalise(
        torch.stack([torch.from_numpy(transform.pixels(images.open(i)).copy()) for i in index])
    )


def content(images: Images) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(store_of(images).folder.iterdir())}


def afresh(images: Watched, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The store of an extraction that nothing disturbed, in a cache of its own."""
    monkeypatch.setenv("ZSLKIT_CACHE", str(images.root.parent / "undisturbed"))
    return content(images)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("dtype", "rtol"), [("float32", 1e-4), ("float16", 1e-3), ("bfloat16", 8e-3)]
)
def test_features_are_what_the_network_says(
    tmp_path: Path, dtype: str, rtol: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "BATCH", 5)  # 12 images: two full batches and a part
    images = photos(tmp_path / "photos")
    store = store_of(images, dtype=dtype)
    everything = np.arange(12)
    with torch.inference_mode():
        want = backbone().build().eval()(inputs_of(images, everything))
    assert store.map_shape == backbone().map_shape(64, 64) == want.shape[1:]
    scale = want.abs().max().item()
    torch.testing.assert_close(store.maps(everything), want, rtol=rtol, atol=scale * 1e-4)
    torch.testing.assert_close(
        store.pooled(everything), want.mean(dim=(2, 3)), rtol=1e-4, atol=scale * 1e-5
    )
    assert want.std(dim=0).max() > 0.05 * scale, "images that all look alike would prove nothing"


def test_a_store_is_found_again_without_decoding(tmp_path: Path) -> None:
    images = photos(tmp_path / "photos")
    first, opened = store_of(images), len(images.opened)
    again = store_of(images)
    assert (again.folder, again.fingerprint) == (first.folder, first.fingerprint)
    assert len(images.opened) == opened >= 12
    assert len(images.digests) == 1, "unchanged files are not even read for their fingerprint"
    assert not list(first.folder.parent.glob("*.partial*"))


def test_all_that_decides_the_values_decides_the_key_and_nothing_else(tmp_path: Path) -> None:
    images, b = photos(tmp_path / "photos"), backbone()
    changes: list[dict[str, Any]] = [
        {"size": (32, 32)},
        {"interpolation": "nearest"},
        {"mean": (0.0, 0.0, 0.0)},
        {"std": (1.0, 1.0, 1.0)},
    ]
    others = [replace(b, name="another"), replace(b, digest="another"), replace(b, reduction=16)]
    others += [replace(b, transform=replace(b.transform, **change)) for change in changes]
    fewer, turned = (
        replace(images, paths=images.paths[:-1]),
        replace(images, paths=images.paths[::-1]),
    )
    known = images_digest(images)
    keys = {store_key(known, other, "float32") for other in [b, *others]} | {
        store_key(known, b, "float16")
    }
    keys |= {
        store_key(images_digest(other), b, "float32")
        for other in (fewer, turned, photos(tmp_path / "others", seed=1))
    }
    assert len(keys) == 1 + 7 + 1 + 3
    moved = replace(images, root=Path(shutil.copytree(images.root, tmp_path / "moved")))
    assert (
        store_key(images_digest(moved), replace(b, label="the same by another name"), "float32")
        in keys
    )


def test_an_image_that_changes_makes_another_store(tmp_path: Path) -> None:
    images = photos(tmp_path / "photos")
    before, digest = store_of(images), images_digest(images)
    Image.new("RGB", (80, 64), (255, 0, 0)).save(images.file(3))
    os.utime(images.file(3), ns=(1, 1))
    after = store_of(images)
    assert images_digest(images) == images.digest() != digest
    same = [torch.equal(before.maps(np.array([i])), after.maps(np.array([i]))) for i in range(12)]
    assert [i for i in range(12) if not same[i]] == [3]


def test_what_is_known_of_the_content_is_handed_on_and_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = photos(tmp_path / "photos")
    known, device = images_digest(images), torch.device("cpu")
    for name in ("stat_signature", "digest"):
        monkeypatch.setattr(type(images), name, lambda self: pytest.fail("it is read again"))
    store = open_store("made-up", images, backbone(), "float16", device, Silent(), content=known)
    assert store.fingerprint == store_key(known, backbone(), "float16")
    assert store.manifest["images"] == known


def interrupt_from(start: int, index: int) -> None:
    if index >= start:
        raise KeyboardInterrupt


@pytest.mark.parametrize(("stop", "done"), [(6, 6), (38, 38)])
def test_an_interrupted_extraction_goes_on_and_equals_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path, stop: int, done: int
) -> None:
    monkeypatch.setattr(extract, "BATCH", 2)
    images = photos(tmp_path / "photos", 40)
    with pytest.raises(KeyboardInterrupt):
        store_of(replace(images, before=partial(interrupt_from, stop), opened=[]))
    assert [f.suffix for f in (own_cache / "features").iterdir() if f.is_dir()] == [".partial"]
    resumed = content(images)
    assert sorted(images.opened) == [0, *range(done, 40)], (
        "the first image is looked at once more, for its size"
    )
    assert resumed == afresh(images, monkeypatch)


def full_from(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which finds the disk full at its `call`th call and from then on."""
    calls = count(1)

    def limited(*arguments: Any) -> Any:
        if next(calls) >= call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*arguments)

    return limited


# Before each note of what is done the two arrays are flushed; before all that the digest is noted.
@pytest.mark.parametrize(
    ("owner", "name", "call", "done"),
    [
        (np.memmap, "flush", 3, 1),
        (np.memmap, "flush", 5, 2),
        (os, "replace", 2, 0),
        (os, "replace", 4, 2),
    ],
)
def test_a_disk_that_fills_up_costs_one_sentence_and_nothing_that_was_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_cache: Path,
    owner: Any,
    name: str,
    call: int,
    done: int,
) -> None:
    monkeypatch.setattr(extract, "BATCH", 1)
    images = photos(tmp_path / "photos", 40)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full_from(call, getattr(owner, name)))
        with pytest.raises(CannotWrite) as caught:
            store_of(replace(images, opened=[]))
    message = str(caught.value)
    assert caught.value.exit_code == 1 and is_disk_full(caught.value)
    assert str(own_cache / "features") in message and os.strerror(errno.ENOSPC) in message
    assert "free some space or set ZSLKIT_CACHE, then run again" in message and "\n" not in message
    resumed = content(images)
    assert sorted(images.opened) == [0, *range(done, 40)]
    assert resumed == afresh(images, monkeypatch)


def test_the_disk_is_taken_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    taken: list[int] = []

    def look(index: int) -> None:
        taken.extend(
            f.stat().st_blocks * 512 for f in (own_cache / "features").glob("*.partial/maps.npy")
        )

    monkeypatch.setattr(extract, "BATCH", 1)
    store = store_of(replace(photos(tmp_path / "photos", 40), before=look))
    assert taken[0] >= (store.folder / "maps.npy").stat().st_size, (
        "else a full disk ends the process by a signal, without a word"
    )


def test_too_little_room_is_seen_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    images = photos(tmp_path / "photos", 500)
    shape = backbone().map_shape(64, 64)
    size = 500 * (int(np.prod(shape)) + shape[0]) * 4
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=size - 1_000_000))
        with pytest.raises(CannotWrite) as caught:
            store_of(images)
    assert is_disk_full(caught.value), "so that other runs that need room are not even begun"
    want = (
        f"needs {size / 1e6:.0f} MB and {own_cache / 'features'} has "
        f"{(size - 1_000_000) / 1e6:.0f} MB left"
    )
    assert want in str(caught.value) and "ZSLKIT_CACHE" in str(caught.value)
    assert set(images.opened) == {0}, "one image for its size, none for nothing"


def test_room_for_the_pooled_features_is_asked_for_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(backbone(), transform=replace(backbone().transform, size=(32, 32)))
    assert small.map_shape(32, 32) == (288, 1, 1)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: SimpleNamespace(free=12 * 288 * 2 + 1000)
    )
    with pytest.raises(CannotWrite, match="ZSLKIT_CACHE"):
        store_of(photos(tmp_path / "photos"), small, "float16")


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: os.truncate(f / "maps.npy", 300),
        lambda f: os.truncate(f / "pooled.npy", 300),
        lambda f: os.truncate(f / "maps.npy", 50),
        lambda f: np.save(f / "maps.npy", np.zeros((20, 1, 2, 2), np.float32)),
        lambda f: np.save(f / "pooled.npy", np.zeros((20, 288), np.float64)),
        lambda f: (f / "done").unlink(),
        lambda f: (f / "pooled.npy").unlink(),
        lambda f: (f / "done").write_text(""),
    ],
    ids=[
        "maps cut",
        "pooled cut",
        "maps cut in the header",
        "other maps",
        "other type",
        "no note",
        "pooled gone",
        "note empty",
    ],
)
def test_a_damaged_beginning_is_extracted_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_cache: Path,
    damage: Callable[[Path], object],
) -> None:
    monkeypatch.setattr(extract, "BATCH", 1)
    images = photos(tmp_path / "photos", 20)
    with pytest.raises(KeyboardInterrupt):
        store_of(replace(images, before=partial(interrupt_from, 19)))
    (beginning,) = (own_cache / "features").glob("*.partial")
    assert (beginning / "done").read_text() == "19"
    damage(beginning)
    assert content(images) == afresh(images, monkeypatch)


@pytest.mark.parametrize("index", [0, 7])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, index: int) -> None:
    images = photos(tmp_path / "photos")
    os.truncate(images.file(index), 60)
    with pytest.raises(
        DataError,
        match=rf"^1 of 12 images cannot be read \(00{index}\.png\): .*replace them.*skip_bad",
    ):
        store_of(images)


def test_images_of_different_sizes_are_named(tmp_path: Path) -> None:
    images = photos(tmp_path / "photos")
    Image.new("RGB", (48, 96)).save(images.file(5))
    as_they_are = replace(backbone(), transform=replace(backbone().transform, size=None))
    with pytest.raises(
        DataError, match=r"005\.png is 48x96 pixels and 004\.png is 80x64; set features\.size"
    ):
        store_of(images, as_they_are)
    for i in range(4, 8):  # a whole batch
        Image.new("RGB", (48, 96)).save(images.file(i))
    with pytest.raises(
        DataError,
        match=r"004\.png is of another size than the images before it; set features\.size",
    ):
        store_of(images, as_they_are)
    assert store_of(images).map_shape == backbone().map_shape(64, 64)


def test_batches_are_decoded_in_order_and_whole(tmp_path: Path) -> None:
    images, transform = photos(tmp_path / "photos"), backbone().transform
    batches = [np.array(b) for b in ([3, 1], [0], [11, 10, 9], [2, 2], [5])]
    for (index, pixels), batch in zip(
        decoded(images, transform, batches, torch.device("cpu")), batches, strict=True
    ):
        assert index.tolist() == batch.tolist()
        assert torch.equal(pixels, inputs_of(images, batch))
        assert torch.equal(pixels, ImageInputs(images, transform).batch(batch))


def test_weights_that_make_all_images_alike_are_refused(tmp_path: Path) -> None:
    dead = {k: torch.zeros_like(v) for k, v in backbone().state.items()}
    images = photos(tmp_path / "photos")
    with pytest.raises(DataError, match=r"gives all 12 images the same features.*other weights"):
        store_of(images, using=replace(backbone(), state=dead, digest="dead"))
    assert not list((tmp_path / "cache" / "features").glob("*dead/manifest.json"))
    assert len(store_of(photos(tmp_path / "one", number=1))) == 1


def test_a_type_that_this_processor_is_slow_at_is_remarked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    reporter = Silent()
    monkeypatch.setattr(reporter, "note", notes.append)
    monkeypatch.setattr("zslkit.utils.devices.cpu_gains_by_bfloat16", lambda: False)
    images = photos(tmp_path / "photos", 2)
    place = ("made-up", images, backbone(), "float16", torch.device("cpu"), reporter)
    open_store(*place)
    assert not any("bfloat16" in note for note in notes)
    open_store(*place, precision="bfloat16")
    assert any(note.endswith("leave out --feature-precision bfloat16") for note in notes)
