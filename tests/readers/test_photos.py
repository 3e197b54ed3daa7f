"""What counts as a photo counts in every command, and what does not is counted and named."""

from __future__ import annotations

import builtins
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zslkit.acquire.new import draft
from zslkit.acquire.new_review import review
from zslkit.datasets.catalog import load_dataset
from zslkit.errors import DataError
from zslkit.explain.prediction import images_of
from zslkit.readers import image_file
from zslkit.readers.image_file import endings, read_image
from zslkit.readers.photos import AGAIN, BROKEN, LEADS_OUT, NO_CLASS, find_photos, folders_in
from zslkit.utils.progress import Silent
from zslkit.verify.checklist import verify


def save(file: Path, shade: int = 0, format: str | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, format)
    return file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three classes of four photos, each with two of them in folders within."""
    for shade, name in enumerate(("ant", "bee", "owl")):
        for k, path in enumerate(("0.png", "1.PNG", "2021/x.png", "2021/may/y.png")):
            save(tmp_path / "h" / name / path, 10 * shade + k)
    return tmp_path / "h"


@pytest.fixture
def card(home: Path) -> Path:
    (home.parent / "h.csv").write_text("class,a,b\nant,0,1\nbee,1,1\nowl,1,0\n")
    (home.parent / "h.yaml").write_text("name: h\nimages: h\nattributes: h.csv\nunseen: [owl]\n")
    return home.parent / "h.yaml"


def test_photos_in_folders_within_a_class_count(home: Path, card: Path) -> None:
    data = load_dataset(str(card))
    assert len(data.labels) == 12 and data.notes == ()
    assert data.images is not None and [data.images.key(i) for i in range(4)] == [
        "ant/0.png",
        "ant/1.PNG",
        "ant/2021/may/y.png",
        "ant/2021/x.png",
    ]
    assert [one.path for one in images_of([home])] == [
        home / path for path in find_photos(home).paths
    ]
    assert len(find_photos(home).paths) == 12


@pytest.mark.parametrize(
    "ending", ["jfif", "jpe", "JFIF", "JPE", "jif", "JPEG", "Tiff", "pnm", "apng", "dib"]
)
def test_other_endings_of_the_same_formats_count(home: Path, ending: str) -> None:
    formats = {
        "jfif": "JPEG",
        "jpe": "JPEG",
        "jif": "JPEG",
        "jpeg": "JPEG",
        "tiff": "TIFF",
        "pnm": "PPM",
        "apng": "PNG",
        "dib": "BMP",
    }
    file = save(home / "ant" / f"x.{ending}", 9, formats[ending.lower()])
    assert f"ant/x.{ending}" in find_photos(home, ["ant"]).paths
    assert images_of([home / "ant"])[-1].path.parent == home / "ant"
    assert read_image(file).size == (4, 4)


def test_every_command_tells_what_does_not_count_alike(home: Path, card: Path) -> None:
    for name in (
        "notes.txt",
        "more.TXT",
        "raw.cr2",
        "nothing",
        "2021/.hidden.png",
        "Thumbs.db",
        ".DS_Store",
        "2021/desktop.ini",
    ):
        (home / "bee" / name).touch()
    save(home / "loose.png")
    save(home / "bee" / "@eaDir" / "0.png")
    save(home / "__MACOSX" / "0.png")
    words = (
        "5 files do not count: 2 .txt, 1 .cr2, 1 in no folder of a class (loose.png), 1 "
        "without an ending (bee/nothing)"
    )
    data = load_dataset(str(card))
    assert data.notes == (words,) and len(data.labels) == 12
    found = review(card)
    assert found.dataset is not None and found.dataset.notes == (words,)
    assert words in [
        check.text for check in verify(str(card), Path("data"), Silent()) if check.verdict == "note"
    ]
    told: list[str] = []
    assert len(images_of([home / "bee"], told.append)) == 4
    assert told == [
        f"{home / 'bee'}: 4 files do not count: 2 .txt, 1 .cr2, 1 without an ending (nothing)"
    ]


@pytest.fixture
def no_readers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(image_file, "_readable", lambda kind: False)
    endings.cache_clear()
    whole = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return whole(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    yield
    endings.cache_clear()


@pytest.mark.usefixtures("no_readers")
def test_what_needs_an_extra_is_named_with_its_command(home: Path, card: Path) -> None:
    (home / "ant" / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (home / "ant" / "b.avif").write_bytes(b"\0\0\0\x18ftypavif")
    (note,) = load_dataset(str(card)).notes
    assert "1 .heic (to read them: pip install 'zslkit[heic]')" in note
    assert "1 .avif (to read them: pip install 'pillow>=11.3')" in note
    for name, command in (("a.HEIC", r"zslkit\[heic\]"), ("b.avif", "pillow>=11.3")):
        with pytest.raises(DataError, match=rf"{name}.*{command}"):
            read_image(home / "ant" / name)


@pytest.mark.parametrize(("ending", "format"), [(".heic", "HEIF"), (".avif", "AVIF")])
def test_with_its_reader_it_counts_and_opens(home: Path, ending: str, format: str) -> None:
    if ending not in endings():
        pytest.skip(f"no reader of {ending} here")
    if format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    file = save(home / "ant" / f"x{ending}", 200, format)
    assert f"ant/x{ending}" in find_photos(home, ["ant"]).paths
    red, green, _ = read_image(file).getpixel((1, 1))
    assert red > 150 > green


def test_links_within_count_once_and_links_out_are_named(
    home: Path, card: Path, tmp_path: Path
) -> None:
    out = save(tmp_path / "out" / "o.png", 99)
    save(home / ".pool" / "p.png", 98)
    save(home / ".pool" / "more" / "q.png", 97)
    (home / "ant" / "in.png").symlink_to(home / ".pool" / "p.png")
    (home / "ant" / "folder").symlink_to(home / ".pool" / "more")
    (home / "ant" / "again.png").symlink_to(home / "ant" / "0.png")
    (home / "bee" / "out.png").symlink_to(out)
    (home / "bee" / "outer").symlink_to(out.parent)
    (home / "bee" / "lost.png").symlink_to(home / "nowhere.png")
    (home / "bee" / "round").symlink_to(home / "bee" / "round")
    (home / "bee" / "up").symlink_to(home / "bee")
    found = find_photos(home, ["ant", "bee", "owl"])
    assert {"ant/in.png", "ant/folder/q.png"} <= set(found.paths) and len(found.paths) == 14
    assert dict(found.others) == {
        "ant/again.png": AGAIN, "bee/up": AGAIN, "bee/out.png": LEADS_OUT, "bee/outer": LEADS_OUT,
        "bee/lost.png": BROKEN,
        "bee/round": BROKEN,
    }  # fmt: skip
    data = load_dataset(str(card))
    assert "2 linked out of the folder (bee/out.png, bee/outer)" in data.notes[0]
    assert data.images is not None and all(
        data.images.open(i).size == (4, 4) for i in range(14)
    )  # what counts can be opened


@pytest.mark.parametrize("kind", ["photo", "folder", "two to one"])
def test_one_photo_under_two_classes_is_refused(home: Path, card: Path, kind: str) -> None:
    if kind == "photo":
        (home / "bee" / "in.png").symlink_to(home / "ant" / "0.png")
    elif kind == "folder":
        (home / "bee" / "all").symlink_to(home / "ant")
    else:
        save(home / ".pool" / "p.png", 98)
        for name in ("ant", "owl"):
            (home / name / "p.png").symlink_to(home / ".pool" / "p.png")
    with pytest.raises(DataError, match="one file or folder under two classes"):
        load_dataset(str(card))
    assert any("under two classes" in problem for problem in review(card).problems)


def test_a_class_of_links_out_is_refused_by_all_alike(
    home: Path, card: Path, tmp_path: Path
) -> None:
    (home / "ant").rename(tmp_path / "ant")
    (home / "ant").symlink_to(tmp_path / "ant")
    problem = (
        "holds no image (1 file does not count: 1 linked out of the folder (ant); copy into "
        "the folder what is linked out of it)"
    )
    with pytest.raises(DataError) as error:
        load_dataset(str(card))
    assert problem in str(error.value)
    assert any(problem in told for told in review(card).problems)
    with pytest.raises(DataError) as error:
        draft(home, name="other")
    assert problem in str(error.value)


def test_strange_things_end_no_walk(home: Path) -> None:
    os.mkfifo(home / "ant" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(home / "ant")  # a socket's path may be no longer than 107 bytes
        try:
            server.bind("socket.png")
        finally:
            os.chdir(here)
    (home / "ant" / os.fsdecode(b"caf\xe9.png")).write_bytes((home / "ant" / "0.png").read_bytes())
    found = find_photos(home, ["ant"])
    assert set(found.others) == {"ant/pipe.png", "ant/socket.png"} and len(found.paths) == 5
    assert folders_in(home) == ["ant", "bee", "owl"]


def test_photos_beside_the_classes_are_in_no_class(home: Path) -> None:
    save(home / "a.png")
    (home / "b.txt").touch()
    assert find_photos(home, ["ant"]).others == {"a.png": NO_CLASS, "b.txt": ".txt"}


def test_parts_of_a_split_are_no_classes(tmp_path: Path) -> None:
    for part in ("train", "Test"):
        for name in ("ant", "bee"):
            save(tmp_path / "p" / part / name / "0.png")
    with pytest.raises(DataError, match=r"parts of a split and no classes.*such as .*p/Test"):
        draft(tmp_path / "p")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ("/", "root of the file system"),
        ("loop", "no path that leads anywhere"),
        ("a\0b", "no path that leads anywhere"),
    ],
)
def test_places_that_are_no_folder_of_photos(card: Path, images: str, words: str) -> None:
    (card.parent / "loop").symlink_to(card.parent / "loop")
    card.write_text(
        card.read_text().replace(
            "images: h\n", f"images: {images!r}\n".replace("'a\\x00b'", '"a\\0b"')
        )
    )
    check: Callable[[], Any] = lambda: load_dataset(str(card))  # noqa: E731
    with pytest.raises(DataError, match=words):
        check()
    assert words in review(card).problems[0]


def test_a_class_folder_that_is_no_utf8_is_refused_in_a_sentence(home: Path) -> None:
    (home / "ant").rename(home / os.fsdecode(b"caf\xe9"))
    with pytest.raises(DataError, match=r"'caf\\udce9' is not UTF-8") as error:
        draft(home)
    str(error.value).encode()
    assert [p.name for p in home.parent.iterdir()] == ["h"]
