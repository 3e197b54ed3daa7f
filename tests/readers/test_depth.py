"""Pixels of more than 8 bits: their numbers mean what the file says, or what their own range says,
and that is told."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zslkit.errors import DataError
from zslkit.readers.depth import SCALED
from zslkit.readers.image_file import read_image
from zslkit.readers.images import FileImages, _digest


def png(file: Path, values: np.ndarray, *, sbit: bytes = b"") -> Path:
    """values uint16 (H, W) grey, (H, W, 2) with alpha, (H, W, 3) colours, (H, W, 4) with alpha."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[1 if values.ndim == 2 else values.shape[2]]

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = chunk(
        b"IHDR", struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    )
    said = chunk(b"sBIT", sbit) if sbit else b""
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + head
        + said
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return file


def red(file: Path) -> list[int]:
    image = read_image(file)
    assert image.mode == "RGB"
    return np.asarray(image)[..., 0].ravel().tolist()


def how(file: Path) -> str:
    return str(read_image(file).info.get(SCALED, ""))


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ([0, 100, 255], [0, 100, 255]),
        ([0, 1023], [0, 255]),
        ([0, 2048, 4095], [0, 128, 255]),
        ([0, 16383], [0, 255]),
        ([0, 256, 32768, 65535], [0, 1, 128, 255]),
        ([0, 16384], [0, 64]),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_as_many_as_the_numbers_need(
    tmp_path: Path, values: list[int], seen: list[int], channels: int
) -> None:
    array = np.array([values], np.uint16)
    file = png(
        tmp_path / "x.png",
        array if channels == 1 else np.repeat(array[..., None], channels, axis=2),
    )
    assert red(file) == seen
    assert bool(how(file)) == (max(values) < 16384)


def test_what_a_png_says_of_its_bits_goes_first(tmp_path: Path) -> None:
    dim = np.array([[0, 1000]], np.uint16)
    assert red(png(tmp_path / "a.png", dim)) == [0, 249]
    assert red(png(tmp_path / "b.png", dim, sbit=b"\x0c")) == [0, 62]
    assert "white 4095 as the file says" in how(tmp_path / "b.png")
    colours = np.repeat(dim[..., None], 3, axis=2)
    assert red(png(tmp_path / "c.png", colours, sbit=b"\x0c\x0c\x0c")) == [0, 62]
    full = np.array([[0, 65535]], np.uint16)  # brought to 16 bits, as the standard asks
    assert red(png(tmp_path / "d.png", full, sbit=b"\x0c")) == [0, 255]


TAGS: list[tuple[Any, dict[int, Any], list[int]]] = [
    (np.array([[0, 255]], np.uint16), {}, [0, 255]),
    (np.array([[0, 1000]], np.uint16), {281: 4000}, [0, 64]),
    (np.array([[100, 200]], np.uint16), {280: 100, 281: 200}, [0, 255]),
    (np.array([[0, 200]], np.int32), {}, [0, 255 * 200 // 255]),
    (np.array([[-5, 0, 5]], np.int32), {}, [0, 128, 255]),
    (np.array([[0, 1 << 20, 1 << 21]], np.int32), {}, [0, 128, 255]),
    (np.array([[0.0, 0.5]], np.float32), {}, [0, 128]),
    (np.array([[0.0, 300.0]], np.float32), {}, [0, 255]),
    (np.array([[-1.0, 0.0, 1.0]], np.float32), {}, [0, 128, 255]),
    (np.array([[7, 7]], np.int32) * 100000, {}, [0, 0]),
]


@pytest.mark.parametrize(("values", "tags", "seen"), TAGS)
def test_tiffs_of_whole_and_real_numbers(
    tmp_path: Path, values: np.ndarray, tags: dict[int, Any], seen: list[int]
) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif", tiffinfo=tags)
    assert red(tmp_path / "x.tif") == seen
    assert how(tmp_path / "x.tif")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("top", [200, 1000, 60000])
def test_tiffs_of_sixteen_bit_colours(tmp_path: Path, order: str, top: int) -> None:
    pixels = np.array([0, 0, 0, top, 0, top], order + "u2").tobytes()
    facts = [
        (256, 4, 2),
        (257, 4, 1),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 2),
        (273, 4, 14),
        (277, 3, 3),
        (278, 4, 1),
        (279, 4, 12),
    ]
    entries = b""
    for tag, kind, value in facts:
        if tag == 258:
            entries += struct.pack(order + "HHII", tag, kind, 3, 26)
        else:
            held = (
                struct.pack(order + "I", value)
                if kind == 4
                else struct.pack(order + "HH", value, 0)
            )
            entries += struct.pack(order + "HHI", tag, kind, 1) + held
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 32)
    body = (
        head
        + b"\0" * 6
        + pixels
        + struct.pack(order + "HHH", 16, 16, 16)
        + struct.pack(order + "H", len(facts))
        + entries
    )
    (tmp_path / "x.tif").write_bytes(body + struct.pack(order + "I", 0))
    white = {200: 255, 1000: 1023, 60000: 65535}[top]
    expected = round(top * 255 / white) if white < 65535 else top >> 8
    assert np.asarray(read_image(tmp_path / "x.tif")).tolist() == [
        [[0, 0, 0], [expected, 0, expected]]
    ]


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, np.nan]], np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif.*not finite"):
        read_image(tmp_path / "x.tif")


def test_a_pgm_says_its_own_maximum(tmp_path: Path) -> None:
    for name, most, value, seen in (
        ("a", 4095, 1000, 62),
        ("b", 65535, 1000, 249),
        ("c", 65535, 40000, 156),
    ):
        (tmp_path / f"{name}.pgm").write_bytes(
            f"P5 1 1 {most}\n".encode() + struct.pack(">H", value)
        )
        assert red(tmp_path / f"{name}.pgm") == [seen]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_usual_mode_is_white_where_it_is_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (2, 1), "black")
    image.putpixel((1, 0), (255, 255, 255))
    made = (
        image.convert("LA" if mode == "PA" else mode).convert(mode)
        if mode != "PA"
        else image.convert("P")
    )
    made.save(tmp_path / "x.tif")
    assert red(tmp_path / "x.tif") == [0, 255]
    assert how(tmp_path / "x.tif") == ""


def test_a_wide_image_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.array([[0, 200]], np.uint16)).save(tmp_path / "x.png", exif=exif)
    assert read_image(tmp_path / "x.png").size == (1, 2)


def test_features_of_an_image_that_is_scaled_otherwise_have_another_identity(
    tmp_path: Path,
) -> None:
    png(tmp_path / "x.png", np.array([[0, 200]], np.uint16))
    images = FileImages(tmp_path, ["x.png"])
    before = images.digest()
    assert FileImages(tmp_path, ["x.png"]).digest() == before
    assert before != _digest([("x.png", (tmp_path / "x.png").read_bytes())])
    full = png(tmp_path / "full.png", np.array([[0, 60000]], np.uint16))
    assert FileImages(tmp_path, ["full.png"]).digest() == _digest(
        [("full.png", full.read_bytes())]
    )  # as ever
