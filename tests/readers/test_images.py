"""Images open as upright RGB, whatever the file holds, and nothing outside their folder opens."""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zslkit.errors import DataError
from zslkit.readers import image_file
from zslkit.readers.images import ArrayImages, FileImages


def save(folder: Path, name: str, image: Image.Image, **how: object) -> FileImages:
    image.save(folder / name, **how)
    return FileImages(folder, [name])


def colours(image: Image.Image) -> list[tuple[int, int, int]]:
    assert image.mode == "RGB"
    pixels = np.asarray(image)
    return [tuple(int(v) for v in p) for p in pixels.reshape(-1, 3)]


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    images = save(tmp_path, "g.png", Image.fromarray(np.array([[0, 7, 255]], np.uint8)))
    assert colours(images.open(0)) == [(0, 0, 0), (7, 7, 7), (255, 255, 255)]


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    images = save(tmp_path, "g.png", Image.fromarray(np.array([[0, 256, 32768, 65535]], np.uint16)))
    assert [c[0] for c in colours(images.open(0))] == [0, 1, 128, 255]


def test_palette_cmyk_and_transparency(tmp_path: Path) -> None:
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert colours(save(tmp_path, "p.png", palette).open(0)) == [(10, 20, 30)]
    assert colours(save(tmp_path, "t.png", palette, transparency=b"\x00\x80").open(0)) == [
        (10, 20, 30)
    ]
    assert colours(save(tmp_path, "c.tif", Image.new("CMYK", (1, 1), (255, 0, 0, 0))).open(0)) == [
        (0, 255, 255)
    ]
    assert colours(save(tmp_path, "a.png", Image.new("RGBA", (1, 1), (1, 2, 3, 99))).open(0)) == [
        (1, 2, 3)
    ]


def test_exif_orientation_turns_the_image_upright(tmp_path: Path) -> None:
    image = Image.fromarray(
        np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    )  # red left, blue right
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: left becomes top
    upright = save(tmp_path, "e.png", image, exif=exif).open(0)
    assert upright.size == (1, 2)
    assert colours(upright) == [(255, 0, 0), (0, 0, 255)]


def test_what_cameras_and_printers_save_as_jpeg_opens_upright_in_rgb(tmp_path: Path) -> None:
    cyan = save(tmp_path, "cmyk.jpg", Image.new("CMYK", (8, 8), (255, 0, 0, 0))).open(0)
    assert np.abs(np.asarray(cyan).astype(int) - [0, 255, 255]).max() < 16
    wide = Image.fromarray(
        np.repeat(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), 8, axis=1).repeat(8, axis=0)
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = save(tmp_path, "turned.jpg", wide, exif=exif, quality=95).open(0)
    assert upright.size == (8, 16)
    top, bottom = upright.getpixel((4, 2)), upright.getpixel((4, 13))
    assert top[0] > 200 > top[2] and bottom[2] > 200 > bottom[0]


def test_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.jpg")
    assert colours(FileImages(tmp_path, ["x.jpg"]).open(0)) == [(1, 2, 3)]


def test_sixteen_bit_tiff_is_scaled_as_png_is(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert [c[0] for c in colours(save(tmp_path, "g.tif", grey).open(0))] == [0, 255]


def test_the_first_picture_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert set(colours(FileImages(tmp_path, ["a.gif"]).open(0))) == {(255, 0, 0)}


@pytest.mark.parametrize(("name", "place", "format"), [("b.bmp", 18, "<ii"), ("b.gif", 6, "<HH")])
def test_bombs_of_other_formats_are_refused(
    tmp_path: Path, name: str, place: int, format: str
) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / name)
    content = bytearray((tmp_path / name).read_bytes())
    content[place : place + struct.calcsize(format)] = struct.pack(format, 60_000, 60_000)
    (tmp_path / name).write_bytes(bytes(content))
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        FileImages(tmp_path, [name]).open(0)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    whole = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    whole.save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    (tmp_path / "dir.jpg").mkdir()
    for name in ("empty.jpg", "text.jpg", "cut.png", "dir.jpg", "missing.jpg"):
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            FileImages(tmp_path, [name]).open(0)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    for side in (9_500, 60_000):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        (tmp_path / "bomb.png").write_bytes(
            b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        )
        with pytest.raises(DataError, match=r"bomb\.png.*pixels"):
            FileImages(tmp_path, ["bomb.png"]).open(0)


def test_what_claims_far_more_than_it_holds_is_refused_and_a_large_jpeg_is_decoded_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = save(tmp_path, "flat.webp", Image.new("RGB", (200, 100), (9, 9, 9)), lossless=True)
    monkeypatch.setattr(image_file, "LEAST_THIN", 10_000)
    with pytest.raises(DataError, match=r"flat\.webp claims 200 x 100 pixels in \d+ bytes"):
        flat.open(0)
    monkeypatch.setattr(image_file, "MAX_PIXELS", 1000)
    monkeypatch.setitem(image_file._FEWER, "WEBP", 500)
    with pytest.raises(DataError, match=r"flat\.webp has 200 x 100 pixels, over 500"):
        flat.open(0)
    large = save(tmp_path, "large.jpg", Image.new("RGB", (100, 60), (200, 100, 50)))
    assert large.open(0).size == (25, 15)  # at a quarter, the largest below the limit
    assert np.abs(np.asarray(large.open(0)).astype(int) - [200, 100, 50]).max() < 9
    with pytest.raises(DataError, match=r"step\.jpg has 100 x 60 pixels, over 1,000"):
        save(tmp_path, "step.jpg", Image.new("RGB", (100, 60)), progressive=True).open(0)


def test_a_format_that_runs_programs_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    with pytest.raises(DataError, match=r"x\.jpg"):
        FileImages(tmp_path, ["x.jpg"]).open(0)


@pytest.mark.parametrize(
    "path",
    [
        "../out.png",
        "a/../../out.png",
        "/etc/hostname",
        "",
        ".",
        "a/./b.png",
        "a\\..\\b.png",
        "a\0b.png",
    ],
)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="leads out"):
        FileImages(tmp_path, [path])


def test_a_backslash_in_a_name_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "a\\b").mkdir()
    assert colours(save(tmp_path, "a\\b/c\\.png", Image.new("RGB", (1, 1), (1, 2, 3))).open(0)) == [
        (1, 2, 3)
    ]


def test_links_may_lead_about_inside_the_folder_but_not_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "out.png")
    Image.new("RGB", (1, 1), (4, 5, 6)).save(root / "in.png")
    (root / "a" / "in.png").symlink_to(root / "in.png")
    (root / "a" / "out.png").symlink_to(tmp_path / "out.png")
    (root / "up").symlink_to(tmp_path)
    (root / "loop.png").symlink_to(root / "loop.png")
    (tmp_path / "alias").symlink_to(root)
    assert colours(FileImages(tmp_path / "alias", ["a/in.png"]).open(0)) == [(4, 5, 6)]
    for path in ("a/out.png", "up/out.png"):
        images = FileImages(root, [path])
        for act in (lambda: images.open(0), images.digest, images.stat_signature):  # noqa: B023
            with pytest.raises(DataError, match=r"out\.png.*outside"):
                act()
    with pytest.raises(DataError, match=r"loop\.png"):
        FileImages(root, ["loop.png"]).open(0)


def test_the_digest_knows_content_name_and_order(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(content)
    digests = {
        FileImages(tmp_path, paths).digest()
        for paths in (["a", "b"], ["b", "a"], ["c", "b"], ["a"], ["a", "b", "c"])
    }
    assert len(digests) == 5
    before = FileImages(tmp_path, ["a"]).digest()
    os.utime(tmp_path / "a", ns=(1, 1))
    assert FileImages(tmp_path, ["a"]).digest() == before


def test_the_stat_signature_knows_size_time_and_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    for name in ("a", "b"):
        os.utime(tmp_path / name, ns=(5, 5))
    images = FileImages(tmp_path, ["a"])
    first = images.stat_signature()
    assert FileImages(tmp_path, ["b"]).stat_signature() != first
    os.utime(tmp_path / "a", ns=(5, 6))
    assert images.stat_signature() != first
    (tmp_path / "a").write_bytes(b"11")
    os.utime(tmp_path / "a", ns=(5, 5))
    assert images.stat_signature() != first


def test_odd_names_are_keys(tmp_path: Path) -> None:
    names = ["a b.png", "grün/ö 1.png", "..hidden.png", "x'\".png"]
    (tmp_path / "grün").mkdir()
    for name in names:
        Image.new("RGB", (1, 1)).save(tmp_path / name)
    images = FileImages(tmp_path, names)
    assert [images.key(i) for i in range(len(images))] == names
    assert all(images.open(i).size == (1, 1) for i in range(len(images)))
    images.digest()


def test_both_kinds_survive_pickling(tmp_path: Path) -> None:
    files = save(tmp_path, "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    array = ArrayImages(np.zeros((2, 3, 3), np.uint8))
    for images in (files, array):
        again = pickle.loads(pickle.dumps(images))
        assert again.digest() == images.digest()
        assert colours(again.open(0)) == colours(images.open(0))


def test_arrays_open_as_rgb_and_have_keys() -> None:
    grey = ArrayImages(np.array([[[5]], [[6]]], np.uint8))
    assert [grey.key(0), grey.key(1)] == ["000000", "000001"]
    assert colours(grey.open(1)) == [(6, 6, 6)]
    rgb = ArrayImages(np.array([[[[1, 2, 3]]]], np.uint8), ["one"])
    assert (rgb.key(0), colours(rgb.open(0))) == ("one", [(1, 2, 3)])
    assert rgb.stat_signature() == rgb.digest() != ArrayImages(rgb.array, ["two"]).digest()
    changed = rgb.array.copy()
    changed[0, 0, 0, 0] = 9
    assert ArrayImages(changed, ["one"]).digest() != rgb.digest()


@pytest.mark.parametrize(
    "array", [np.zeros((2, 3, 3)), np.zeros((2, 3), np.uint8), np.zeros((2, 3, 3, 4), np.uint8)]
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        ArrayImages(array)


def test_keys_are_one_to_one() -> None:
    with pytest.raises(DataError, match="1 keys for 2 images"):
        ArrayImages(np.zeros((2, 1, 1), np.uint8), ["one"])


@settings(max_examples=60, deadline=None)
@given(
    cut=st.integers(0, 400),
    place=st.integers(0, 399),
    value=st.integers(0, 255),
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP"]),
)
def test_a_spoilt_image_opens_or_is_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, place: int, value: int, kind: str
) -> None:
    file = tmp_path_factory.mktemp("spoilt") / "x"
    Image.fromarray((np.arange(108) * 37 % 256).astype(np.uint8).reshape(6, 6, 3)).save(file, kind)
    content = bytearray(file.read_bytes())
    content[place % len(content)] = value
    file.write_bytes(bytes(content[: len(content) - cut]))
    try:
        assert FileImages(file.parent, ["x"]).open(0).mode == "RGB"
    except DataError as error:
        assert str(file) in str(error)
